//! `agq retry`: jobs by their ids, or all that meet conditions.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::connect::{ServerArgs, json, text};
use super::fields::cell;
use super::{exit, ids, output};

/// `agq retry …`
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// Ids of jobs and actions; without any, all jobs that meet every condition
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Jobs that have failed
    #[arg(long, conflicts_with_all = ["ids", "cancelled"])]
    failed: bool,
    /// Jobs that were cancelled
    #[arg(long, conflicts_with = "ids")]
    cancelled: bool,
    /// Only say which jobs they are
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Conditions on jobs.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only jobs of this queue
    #[arg(long, short, value_name = "NAME")]
    queue: Option<String>,
    /// Only jobs of this action
    #[arg(long, value_name = "ID")]
    action: Option<String>,
    /// Only jobs of this plan
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Only jobs of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only jobs of this key
    #[arg(id = "job_key", long = "of-key", value_name = "KEY")]
    key: Option<String>,
    /// Only jobs with this label
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Only jobs submitted at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only jobs submitted before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterArgs {
    /// The conditions as words of a command.
    fn words(&self) -> Vec<&str> {
        let conditions = [
            ("QUEUE", &self.queue),
            ("ACTION", &self.action),
            ("PLAN", &self.plan),
            ("KIND", &self.kind),
            ("KEY", &self.key),
            ("LABEL", &self.label),
            ("SINCE", &self.since),
            ("UNTIL", &self.until),
        ];
        conditions.iter().filter_map(|(word, value)| Some([*word, value.as_deref()?])).flatten().collect()
    }
}

/// Runs jobs again.
pub(super) async fn retry(args: &RetryArgs) -> anyhow::Result<ExitCode> {
    if !args.ids.is_empty() && !args.filter.words().is_empty() {
        bail!("give either ids or conditions: what is named runs again whatever it is");
    }
    if !args.ids.is_empty() {
        return ids::each(ids::RETRY, &args.ids, args.json, &args.server).await;
    }
    let mut command = vec!["JOB.RETRY", "WHERE"];
    command.extend(args.filter.words());
    if command.len() == 2 && !args.failed && !args.cancelled {
        bail!("say which jobs: their ids, a condition, or --failed or --cancelled for all of them");
    }
    command.extend(["STATUS", if args.cancelled { "cancelled" } else { "failed" }]);
    if args.dry_run {
        command.push("DRY-RUN");
    }
    let (mut client, _) = args.server.connect().await?;
    let reply = client.call(&command).await?;
    if args.json {
        output::line(text(&reply)?)?;
        return Ok(exit::DONE);
    }
    let answer = json(&reply)?;
    if args.dry_run {
        let ids = answer["job_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| id.as_str()).try_for_each(output::line)?;
        let more = if answer["more"] == true { " or more" } else { "" };
        eprintln!("{}{more} jobs would run again", cell(&answer, "matched"));
    } else {
        print_progress(&answer, "run again")?;
    }
    Ok(exit::DONE)
}

/// Says how far a change of many jobs has come.
pub(super) fn print_progress(answer: &serde_json::Value, what: &str) -> anyhow::Result<()> {
    let rest = if answer["finished"] == true { "" } else { " so far; the others follow" };
    output::line(format_args!("{} jobs {what}{rest}", cell(answer, "changed")))
}
