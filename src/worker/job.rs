//! One job: its tasks, each as soon as those that it comes after are done, up to the first that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::config::Config;
use super::message::{Chunk, Message, Stream};
use super::process::{self, Cause, Ended};
use super::sandbox::TempDir;
use super::spool::Spools;
use super::task::{Setting, cannot_start};
use super::{Halt, link};
use crate::jobs::checkpoint::{self, TaskResult};
use crate::jobs::plan::{Plan, Task};
use crate::jobs::template::Input;

/// What JOB.CLAIM hands out.
#[derive(Debug, Deserialize)]
pub(super) struct Claim {
    pub(super) job_id: String,
    pub(super) epoch: u64,
    pub(super) attempt: Option<u64>,
    pub(super) queue: Option<String>,
    pub(super) action_id: Option<String>,
    plan: Box<RawValue>,
    input: Option<Box<RawValue>>,
    /// What an earlier attempt finished.
    progress: Option<Box<RawValue>>,
}

/// How a job ended here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All tasks succeeded.
    Completed(Results),
    /// A task failed, or the job was cancelled.
    Failed(Results),
    /// It is not for this worker to say.
    Abandoned,
}

impl Outcome {
    /// In a word.
    pub(super) fn status(&self) -> &'static str {
        match self {
            Outcome::Completed(_) => "completed",
            Outcome::Failed(_) => "failed",
            Outcome::Abandoned => "abandoned",
        }
    }

    /// The exit code of the first task that failed; 0 where none did, and `None` where none is known.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self {
            Outcome::Completed(_) => Some(0),
            Outcome::Failed(results) => results.tasks.iter().map(|task| task.exit_code).find(|code| *code != 0),
            Outcome::Abandoned => None,
        }
    }

    /// Why it failed.
    pub(super) fn error(&self) -> Option<&str> {
        match self {
            Outcome::Failed(results) => results.message.as_deref(),
            Outcome::Completed(_) | Outcome::Abandoned => None,
        }
    }
}

/// The result, or with a message the error.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    pub(super) tasks: Vec<TaskResult>,
}

impl Results {
    pub(super) fn to_json(&self) -> String {
        // Numbers and strings under string keys: there is nothing that could not be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn failed(message: String) -> Outcome {
    Outcome::Failed(Results { message: Some(message), tasks: Vec::new() })
}

impl Claim {
    /// Reads what the server handed out.
    ///
    /// # Errors
    /// When it is nothing this worker knows.
    pub(super) fn parse(text: &str) -> Result<Claim, link::Error> {
        serde_json::from_str(text)
            .map_err(|error| link::Error::Answer { command: "JOB.CLAIM", answer: format!("{text} ({error})") })
    }

    /// The tasks that an earlier attempt finished and that need not run again.
    fn finished(&self, plan: &Plan) -> BTreeMap<u32, TaskResult> {
        match &self.progress {
            Some(progress) if plan.idempotent_tasks => checkpoint::finished(plan, progress.get().as_bytes()),
            _ => BTreeMap::new(),
        }
    }
}

/// Runs a job to its end; what it has to say goes to `report`.
pub(super) async fn run(
    config: &Config,
    claim: &Claim,
    report: mpsc::Sender<Message>,
    halt: watch::Receiver<Option<Halt>>,
) -> Outcome {
    let input = claim.input.as_deref().map_or("{}", RawValue::get);
    let read = Plan::of(&claim.plan).and_then(|plan| Ok((plan, Input::parse(input.as_bytes(), "input")?)));
    let (plan, input) = match read {
        Ok(read) => read,
        Err(error) => return failed(format!("the job is not understood: {error}")),
    };
    let results = claim.finished(&plan);
    let waiting = plan.to_run(|task| results.contains_key(&task));
    let spools = match Spools::of(&plan, &waiting) {
        Ok(spools) => spools,
        Err(error) => return failed(format!("cannot make a file for a task's output: {error}")),
    };
    let temp_dir = match config.sandbox.temp_dir() {
        Ok(temp_dir) => temp_dir,
        Err(error) => return failed(format!("cannot make a folder for the job's temporary files: {error}")),
    };
    let own_dir = temp_dir.as_ref().map(TempDir::path);
    let setting = Setting { config, claim, plan: &plan, input: &input, temp_dir: own_dir };
    if !results.is_empty() {
        let _ = report.send(Message::Kept(results.values().cloned().collect())).await;
    }
    let (stop, _) = watch::channel(None);
    let run = Run { setting, spools, report, results, waiting, running: JoinSet::new(), stop };
    let outcome = run.complete(halt).await;
    if let Some(temp_dir) = temp_dir {
        temp_dir.remove().await;
    }
    outcome
}

/// A job that runs.
struct Run<'a> {
    setting: Setting<'a>,
    spools: Spools,
    report: mpsc::Sender<Message>,
    /// Of the tasks that have ended, by number.
    results: BTreeMap<u32, TaskResult>,
    /// Tasks that were not started yet.
    waiting: BTreeSet<u32>,
    running: JoinSet<(u32, Ended)>,
    /// Stops every task that runs.
    stop: watch::Sender<Option<Halt>>,
}

