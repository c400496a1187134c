//! `agq action`: one plan over many inputs.

use std::path::PathBuf;
use std::process::ExitCode;

use agq_client::Client;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::connect::{ServerArgs, json, text};
use super::duration::parse_ms;
use super::fields::cell;
use super::inputs::{InputArgs, read_text};
use super::job_control::print_progress;
use super::number::{any_number, number};
use super::output::{Colour, paint, wants_colours};
use super::{exit, output};

/// `agq action …`
#[derive(Debug, Args)]
pub(super) struct ActionArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Submit a plan over its inputs and print the action's id.
    Submit(Box<SubmitArgs>),
    /// Print how far an action is.
    Get {
        /// The action's id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Cancel all jobs of an action that have not ended.
    Cancel {
        /// The action's id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Run the jobs of an action again that have failed.
    Retry {
        /// The action's id
        id: String,
        /// Those that were cancelled too
        #[arg(long)]
        cancelled: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct SubmitArgs {
    #[command(flatten)]
    plan: PlanChoice,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    bounds: Bounds,
    /// The action's id [default: a new one]
    #[arg(long, value_name = "ID")]
    action_id: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl Common {
    /// Changes jobs of an action, and says how far that has come.
    async fn change(&self, command: &[&str], what: &str) -> anyhow::Result<()> {
        let (mut client, _) = self.server.connect().await?;
        let progress = json(&client.call(command).await?)?;
        if self.json { output::json(&progress) } else { print_progress(&progress, what) }
    }
}

/// Which plan: a file's, or one that is stored.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(super) struct PlanChoice {
    /// File with the plan's JSON; '-' for standard input
    #[arg(value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Id of a plan that is stored
    #[arg(long, value_name = "ID")]
    plan_id: Option<String>,
}

/// How jobs run: what is not given is the server's default.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(super) struct Settings {
    /// Queue that workers claim from [default: ready]
    #[arg(long, short, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<String>,
    /// 0 to 9, 9 first [default: 5]
    #[arg(long, value_name = "N", value_parser = number("", 0..=9_u8))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<u8>,
    /// Milliseconds before the first start
    #[arg(long, value_name = "MS", value_parser = any_number("milliseconds"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay_ms: Option<u64>,
    /// Time before the first start: 90 (seconds), 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_ms, conflicts_with = "delay_ms")]
    #[serde(rename = "delay_ms", skip_serializing_if = "Option::is_none")]
    pub(super) delay: Option<u64>,
    /// The first start: a time as 2027-01-31T07:00:00Z
    #[arg(long = "at", value_name = "WHEN", conflicts_with_all = ["delay_ms", "delay"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run_at: Option<String>,
    /// How often a job may run to a bad end [default: 1 for a plan, 5 for a payload]
    #[arg(long, value_name = "N", value_parser = number("", 0..=u32::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempts: Option<u32>,
    /// Leases that may be lost before the job counts as one that kills its workers [default: 3]
    #[arg(long, value_name = "N", value_parser = number("", 0..=u32::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_losses: Option<u32>,
    /// Milliseconds that one attempt may take
    #[arg(long, value_name = "MS", value_parser = any_number("milliseconds"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
    /// Time that one attempt may take: 90 (seconds), 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_ms, conflicts_with = "timeout_ms")]
    #[serde(rename = "timeout_ms", skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<u64>,
    /// The latest start: a time as 2027-01-31T07:00:00Z
    #[arg(long, value_name = "WHEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<String>,
    /// A label to find the job by; may be given several times
    #[arg(long = "label", value_name = "LABEL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) labels: Vec<String>,
    /// Whose job it is: a queue serves its keys in turn
    #[arg(id = "job_key", long = "of-key", value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// What a worker must have, as a tool or a tag
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) requires: Vec<String>,
    /// How long the job is kept after its end [default: 7d, 180d when it failed]
    #[arg(long = "keep", value_name = "TIME", value_parser = parse_ms)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retention_ms: Option<u64>,
}

/// What bounds an action as a whole.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(super) struct Bounds {
    /// Jobs that may be under way at once
    #[arg(long, value_name = "N", value_parser = any_number(""))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_parallel: Option<u64>,
    /// Failed jobs with more of which the rest is cancelled
    #[arg(long, value_name = "N", value_parser = any_number(""))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_failures: Option<u64>,
}

