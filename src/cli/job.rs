//! `agq job`: single runs.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use agq_client::Client;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::connect::{Reader, ServerArgs, json, rows, text};
use super::fields::{cell, first, short, time};
use super::ids::{self, IdsArgs};
use super::job_submit::{self, SubmitArgs};
use super::number::any_number;
use super::output::{Colour, paint, wants_colours};
use super::table::{Align, Table};
use super::work::Works;
use super::{exit, follow, job_control, output, wait};

/// Jobs asked for at a time where all of an action are wanted.
const PAGE: &str = "1000";

/// `agq job …`
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Submit a job and print its id.
    Submit(Box<SubmitArgs>),
    /// Print a job.
    Get {
        /// The job's id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// List jobs.
    List(ListArgs),
    /// Cancel jobs; a running one is told to stop.
    Cancel(IdsArgs),
    /// Run jobs again that have failed or were cancelled.
    Retry(job_control::RetryArgs),
    /// Let scheduled jobs run now.
    Promote(IdsArgs),
    /// Remove jobs that have ended.
    Delete(IdsArgs),
    /// Wait until jobs have ended; the exit code says how.
    Wait(wait::WaitArgs),
    /// Print what a job gave so far, as JSON: result or error, and its output as text.
    Result {
        /// The job's id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print a job's output.
    Log(follow::LogArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only jobs of this action
    #[arg(long, value_name = "ID")]
    action: Option<String>,
    /// Only jobs of this status
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only jobs of this queue
    #[arg(long, short, value_name = "NAME")]
    queue: Option<String>,
    /// Only jobs of this plan
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Only jobs of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Jobs at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = any_number(""))]
    limit: u64,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
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

/// Runs one of them.
pub(super) async fn run(args: &JobArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Submit(args) => job_submit::run(args).await?,
        Verb::Get { id, common } => {
            let (mut client, _) = common.server.connect().await?;
            let reply = client.call(&["JOB.GET", id]).await?;
            if common.json {
                output::line(text(&reply)?)?;
            } else {
                let job = json(&reply)?;
                let mut works = Works::default();
                works.learn(&mut client, std::slice::from_ref(&job)).await?;
                print(&job, &works.of(&job))?;
            }
        }
        Verb::List(args) => list(args).await?,
        Verb::Cancel(args) => return args.change(ids::CANCEL).await,
        Verb::Retry(args) => return job_control::retry(args).await,
        Verb::Promote(args) => return args.change(ids::PROMOTE).await,
        Verb::Delete(args) => return args.change(ids::DELETE).await,
        Verb::Wait(args) => return wait::run(args).await,
        Verb::Log(args) => return follow::log(args).await,
        Verb::Result { id, server } => {
            let (mut client, _) = server.connect().await?;
            let reply = client.call(&["JOB.RESULT", id]).await?;
            output::line(text(&reply)?)?;
        }
    }
    Ok(exit::DONE)
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let mut command = vec!["JOB.LIST".to_owned()];
    let options = [
        ("ACTION", &args.action),
        ("STATUS", &args.status),
        ("QUEUE", &args.queue),
        ("PLAN", &args.plan),
        ("KIND", &args.kind),
        ("CURSOR", &args.cursor),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            command.extend([name.to_owned(), value.clone()]);
        }
    }
    command.extend(["LIMIT".to_owned(), args.limit.to_string()]);
    let (mut client, _) = args.common.server.connect().await?;
    let reply = client.call(&command).await?;
    let (cursor, jobs) = page(&reply)?;
    if args.common.json {
        return output::json(&json!({"next_cursor": cursor, "jobs": jobs}));
    }
    print_list(&mut client, &jobs).await?;
    if let Some(cursor) = cursor {
        output::line(format_args!("more: --cursor {cursor}"))?;
    }
    Ok(())
}

/// A page of JOB.LIST: the cursor of the next page, if there is one, and the jobs.
pub(super) fn page(reply: &agq_client::Reply) -> anyhow::Result<(Option<String>, Vec<Value>)> {
    match reply.as_array() {
        Some([cursor, jobs]) => {
            let cursor = cursor.as_str().filter(|cursor| !cursor.is_empty() && *cursor != "0");
            Ok((cursor.map(str::to_owned), rows(jobs)?))
        }
        _ => anyhow::bail!("the server's answer to JOB.LIST is not understood: {reply:?}"),
    }
}

