//! One job: its tasks one after the other, up to the first that fails.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};

use super::config::Config;
use super::process::{self, Cause, Chunk, Ended, Spec, Stream};
use super::spool::Spool;
use super::{Halt, link};
use crate::jobs::plan::{Plan, Task};
use crate::jobs::template::{Input, expand};

/// Exit codes of a program that was not started, as shells say it.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// Variables of the worker's own environment that programs get: to be found, to have a home, and room for files.
const KEPT: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// What JOB.CLAIM hands out.
#[derive(Debug, Deserialize)]
pub(super) struct Claim {
    pub(super) job_id: String,
    pub(super) epoch: u64,
    attempt: Option<u64>,
    queue: Option<String>,
    action_id: Option<String>,
    plan: Box<RawValue>,
    input: Option<Box<RawValue>>,
}

/// How a job ended here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All tasks succeeded; the result's JSON.
    Completed(String),
    /// A task failed, or the job was cancelled; the error's JSON.
    Failed(String),
    /// It is not for this worker to say.
    Abandoned,
}

/// What is kept of a task.
#[derive(Debug, Default, Serialize)]
struct TaskResult {
    task_number: u32,
    exit_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    duration_ms: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
    truncated: bool,
}

/// The result, or with a message the error.
#[derive(Debug, Default, Serialize)]
struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    tasks: Vec<TaskResult>,
}

impl Results {
    fn to_json(&self) -> String {
        // Numbers and strings under string keys: there is nothing that could not be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn failed(mut self, message: String) -> Outcome {
        self.message = Some(message);
        Outcome::Failed(self.to_json())
    }
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
}

/// Runs a job to its end; its programs' output goes to `output`, of which `max_output` bytes a stream are kept.
pub(super) async fn run(
    config: &Config,
    claim: &Claim,
    max_output: u64,
    output: mpsc::Sender<Chunk>,
    mut halt: watch::Receiver<Option<Halt>>,
) -> Outcome {
    let mut results = Results::default();
    let input = claim.input.as_deref().map_or("{}", RawValue::get);
    let read = Plan::of(&claim.plan).and_then(|plan| Ok((plan, Input::parse(input.as_bytes(), "input")?)));
    let (plan, input) = match read {
        Ok(read) => read,
        Err(error) => return results.failed(format!("the job is not understood: {error}")),
    };
    let mut spools = match Spools::for_plan(&plan) {
        Ok(spools) => spools,
        Err(error) => return results.failed(format!("cannot make a file for a task's output: {error}")),
    };
    for task in &plan.tasks {
        let number = task.task_number;
        let began = Instant::now();
        let spec = match prepare(config, claim, &plan, task, &input, &mut spools) {
            Ok(spec) => spec,
            Err(message) => return results.failed(format!("task {number}: {message}")),
        };
        let ended = match process::run(spec, &output, spools.writer(number), &mut halt).await {
            Ok(ended) => ended,
            Err(error) => not_started(task, &error, &output, began.elapsed()).await,
        };
        results.tasks.push(TaskResult {
            task_number: number,
            exit_code: ended.exit_code,
            signal: ended.signal,
            duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
            stdout_bytes: ended.stdout_bytes,
            stderr_bytes: ended.stderr_bytes,
            truncated: false,
        });
        mark_truncated(&mut results.tasks, max_output);
        match judge(task, &ended, config.timeout_of(task)) {
            Ok(()) => {}
            Err(Some(message)) => return results.failed(message),
            Err(None) => return Outcome::Abandoned,
        }
    }
    Outcome::Completed(results.to_json())
}

/// Of an output that is longer than what is kept, the head and the tail are: marks the tasks that wrote of the rest.
fn mark_truncated(tasks: &mut [TaskResult], max_output: u64) {
    for bytes_of in [|task: &TaskResult| task.stdout_bytes, |task: &TaskResult| task.stderr_bytes] {
        let total: u64 = tasks.iter().map(bytes_of).sum();
        if total <= max_output {
            continue;
        }
        let (lost_from, lost_to) = (max_output / 2, total - max_output / 2);
        let mut start = 0;
        for task in &mut *tasks {
            let end = start + bytes_of(task);
            task.truncated |= start.max(lost_from) < end.min(lost_to);
            start = end;
        }
    }
}

impl Config {
    /// How long a task may run.
    fn timeout_of(&self, task: &Task) -> Option<Duration> {
        task.timeout_secs.map(Duration::from_secs).or(self.task_timeout)
    }
}

