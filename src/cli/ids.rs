//! Commands on several jobs and actions by their ids: cancel, run again, run now, remove.

use std::process::ExitCode;

use agq_client::{Client, Reply};
use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::connect::{self, Reader, ServerArgs};
use super::job_control::print_progress;
use super::{exit, output};

/// Jobs, or actions where the command knows them.
#[derive(Debug, Args)]
pub(super) struct IdsArgs {
    /// The ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is done to each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    job: &'static str,
    action: Option<&'static str>,
    done: &'static str,
}

/// Ends what has not ended.
pub(super) const CANCEL: Change = Change { job: "JOB.CANCEL", action: Some("ACTION.CANCEL"), done: "cancelled" };
/// Runs again what has failed; of jobs also what was cancelled.
pub(super) const RETRY: Change = Change { job: "JOB.RETRY", action: Some("ACTION.RETRY"), done: "run again" };
/// Runs now what is put off.
pub(super) const PROMOTE: Change = Change { job: "JOB.PROMOTE", action: None, done: "promoted" };
/// Removes what has ended.
pub(super) const DELETE: Change = Change { job: "JOB.DELETE", action: None, done: "deleted" };

impl IdsArgs {
    /// Does it to each of them.
    pub(super) async fn change(&self, change: Change) -> anyhow::Result<ExitCode> {
        each(change, &self.ids, self.json, &self.server).await
    }
}

/// Does it to each; what is refused does not keep the others.
pub(super) async fn each(
    change: Change,
    ids: &[String],
    as_json: bool,
    server: &ServerArgs,
) -> anyhow::Result<ExitCode> {
    let (mut client, _) = server.connect().await?;
    let commands: Vec<Vec<&str>> = ids.iter().map(|id| vec![change.job, id]).collect();
    let replies = client.pipeline(&commands).await?;
    let (mut code, mut results) = (exit::DONE, Vec::new());
    for (id, reply) in ids.iter().zip(replies) {
        let outcome = match change.action.filter(|_| is_missing(&reply, "Job")) {
            None => refusal(&reply).map_or(Ok(None), Err),
            Some(command) => on_action(&mut client, command, id).await?,
        };
        let error = outcome.as_ref().err();
        if let Some(error) = error {
            code = exit::FAILED;
            eprintln!("agq: {id}: {error}");
        }
        let progress = outcome.as_ref().ok().and_then(Option::as_ref);
        let name = if progress.is_some() { "action_id" } else { "job_id" };
        let mut result = json!({name: id, change.done.replace(' ', "_"): error.is_none(), "error": error});
        match progress {
            Some(progress) if as_json => result["jobs"] = progress.clone(),
            Some(progress) => print_progress(progress, change.done)?,
            None => {}
        }
        results.push(result);
    }
    if as_json {
        output::json(&results.into())?;
    }
    Ok(code)
}

/// Does it to an action, and says how far it has come.
async fn on_action(client: &mut Client, command: &str, id: &str) -> anyhow::Result<Result<Option<Value>, String>> {
    let reply = client.call_raw(&[command, id]).await?;
    if is_missing(&reply, "Action") {
        return Ok(Err(neither(id)));
    }
    match refusal(&reply) {
        Some(error) => Ok(Err(error)),
        None => Ok(Ok(Some(connect::json(&reply)?))),
    }
}

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A job.
    Job,
    /// An action.
    Action,
}

/// Finds out what an id names.
///
/// # Errors
/// When it names nothing.
pub(super) async fn find(reader: &mut Reader, id: &str) -> anyhow::Result<Target> {
    let reply = reader.call_raw(&["JOB.GET", id]).await?;
    if !is_missing(&reply, "Job") {
        return match refusal(&reply) {
            Some(error) => bail!(error),
            None => Ok(Target::Job),
        };
    }
    let reply = reader.call_raw(&["ACTION.GET", id]).await?;
    match refusal(&reply) {
        None => Ok(Target::Action),
        Some(_) if is_missing(&reply, "Action") => bail!(neither(id)),
        Some(error) => bail!(error),
    }
}

fn neither(id: &str) -> String {
    format!("no job and no action has the id {id}: 'agq job list' shows the jobs")
}

fn refusal(reply: &Reply) -> Option<String> {
    reply.as_error().map(|text| String::from_utf8_lossy(text).into_owned())
}

/// True when the server says that there is no such thing.
fn is_missing(reply: &Reply, what: &str) -> bool {
    refusal(reply).is_some_and(|text| text.starts_with(&format!("ERR {what} not found")))
}