/// The jobs of an action that are made so far, in the order of their inputs.
///
/// # Errors
/// When there is no answer.
pub(super) async fn jobs_of(reader: &mut Reader, action: &str) -> anyhow::Result<Vec<Value>> {
    let mut jobs = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let command = ["JOB.LIST", "ACTION", action, "LIMIT", PAGE, "CURSOR", &cursor];
        let (next, found) = page(&reader.call(&command).await?)?;
        jobs.extend(found);
        match next {
            Some(next) => cursor = next,
            None => return Ok(jobs),
        }
    }
}

async fn print_list(client: &mut Client, jobs: &[Value]) -> anyhow::Result<()> {
    let mut works = Works::default();
    works.learn(client, jobs).await?;
    let columns = ["job", "status", "queue", "work", "created", "worker"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    for job in jobs {
        let status = cell(job, "status");
        let colour = Colour::of_status(&status);
        let work = short(&works.of(job), 40);
        let cells = [cell(job, "job_id"), status, cell(job, "queue"), work, time(job, "created_at"), worker(job)];
        table.painted(
            cells.into_iter().enumerate().map(|(at, text)| (text, if at == 1 { colour } else { Colour::Plain })),
        );
    }
    table.print()
}

fn worker(job: &Value) -> String {
    first(job, &["worker_id", "worker"])
}

/// Waits for a job for a while; the job, once it has ended.
///
/// # Errors
/// When there is no such job, or no answer.
pub(super) async fn wait_once(client: &mut Client, id: &str, slice: Duration) -> anyhow::Result<Option<Value>> {
    // Zero would wait for ever.
    let ms = slice.as_millis().max(1).to_string();
    let reply = client.call(&["JOB.WAIT", id, &ms]).await?;
    if reply.is_null() {
        return Ok(None);
    }
    let job = json(&reply)?;
    Ok(has_ended(&job).then_some(job))
}

/// Whether nothing more will come of a job by itself.
pub(super) fn has_ended(job: &Value) -> bool {
    matches!(cell(job, "status").as_str(), "completed" | "failed" | "cancelled")
}

/// Prints a job, and what it runs where that is known.
///
/// # Errors
/// As [`output::write`].
pub(super) fn print(job: &Value, work: &str) -> anyhow::Result<()> {
    let painted = print_status(&cell(job, "status"), &std::io::stdout());
    let reason = cell(job, "reason");
    let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
    output::line(format_args!("{}  {painted}{reason}", cell(job, "job_id")))?;
    let shown = [
        ("runs", short(work, 200)),
        ("plan", cell(job, "plan_id")),
        ("kind", cell(job, "kind")),
        ("action", cell(job, "action_id")),
        ("queue", cell(job, "queue")),
        ("input", short(&first(job, &["input", "payload"]), 200)),
        ("worker", worker(job)),
        ("created", cell(job, "created_at")),
        ("started", cell(job, "started_at")),
        ("ended", cell(job, "ended_at")),
        ("progress", short(&cell(job, "progress"), 200)),
        ("error", short(&message_of(job), 300)),
    ];
    for (name, value) in shown.iter().filter(|(_, value)| !value.is_empty()) {
        output::line(format_args!("{name:<8} {value}"))?;
    }
    print_tasks(job)
}

/// A status in its colour, where the stream it goes to shows colours.
pub(super) fn print_status(status: &str, stream: &impl IsTerminal) -> String {
    paint(status, Colour::of_status(status), wants_colours(stream))
}

/// What a failed job's worker said.
pub(super) fn message_of(job: &Value) -> String {
    let error = &job["error"];
    if error.is_object() { first(error, &["message"]) } else { cell(job, "error") }
}

/// The results of a job's tasks, wherever it ended.
pub(super) fn tasks_of(job: &Value) -> &[Value] {
    let places = ["/result/tasks", "/error/tasks", "/tasks"];
    let tasks = places.iter().find_map(|place| job.pointer(place)?.as_array());
    tasks.map_or(&[], Vec::as_slice)
}

/// True when the middle of what a job wrote was not kept.
pub(super) fn is_truncated(job: &Value) -> bool {
    tasks_of(job).iter().any(|task| task["truncated"] == true)
}

/// What a person is told then.
pub(super) fn truncated_notice(id: &str) -> String {
    format!("agq: job {id} wrote more than the server keeps (--max-output): the middle of its output is missing\n")
}

fn print_tasks(job: &Value) -> anyhow::Result<()> {
    let tasks = tasks_of(job);
    if tasks.is_empty() {
        return Ok(());
    }
    let columns = ["task", "exit code", "signal", "ms", "stdout", "stderr"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Right)));
    let fields = ["task_number", "exit_code", "signal", "duration_ms", "stdout_bytes", "stderr_bytes"];
    tasks.iter().for_each(|task| table.row(fields.map(|name| cell(task, name))));
    table.print()
}
