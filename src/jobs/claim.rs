//! Claims: a job leaves its queue and a worker holds its lease, with an epoch that no other claim ever had.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::keys::meta_number;
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Lease, Reason, Status};
use crate::jobs::rows::{id_of, pending_prefix};
use crate::jobs::{Id, Jobs, Queue};
use crate::storage::{self, Rows, Table, tables};

/// Who may take what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Everything,
    /// Only what a worker that knows nothing but commands and arguments can run.
    Plain,
}

impl Takes {
    /// True when a queue has something to take.
    fn any_of(self, queue: &Queue) -> bool {
        match self {
            Takes::Everything => queue.counts.of(Status::Pending) > 0,
            Takes::Plain => queue.plain > 0,
        }
    }
}

impl Jobs<'_, '_> {
    /// Gives up to `count` jobs of these queues to a worker, the first queue first. A worker that is not known is
    /// registered.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claim(&mut self, worker: &Id, queues: &[Id], count: usize, lease_ms: u64) -> Result<Vec<Job>> {
        self.hear_worker(worker)?;
        let mut claimed = Vec::new();
        for queue in queues {
            while claimed.len() < count {
                let picked = self.pick(queue, Takes::Everything, count - claimed.len())?;
                if picked.is_empty() {
                    break;
                }
                for job in picked {
                    claimed.extend(self.start(job, worker, lease_ms, 0)?);
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
        loop {
            let Some(job) = self.pick(queue, Takes::Plain, 1)?.pop() else { return Ok(None) };
            self.hear_worker(worker)?;
            if let Some(job) = self.start(job, worker, self.settings.lease_ms, connection)? {
                return Ok(Some(job));
            }
        }
    }

    /// The next jobs of a queue, in the order of claims; none of a paused one.
    fn pick(&self, queue: &Id, takes: Takes, count: usize) -> Result<Vec<Job>> {
        let view = self.view();
        match view.queue(queue.as_bytes())? {
            Some(found) if !found.paused && takes.any_of(&found) => {}
            _ => return Ok(Vec::new()),
        }
        let prefix = pending_prefix(queue);
        let end = tables::prefix_end(&prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        self.batch.scan(Table::Pending, Bound::Included(&prefix), end, false, &mut |_, value| {
            if takes == Takes::Everything || value.first() == Some(&1) {
                found.push(Bytes::copy_from_slice(value));
            }
            if found.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        found.iter().map(|value| view.indexed_job(&pending_id(value)?)).collect()
    }

    /// Starts an attempt: leave the queue, take the lease, raise the epoch. `None` when the job's time to start is
    /// over; it has failed then.
    fn start(&mut self, old: Job, worker: &Id, lease_ms: u64, list_connection: u64) -> Result<Option<Job>> {
        if old.expires_at.is_some_and(|at| at <= self.now) {
            self.expire(old)?;
            return Ok(None);
        }
        let mut job = old.clone();
        job.status = Status::Running;
        job.reason = Reason::None;
        job.epoch = self.next_epoch(job.epoch)?;
        job.starts += 1;
        job.started_at = Some(self.now);
        job.ended_at = None;
        job.worker = Some(worker.clone());
        if list_connection == 0 {
            // Only list claims are abandoned, and only those in a row count.
            job.abandons = 0;
        }
        if job.has_output {
            self.clear_output(&job.id)?;
            job.has_output = false;
        }
        let claim = self.next_number()?;
        job.lease = Some(self.lease(&job, lease_ms, claim, list_connection));
        self.write(Some(&old), &job)?;
        Ok(Some(job))
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

/// The job that a row of `pending` names.
pub(super) fn pending_id(value: &[u8]) -> storage::Result<Bytes> {
    let (_, id) = value
        .split_first()
        .filter(|(plain, _)| **plain <= 1)
        .ok_or_else(|| storage::Error::corrupt(Table::Pending, format!("'{}' names no job", value.escape_ascii())))?;
    Ok(Bytes::copy_from_slice(id_of(Table::Pending, id)?.as_bytes()))
}
