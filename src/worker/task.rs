//! One task of a job: what to start for it, and what its end means.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::Halt;
use super::config::Config;
use super::job::Claim;
use super::process::{Cause, Ended, Spec};
use super::spool::Spools;
use crate::jobs::plan::{Plan, Task};
use crate::jobs::template::{Input, expand};

/// Exit codes of a program that was not started, as shells say it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// Variables of the worker's own environment that programs get: to be found, to have a home, and room for files.
const KEPT: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// What the tasks of a job have in common.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) config: &'a Config,
    pub(super) claim: &'a Claim,
    pub(super) plan: &'a Plan,
    pub(super) input: &'a Input<'a>,
    /// The job's own folder for temporary files.
    pub(super) temp_dir: Option<&'a Path>,
}

impl Setting<'_> {
    /// What to start for a task.
    ///
    /// # Errors
    /// Why the task cannot be started, in words.
    pub(super) fn prepare(&self, task: &Task, spools: &mut Spools) -> Result<Spec, String> {
        let args = task.args.iter().map(|argument| expand(argument, self.input)).collect::<Result<Vec<_>, _>>();
        let args = args.map_err(|error| error.to_string())?;
        let stdin = match task.input_from_task {
            None => None,
            Some(from) => Some(spools.reader(from).ok_or_else(|| format!("the output of task {from} was not kept"))?),
        };
        let (program, args) = match self.config.sandbox.helper() {
            Some((helper, front)) => (helper, [front, vec![task.command.clone()], args].concat()),
            None => (task.command.clone(), args),
        };
        Ok(Spec {
            task: task.task_number,
            program,
            args,
            env: self.environment(task),
            stdin,
            timeout: self.timeout_of(task),
            grace: self.config.kill_grace,
        })
    }

    /// A task's whole environment.
    fn environment(&self, task: &Task) -> Vec<(String, String)> {
        let claim = self.claim;
        let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let own = [
            ("AGQ_JOB_ID", Some(claim.job_id.clone())),
            ("AGQ_ACTION_ID", claim.action_id.clone()),
            ("AGQ_PLAN_ID", Some(self.plan.id())),
            ("AGQ_TASK_NUMBER", Some(task.task_number.to_string())),
            ("AGQ_ATTEMPT", claim.attempt.map(|attempt| attempt.to_string())),
            ("AGQ_EPOCH", Some(claim.epoch.to_string())),
            ("AGQ_QUEUE", claim.queue.clone()),
            ("AGQ_WORKER_ID", Some(self.config.worker_id.clone())),
            ("TMPDIR", self.temp_dir.and_then(Path::to_str).map(str::to_owned)),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        kept.chain(task.env.clone()).chain(own).collect()
    }

    /// How long a task may run.
    fn timeout_of(&self, task: &Task) -> Option<Duration> {
        task.timeout_secs.map(Duration::from_secs).or(self.config.task_timeout)
    }

    /// Whether the job goes on after a task; else why not, or nothing when it is not for this worker to say.
    pub(super) fn judge(&self, task: &Task, ended: &Ended) -> Result<(), Option<String>> {
        let name = format!("task {} ({})", task.task_number, task.command);
        match &ended.cause {
            Cause::Exit if ended.exit_code == 0 => Ok(()),
            Cause::Exit => Err(Some(match ended.signal {
                Some(signal) => format!("{name} was ended by signal {signal}"),
                None => format!("{name} ended with exit code {}", ended.exit_code),
            })),
            Cause::Timeout => {
                let seconds = self.timeout_of(task).unwrap_or_default().as_secs();
                Err(Some(format!("{name} ran longer than its {seconds} s and was stopped")))
            }
            Cause::Halted(Halt::Cancelled) => Err(Some(format!("cancelled while {name} ran"))),
            Cause::Halted(Halt::Failed) => Err(Some(format!("{name} was stopped: another task had failed"))),
            Cause::Halted(Halt::Stale | Halt::Leaving) => Err(None),
            Cause::Spool(error) => Err(Some(format!("{name}: its output cannot be kept for a later task: {error}"))),
        }
    }
}

/// What is said of a program that could not be started: the exit code and the words of a shell.
#[must_use]
pub fn cannot_start(program: &str, error: &io::Error) -> (u8, String) {
    let (exit_code, why) = match error.kind() {
        io::ErrorKind::NotFound => (NOT_FOUND, "there is no such program on this worker".to_owned()),
        _ => (NOT_EXECUTABLE, error.to_string()),
    };
    (exit_code, format!("agq: cannot start '{program}': {why}"))
}
