//! `agq wait`: until jobs and actions have ended. The exit code says how.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::connect::{LOOK, Reader, ServerArgs, json};
use super::duration::parse_ms;
use super::fields::cell;
use super::ids::{Target, find};
use super::job::{has_ended, jobs_of};
use super::{action, exit, job, output};

/// How long one JOB.WAIT waits; a longer wait is several of them.
const SLICE: Duration = Duration::from_secs(5);

/// `agq wait …`
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Ids of jobs and actions
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// How long to wait at most: 90 (seconds), 5m, 1h30m [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    timeout: Option<u64>,
    /// Print JSON: an object for each id, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Waits for all of them, and prints each in the order in which they were named.
pub(super) async fn run(args: &WaitArgs) -> anyhow::Result<ExitCode> {
    let (client, options) = args.server.connect().await?;
    let mut reader = Reader::new(client, options);
    let until = args.timeout.map(|ms| Instant::now() + Duration::from_millis(ms));
    let mut code = exit::DONE;
    for id in &args.ids {
        let ended = match find(&mut reader, id).await? {
            Target::Job => until_job(&mut reader, id, until).await?,
            Target::Action => until_action(&mut reader, id, until).await?,
        };
        let Some(ended) = ended else {
            eprintln!("agq: {id} has not ended yet");
            return Ok(exit::unfinished());
        };
        let is_job = ended.get("job_id").is_some();
        match (args.json, is_job) {
            (true, _) => output::json(&ended)?,
            (false, true) => job::print(&ended, "")?,
            (false, false) => action::print(&ended)?,
        }
        code = match args.ids.len() {
            1 if is_job => exit::of_job(&ended),
            _ if cell(&ended, "status") == "completed" => code,
            _ => exit::FAILED,
        };
    }
    Ok(code)
}

/// Waits for a job; `None` when the time is over first.
async fn until_job(reader: &mut Reader, id: &str, until: Option<Instant>) -> anyhow::Result<Option<Value>> {
    loop {
        let left = until.map_or(SLICE, |until| until.saturating_duration_since(Instant::now()));
        // Zero would wait for ever.
        let ms = left.min(SLICE).as_millis().max(1).to_string();
        let reply = reader.call(&["JOB.WAIT", id, &ms]).await?;
        if !reply.is_null() {
            let job = json(&reply)?;
            if has_ended(&job) {
                return Ok(Some(job));
            }
        }
        if left <= SLICE && until.is_some() {
            return Ok(None);
        }
    }
}

/// Waits for one of an action's jobs after the other.
async fn until_action(reader: &mut Reader, id: &str, until: Option<Instant>) -> anyhow::Result<Option<Value>> {
    loop {
        for job in jobs_of(reader, id).await?.iter().filter(|job| !has_ended(job)) {
            if until_job(reader, &cell(job, "job_id"), until).await?.is_none() {
                return Ok(None);
            }
        }
        let action = json(&reader.call(&["ACTION.GET", id]).await?)?;
        if action_has_ended(&action) {
            return Ok(Some(action));
        }
        // The server is still making jobs of its inputs, or somebody has some of them run again.
        tokio::time::sleep(LOOK).await;
    }
}

/// True when every job of an action has ended.
pub(super) fn action_has_ended(action: &Value) -> bool {
    let count = |name: &str| action["summary"][name].as_u64().unwrap_or(0);
    count("jobs_completed") + count("jobs_failed") + count("jobs_cancelled") >= count("jobs_total")
}
