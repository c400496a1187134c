//! Everything stands in exactly the rows of the indexes that its record says, and nothing else stands there.
//!
//! From each record the rows that follow from it are looked up, and those that are there as they should be are counted.
//! Each of them names its owner in its value, so no two records can be satisfied by one row: where an index has as
//! many rows as were counted, it has no others. Only where it has not are its rows gone through, each asked who says so.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::data::check::Findings;
use crate::jobs::actions::Action;
use crate::jobs::bulk::Bulk;
use crate::jobs::check::{each, each_between};
use crate::jobs::job::{Job, Reason, Status};
use crate::jobs::queue::Queue;
use crate::jobs::repeats::Repeat;
use crate::jobs::rows::{Timer, dependent_key, split_pending_value, timer_key, turn_key};
use crate::jobs::schedules::{JOB, Schedule};
use crate::jobs::state::index_rows;
use crate::jobs::workers::Worker;
use crate::jobs::{Id, JobsView, Result};
use crate::storage::{Table, tables};

/// The tables of indexes.
const INDEXES: [Table; 3] = [Table::Pending, Table::Timers, Table::JobIndex];

/// What kind of row one of an index is: the first byte of its key says so, but for pending jobs.
fn kind(table: Table, key: &[u8]) -> (Table, u8) {
    (table, if table == Table::Pending { 0 } else { key.first().copied().unwrap_or_default() })
}

/// How many rows of each kind are there as they should be.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<(Table, u8), u64>);

impl Index {
    /// Looks for a row that must be there.
    pub(super) fn expect(
        &mut self,
        view: &JobsView<'_>,
        table: Table,
        key: &[u8],
        value: &[u8],
        found: &mut Findings,
    ) -> Result<()> {
        if view.rows.get(table, key)?.is_some_and(|there| there == value) {
            self.count(table, key);
        } else {
            found.note(format_args!("{table} lacks {} for '{}'", key.escape_ascii(), value.escape_ascii()));
        }
        Ok(())
    }

    /// Counts a row that is there, and may be.
    pub(super) fn count(&mut self, table: Table, key: &[u8]) {
        *self.0.entry(kind(table, key)).or_default() += 1;
    }

    fn expect_timer(&mut self, view: &JobsView<'_>, key: &[u8], value: &[u8], found: &mut Findings) -> Result<()> {
        self.expect(view, Table::Timers, key, value, found)
    }

    /// A job's rows, those of its dependencies among them.
    pub(super) fn check_job(&mut self, view: &JobsView<'_>, job: &Job, found: &mut Findings) -> Result<()> {
        for (table, key, value) in index_rows(job)? {
            self.expect(view, table, &key, &value, found)?;
        }
        if let Some(timer) = telling(job) {
            self.expect_timer(view, &timer, job.id.as_bytes(), found)?;
        }
        if job.status != Status::Waiting {
            return Ok(());
        }
        // It waits for those that have not ended, or whose end it has still to be told; these know that they are awaited.
        let mut left = 0;
        for awaited in view.after(job)?.into_iter().collect::<BTreeSet<_>>() {
            let row = dependent_key(&awaited, job.number);
            if view.rows.get(Table::JobIndex, &row)?.is_none() {
                continue;
            }
            left += 1;
            if !view.job(awaited.as_bytes())?.is_some_and(|awaited| awaited.has_dependents) {
                found.note(format_args!("job {} waits for {awaited}, which does not know it", job.id));
            }
            self.expect(view, Table::JobIndex, &row, job.id.as_bytes(), found)?;
        }
        if left != job.after_left || (left == 0) == (job.reason == Reason::After) {
            found.note(format_args!("job {} waits for {left} jobs and says {}", job.id, job.after_left));
        }
        Ok(())
    }

    /// The rows of everything that is no job: timers of workers, rates, schedules, actions, idempotency keys and of what is
    /// done to many jobs.
    pub(super) fn check_others(&mut self, view: &JobsView<'_>, found: &mut Findings) -> Result<()> {
        each(view.rows, Table::Workers, &mut |id, row| {
            self.expect_timer(view, &Worker::decode(&row)?.timer_key(), id, found)
        })?;
        let queues = (Bound::Excluded(&b""[..]), Bound::Unbounded);
        each_between(view.rows, Table::Queues, queues, &mut |name, row| match rate_timer(&row)? {
            Some(timer) => self.expect_timer(view, &timer, name, found),
            None => Ok(()),
        })?;
        let schedules = (Bound::Included(&[JOB + 1][..]), Bound::Unbounded);
        each_between(
            view.rows,
            Table::Schedules,
            schedules,
            &mut |id, row| match Schedule::decode(&row)?.timer_key() {
                Some(timer) => self.expect_timer(view, &timer, id, found),
                None => Ok(()),
            },
        )?;
        each(view.rows, Table::Actions, &mut |id, row| match expansion_timer(&row)? {
            Some(timer) => self.expect_timer(view, &timer, id, found),
            None => Ok(()),
        })?;
        for tag in [b'i', b'b'] {
            let range = (Bound::Included(&[tag][..]), Bound::Excluded(&[tag + 1][..]));
            each_between(view.rows, Table::JobIndex, range, &mut |key, row| {
                self.count(Table::JobIndex, key);
                self.expect_timer(view, &own_timer(tag, &row)?, key, found)
            })?;
        }
        Ok(())
    }