impl Run<'_> {
    async fn complete(mut self, mut halt: watch::Receiver<Option<Halt>>) -> Outcome {
        self.stop.send_replace(*halt.borrow_and_update());
        // Why the job does not go on; nothing within when that is not for this worker to say. The first reason counts.
        let mut verdict: Option<Option<String>> = None;
        loop {
            if verdict.is_none() {
                verdict = self.start_ready().err().map(Some);
            }
            if verdict.is_some() {
                self.stop_all(Halt::Failed);
            }
            let ended = tokio::select! {
                ended = self.running.join_next() => ended,
                reason = next_halt(&mut halt) => {
                    self.stop_all(reason);
                    continue;
                }
            };
            let end = match ended {
                None => break,
                Some(Ok((number, ended))) => self.take_end(number, &ended).await,
                Some(Err(error)) => Err(Some(format!("the worker itself failed: {error}"))),
            };
            verdict = verdict.or(end.err());
        }
        let tasks = self.results.into_values().collect();
        match verdict {
            None => Outcome::Completed(Results { message: None, tasks }),
            Some(Some(message)) => Outcome::Failed(Results { message: Some(message), tasks }),
            Some(None) => Outcome::Abandoned,
        }
    }

    /// Starts every task whose turn it is, as far as there is room.
    fn start_ready(&mut self) -> Result<(), String> {
        let plan = self.setting.plan;
        for task in &plan.tasks {
            let number = task.task_number;
            let room = self.running.len() < self.setting.config.task_concurrency;
            let is_next = self.waiting.contains(&number)
                && plan.before(task).iter().all(|before| self.results.contains_key(before));
            if room && is_next {
                self.start(task).map_err(|message| format!("task {number}: {message}"))?;
                self.waiting.remove(&number);
            }
        }
        Ok(())
    }

    fn start(&mut self, task: &Task) -> Result<(), String> {
        let spec = self.setting.prepare(task, &mut self.spools)?;
        let (number, program, mut spool) =
            (task.task_number, task.command.clone(), self.spools.writer(task.task_number));
        let (report, mut stop) = (self.report.clone(), self.stop.subscribe());
        self.running.spawn(async move {
            let began = Instant::now();
            let ended = match process::run(spec, &report, spool.as_mut(), &mut stop).await {
                Ok(ended) => ended,
                Err(error) => not_started(number, &program, &error, &report, began).await,
            };
            (number, ended)
        });
        Ok(())
    }

    /// Takes the end of a task in, and says whether the job goes on.
    async fn take_end(&mut self, number: u32, ended: &Ended) -> Result<(), Option<String>> {
        let result = TaskResult {
            task_number: number,
            exit_code: ended.exit_code,
            signal: ended.signal,
            duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
            stdout_bytes: ended.stdout_bytes,
            stderr_bytes: ended.stderr_bytes,
            truncated: false,
        };
        self.results.insert(number, result.clone());
        let plan = self.setting.plan;
        let judged = match plan.tasks.iter().find(|task| task.task_number == number) {
            Some(task) => self.setting.judge(task, ended),
            None => Ok(()),
        };
        if judged.is_ok() && plan.idempotent_tasks {
            // Nobody takes it when the job is no longer ours.
            let _ = self.report.send(Message::Finished(result)).await;
        }
        judged
    }

    /// Stops what runs; the reason that stands above the others stays.
    fn stop_all(&self, reason: Halt) {
        self.stop.send_modify(|stop| *stop = (*stop).max(Some(reason)));
    }
}

/// Waits for a further reason to stop the job.
async fn next_halt(halt: &mut watch::Receiver<Option<Halt>>) -> Halt {
    loop {
        if halt.changed().await.is_err() {
            return std::future::pending().await;
        }
        if let Some(reason) = *halt.borrow_and_update() {
            return reason;
        }
    }
}

/// A task that could not be started has an exit code and says why on its stderr, as a shell does.
async fn not_started(
    task: u32,
    program: &str,
    error: &io::Error,
    report: &mpsc::Sender<Message>,
    began: Instant,
) -> Ended {
    let (exit_code, text) = cannot_start(program, error);
    let bytes = bytes::Bytes::from(text + "\n");
    let stderr_bytes = bytes.len() as u64;
    let _ = report.send(Message::Output(Chunk { task, stream: Stream::Stderr, bytes })).await;
    let (duration, exit_code) = (began.elapsed(), exit_code.into());
    Ended { exit_code, signal: None, duration, cause: Cause::Exit, stdout_bytes: 0, stderr_bytes }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
