//! Jobs in the order in which list and sorted-set readers see them, straight from the indexes.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::body::Part;
use crate::jobs::error::Result;
use crate::jobs::rows::{Timer, pending_prefix, split_pending_value, split_timer_key, timer_key};
use crate::jobs::{Id, Job, JobsView};
use crate::storage::{self, Table, tables};

/// What a walk calls for each job id, with its moment where the order has one; it goes on until told to break.
pub type VisitJob<'a> = dyn FnMut(Millis, &[u8]) -> ControlFlow<()> + 'a;

/// Reads moment and job id out of an index row.
type ReadRow<'a> = dyn Fn(&[u8], &[u8]) -> storage::Result<(Millis, Bytes)> + 'a;

/// A list of jobs that readers may walk.
#[derive(Debug, Clone, Copy)]
pub enum Lane<'a> {
    /// The pending jobs of a queue by priority, those first that every worker can run; of these the next to be claimed
    /// is the first, as long as no keys and no ageing come in between.
    Pending(&'a Id),
    /// The running jobs in the order of their claims, the oldest first.
    Running,
    /// The scheduled jobs whose due times lie between these, both included, by due time.
    Scheduled(Millis, Millis),
}

impl JobsView<'_> {
    /// True when there is such a job.
    ///
    /// # Errors
    /// When the store fails.
    pub fn has_job(&self, id: &Id) -> Result<bool> {
        Ok(self.rows.get(Table::Jobs, id.as_bytes())?.is_some())
    }

    /// What a job's submitter wanted to remember, as it came.
    ///
    /// # Errors
    /// When the store fails.
    pub fn meta(&self, job: &Job) -> Result<Option<Bytes>> {
        Ok(job.meta.as_ref().map(|meta| self.body(&job.id, Part::Meta, meta)).transpose()?)
    }

    /// Walks a lane from its first job on, or from its last back.
    ///
    /// # Errors
    /// When the store fails.
    pub fn walk(&self, lane: Lane<'_>, reverse: bool, visit: &mut VisitJob<'_>) -> Result<()> {
        match lane {
            Lane::Pending(queue) => {
                let prefix = pending_prefix(queue);
                let end = tables::prefix_end(&prefix);
                let row = |_: &[u8], value: &[u8]| {
                    let (since, id) = split_pending_value(value)?;
                    Ok((since, Bytes::copy_from_slice(id.as_bytes())))
                };
                self.visit(Table::Pending, (&prefix, end.as_deref()), reverse, &row, visit)
            }
            Lane::Scheduled(from, to) => {
                let (from, to) = (timer_key(Timer::Due, from, 0), timer_key(Timer::Due, to, u64::MAX));
                let row = |key: &[u8], id: &[u8]| Ok((split_timer_key(key)?.0, Bytes::copy_from_slice(id)));
                self.visit(Table::Timers, (&from, Some(&to)), reverse, &row, visit)
            }
            Lane::Running => {
                for (_, id) in self.running(reverse)? {
                    if visit(Millis(0), &id).is_break() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// The running jobs with the numbers of their claims. The index has them by the ends of their leases, which move.
    fn running(&self, reverse: bool) -> Result<Vec<(u64, Bytes)>> {
        let (from, to) = (timer_key(Timer::Lease, Millis(0), 0), timer_key(Timer::Lease, Millis::MAX, u64::MAX));
        let (mut running, mut failed) = (Vec::new(), None);
        self.rows.scan(Table::Timers, Bound::Included(&from), Bound::Included(&to), false, &mut |key, id| {
            match split_timer_key(key) {
                Ok((_, claim)) => running.push((claim, Bytes::copy_from_slice(id))),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        running.sort_unstable();
        if reverse {
            running.reverse();
        }
        failed.map_or(Ok(running), |error| Err(error.into()))
    }

    fn visit(
        &self,
        table: Table,
        (from, to): (&[u8], Option<&[u8]>),
        reverse: bool,
        row: &ReadRow<'_>,
        visit: &mut VisitJob<'_>,
    ) -> Result<()> {
        let to = to.map_or(Bound::Unbounded, Bound::Included);
        let mut failed = None;
        self.rows.scan(table, Bound::Included(from), to, reverse, &mut |key, value| match row(key, value) {
            Ok((at, id)) => visit(at, &id),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}
