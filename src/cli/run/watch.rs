//! Following an action: progress on a terminal, each job's outcome in the order of its input.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use agq_client::Client;
use serde_json::{Value, json};

use super::pick::{final_of_tasks, final_output, is_in_order};
use crate::cli::connect::{json, text};
use crate::cli::fields::{cell, first, short};
use crate::cli::job::{has_ended, is_truncated, message_of, tasks_of, truncated_notice, wait_once};
use crate::cli::job_output;
use crate::cli::output::{self, Colour, paint, wants_colours};
use crate::jobs::plan::Plan;

/// How long one look at a job waits, and how often the progress is drawn.
const SLICE: Duration = Duration::from_millis(250);
/// Jobs asked for at once at most.
const WINDOW: usize = 64;
/// Bytes of output asked for at once, where one job has not more.
const SHOWN_AT_ONCE: u64 = 4 << 20;
/// What takes the progress off the terminal's line.
const CLEARED: &str = "\r\x1b[2K";
/// How much of a failed job's stderr is shown.
const STDERR_SHOWN: usize = 4000;

/// What is followed, and how it is shown.
pub(in crate::cli) struct Watch<'a> {
    pub(in crate::cli) action: &'a str,
    pub(in crate::cli) jobs: &'a [String],
    pub(in crate::cli) plan: &'a Plan,
    pub(in crate::cli) json: bool,
    /// Whoever read standard output has gone, as `head` does: the jobs are followed to their end all the same.
    pub(in crate::cli) unread: Cell<bool>,
}

/// How the jobs ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Totals {
    pub(in crate::cli) completed: usize,
    pub(in crate::cli) failed: usize,
    pub(in crate::cli) cancelled: usize,
}

impl Totals {
    /// How many have ended.
    fn count(self) -> usize {
        self.completed + self.failed + self.cancelled
    }
}

fn number(json: &Value, name: &str) -> u64 {
    json[name].as_u64().unwrap_or(0)
}

