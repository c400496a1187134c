//! What a connection of the list contract is remembered by, and the claims and reports it makes without an epoch.

use crate::clock::Millis;
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Job, Status};
use crate::jobs::{Id, Jobs};

/// From this time in a row, each abandoned list claim of a job counts as a loss.
const COUNTED_FROM: u32 = 3;

/// The jobs' part of a connection's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Who it says it is: the id of its last PING or registration.
    pub worker: Option<Id>,
    /// It has claimed a job or set a worker's tools: a PING of it may make a worker.
    pub works: bool,
    /// The job it claimed through a list and has not reported, with the claim's epoch.
    pub claim: Option<(Id, u64)>,
    /// Reported jobs that may still be taken off `queue:processing`, once each.
    pub reported: Vec<Id>,
    /// When it last sent a command.
    pub heard: Millis,
}

impl Connection {
    /// The worker that a list claim of this connection is for.
    ///
    /// # Errors
    /// Never for a connection's number.
    pub fn worker(&self, connection: u64) -> Result<Id> {
        match &self.worker {
            Some(worker) => Ok(worker.clone()),
            None => Id::parse("worker", format!("conn_{connection}").as_bytes()),
        }
    }

    /// True when this connection still holds a job that it claimed and was heard within `silence_ms`.
    #[must_use]
    pub fn holds(&self, job: &Job, now: Millis, silence_ms: u64) -> bool {
        self.claim.as_ref().is_some_and(|(id, epoch)| *id == job.id && *epoch == job.epoch)
            && now.since(self.heard) <= silence_ms
    }
}

impl Jobs<'_, '_> {
    /// A connection claims again while it holds a job that it has not reported: it has abandoned that job, which goes
    /// back to its old place; the third time in a row counts as a loss.
    ///
    /// # Errors
    /// When the store fails.
    pub fn abandon_list_claim(&mut self, id: &Id, epoch: u64) -> Result<()> {
        let Some(old) = self.view().job(id.as_bytes())? else { return Ok(()) };
        if old.status != Status::Running || old.epoch != epoch {
            return Ok(());
        }
        let mut job = old.clone();
        job.abandons = job.abandons.saturating_add(1);
        if job.abandons >= COUNTED_FROM {
            job.epoch = self.next_epoch(job.epoch)?;
            return self.count_loss(&old, job).map(drop);
        }
        self.give_back_changed(&old, job, None).map(drop)
    }

    /// The running job that a worker of the list contract may report on, and its epoch.
    ///
    /// # Errors
    /// `Job not found`, or `STALE` when the worker does not hold it.
    pub fn list_claim_of(&mut self, id: &[u8], worker: &Id) -> Result<Job> {
        let job = self.view().need_job(id)?;
        let is_its = job.worker.as_ref() == Some(worker);
        match job.status {
            Status::Running if is_its => Ok(job),
            Status::Pending if is_its => {
                let epoch = job.epoch;
                self.extend(id, epoch, 0)
            }
            _ => Err(Error::Stale { job: job.id.to_string(), epoch: job.epoch }),
        }
    }
}