/// What ACTION.SUBMIT takes.
#[derive(Debug, Serialize)]
pub(super) struct Submission<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action_id: Option<&'a str>,
    #[serde(flatten)]
    pub(super) plan: PlanField,
    pub(super) inputs: &'a [Box<RawValue>],
    #[serde(flatten)]
    pub(super) settings: &'a Settings,
    #[serde(flatten)]
    pub(super) bounds: &'a Bounds,
}

/// The field that names or holds the plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PlanField {
    Plan(Box<RawValue>),
    PlanId(String),
}

impl Submission<'_> {
    /// Submits it, prints its id, and returns that.
    ///
    /// # Errors
    /// When the server refuses it.
    pub(super) async fn send(&self, client: &mut Client, as_json: bool) -> anyhow::Result<String> {
        let reply = client.call(&["ACTION.SUBMIT", &serde_json::to_string(self)?]).await?;
        let id = cell(&json(&reply)?, "action_id");
        output::line(if as_json { text(&reply)? } else { &id })?;
        Ok(id)
    }
}

impl PlanChoice {
    /// The plan as a field of what is submitted.
    ///
    /// # Errors
    /// When the file cannot be read or is no JSON.
    pub(super) fn read(&self) -> anyhow::Result<PlanField> {
        match (&self.plan, &self.plan_id) {
            (Some(file), None) => plan_of_file(file),
            (None, Some(id)) => Ok(PlanField::PlanId(id.clone())),
            _ => bail!("give either a plan's file or --plan-id"),
        }
    }
}

/// The plan in a file; `-` is standard input.
///
/// # Errors
/// When the file cannot be read or is no JSON.
pub(super) fn plan_of_file(file: &std::path::Path) -> anyhow::Result<PlanField> {
    let text = read_text(file)?;
    match RawValue::from_string(text) {
        Ok(plan) => Ok(PlanField::Plan(plan)),
        Err(error) => bail!("{} is not JSON: {error}", file.display()),
    }
}

/// Runs one of them.
pub(super) async fn run(args: &ActionArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Submit(args) => {
            let inputs = args.inputs.read()?;
            let submission = Submission {
                action_id: args.action_id.as_deref(),
                plan: args.plan.read()?,
                inputs: &inputs,
                settings: &args.settings,
                bounds: &args.bounds,
            };
            let (mut client, _) = args.common.server.connect().await?;
            submission.send(&mut client, args.common.json).await?;
        }
        Verb::Get { id, common } => {
            let (mut client, _) = common.server.connect().await?;
            let reply = client.call(&["ACTION.GET", id]).await?;
            if common.json { output::line(text(&reply)?)? } else { print(&json(&reply)?)? }
        }
        Verb::Cancel { id, common } => common.change(&["ACTION.CANCEL", id], "cancelled").await?,
        Verb::Retry { id, cancelled, common } => {
            let mut command = vec!["ACTION.RETRY", id];
            command.extend(cancelled.then_some("CANCELLED"));
            common.change(&command, "run again").await?;
        }
    }
    Ok(exit::DONE)
}

/// Prints how far an action is.
///
/// # Errors
/// As [`output::write`].
pub(super) fn print(action: &Value) -> anyhow::Result<()> {
    let status = cell(action, "status");
    let status = paint(&status, Colour::of_status(&status), wants_colours(&std::io::stdout()));
    output::line(format_args!("{}  {status}", cell(action, "action_id")))?;
    output::line(format_args!("plan     {}", cell(action, "plan_id")))?;
    output::line(format_args!("created  {}", cell(action, "created_at")))?;
    let summary = &action["summary"];
    let counts = ["total", "waiting", "pending", "running", "completed", "failed", "cancelled"];
    let counts = counts.map(|name| format!("{} {name}", cell(summary, &format!("jobs_{name}"))));
    output::line(format_args!("jobs     {}", counts.join(", ")))
}