impl Watch<'_> {
    /// Waits for every job and prints what it gave. May be dropped and called again with the jobs that are left.
    ///
    /// # Errors
    /// When the server is lost, or nobody reads any more.
    pub(in crate::cli) async fn run(&self, client: &mut Client, seen: &mut Totals) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut progress = Progress::new(self.json || self.jobs.len() == 1);
        let mut window = 1;
        while let Some(id) = self.jobs.get(seen.count()) {
            let first = loop {
                match wait_once(client, id, SLICE).await? {
                    Some(job) => break job,
                    None => progress.draw(client, self.action, began).await?,
                }
            };
            progress.clear().await?;
            let more = self.ended(client, seen.count() + 1, window).await?;
            // Jobs that end faster than they are shown are asked for by the dozen.
            window = if more.len() == window { (window * 2).min(WINDOW) } else { more.len().max(1) };
            let mut ended = VecDeque::from([first]);
            ended.extend(more);
            while !ended.is_empty() {
                self.show_some(client, &mut ended, seen).await?;
            }
        }
        Ok(())
    }

    /// The jobs from a place on, up to the first that has not ended.
    async fn ended(&self, client: &mut Client, from: usize, most: usize) -> anyhow::Result<Vec<Value>> {
        let ids = self.jobs.iter().skip(from).take(most);
        let commands: Vec<Vec<&str>> = ids.map(|id| vec!["JOB.GET", id.as_str()]).collect();
        let mut ended = Vec::new();
        for reply in client.pipeline(&commands).await? {
            let job = json(&reply)?;
            if !has_ended(&job) {
                break;
            }
            ended.push(job);
        }
        Ok(ended)
    }

    /// Shows the first jobs: as many as have little to say, and at least one.
    async fn show_some(
        &self,
        client: &mut Client,
        ended: &mut VecDeque<Value>,
        seen: &mut Totals,
    ) -> anyhow::Result<()> {
        let mut bytes = 0;
        let size = |job: &Value| {
            tasks_of(job).iter().map(|task| number(task, "stdout_bytes") + number(task, "stderr_bytes")).sum::<u64>()
        };
        let count = ended.iter().take_while(|job| {
            bytes += size(job);
            bytes <= SHOWN_AT_ONCE
        });
        let count = count.count().max(1);
        let jobs: Vec<Value> = ended.drain(..count.min(ended.len())).collect();
        let outputs = job_output::of_all(client, jobs.iter().map(|job| cell(job, "job_id"))).await?;
        for (job, (stdout, stderr)) in jobs.iter().zip(outputs) {
            let result = self.result_of(client, job, &stdout).await?;
            self.show(job, (&stdout, &stderr), result).await?;
            match cell(job, "status").as_str() {
                "completed" => seen.completed += 1,
                "failed" => seen.failed += 1,
                _ => seen.cancelled += 1,
            }
        }
        Ok(())
    }

    /// What a completed job's last tasks wrote.
    async fn result_of(&self, client: &mut Client, job: &Value, stdout: &[u8]) -> anyhow::Result<Vec<u8>> {
        if self.json || cell(job, "status") != "completed" {
            return Ok(Vec::new());
        }
        if is_in_order(self.plan) {
            return Ok(final_output(self.plan, tasks_of(job), stdout));
        }
        let outputs = job_output::stdout_of_tasks(client, &cell(job, "job_id")).await?;
        Ok(final_of_tasks(self.plan, outputs))
    }

    async fn show(&self, job: &Value, outputs: (&[u8], &[u8]), result: Vec<u8>) -> anyhow::Result<()> {
        let (mut out, err) = self.text_of(job, outputs, result);
        if self.unread.get() {
            out.clear();
        }
        match output::write_aside(out, err.into_bytes()).await {
            Err(error) if error.is::<output::Closed>() => {
                self.unread.set(true);
                Ok(())
            }
            written => written,
        }
    }

    /// What a job's end says on standard output and on standard error.
    fn text_of(&self, job: &Value, (stdout, stderr): (&[u8], &[u8]), result: Vec<u8>) -> (Vec<u8>, String) {
        let id = cell(job, "job_id");
        let truncated = is_truncated(job);
        if self.json {
            let line = json!({
                "job_id": id,
                "status": job["status"],
                "input": job["input"],
                "result": job["result"],
                "error": job["error"],
                "stdout": String::from_utf8_lossy(stdout),
                "stderr": String::from_utf8_lossy(stderr),
                "truncated": truncated,
            });
            return (format!("{line}\n").into_bytes(), String::new());
        }
        let mut out = Vec::new();
        if self.jobs.len() > 1 {
            out = format!("{}\n", self.heading(&id, job)).into_bytes();
        }
        let mut err = if truncated { truncated_notice(&id) } else { String::new() };
        let status = cell(job, "status");
        if status == "completed" {
            out.extend(result);
            return (out, err);
        }
        let reason = first(&json!({"message": message_of(job), "reason": job["reason"]}), &["message", "reason"]);
        let colours = wants_colours(&std::io::stderr());
        let status = paint(&status, Colour::of_status(&status), colours);
        let last = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(STDERR_SHOWN)..]);
        err.push_str(&format!("agq: job {id} {status}: {reason}\n{last}"));
        (out, err)
    }

    fn heading(&self, id: &str, job: &Value) -> String {
        let colours = wants_colours(&std::io::stdout());
        let status = cell(job, "status");
        let input = short(&cell(job, "input"), 100);
        format!("==> {id} {} {input}", paint(&status, Colour::of_status(&status), colours))
    }
}

/// A line on the terminal that says how far the action is.
struct Progress {
    quiet: bool,
    drawn: bool,
}

impl Progress {
    fn new(quiet: bool) -> Progress {
        Progress { quiet: quiet || !std::io::stderr().is_terminal(), drawn: false }
    }

    async fn draw(&mut self, client: &mut Client, action: &str, began: Instant) -> anyhow::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let reply = client.call(&["ACTION.GET", action]).await?;
        let action = json(&reply)?;
        let count = |name: &str| action["summary"][format!("jobs_{name}")].as_u64().unwrap_or(0);
        let ended = count("completed") + count("failed") + count("cancelled");
        let (total, running, failed) = (count("total"), count("running"), count("failed"));
        let seconds = began.elapsed().as_secs();
        self.drawn = true;
        let line = format!("{CLEARED}{ended}/{total} jobs ended, {running} running, {failed} failed, {seconds} s");
        output::write_aside(Vec::new(), line.into_bytes()).await
    }

    async fn clear(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.drawn) {
            output::write_aside(Vec::new(), CLEARED.as_bytes().to_vec()).await?;
        }
        Ok(())
    }
}

/// The plan of an action.
///
/// # Errors
/// When the server does not have it, or not as a plan.
pub(in crate::cli) async fn plan_of(client: &mut Client, plan_id: &str) -> anyhow::Result<Plan> {
    let reply = client.call(&["PLAN.GET", plan_id]).await?;
    Ok(Plan::parse(text(&reply)?.as_bytes())?)
}
