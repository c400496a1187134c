//! What an operator does to a job: run it again, run it now, remove it.

use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Job, Reason, Status};
use crate::jobs::rows::{Timer, timer_key};
use crate::jobs::{Jobs, plan_store};
use crate::storage::Table;

impl Jobs<'_, '_> {
    /// Replays a job that has failed or was cancelled: pending again, behind all others, with its attempts and losses
    /// counted anew. Those that came after it and have ended stay ended.
    ///
    /// # Errors
    /// When the job has not ended badly, its plan is gone, or another job holds its unique key.
    pub fn retry(&mut self, id: &[u8]) -> Result<Job> {
        let old = self.view().need_job(id)?;
        if !matches!(old.status, Status::Failed | Status::Cancelled) {
            let status = old.status.name();
            return Err(Error::refused(format!(
                "Job {} is {status}: only failed and cancelled jobs run again",
                old.id
            )));
        }
        if let Some(plan) = old.plan() {
            plan_store::need(self.batch, plan.as_bytes())?;
        }
        if let Some(key) = &old.unique_key
            && let Some(holder) = self.view().holder(key)?
        {
            let is_told = self.tells_of(&old.queue, Some(&holder.queue));
            let (id, holder) = (&old.id, if is_told { format!("job {}", holder.id) } else { "another job".to_owned() });
            return Err(Error::refused(format!("Job {id} cannot run again: {holder} holds its unique_key '{key}'")));
        }
        if let Some(ended_at) = old.ended_at.filter(|_| old.has_dependents) {
            // Its end was not told yet: they go on waiting.
            self.batch.remove(Table::Timers, timer_key(Timer::Dependents, ended_at, old.number))?;
        }
        let mut job = old.clone();
        (job.status, job.reason) = self.status_of_replay(&old)?;
        (job.failures_before, job.losses_before, job.abandons) = (job.failures, job.losses, 0);
        job.epoch = self.next_epoch(job.epoch)?;
        job.place = self.next_number()?;
        (job.run_at, job.ended_at, job.remove_at, job.expires_at) = (Some(self.now), None, None, None);
        self.write(Some(&old), &job)?;
        Ok(job)
    }

    /// Pending, unless as many of its action's jobs are under way as may be.
    fn status_of_replay(&self, job: &Job) -> Result<(Status, Reason)> {
        let Some((action, _)) = &job.action else { return Ok((Status::Pending, Reason::None)) };
        let action = self.counted_action(action)?;
        // They are submitted when it ends again.
        for callback in &action.callbacks {
            plan_store::need(self.batch, callback.plan.as_bytes())?;
        }
        Ok(if action.room() > 0 { (Status::Pending, Reason::None) } else { (Status::Waiting, Reason::MaxParallel) })
    }

    /// Lets a scheduled job run now.
    ///
    /// # Errors
    /// When the job is not scheduled.
    pub fn promote(&mut self, id: &[u8]) -> Result<Job> {
        let old = self.view().need_job(id)?;
        if old.status != Status::Scheduled {
            let (id, status) = (&old.id, old.status.name());
            return Err(Error::refused(format!("Job {id} is {status}: only scheduled jobs can be promoted")));
        }
        self.become_due(&Job { run_at: Some(self.now), ..old.clone() }, &old)
    }

    /// Removes a job that has ended, with all that it left.
    ///
    /// # Errors
    /// When the job has not ended.
    pub fn delete(&mut self, id: &[u8]) -> Result<()> {
        let job = self.view().need_job(id)?;
        if !job.status.is_terminal() {
            let (id, status) = (&job.id, job.status.name());
            return Err(Error::refused(format!("Job {id} is {status}: cancel it before it can be deleted")));
        }
        if job.has_dependents {
            let id = &job.id;
            return Err(Error::refused(format!("Job {id} has just ended and others are told of it: try again")));
        }
        while self.remove_job(&job, REMOVED_ROWS)? > REMOVED_ROWS {}
        Ok(())
    }
}

/// How many rows are looked up at once for removal.
const REMOVED_ROWS: usize = 1_000;
