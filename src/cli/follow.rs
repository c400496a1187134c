//! `agq follow`: what a job writes, as it comes; and `agq log`, which reads what is there.

use std::cell::Cell;
use std::process::ExitCode;

use agq_client::Reply;
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::connect::{LOOK, Reader, ServerArgs};
use super::fields::{cell, first};
use super::ids::{Target, find};
use super::job::{jobs_of, message_of, print_status, truncated_notice};
use super::job_output::Stream;
use super::wait::action_has_ended;
use super::{connect, exit, output, run};

/// How long one JOB.LOG waits for more; a longer wait is several of them.
const SLICE_MS: &str = "5000";

/// `agq follow …`
#[derive(Debug, Args)]
pub(super) struct FollowArgs {
    /// Id of a job or an action
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON: an object for each piece of output, or each job of an action, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// `agq log …`
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    id: String,
    /// Wait for more until the job has ended
    #[arg(long, short)]
    follow: bool,
    /// Only this output [default: both, each to its own]
    #[arg(long, value_enum)]
    stream: Option<Stream>,
    /// Print JSON: an object for each piece of output, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Follows a job or an action to its end.
pub(super) async fn run(args: &FollowArgs) -> anyhow::Result<ExitCode> {
    let (client, options) = args.server.connect().await?;
    let mut reader = Reader::new(client, options);
    match find(&mut reader, &args.id).await? {
        Target::Job => job(&mut reader, &args.id, args.json).await,
        Target::Action => action(reader, &args.id, args.json).await,
    }
}

/// Prints what a job writes until it has ended; the exit code is the job's.
pub(super) async fn job(reader: &mut Reader, id: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut pieces = Pieces { follow: true, only: None, json: as_json, ..Pieces::of(id) };
    pieces.print(reader).await?;
    let job = connect::json(&reader.call(&["JOB.GET", id]).await?)?;
    if as_json {
        output::line(json!({"job_id": id, "status": job["status"], "result": job["result"], "error": job["error"]}))?;
    } else if cell(&job, "status") != "completed" {
        let reason = first(&json!({"message": message_of(&job), "reason": job["reason"]}), &["message", "reason"]);
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        eprintln!("agq: job {id} {}{reason}", print_status(&cell(&job, "status"), &std::io::stderr()));
    }
    Ok(exit::of_job(&job))
}

/// Prints what each job of an action gave, as `agq run` does.
async fn action(mut reader: Reader, id: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut action = connect::json(&reader.call(&["ACTION.GET", id]).await?)?;
    let plan = run::watch::plan_of(reader.client(), &cell(&action, "plan_id")).await?;
    let (unread, way_out) = (Cell::new(false), format!("'agq follow {id}' goes on"));
    let mut totals = run::watch::Totals::default();
    let mut jobs: Vec<String> = Vec::new();
    loop {
        let followed = jobs.len();
        jobs = jobs_of(&mut reader, id).await?.iter().map(|job| cell(job, "job_id")).collect();
        let watch = run::watch::Watch { action: id, jobs: &jobs, plan: &plan, json: as_json, unread: unread.clone() };
        let (mut client, options) = reader.into_parts();
        run::persist(&watch, &mut client, &options, &mut totals, &way_out).await?;
        unread.set(watch.unread.get());
        reader = Reader::new(client, options);
        // An action that had ended before its jobs were listed has all of them in the list.
        if action_has_ended(&action) {
            break;
        }
        if jobs.len() == followed {
            // The server is still making jobs of its inputs.
            tokio::time::sleep(LOOK).await;
        }
        action = connect::json(&reader.call(&["ACTION.GET", id]).await?)?;
    }
    if jobs.len() > 1 {
        eprintln!("agq: action {id}: {}", run::describe(totals));
    }
    Ok(if totals.completed == jobs.len() { exit::DONE } else { exit::FAILED })
}

/// Prints a job's output.
pub(super) async fn log(args: &LogArgs) -> anyhow::Result<ExitCode> {
    let (client, options) = args.server.connect().await?;
    let mut reader = Reader::new(client, options);
    let mut pieces = Pieces { follow: args.follow, only: args.stream, json: args.json, ..Pieces::of(&args.id) };
    pieces.print(&mut reader).await?;
    Ok(exit::DONE)
}

/// A job's output, read piece by piece.
struct Pieces<'a> {
    id: &'a str,
    follow: bool,
    only: Option<Stream>,
    json: bool,
    /// Where to go on: attempt, bytes of stdout, bytes of stderr.
    cursor: String,
    /// The place of what comes next in stdout and in stderr, unless something was dropped.
    places: [u64; 2],
}

impl Pieces<'_> {
    fn of(id: &str) -> Pieces<'_> {
        Pieces { id, follow: false, only: None, json: false, cursor: "0".to_owned(), places: [0; 2] }
    }

    /// Prints all of it: what is there, and what comes where it is followed.
    async fn print(&mut self, reader: &mut Reader) -> anyhow::Result<()> {
        loop {
            let mut command = vec!["JOB.LOG", self.id, "FROM", self.cursor.as_str()];
            command.extend(self.follow.then_some(["FOLLOW", SLICE_MS]).into_iter().flatten());
            let reply = reader.call(&command).await?;
            let Some([cursor, status, pieces]) = reply.as_array() else { bail!("JOB.LOG answered {reply:?}") };
            self.go_to(connect::text(cursor)?);
            let pieces = pieces.as_array().context("JOB.LOG answered no list of pieces")?;
            for piece in pieces {
                self.print_piece(piece).await?;
            }
            let ended = matches!(connect::text(status)?, "completed" | "failed" | "cancelled");
            if pieces.is_empty() && (ended || !self.follow) {
                return Ok(());
            }
        }
    }

    /// Another attempt writes from the beginning.
    fn go_to(&mut self, cursor: &str) {
        let attempt = |cursor: &str| cursor.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0_u32);
        let (before, now) = (attempt(&self.cursor), attempt(cursor));
        if before != now {
            if before > 0 {
                eprintln!("agq: job {}: attempt {now}", self.id);
            }
            self.places = [0; 2];
        }
        cursor.clone_into(&mut self.cursor);
    }

    async fn print_piece(&mut self, piece: &Reply) -> anyhow::Result<()> {
        let parts = piece.as_array().map(|parts| (parts, parts.first().and_then(Reply::as_str)));
        let Some(([_, task, offset, bytes], Some(stream))) = parts else { bail!("JOB.LOG answered {piece:?}") };
        let (offset, bytes) = (offset.as_int().and_then(|at| u64::try_from(at).ok()), bytes.as_bytes());
        let (Some(offset), Some(bytes)) = (offset, bytes) else { bail!("JOB.LOG answered {piece:?}") };
        let is_error = stream == "stderr";
        if self.only.is_some_and(|only| matches!(only, Stream::Stderr) != is_error) {
            return Ok(());
        }
        let place = &mut self.places[usize::from(is_error)];
        let is_gap = offset > *place;
        *place = offset + bytes.len() as u64;
        if self.json {
            let task = task.as_int();
            let text = String::from_utf8_lossy(bytes);
            return output::line(json!({"stream": stream, "task": task, "offset": offset, "text": text}));
        }
        if is_gap {
            eprint!("{}", truncated_notice(self.id));
        }
        // What was asked for alone is what standard output is for.
        match is_error && self.only.is_none() {
            true => output::write_aside(Vec::new(), bytes.to_vec()).await,
            false => output::write_aside(bytes.to_vec(), Vec::new()).await,
        }
    }
}
