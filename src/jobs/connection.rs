//! What a connection of the list contract is remembered by, and what its worker does to jobs without naming an epoch.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::Touch;
use crate::jobs::browse::Lane;
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Status};
use crate::jobs::{Id, Jobs, Stream};

/// From this time in a row, each abandoned list claim of a job counts as a loss.
const COUNTED_FROM: u32 = 3;
/// Reported jobs that are remembered for a last look at `queue:processing`.
const MAX_REPORTED: usize = 10_000;
/// Claims of JOB.CLAIM that a connection is remembered to have made.
const MAX_CLAIMED: usize = 10_000;

/// A job that a connection claimed through a list and has not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    epoch: u64,
    /// Asking again abandons it.
    multiplexed: bool,
}

/// The jobs' part of a connection's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Who it says it is: the id of its last PING.
    pub worker: Option<Id>,
    /// It has claimed a job or set a worker's tools: a PING of it may make a worker.
    pub works: bool,
    /// It has claimed, or tried to, through a list: it is told when a job that it reports is gone.
    pub claims: bool,
    /// When it last sent a command.
    pub heard: Millis,
    held: BTreeMap<Id, Claim>,
    /// What it claimed with JOB.CLAIM and has not reported, each with its epoch.
    claimed: Box<Recent<u64>>,
}

/// Jobs with something that is remembered of each, up to a number: the oldest are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recent<T> {
    /// Each with its turn.
    jobs: HashMap<Id, (u64, T)>,
    /// By turn.
    order: BTreeMap<u64, Id>,
    last_turn: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent { jobs: HashMap::new(), order: BTreeMap::new(), last_turn: 0 }
    }
}

impl<T> Recent<T> {
    fn add(&mut self, job: Id, what: T, most: usize) {
        self.take(&job);
        if self.order.len() == most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.jobs.remove(&oldest);
        }
        self.last_turn += 1;
        self.jobs.insert(job.clone(), (self.last_turn, what));
        self.order.insert(self.last_turn, job);
    }

    fn take(&mut self, job: &Id) -> Option<T> {
        let (turn, what) = self.jobs.remove(job)?;
        self.order.remove(&turn);
        Some(what)
    }
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

    /// It has claimed a job; `multiplexed` when asking again abandons it.
    pub fn hold(&mut self, job: &Job, multiplexed: bool) {
        self.held.insert(job.id.clone(), Claim { epoch: job.epoch, multiplexed });
    }

    /// It has claimed a job with JOB.CLAIM.
    pub fn claimed(&mut self, job: &Job) {
        self.claimed.add(job.id.clone(), job.epoch, MAX_CLAIMED);
    }

    /// It has reported a job, or given it back.
    pub fn let_go(&mut self, job: &Id) {
        self.held.remove(job);
        self.claimed.take(job);
    }

    /// The epoch at which it claimed a job, in one way or the other, that it has not reported.
    #[must_use]
    pub fn claimed_epoch(&self, job: &Id) -> Option<u64> {
        self.held_epoch(job).or_else(|| self.claimed.jobs.get(job).map(|(_, epoch)| *epoch))
    }

    /// The epoch at which it claimed a job that it has not reported.
    #[must_use]
    pub fn held_epoch(&self, job: &Id) -> Option<u64> {
        self.held.get(job).map(|claim| claim.epoch)
    }

    /// The jobs that asking again abandons, each with its claim's epoch.
    #[must_use]
    pub fn multiplexed(&self) -> Vec<(Id, u64)> {
        let multiplexed = self.held.iter().filter(|(_, claim)| claim.multiplexed);
        multiplexed.map(|(id, claim)| (id.clone(), claim.epoch)).collect()
    }

    /// True when this connection still holds a job that it claimed and was heard within `silence_ms`.
    #[must_use]
    pub fn holds(&self, job: &Job, now: Millis, silence_ms: u64) -> bool {
        self.held_epoch(&job.id) == Some(job.epoch) && now.since(self.heard) <= silence_ms
    }
}

/// Reported jobs that their workers have not taken off `queue:processing` yet; the oldest are forgotten.
#[derive(Debug, Default)]
pub struct Reported(Recent<()>);

impl Reported {
    /// A job was reported.
    pub fn add(&mut self, job: Id) {
        self.0.add(job, (), MAX_REPORTED);
    }

    /// Takes a job off; true when it was there.
    pub fn take(&mut self, job: &Id) -> bool {
        self.0.take(job).is_some()
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

    /// Takes all output of a stream that a worker of the list contract has, in place of what it sent before.
    ///
    /// # Errors
    /// `STALE` when the job is not at this epoch.
    pub fn replace_output(&mut self, id: &[u8], epoch: u64, stream: Stream, bytes: &[u8]) -> Result<()> {
        let mut job = self.current(id, epoch)?;
        self.replace_stream(&mut job, stream, bytes)
    }

    /// Puts the next job of a queue, which nobody claims by that, behind all others of another queue of its priority.
    ///
    /// # Errors
    /// When the store fails.
    pub fn move_between_queues(&mut self, from: &Id, to: &Id) -> Result<Option<Id>> {
        let mut next = None;
        self.view().walk(Lane::Pending(from), false, &mut |_, id| {
            next = Some(Bytes::copy_from_slice(id));
            ControlFlow::Break(())
        })?;
        let Some(id) = next else { return Ok(None) };
        let old = self.view().need_job(&id)?;
        let mut job = old.clone();
        job.queue = to.clone();
        job.place = self.next_number()?;
        self.write(Some(&old), &job)?;
        self.touched.add(|| Touch::Queue(Bytes::copy_from_slice(to.as_bytes())));
        Ok(Some(job.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::sound(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_reported_job_is_taken_off_once_and_the_oldest_are_forgotten() {
        let mut reported = Reported::default();
        for n in 0..=MAX_REPORTED {
            reported.add(id(&format!("job_{n}")));
        }
        assert!(!reported.take(&id("job_0")), "forgotten");
        assert!(reported.take(&id("job_1")));
        assert!(!reported.take(&id("job_1")), "once only");
        assert_eq!((reported.0.jobs.len(), reported.0.order.len()), (MAX_REPORTED - 1, MAX_REPORTED - 1));
    }
}
