//! What a worker reports of a job it runs. It counts only at the job's current epoch.

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::Touch;
use crate::jobs::body::{Part, body_of, check_length};
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Job, Reason, Status};
use crate::jobs::{Jobs, Stream, json};

/// How a worker's failure report is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failure {
    /// The worker's own word for how long to wait.
    pub retry_in_ms: Option<u64>,
    /// Never run it again.
    pub dead: bool,
}

impl Jobs<'_, '_> {
    /// The job that a worker may report on: it runs at this epoch. A worker whose lease ran out goes on where nobody
    /// has claimed the job since.
    pub(super) fn current(&mut self, id: &[u8], epoch: u64) -> Result<Job> {
        let job = self.view().need_job(id)?;
        match job.status {
            Status::Running if job.epoch == epoch => Ok(job),
            Status::Pending if job.epoch == epoch && job.reason == Reason::Lost => self.regain(&job),
            _ => Err(stale(&job)),
        }
    }

    fn regain(&mut self, old: &Job) -> Result<Job> {
        let mut job = old.clone();
        job.status = Status::Running;
        job.reason = Reason::None;
        let claim = self.next_number()?;
        job.lease = Some(self.lease(&job, self.settings.lease_ms, claim, 0));
        self.write(Some(old), &job)?;
        Ok(job)
    }

    /// A job is done. The same report again changes nothing.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch; a result that is no JSON or too long.
    pub fn complete(&mut self, id: &[u8], epoch: u64, result: &[u8]) -> Result<Job> {
        check_length("result", result.len())?;
        json::parse(result, "result")?;
        let known = self.view().need_job(id)?;
        if has_completed(&known, epoch) {
            return self.repeated(known, Part::Result, result);
        }
        let old = self.current(id, epoch)?;
        let mut job = old.clone();
        job.reason = Reason::None;
        self.set_body(&mut job, Part::Result, Some(result))?;
        self.set_body(&mut job, Part::Error, None)?;
        self.end(&old, job, Status::Completed)
    }

    /// An attempt failed: the job runs again later, or has failed. The same report again changes nothing.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch; an error that is no JSON or too long.
    pub fn fail(&mut self, id: &[u8], epoch: u64, error: &[u8], how: Failure) -> Result<Job> {
        check_length("error", error.len())?;
        json::parse(error, "error")?;
        let known = self.view().need_job(id)?;
        if has_failed(&known, epoch) {
            return self.repeated(known, Part::Error, error);
        }
        let old = self.current(id, epoch)?;
        let mut job = old.clone();
        job.abandons = 0;
        self.set_body(&mut job, Part::Error, Some(error))?;
        let end = if how.dead { Reason::Rejected } else { Reason::Exhausted };
        self.end_badly(&old, job, end, how.retry_in_ms)
    }

    /// The stored answer, where the report is the one that was stored.
    fn repeated(&self, job: Job, part: Part, bytes: &[u8]) -> Result<Job> {
        let view = self.view();
        let stored = body_of(&job, part).map(|body| view.body(&job.id, part, body)).transpose()?;
        if stored.as_deref() == Some(bytes) { Ok(job) } else { Err(stale(&job)) }
    }

    /// An attempt came to a bad end: again, or the end of the job. `reason` says why it ends if it does.
    pub(super) fn end_badly(&mut self, old: &Job, mut job: Job, reason: Reason, wait: Option<u64>) -> Result<Job> {
        job.failures += 1;
        let failures = job.failures - job.failures_before;
        if job.cancelling {
            job.reason = Reason::None;
            return self.end(old, job, Status::Cancelled);
        }
        if reason == Reason::Rejected || failures >= job.attempts {
            job.reason = reason;
            return self.end(old, job, Status::Failed);
        }
        let wait = wait.unwrap_or_else(|| job.backoff.wait_ms(failures, self.random));
        job.lease = None;
        job.ended_at = Some(self.now);
        self.schedule(old, job, Reason::Retry, self.now.plus(wait))
    }

    fn schedule(&mut self, old: &Job, mut job: Job, reason: Reason, at: Millis) -> Result<Job> {
        job.status = Status::Scheduled;
        job.reason = reason;
        job.run_at = Some(at);
        self.write(Some(old), &job)?;
        Ok(job)
    }

    /// A worker gives a job back: to its old place, or to be due later. No failure is counted.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch.
    pub fn release(&mut self, id: &[u8], epoch: u64, delay_ms: Option<u64>) -> Result<Job> {
        let old = self.current(id, epoch)?;
        self.give_back(&old, delay_ms)
    }

