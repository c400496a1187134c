//! Claims: a job leaves its queue and a worker holds its lease, with an epoch that no other claim ever had.

use std::collections::HashSet;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::keys::meta_number;
use crate::jobs::actions::Cancelling;
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Lease, Reason, Status};
use crate::jobs::lanes::{Able, Lane, Takes, Waiting};
use crate::jobs::rows::{share_prefix, split_pending_value, turns_prefix};
use crate::jobs::{Id, Jobs, JobsView, Queue};
use crate::storage::{self, Table, tables};

/// A claim of JOB.CLAIM.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The queues, the first one first.
    pub queues: Vec<Id>,
    /// At most so many jobs.
    pub count: usize,
    /// How long the leases last.
    pub lease_ms: u64,
    /// Which jobs.
    pub takes: Takes,
}

/// A job that a claim may take next.
struct Head {
    id: Id,
    since: Millis,
    descent: u8,
    /// Among the heads of a priority the lowest goes first.
    turn: u64,
}

impl JobsView<'_> {
    /// True when a claim by anybody would find nothing in these queues.
    ///
    /// # Errors
    /// When the store fails.
    pub fn are_drained(&self, queues: &[Id]) -> Result<bool> {
        for queue in queues {
            let found = self.queue(queue.as_bytes())?;
            if found.is_some_and(|queue| queue.counts.of(Status::Pending) > 0 && queue.room(self.now) > 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next jobs of a queue for a worker: one, or up to `count` where there is nothing to choose between.
    fn pick(&self, name: &Id, queue: &Queue, able: &Able<'_>, (count, ageing_ms): (usize, u64)) -> Result<Vec<Id>> {
        let lanes: Vec<&Waiting> = queue.lanes.iter().filter(|waiting| able.runs(waiting)).collect();
        if let [waiting] = lanes[..]
            && waiting.keyed == 0
        {
            let heads = self.heads(&share_prefix(name, waiting.lane, None), count)?;
            return Ok(heads.into_iter().map(|(_, id, _)| id).collect());
        }
        let mut best: Option<Head> = None;
        for of_priority in lanes.chunk_by(|a, b| a.lane.descent == b.lane.descent) {
            let Some(head) = self.head(name, queue, of_priority)? else { continue };
            let rank = |head: &Head| head.since.plus(u64::from(head.descent).saturating_mul(ageing_ms));
            if best.as_ref().is_none_or(|best| ageing_ms > 0 && rank(&head) < rank(best)) {
                best = Some(head);
            }
        }
        Ok(best.into_iter().map(|head| head.id).collect())
    }

    /// The next job of the lanes of one priority: of those without a key the oldest, of the keys the one whose turn it
    /// is, and of these two the one that was served longer ago.
    fn head(&self, name: &Id, queue: &Queue, lanes: &[&Waiting]) -> Result<Option<Head>> {
        let (mut plain, mut keyed): (Option<Head>, Option<(u64, Lane, Bytes)>) = (None, None);
        for waiting in lanes {
            let lane = waiting.lane;
            if waiting.plain > 0 {
                let found = self.heads(&share_prefix(name, lane, None), 1)?.pop();
                let found = found.map(|(since, id, turn)| Head { id, since, descent: lane.descent, turn });
                let is_first = |found: &Head| plain.as_ref().is_none_or(|plain| found.turn < plain.turn);
                plain = found.filter(is_first).or(plain);
            }
            if waiting.keyed > 0 {
                let found = self.first_turn(name, lane)?;
                let is_first = |found: &(u64, Bytes)| keyed.as_ref().is_none_or(|keyed| found.0 < keyed.0);
                keyed = found.filter(is_first).map(|(turn, key)| (turn, lane, key)).or(keyed);
            }
        }
        let Some((turn, lane, key)) = keyed else { return Ok(plain) };
        if plain.is_some() && queue.keyless_turn < turn {
            return Ok(plain);
        }
        let lacks =
            || storage::Error::corrupt(Table::JobIndex, format!("a key of queue '{name}' has no job in its lane"));
        let key = std::str::from_utf8(&key).map_err(|_| lacks())?;
        let (since, id, _) = self.heads(&share_prefix(name, lane, Some(key)), 1)?.pop().ok_or_else(lacks)?;
        Ok(Some(Head { id, since, descent: lane.descent, turn }))
    }

    /// The first pending rows with a prefix: since when, which job, at which place.
    fn heads(&self, prefix: &[u8], count: usize) -> Result<Vec<(Millis, Id, u64)>> {
        let end = tables::prefix_end(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut found, mut failed) = (Vec::new(), None);
        self.rows.scan(Table::Pending, Bound::Included(prefix), end, false, &mut |key, value| {
            let place = key.last_chunk().map_or(0, |place| u64::from_be_bytes(*place));
            match split_pending_value(value) {
                Ok((since, id)) => found.push((since, id, place)),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() || found.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(found), |error| Err(error.into()))
    }

    /// The key whose turn it is in a lane.
    fn first_turn(&self, queue: &Id, lane: Lane) -> Result<Option<(u64, Bytes)>> {
        let prefix = turns_prefix(queue, lane);
        let end = tables::prefix_end(&prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let first = self.rows.first(Table::JobIndex, Bound::Included(&prefix), end, false)?;
        Ok(first.map(|(row, key)| (row.last_chunk().map_or(0, |turn| u64::from_be_bytes(*turn)), key)))
    }
}

impl Jobs<'_, '_> {
    /// Gives jobs to a worker. One that is not known is registered when it gets one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claim(&mut self, worker: &Id, claim: &Claim) -> Result<Vec<Job>> {
        let known = self.view().worker(worker.as_bytes())?;
        let words = known.iter().flat_map(|worker| worker.tools.iter().chain(&worker.tags));
        let able = Able { takes: claim.takes, capabilities: words.map(String::as_str).collect() };
        let mut claimed = Vec::new();
        for queue in &claim.queues {
            while claimed.len() < claim.count {
                let picked = self.next_jobs(queue, &able, claim.count - claimed.len())?;
                if picked.is_empty() {
                    break;
                }
                self.hear_worker(worker)?;
                for job in picked {
                    claimed.extend(self.start(job, worker, claim.lease_ms, 0)?);
                }
            }
        }
        Ok(claimed)
    }

    /// Gives the next job of a queue that a worker of the list contract can run to one, for as long as its connection
    /// lives. The worker counts as heard when it gets one, so that who only looks, and says no name, leaves nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claim_for_list(&mut self, queue: &Id, worker: &Id, connection: u64) -> Result<Option<Job>> {
        let able = Able { takes: Takes::Plain, capabilities: HashSet::new() };
        loop {
            let Some(job) = self.next_jobs(queue, &able, 1)?.pop() else { return Ok(None) };
            self.hear_worker(worker)?;
            if let Some(job) = self.start(job, worker, self.settings.lease_ms, connection)? {
                return Ok(Some(job));
            }
        }
    }

    /// The next jobs of a queue, in the order of claims, as far as its limits let them start.
    fn next_jobs(&self, name: &Id, able: &Able<'_>, count: usize) -> Result<Vec<Job>> {
        if self.settings.grants_nothing {
            return Ok(Vec::new());
        }
        let view = self.view();
        let Some(queue) = view.queue(name.as_bytes())? else { return Ok(Vec::new()) };
        let room = usize::try_from(queue.room(self.now)).unwrap_or(usize::MAX).min(count);
        if room == 0 {
            return Ok(Vec::new());
        }
        let picked = view.pick(name, &queue, able, (room, self.settings.ageing_ms))?;
        picked.iter().map(|id| view.indexed_job(id.as_bytes())).collect()
    }

    /// Starts an attempt: leave the queue, take the lease, raise the epoch. `None` when the job's time to start is
    /// over, or it was called off; it has ended then.
    fn start(&mut self, old: Job, worker: &Id, lease_ms: u64, list_connection: u64) -> Result<Option<Job>> {
        if old.expires_at.is_some_and(|at| at <= self.now) {
            self.expire(old)?;
            return Ok(None);
        }
        if self.is_called_off(&old)? {
            let job = Job { reason: Reason::None, ..old.clone() };
            return self.end(&old, job, Status::Cancelled).map(|_| None);
        }
        let mut job = old.clone();
        job.status = Status::Running;
        job.reason = Reason::None;
        job.epoch = self.next_epoch(job.epoch)?;
        job.starts += 1;
        job.started_at = Some(self.now);
        job.ended_at = None;
        job.worker = Some(worker.clone());
        job.claimed_with = self.access_key.cloned();
        if list_connection == 0 {
            // Only list claims are abandoned, and only those in a row count.
            job.abandons = 0;
        }
        if job.has_output || job.progress.is_some() {
            self.begin_again(&old, &mut job, list_connection != 0)?;
        }
        let claim = self.next_number()?;
        job.lease = Some(self.lease(&job, lease_ms, claim, list_connection));
        self.write(Some(&old), &job)?;
        Ok(Some(job))
    }

    /// True when the job's queue is being purged, or its action cancelled, and it is only still to be told.
    fn is_called_off(&self, job: &Job) -> Result<bool> {
        let view = self.view();
        if view.queue(job.queue.as_bytes())?.is_some_and(|queue| job.place <= queue.purged) {
            return Ok(true);
        }
        let Some((action, _)) = &job.action else { return Ok(false) };
        Ok(view.action(action.as_bytes())?.is_some_and(|action| action.cancelling != Cancelling::No))
    }

    /// A lease from now on that does not outlive the attempt.
    pub(super) fn lease(&self, job: &Job, length_ms: u64, claim: u64, list_connection: u64) -> Lease {
        let deadline = self.now.plus(length_ms);
        let deadline = job.attempt_bound().map_or(deadline, |bound| bound.min(deadline));
        Lease { deadline, length_ms, claim, list_connection }
    }

    /// An epoch above all that this job ever had, over a restore too.
    pub(super) fn next_epoch(&self, epoch: u64) -> storage::Result<u64> {
        let incarnation = meta_number(self.batch, b"incarnation")?;
        Ok(epoch.max(incarnation << 32) + 1)
    }
}
