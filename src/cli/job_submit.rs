//! `agq job submit`: a plan with one input, or a kind of work with its payload, or a whole submission as JSON.

use std::path::PathBuf;

use agq_client::Client;
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
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    identity: Identity,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What tells a job from others, and what it comes after.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(super) struct Identity {
    /// The job's id [default: a new one]
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    /// A key that only one job holds until it has ended
    #[arg(long = "unique", value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<String>,
    /// What happens when another job holds it: reject, return (that job's id) or replace [default: reject]
    #[arg(long, value_name = "WHAT", requires = "unique_key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    on_conflict: Option<String>,
    /// A key with which a submission counts once for a day
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    /// Jobs that must have completed first
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
    /// What becomes of the job when one of them ends badly: cancel, continue or fail [default: cancel]
    #[arg(long, value_name = "WHAT", requires = "after")]
    #[serde(skip_serializing_if = "Option::is_none")]
    after_policy: Option<String>,
}

/// What JOB.SUBMIT takes.
#[derive(Debug, Serialize)]
pub(super) struct Submission<'a> {
    #[serde(flatten)]
    pub(super) work: Work,
    #[serde(flatten)]
    pub(super) settings: &'a Settings,
    #[serde(flatten)]
    pub(super) identity: &'a Identity,
}

/// What a job runs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Work {
    /// A plan with its input.
    Plan {
        #[serde(flatten)]
        plan: PlanField,
        input: Box<RawValue>,
    },
    /// A kind of work with what it takes.
    Kind { kind: String, payload: Box<RawValue> },
}

/// Submits, and prints the id.
pub(super) async fn run(args: &SubmitArgs) -> anyhow::Result<()> {
    let submission = submission(args)?;
    let (mut client, _) = args.server.connect().await?;
    let id = send(&mut client, &submission).await?;
    print_id(&id, args.json)
}

/// Submits a job and returns its id.
///
/// # Errors
/// When the server refuses it.
pub(super) async fn send(client: &mut Client, submission: &str) -> anyhow::Result<String> {
    Ok(text(&client.call(&["JOB.SUBMIT", submission]).await?)?.to_owned())
}

/// Prints the id of a job that was submitted.
///
/// # Errors
/// As [`output::write`].
pub(super) fn print_id(id: &str, as_json: bool) -> anyhow::Result<()> {
    if as_json { output::json(&json!({"job_id": id})) } else { output::line(id) }
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
    Ok(serde_json::to_string(&Submission { work, settings: &args.settings, identity: &args.identity })?)
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
            r#"{"plan_id":"p","input":{"a":"b"},"queue":"q","job_id":"j"}"#
        );
        let terms = ["--kind", "k", "--delay", "1m", "--label", "a", "--after", "x,y", "--unique", "u", "--keep", "1d"];
        assert_eq!(
            submission_of(&terms).unwrap(),
            r#"{"kind":"k","payload":null,"delay_ms":60000,"labels":["a"],"retention_ms":86400000,"unique_key":"u","after":["x","y"]}"#
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
