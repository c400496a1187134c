//! The state machine: what may become of a job, and every row that follows from what it is.
//!
//! A verb builds the job as it shall be and hands it over with the job as it was. The rows beside the record (its one
//! place in the index of its status, its timers, its place among its worker's and its action's jobs) are functions of
//! the record, so they cannot disagree with it; counters, totals, the event and the waking of those who wait follow
//! from the change of status. Nothing else writes these rows.

use bytes::Bytes;

use crate::data::Touch;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Job, Reason, Status, Work};
use crate::jobs::lanes::Lane;
use crate::jobs::rows::{self, Timer};
use crate::jobs::{Id, Jobs, JobsView, job_row, plan_store};
use crate::storage::{self, Table};

/// Completed and cancelled jobs are kept so long,
const KEPT_MS: u64 = 7 * 86_400_000;
/// failed ones so long.
const FAILED_KEPT_MS: u64 = 180 * 86_400_000;

/// A way from one status to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The status it leaves; `None` for a job that is being submitted.
    pub from: Option<Status>,
    /// The status it enters.
    pub to: Status,
    /// What brings it about.
    pub by: &'static str,
}

const fn way(from: Option<Status>, to: Status, by: &'static str) -> Transition {
    Transition { from, to, by }
}

/// Every way that there is: what a job does otherwise is a fault. docs/jobs-state-machine.md is written from it.
pub const TRANSITIONS: &[Transition] = {
    use Status::{Cancelled, Completed, Failed, Pending, Running, Scheduled, Waiting};
    &[
        way(None, Pending, "submit"),
        way(None, Scheduled, "submit with a delay or a due time that lies ahead"),
        way(None, Waiting, "submit with jobs to come after that have not ended, or beyond its action's `max_parallel`"),
        way(Some(Waiting), Pending, "what it waited for has happened"),
        way(Some(Waiting), Scheduled, "what it waited for has happened, and its due time lies ahead"),
        way(Some(Waiting), Failed, "`expires_at`; a job that it came after ended badly, with `after_policy` fail"),
        way(
            Some(Waiting),
            Cancelled,
            "cancel, purge; a job that it came after ended badly, with `after_policy` cancel",
        ),
        way(Some(Scheduled), Pending, "its due time; `JOB.PROMOTE`"),
        way(Some(Scheduled), Failed, "`expires_at`"),
        way(Some(Scheduled), Cancelled, "cancel, purge"),
        way(Some(Pending), Running, "claim; a report at the epoch of a lost lease that nobody has claimed since"),
        way(Some(Pending), Failed, "`expires_at`"),
        way(Some(Pending), Cancelled, "cancel, purge"),
        way(Some(Running), Completed, "`JOB.COMPLETE`, or `JOB.UPDATE` that says so"),
        way(
            Some(Running),
            Scheduled,
            "`JOB.FAIL` (or `JOB.UPDATE`) or `timeout_ms` with attempts left; `JOB.RELEASE` with a delay",
        ),
        way(Some(Running), Pending, "its lease ran out, with losses left; `JOB.RELEASE`; `WORKER.UNREGISTER`"),
        way(
            Some(Running),
            Failed,
            "`JOB.FAIL` (or `JOB.UPDATE`) or `timeout_ms` at the last attempt, or `DEAD`; the last loss (poison)",
        ),
        way(Some(Running), Cancelled, "cancel, once its worker gave up or its lease ran out; at once for a list claim"),
        way(Some(Failed), Pending, "`JOB.RETRY`, `ACTION.RETRY`"),
        way(Some(Failed), Waiting, "the same, beyond its action's `max_parallel`"),
        way(Some(Cancelled), Pending, "`JOB.RETRY`, `ACTION.RETRY`"),
        way(Some(Cancelled), Waiting, "the same, beyond its action's `max_parallel`"),
    ]
};

/// True when a job may go from one status to the other. In its status a record may always change: one that has ended,
/// in who waits for it.
#[must_use]
pub(super) fn may_follow(from: Option<Status>, to: Status) -> bool {
    from == Some(to) || TRANSITIONS.iter().any(|way| way.from == from && way.to == to)
}

/// A row of an index: its table, key and value.
pub(super) type IndexRow = (Table, Vec<u8>, Bytes);

/// The one row that lists a job under its status.
fn status_row(job: &Job) -> storage::Result<(Table, Vec<u8>)> {
    let lacks = |what: &str| {
        let status = job.status.name();
        storage::Error::corrupt(Table::Jobs, format!("job {} is {status} without {what}", job.id))
    };
    let removal =
        |kind| Ok((Table::Timers, rows::timer_key(kind, job.remove_at.ok_or_else(|| lacks("an end"))?, job.number)));
    match job.status {
        Status::Waiting => Ok((Table::JobIndex, rows::waiting_key(job.number))),
        Status::Scheduled => {
            let due = job.run_at.ok_or_else(|| lacks("a time"))?;
            Ok((Table::Timers, rows::timer_key(Timer::Due, due, job.place)))
        }
        Status::Pending => {
            let key = job.key.as_deref();
            Ok((Table::Pending, rows::pending_key(&job.queue, Lane::of(job), key, job.place)))
        }
        Status::Running => {
            let lease = job.lease.as_ref().ok_or_else(|| lacks("a lease"))?;
            Ok((Table::Timers, rows::timer_key(Timer::Lease, lease.deadline, lease.claim)))
        }
        Status::Completed => removal(Timer::RemoveCompleted),
        Status::Failed => removal(Timer::RemoveFailed),
        Status::Cancelled => removal(Timer::RemoveCancelled),
    }
}