/// Whether the job goes on after a task; else why not, or nothing when it is not for this worker to say.
fn judge(task: &Task, ended: &Ended, timeout: Option<Duration>) -> Result<(), Option<String>> {
    let name = format!("task {} ({})", task.task_number, task.command);
    match &ended.cause {
        Cause::Exit if ended.exit_code == 0 => Ok(()),
        Cause::Exit => Err(Some(match ended.signal {
            Some(signal) => format!("{name} was ended by signal {signal}"),
            None => format!("{name} ended with exit code {}", ended.exit_code),
        })),
        Cause::Timeout => {
            let seconds = timeout.unwrap_or_default().as_secs();
            Err(Some(format!("{name} ran longer than its {seconds} s and was stopped")))
        }
        Cause::Halted(Halt::Cancelled) => Err(Some(format!("cancelled while {name} ran"))),
        Cause::Halted(Halt::Stale | Halt::Leaving) => Err(None),
        Cause::Spool(error) => Err(Some(format!("{name}: its output cannot be kept for a later task: {error}"))),
    }
}

/// A task that could not be started has an exit code and says why on its stderr, as a shell does.
async fn not_started(task: &Task, error: &io::Error, output: &mpsc::Sender<Chunk>, duration: Duration) -> Ended {
    let (exit_code, why) = match error.kind() {
        io::ErrorKind::NotFound => (NOT_FOUND, "there is no such program on this worker".to_owned()),
        _ => (NOT_EXECUTABLE, error.to_string()),
    };
    let text = format!("agq: cannot start '{}': {why}\n", task.command);
    let stderr_bytes = text.len() as u64;
    let _ = output.send(Chunk { task: task.task_number, stream: Stream::Stderr, bytes: text.into() }).await;
    Ended { exit_code, signal: None, duration, cause: Cause::Exit, stdout_bytes: 0, stderr_bytes }
}

/// What to start for a task.
fn prepare(
    config: &Config,
    claim: &Claim,
    plan: &Plan,
    task: &Task,
    input: &Input<'_>,
    spools: &mut Spools,
) -> Result<Spec, String> {
    let args = task.args.iter().map(|argument| expand(argument, input)).collect::<Result<_, _>>();
    let stdin = match task.input_from_task {
        None => None,
        Some(from) => Some(spools.reader(from).ok_or_else(|| format!("the output of task {from} was not kept"))?),
    };
    Ok(Spec {
        task: task.task_number,
        program: task.command.clone(),
        args: args.map_err(|error| error.to_string())?,
        env: environment(config, claim, plan, task),
        stdin,
        timeout: config.timeout_of(task),
        grace: config.kill_grace,
    })
}

/// A task's whole environment.
fn environment(config: &Config, claim: &Claim, plan: &Plan, task: &Task) -> Vec<(String, String)> {
    let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let own = [
        ("AGQ_JOB_ID", Some(claim.job_id.clone())),
        ("AGQ_ACTION_ID", claim.action_id.clone()),
        ("AGQ_PLAN_ID", Some(plan.id())),
        ("AGQ_TASK_NUMBER", Some(task.task_number.to_string())),
        ("AGQ_ATTEMPT", claim.attempt.map(|attempt| attempt.to_string())),
        ("AGQ_EPOCH", Some(claim.epoch.to_string())),
        ("AGQ_QUEUE", claim.queue.clone()),
        ("AGQ_WORKER_ID", Some(config.worker_id.clone())),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    kept.chain(task.env.clone()).chain(own).collect()
}

/// The outputs that later tasks read, by task number.
struct Spools(HashMap<u32, Spool>);

impl Spools {
    fn for_plan(plan: &Plan) -> io::Result<Spools> {
        let mut readers = HashMap::<u32, usize>::new();
        for from in plan.tasks.iter().filter_map(|task| task.input_from_task) {
            *readers.entry(from).or_default() += 1;
        }
        let dir = std::env::temp_dir();
        let make = |(task, count)| Ok((task, Spool::new(&dir, count)?));
        readers.into_iter().map(make).collect::<io::Result<_>>().map(Spools)
    }

    fn writer(&mut self, task: u32) -> Option<&mut File> {
        self.0.get_mut(&task).map(Spool::writer)
    }

    fn reader(&mut self, task: u32) -> Option<File> {
        self.0.get_mut(&task)?.reader()
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