    /// Takes a running job from its worker, who may not report on it any more.
    pub(super) fn give_back(&mut self, old: &Job, delay_ms: Option<u64>) -> Result<Job> {
        let job = Job { abandons: 0, ..old.clone() };
        self.give_back_changed(old, job, delay_ms)
    }

    /// The same, for a job that changed otherwise too.
    pub(super) fn give_back_changed(&mut self, old: &Job, mut job: Job, delay_ms: Option<u64>) -> Result<Job> {
        job.epoch = self.next_epoch(job.epoch)?;
        job.lease = None;
        job.ended_at = Some(self.now);
        if job.cancelling {
            job.reason = Reason::None;
            return self.end(old, job, Status::Cancelled);
        }
        if let Some(delay_ms) = delay_ms {
            return self.schedule(old, job, Reason::Snooze, self.now.plus(delay_ms));
        }
        job.status = Status::Pending;
        job.reason = Reason::None;
        self.write(Some(old), &job)?;
        Ok(job)
    }

    /// Lengthens a lease to at least `ms` from now, within the attempt's bound.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch.
    pub fn extend(&mut self, id: &[u8], epoch: u64, ms: u64) -> Result<Job> {
        let job = self.current(id, epoch)?;
        self.lengthen(job, ms)
    }

    /// Lengthens the lease of a running job; it is never shortened.
    pub(super) fn lengthen(&mut self, old: Job, ms: u64) -> Result<Job> {
        let Some(lease) = &old.lease else { return Ok(old) };
        let wanted = self.lease(&old, ms, lease.claim, lease.list_connection);
        if wanted.deadline <= lease.deadline {
            return Ok(old);
        }
        let mut job = old.clone();
        job.lease = Some(crate::jobs::job::Lease { length_ms: lease.length_ms, ..wanted });
        self.write(Some(&old), &job)?;
        Ok(job)
    }

    /// Stores some output of a running job.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch.
    pub fn append(&mut self, id: &[u8], epoch: u64, stream: Stream, task: u32, bytes: &[u8]) -> Result<Job> {
        let mut job = self.current(id, epoch)?;
        self.append_output(&mut job, stream, task, bytes)?;
        Ok(job)
    }

    /// Stores what a worker says of a running job's progress, in place of what it said before.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch; progress that is no JSON or too long.
    pub fn progress(&mut self, id: &[u8], epoch: u64, progress: &[u8]) -> Result<Job> {
        check_length("progress", progress.len())?;
        json::parse(progress, "progress")?;
        let old = self.current(id, epoch)?;
        let mut job = old.clone();
        self.set_body(&mut job, Part::Progress, Some(progress))?;
        self.write(Some(&old), &job)?;
        self.touched.add(|| Touch::Job(Bytes::copy_from_slice(job.id.as_bytes())));
        Ok(job)
    }

    /// A lease ran out.
    pub(super) fn lose(&mut self, old: Job) -> Result<Job> {
        let mut job = Job { abandons: 0, ..old.clone() };
        if job.attempt_bound().is_some_and(|bound| bound <= self.now) {
            let error = format!("{{\"error\":\"the attempt took over {} ms\"}}", job.timeout_ms.unwrap_or_default());
            self.set_body(&mut job, Part::Error, Some(error.as_bytes()))?;
            job.epoch = self.next_epoch(job.epoch)?;
            // Its worker is to stop the attempt now.
            self.touch_worker(&job);
            return self.end_badly(&old, job, Reason::Timeout, None);
        }
        self.count_loss(&old, job)
    }

    /// Counts a loss: pending again at its old place, or poison.
    pub(super) fn count_loss(&mut self, old: &Job, mut job: Job) -> Result<Job> {
        job.losses += 1;
        job.lease = None;
        job.ended_at = Some(self.now);
        job.reason = Reason::None;
        if job.cancelling {
            return self.end(old, job, Status::Cancelled);
        }
        if job.losses - job.losses_before >= job.max_losses {
            job.reason = Reason::Poison;
            return self.end(old, job, Status::Failed);
        }
        job.status = Status::Pending;
        job.reason = Reason::Lost;
        self.write(Some(old), &job)?;
        Ok(job)
    }
}

/// True when a job was reported done at this epoch.
pub(super) fn has_completed(job: &Job, epoch: u64) -> bool {
    job.status == Status::Completed && job.epoch == epoch
}

/// True when an attempt was reported failed at this epoch, and no other began since.
pub(super) fn has_failed(job: &Job, epoch: u64) -> bool {
    matches!(job.status, Status::Failed | Status::Scheduled) && job.error.is_some() && job.epoch == epoch
}

fn stale(job: &Job) -> Error {
    Error::Stale { job: job.id.to_string(), epoch: job.epoch }
}