/// Every row that a job has in the indexes.
pub(super) fn index_rows(job: &Job) -> storage::Result<Vec<IndexRow>> {
    let mut index = changing_rows(job)?;
    index.extend(lasting_rows(job));
    Ok(index)
}

/// The rows by which a job is found as long as it is there and in its queue.
fn lasting_rows(job: &Job) -> Vec<IndexRow> {
    let id = Bytes::copy_from_slice(job.id.as_bytes());
    let row = |key| (Table::JobIndex, key, id.clone());
    let alike = |tag, word: &str| row(rows::alike_key(tag, word, job.number));
    let work = match &job.work {
        Work::Plan(plan) => alike(b'p', plan),
        Work::Kind(kind) => alike(b'c', kind),
    };
    let mut index = vec![row(rows::number_key(job.number)), alike(b'q', &job.queue), work];
    index.extend(job.key.iter().map(|key| alike(b'y', key)));
    // A label that was given twice is one.
    let labels = job.labels.iter().enumerate().filter(|(place, label)| !job.labels[..*place].contains(label));
    index.extend(labels.map(|(_, label)| alike(b'l', label)));
    index.extend(job.action.iter().map(|(action, place)| row(rows::action_key(action, *place))));
    index
}

/// The rows that follow from where a job stands in its life.
fn changing_rows(job: &Job) -> storage::Result<Vec<IndexRow>> {
    let id = Bytes::copy_from_slice(job.id.as_bytes());
    let (table, key) = status_row(job)?;
    let value = match table {
        Table::Pending => rows::pending_value(job.pending_since(), &job.id),
        _ => id.clone(),
    };
    let mut index = vec![(table, key, value)];
    if let (Status::Running, Some(lease), Some(worker)) = (job.status, &job.lease, &job.worker) {
        index.push((Table::JobIndex, rows::worker_key(worker, lease.claim), id.clone()));
    }
    if let (Status::Waiting | Status::Scheduled | Status::Pending, Some(at)) = (job.status, job.expires_at) {
        index.push((Table::Timers, rows::timer_key(Timer::Expire, at, job.number), id.clone()));
    }
    if let (Status::Waiting, Reason::MaxParallel, Some((action, place))) = (job.status, job.reason, &job.action) {
        index.push((Table::JobIndex, rows::parallel_key(action, *place), id.clone()));
    }
    if let Some(key) = job.unique_key.as_ref().filter(|_| !job.status.is_terminal()) {
        index.push((Table::JobIndex, rows::unique_key(key), id));
    }
    Ok(index)
}

impl JobsView<'_> {
    /// A job.
    ///
    /// # Errors
    /// When the store fails.
    pub fn job(&self, id: &[u8]) -> Result<Option<Job>> {
        let Some(row) = self.rows.get(Table::Jobs, id)? else { return Ok(None) };
        Ok(Some(job_row::decode(Id::stored(Table::Jobs, id)?, &row)?))
    }

    /// A job that must be there.
    ///
    /// # Errors
    /// `Job not found` when it is not, or is still to be made.
    pub fn need_job(&self, id: &[u8]) -> Result<Job> {
        if let Some(job) = self.job(id)? {
            return Ok(job);
        }
        Err(match self.unmade(id)? {
            Some(_) => Error::refused(format!("Job {} is still being made: try again in a moment", shown(id))),
            None => Error::not_found("Job", id),
        })
    }

    /// The job that an index row names.
    pub(super) fn indexed_job(&self, id: &[u8]) -> Result<Job> {
        let missing = || storage::Error::corrupt(Table::JobIndex, format!("there is no job {}", id.escape_ascii()));
        Ok(self.job(id)?.ok_or_else(missing)?)
    }
}

