//! One report of everything: output, progress and the end of an attempt, of which all counts or nothing.

use serde_json::value::RawValue;

use crate::jobs::body::check_length;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::Job;
use crate::jobs::json::Object;
use crate::jobs::plan::MAX_TASKS;
use crate::jobs::report::{Failure, has_completed, has_failed};
use crate::jobs::{Jobs, MAX_DELAY_MS, Stream};

/// What a worker reports of a job at once, checked.
#[derive(Debug, Clone)]
pub struct Update<'a> {
    /// The epoch of its claim; absent where its connection remembers it.
    pub epoch: Option<u64>,
    stdout: String,
    stderr: String,
    task: u32,
    progress: Option<&'a RawValue>,
    end: Option<End<'a>>,
}

/// How the attempt ended.
#[derive(Debug, Clone)]
enum End<'a> {
    Completed(&'a str),
    Failed(&'a str, Failure),
}

impl<'a> Update<'a> {
    /// Reads a report.
    ///
    /// # Errors
    /// When a field is unknown, of the wrong type, too long or contradicts another, or when nothing is reported.
    pub fn parse(text: &'a [u8]) -> Result<Update<'a>> {
        let mut from = Object::parse(text, "update")?;
        let epoch = from.integer("epoch", 0..=u64::MAX)?;
        let (stdout, stderr) = (from.string("stdout")?, from.string("stderr")?);
        let task = from.integer("task", 1..=MAX_TASKS as u64)?;
        let progress = from.take_raw("progress");
        check_length("update.progress", progress.map_or(0, |json| json.get().len()))?;
        let end = take_end(&mut from)?;
        from.finish()?;
        let has_output = stdout.is_some() || stderr.is_some();
        if task.is_some() && !has_output {
            return Err(Error::refused("update.task says whose output it is: give stdout or stderr with it"));
        }
        if !has_output && progress.is_none() && end.is_none() {
            return Err(Error::refused("update reports nothing: give stdout, stderr, progress or status"));
        }
        // At most MAX_TASKS; 0 where it is not said.
        let task = task.and_then(|task| u32::try_from(task).ok()).unwrap_or(0);
        Ok(Update {
            epoch,
            stdout: stdout.unwrap_or_default(),
            stderr: stderr.unwrap_or_default(),
            task,
            progress,
            end,
        })
    }

    /// True when it ends the attempt.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.end.is_some()
    }
}

/// Takes `status` and what belongs to it. A result or an error that is not given is null.
fn take_end<'a>(from: &mut Object<'a>) -> Result<Option<End<'a>>> {
    let status = from.string("status")?;
    let (result, error) = (from.take_raw("result"), from.take_raw("error"));
    let retry_in_ms = from.integer("retry_in_ms", 0..=MAX_DELAY_MS)?;
    let dead = from.boolean("dead")?;
    for (field, body) in [("update.result", result), ("update.error", error)] {
        check_length(field, body.map_or(0, |body| body.get().len()))?;
    }
    let only_with = |status: &str, fields: &[(&str, bool)]| match fields.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => Err(Error::refused(format!("update.{field} is for an update whose status is '{status}'"))),
    };
    let of_failure = [("error", error.is_some()), ("retry_in_ms", retry_in_ms.is_some()), ("dead", dead.is_some())];
    let text = |body: Option<&'a RawValue>| body.map_or("null", RawValue::get);
    match status.as_deref() {
        Some("completed") => {
            only_with("failed", &of_failure)?;
            Ok(Some(End::Completed(text(result))))
        }
        Some("failed") => {
            only_with("completed", &[("result", result.is_some())])?;
            let how = Failure { retry_in_ms, dead: dead.unwrap_or(false) };
            if how.dead && retry_in_ms.is_some() {
                return Err(Error::refused(
                    "update.retry_in_ms and update.dead contradict each other: give one of them",
                ));
            }
            Ok(Some(End::Failed(text(error), how)))
        }
        None => {
            only_with("completed", &[("result", result.is_some())])?;
            only_with("failed", &of_failure)?;
            Ok(None)
        }
        Some(other) => {
            let other = shown(other.as_bytes());
            Err(Error::refused(format!("update.status must be completed or failed, not '{other}'")))
        }
    }
}

impl Jobs<'_, '_> {
    /// Takes output and progress in, then the end. An end that was reported before counts once, with all that came
    /// with it.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch.
    pub fn update(&mut self, id: &[u8], epoch: u64, update: &Update<'_>) -> Result<Job> {
        let mut job = self.view().need_job(id)?;
        let is_repeated = match &update.end {
            None => false,
            Some(End::Completed(_)) => has_completed(&job, epoch),
            Some(End::Failed(..)) => has_failed(&job, epoch),
        };
        if !is_repeated {
            for (stream, text) in [(Stream::Stdout, &update.stdout), (Stream::Stderr, &update.stderr)] {
                job = self.append(id, epoch, stream, update.task, text.as_bytes())?;
            }
            if let Some(progress) = update.progress {
                job = self.progress(id, epoch, progress.get().as_bytes())?;
            }
        }
        match &update.end {
            None => Ok(job),
            Some(End::Completed(result)) => self.complete(id, epoch, result.as_bytes()),
            Some(End::Failed(error, how)) => self.fail(id, epoch, error.as_bytes(), *how),
        }
    }
}
