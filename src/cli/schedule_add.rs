//! `agq schedule add`: a cron line, a zone, and the job to submit at each tick.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use super::action::{PlanField, plan_of_file};
use super::connect::{ServerArgs, text};
use super::inputs::{InputArgs, read_text};
use super::job_submit::{Work, work};
use super::number::{any_number, number};
use super::output;

/// Flags of `agq schedule add`.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// When: minute, hour, day of month, month, day of week, or seconds and these five, or a word like @daily
    cron: String,
    /// Where the clocks show that: the IANA name of a time zone, such as Europe/Berlin or UTC
    zone: String,
    /// File with the JSON of the plan to run; '-' for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["plan_id", "kind", "job"])]
    plan: Option<PathBuf>,
    /// The schedule's id [default: one made of what it says]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Id of the stored plan to run
    #[arg(long, value_name = "ID", conflicts_with = "kind")]
    plan_id: Option<String>,
    /// Kind of work, for workers of your own
    #[arg(long, value_name = "KIND", conflicts_with = "pairs")]
    kind: Option<String>,
    /// The payload's JSON, for --kind
    #[arg(long, value_name = "JSON", requires = "kind")]
    payload: Option<String>,
    /// File with the whole job as JSON ('-' for standard input), as SCHEDULE.PUT takes it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan_id", "kind", "pairs", "inputs", "terms"])]
    job: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    terms: Terms,
    /// What becomes of ticks that were missed: the last one is made up for, all are, none is [default: once]
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(["once", "all", "skip"]))]
    misfire: Option<String>,
    /// What becomes of a tick while the last one's job has not ended [default: allow]
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(["allow", "skip"]))]
    overlap: Option<String>,
    /// No tick comes before this time
    #[arg(long, value_name = "TIME")]
    start_at: Option<String>,
    /// No tick comes after this time
    #[arg(long, value_name = "TIME")]
    end_at: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// How the jobs run: what is not given is the server's default.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[group(id = "terms", multiple = true)]
struct Terms {
    /// Queue that workers claim from [default: ready]
    #[arg(long, short, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// 0 to 9, 9 first [default: 5]
    #[arg(long, value_name = "N", value_parser = number("", 0..=9_u8))]
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    /// How often a job may run to a bad end [default: 1 for a plan, 5 for a payload]
    #[arg(long, value_name = "N", value_parser = number("", 0..=u32::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// Milliseconds that one attempt may take
    #[arg(long, value_name = "MS", value_parser = any_number("milliseconds"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    /// Label to find the jobs by; may be given several times
    #[arg(long = "label", value_name = "LABEL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
}

/// What SCHEDULE.PUT takes.
#[derive(Debug, Serialize)]
struct Definition<'a> {
    cron: &'a str,
    zone: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    misfire: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_at: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_at: Option<Box<RawValue>>,
    job: Box<RawValue>,
}

#[derive(Debug, Serialize)]
struct Job<'a> {
    #[serde(flatten)]
    work: Work,
    #[serde(flatten)]
    terms: &'a Terms,
}

/// Makes the schedule, and prints its id.
pub(super) async fn run(args: &AddArgs) -> anyhow::Result<()> {
    let definition = definition(args)?;
    let id = args.id.clone().unwrap_or_else(|| content_id(&definition));
    let (mut client, _) = args.server.connect().await?;
    let reply = client.call(&["SCHEDULE.PUT", &id, &definition]).await?;
    if args.json { output::line(text(&reply)?) } else { output::line(id) }
}

/// The same definition again is the same schedule.
fn content_id(definition: &str) -> String {
    let digest = Sha256::digest(definition.as_bytes());
    digest[..16].iter().fold("schedule_".to_owned(), |mut id, byte| {
        // Writing to a string does not fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn definition(args: &AddArgs) -> anyhow::Result<String> {
    let job = if let Some(file) = &args.job {
        let text = read_text(file)?.trim().to_owned();
        RawValue::from_string(text).with_context(|| format!("{} is not JSON", file.display()))?
    } else {
        let plan = match (&args.plan, &args.plan_id) {
            (Some(file), _) => Some(plan_of_file(file)?),
            (None, id) => id.clone().map(PlanField::PlanId),
        };
        let work = work(plan, args.kind.as_deref(), args.payload.as_deref(), &args.inputs)?;
        let work = work.context("what is to run? Give a plan's file, --plan-id, --kind or --job")?;
        to_raw_value(&Job { work, terms: &args.terms })?
    };
    Ok(serde_json::to_string(&Definition {
        cron: &args.cron,
        zone: &args.zone,
        misfire: args.misfire.as_deref(),
        overlap: args.overlap.as_deref(),
        start_at: moment(args.start_at.as_deref())?,
        end_at: moment(args.end_at.as_deref())?,
        job,
    })?)
}

/// A time as the server reads it: a number of milliseconds, or a text.
fn moment(text: Option<&str>) -> anyhow::Result<Option<Box<RawValue>>> {
    let raw = |text: &str| match text.parse::<u64>() {
        Ok(ms) => to_raw_value(&ms),
        Err(_) => to_raw_value(text),
    };
    Ok(text.map(raw).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: AddArgs,
    }

    fn definition_of(words: &[&str]) -> anyhow::Result<String> {
        let cli = Cli::try_parse_from(["add", "0 7 * * 1-5", "UTC"].iter().chain(words))?;
        definition(&cli.args)
    }

    #[test]
    fn flags_become_fields_and_times_numbers_or_texts() {
        let words = [
            "--plan-id",
            "p",
            "--input",
            "a=b",
            "-q",
            "q",
            "--misfire",
            "all",
            "--start-at",
            "5",
            "--end-at",
            "2030-01-01T00:00:00Z",
        ];
        assert_eq!(
            definition_of(&words).unwrap(),
            r#"{"cron":"0 7 * * 1-5","zone":"UTC","misfire":"all","start_at":5,"end_at":"2030-01-01T00:00:00Z","job":{"plan_id":"p","input":{"a":"b"},"queue":"q"}}"#
        );
        assert_eq!(
            definition_of(&["--kind", "k", "--payload", "1.50", "--label", "a", "--label", "b"]).unwrap(),
            r#"{"cron":"0 7 * * 1-5","zone":"UTC","job":{"kind":"k","payload":1.50,"labels":["a","b"]}}"#
        );
    }

    #[test]
    fn what_makes_no_schedule_is_refused() {
        assert!(definition_of(&[]).unwrap_err().to_string().contains("what is to run?"));
        assert!(definition_of(&["plan.json", "--plan-id", "p"]).is_err());
        assert!(definition_of(&["--job", "job.json", "--queue", "q"]).is_err());
        assert!(definition_of(&["--kind", "k", "--misfire", "twice"]).is_err());
    }

    #[test]
    fn the_same_content_has_the_same_id() {
        let (a, b) = (content_id("{}"), content_id("{ }"));
        assert!(a == content_id("{}") && a != b && a.starts_with("schedule_") && a.len() == 41);
    }
}