    /// What stands in the indexes beyond what was looked for.
    pub(super) fn check_nothing_else(&self, view: &JobsView<'_>, found: &mut Findings) -> Result<()> {
        let mut there = BTreeMap::new();
        for table in INDEXES {
            each(view.rows, table, &mut |key, _| {
                *there.entry(kind(table, key)).or_default() += 1;
                Ok(())
            })?;
        }
        for table in INDEXES {
            if there.iter().all(|(kind, count)| kind.0 != table || self.0.get(kind) == Some(count)) {
                continue;
            }
            each(view.rows, table, &mut |key, value| {
                let agrees = self.0.get(&kind(table, key)) == there.get(&kind(table, key));
                if !agrees && !is_expected(view, table, key, &value)? {
                    found.note(format_args!("{table} has {} for '{}'", key.escape_ascii(), value.escape_ascii()));
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The timer by which those who wait for a job learn of its end.
fn telling(job: &Job) -> Option<Vec<u8>> {
    let ended_at = job.ended_at.filter(|_| job.has_dependents && job.status.is_terminal())?;
    Some(timer_key(Timer::Dependents, ended_at, job.number))
}

/// The timer of a queue whose rate is used up.
fn rate_timer(row: &Bytes) -> Result<Option<Vec<u8>>> {
    Ok(Queue::decode(row)?.bucket.timer.map(|(at, number)| timer_key(Timer::Rate, at, number)))
}

/// The timer of an action whose jobs are still to be made.
fn expansion_timer(row: &Bytes) -> Result<Option<Vec<u8>>> {
    let action = Action::decode(row)?;
    Ok((action.unmade() > 0).then(|| timer_key(Timer::Expand, action.created_at, action.number)))
}

/// The timer of an idempotency key (`i`), or of what is done to many jobs (`b`).
fn own_timer(tag: u8, row: &Bytes) -> Result<Vec<u8>> {
    if tag == b'i' {
        let repeat = Repeat::decode(row)?;
        return Ok(timer_key(Timer::Repeat, repeat.until, repeat.number));
    }
    let bulk = Bulk::decode(row)?;
    Ok(timer_key(Timer::Bulk, bulk.at, bulk.number))
}

/// True when what a row of an index names says that it stands there.
fn is_expected(view: &JobsView<'_>, table: Table, key: &[u8], value: &Bytes) -> Result<bool> {
    match kind(table, key) {
        (Table::Timers, kind) if kind == Timer::Worker as u8 => {
            let row = view.rows.get(Table::Workers, value)?;
            Ok(row.as_ref().map(Worker::decode).transpose()?.is_some_and(|worker| worker.timer_key() == key))
        }
        (Table::Timers, kind) if kind == Timer::Rate as u8 => {
            let row = view.rows.get(Table::Queues, value)?;
            Ok(row.as_ref().map(rate_timer).transpose()?.flatten().is_some_and(|timer| timer == key))
        }
        (Table::Timers, kind) if kind == Timer::Expand as u8 => {
            let row = view.rows.get(Table::Actions, value)?;
            Ok(row.as_ref().map(expansion_timer).transpose()?.flatten().is_some_and(|timer| timer == key))
        }
        (Table::Timers, kind) if kind == Timer::Schedule as u8 => {
            let row = view.rows.get(Table::Schedules, value)?.filter(|_| value.first() != Some(&JOB));
            let schedule = row.as_ref().map(Schedule::decode).transpose()?;
            Ok(schedule.and_then(|schedule| schedule.timer_key()).is_some_and(|timer| timer == key))
        }
        (Table::Timers, kind) if kind == Timer::Repeat as u8 || kind == Timer::Bulk as u8 => {
            let tag = if kind == Timer::Repeat as u8 { b'i' } else { b'b' };
            let row = view.rows.get(Table::JobIndex, value)?.filter(|_| value.first() == Some(&tag));
            Ok(row.map(|row| own_timer(tag, &row)).transpose()?.is_some_and(|timer| timer == key))
        }
        (Table::JobIndex, b't') => {
            let queue = tables::take_name(&key[1..]).and_then(|(name, _)| Id::sound(&name));
            let (Some(queue), Ok(tenant)) = (queue, std::str::from_utf8(value)) else { return Ok(false) };
            let tenant = view.tenant(&queue, tenant)?;
            Ok(tenant.shares.iter().any(|share| share.turn != 0 && turn_key(&queue, share.lane, share.turn) == key))
        }
        // Their own checks have gone through these.
        (Table::JobIndex, b'k' | b'i' | b'b') => Ok(true),
        (table, tag) => {
            let id = match table {
                Table::Pending => split_pending_value(value).ok().map(|(_, id)| Bytes::copy_from_slice(id.as_bytes())),
                _ => Some(value.clone()),
            };
            let job = id.filter(|id| Id::sound(id).is_some()).map(|id| view.job(&id)).transpose()?.flatten();
            let Some(job) = job else { return Ok(false) };
            if (table, tag) == (Table::JobIndex, b'd') {
                let after = if job.status == Status::Waiting { view.after(&job)? } else { Vec::new() };
                return Ok(after.iter().any(|awaited| dependent_key(awaited, job.number) == key));
            }
            let is_own = |row: &(Table, Vec<u8>, Bytes)| (row.0, &row.1[..], &row.2) == (table, key, value);
            Ok(telling(&job).is_some_and(|timer| timer == key) || index_rows(&job)?.iter().any(is_own))
        }
    }
}