impl Jobs<'_, '_> {
    /// Writes a job in place of `old`, which must be what is stored, and all that follows from the change.
    pub(super) fn write(&mut self, old: Option<&Job>, new: &Job) -> Result<()> {
        let from = old.map(|job| job.status);
        debug_assert!(may_follow(from, new.status), "{from:?} to {:?}: {}", new.status, new.id);
        debug_assert!((new.status == Status::Running) == new.lease.is_some(), "{new:?}");
        debug_assert!(new.status.is_terminal() == new.remove_at.is_some(), "{new:?}");
        debug_assert!(old.is_none_or(|old| old.epoch <= new.epoch && old.losses <= new.losses));
        self.replace_index(old, Some(new))?;
        self.batch.put(Table::Jobs, Bytes::copy_from_slice(new.id.as_bytes()), job_row::encode(new))?;
        if from != Some(new.status) || old.is_some_and(|old| old.queue != new.queue) {
            self.count(old, Some(new))?;
        }
        if from != Some(new.status) {
            if let Some(old) = old.filter(|old| old.status == Status::Waiting && new.after_left > 0) {
                self.forget_after(old)?;
            }
            if new.status.is_terminal() && new.has_dependents {
                self.tell_dependents(new)?;
            }
            self.changed_status(from, new)?;
        }
        if new.cancelling && !old.is_some_and(|old| old.cancelling) {
            self.touch_worker(new);
        }
        Ok(())
    }

    /// Removes a job's record and its index rows; what stands beside it is gone already.
    pub(super) fn erase(&mut self, job: &Job) -> Result<()> {
        debug_assert!(job.status.is_terminal(), "{job:?}");
        self.replace_index(Some(job), None)?;
        self.batch.remove(Table::Jobs, Bytes::copy_from_slice(job.id.as_bytes()))?;
        self.count(Some(job), None)?;
        if let Some(plan) = job.plan() {
            plan_store::count(self.batch, plan, 0, -1)?;
        }
        if let Some((action, _)) = &job.action {
            self.forget_action_job(action)?;
        }
        Ok(())
    }

    /// Puts the rows that a job has and takes away those it had.
    fn replace_index(&mut self, old: Option<&Job>, new: Option<&Job>) -> Result<()> {
        let rows_of = match (old, new) {
            (Some(old), Some(new)) if old.queue == new.queue => changing_rows,
            _ => index_rows,
        };
        let before = old.map(rows_of).transpose()?.unwrap_or_default();
        let after = new.map(rows_of).transpose()?.unwrap_or_default();
        for (table, key, _) in before.iter().filter(|row| !after.contains(row)) {
            self.batch.remove(*table, key.clone())?;
        }
        for (table, key, value) in after.iter().filter(|row| !before.contains(row)) {
            self.batch.put(*table, key.clone(), value.clone())?;
        }
        Ok(())
    }

    /// Totals, the event, and those who wait.
    fn changed_status(&mut self, from: Option<Status>, job: &Job) -> Result<()> {
        if let Some(plan) = job.plan() {
            let open = |status: Status| i64::from(!status.is_terminal());
            let change = open(job.status) - from.map_or(0, open);
            let added = i64::from(from.is_none());
            if change != 0 || added != 0 {
                plan_store::count(self.batch, plan, change, added)?;
            }
        }
        self.write_event(from, job)?;
        if let Some((action, _)) = &job.action {
            self.count_action(action, from, job.status)?;
        }
        if job.status == Status::Pending {
            self.touched.add(|| Touch::Queue(Bytes::copy_from_slice(job.queue.as_bytes())));
        }
        if from == Some(Status::Running) && job.status == Status::Cancelled {
            self.touch_worker(job);
        }
        self.touched.add(|| Touch::Job(Bytes::copy_from_slice(job.id.as_bytes())));
        Ok(())
    }

    /// Wakes a worker's heartbeat that waits: there is something to tell.
    pub(super) fn touch_worker(&mut self, job: &Job) {
        if let Some(worker) = &job.worker {
            self.touched.add(|| Touch::Worker(Bytes::copy_from_slice(worker.as_bytes())));
        }
    }

    /// Ends a job: when it goes follows from how it ended.
    pub(super) fn end(&mut self, old: &Job, mut job: Job, status: Status) -> Result<Job> {
        debug_assert!(status.is_terminal());
        let default = if status == Status::Failed { FAILED_KEPT_MS } else { KEPT_MS };
        job.status = status;
        job.cancelling = false;
        job.lease = None;
        job.ended_at = Some(self.now);
        job.remove_at = Some(self.now.plus(job.retention_ms.unwrap_or(default)));
        self.write(Some(old), &job)?;
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of jobs.md, one line a status.
    #[test]
    fn the_table_of_transitions_holds() {
        use Status::{Cancelled, Completed, Failed, Pending, Running, Scheduled, Waiting};
        let table: [(Option<Status>, &[Status]); 8] = [
            (None, &[Waiting, Scheduled, Pending]),
            (Some(Waiting), &[Pending, Scheduled, Cancelled, Failed]),
            (Some(Scheduled), &[Pending, Cancelled, Failed]),
            (Some(Pending), &[Running, Cancelled, Failed]),
            (Some(Running), &[Completed, Scheduled, Pending, Failed, Cancelled]),
            (Some(Completed), &[]),
            (Some(Failed), &[Pending, Waiting]),
            (Some(Cancelled), &[Pending, Waiting]),
        ];
        for (from, allowed) in table {
            for to in Status::ALL {
                let stays = from == Some(to);
                assert_eq!(may_follow(from, to), allowed.contains(&to) || stays, "{from:?} to {to:?}");
            }
        }
    }
}
