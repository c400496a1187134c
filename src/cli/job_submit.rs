//! `agq job submit`: a plan with one input, or a kind of work with its payload, or a whole submission as JSON.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::action::{PlanField, Settings, plan_of_file};
use super::connect::{ServerArgs, text};
use super::inputs::{InputArgs, read_text};
use super::output;

/// Flags of `agq job submit`.
#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// File with the whole submission as JSON ('-' for standard input), as JOB.SUBMIT takes it
    #[arg(value_name = "FILE", conflicts_with_all = ["plan", "plan_id", "kind", "payload", "job_id", "pairs"])]
    file: Option<PathBuf>,
    /// File with the JSON of the plan to run; '-' for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan_id", "kind"])]
    plan: Option<PathBuf>,
    /// Id of the stored plan to run
    #[arg(long, value_name = "ID", conflicts_with = "kind")]
    plan_id: Option<String>,
    /// Kind of work, for workers of your own
    #[arg(long, value_name = "KIND", conflicts_with = "pairs")]
    kind: Option<String>,
    /// The payload's JSON, for --kind
    #[arg(long, value_name = "JSON", requires = "kind")]
    payload: Option<String>,
    /// The job's id [default: a new one]
    #[arg(long, value_name = "ID")]
    job_id: Option<String>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What JOB.SUBMIT takes.
#[derive(Debug, Serialize)]
struct Submission<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<&'a str>,
    #[serde(flatten)]
    work: Work,
    #[serde(flatten)]
    settings: &'a Settings,
}

/// What a job does.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Work {
    Plan {
        #[serde(flatten)]
        plan: PlanField,
        input: Box<RawValue>,
    },
    Kind {
        kind: String,
        payload: Box<RawValue>,
    },
}

/// Submits, and prints the id.
pub(super) async fn run(args: &SubmitArgs) -> anyhow::Result<()> {
    let submission = submission(args)?;
    let (mut client, _) = args.server.connect().await?;
    let reply = client.call(&["JOB.SUBMIT", &submission]).await?;
    let id = text(&reply)?;
    if args.json { output::json(&json!({"job_id": id})) } else { output::line(id) }
}

fn submission(args: &SubmitArgs) -> anyhow::Result<String> {
    if let Some(file) = &args.file {
        return read_text(file);
    }
    let plan = match (&args.plan, &args.plan_id) {
        (Some(file), _) => Some(plan_of_file(file)?),
        (None, Some(id)) => Some(PlanField::PlanId(id.clone())),
        (None, None) => None,
    };
    let work = work(plan, args.kind.as_deref(), args.payload.as_deref(), &args.inputs)?;
    let work = work.context("what is to run? Give --plan, --plan-id or --kind, or a file with the whole submission")?;
    Ok(serde_json::to_string(&Submission { job_id: args.job_id.as_deref(), work, settings: &args.settings })?)
}

/// A plan with its one input, or a kind with its payload; `None` when neither is given.
///
/// # Errors
/// When the inputs are not one, or the payload is no JSON.
pub(super) fn work(
    plan: Option<PlanField>,
    kind: Option<&str>,
    payload: Option<&str>,
    inputs: &InputArgs,
) -> anyhow::Result<Option<Work>> {
    match (plan, kind) {
        (Some(plan), _) => {
            let mut inputs = inputs.read()?;
            let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
                bail!("a job has one input: 'agq action submit' runs a plan over many");
            };
            Ok(Some(Work::Plan { plan, input }))
        }
        (None, Some(_)) if !inputs.is_empty() => bail!("a job of a kind has a --payload, no inputs"),
        (None, Some(kind)) => {
            let payload = RawValue::from_string(payload.unwrap_or("null").to_owned());
            Ok(Some(Work::Kind { kind: kind.to_owned(), payload: payload.context("the payload is not JSON")? }))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: SubmitArgs,
    }

    fn submission_of(words: &[&str]) -> anyhow::Result<String> {
        let cli = Cli::try_parse_from(std::iter::once(&"submit").chain(words))?;
        submission(&cli.args)
    }

    #[test]
    fn flags_become_fields_and_payloads_stay_as_written() {
        assert_eq!(
            submission_of(&["--kind", "mail", "--payload", r#"{ "n": 1.50 }"#, "--priority", "9"]).unwrap(),
            r#"{"kind":"mail","payload":{ "n": 1.50 },"priority":9}"#
        );
        assert_eq!(
            submission_of(&["--plan-id", "p", "--input", "a=b", "--queue", "q", "--job-id", "j"]).unwrap(),
            r#"{"job_id":"j","plan_id":"p","input":{"a":"b"},"queue":"q"}"#
        );
    }

    #[test]
    fn what_makes_no_job_is_refused() {
        assert!(submission_of(&[]).unwrap_err().to_string().contains("what is to run?"));
        assert!(submission_of(&["--plan-id", "p", "--kind", "k"]).is_err());
        assert!(submission_of(&["--payload", "1"]).is_err());
        assert!(submission_of(&["--kind", "k", "--payload", "{"]).is_err());
        assert!(submission_of(&["--kind", "k", "--input", "a=b"]).is_err());
    }
}
