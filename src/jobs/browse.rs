//! Jobs in the order in which list and sorted-set readers see them, straight from the indexes.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::body::Part;
use crate::jobs::claim::pending_id;
use crate::jobs::error::Result;
use crate::jobs::rows::{Timer, pending_prefix, split_timer_key, timer_key};
use crate::jobs::{Id, Job, JobsView};
use crate::storage::{self, Table, tables};

/// What a walk calls for each job id, with its moment where the order has one; it goes on until told to break.
pub type VisitJob<'a> = dyn FnMut(Millis, &[u8]) -> ControlFlow<()> + 'a;

/// A list of jobs that readers may walk.
#[derive(Debug, Clone, Copy)]
pub enum Lane<'a> {
    /// The pending jobs of a queue, the next to be claimed first.
    Pending(&'a Id),
    /// The running jobs by the end of their leases.
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
        let (table, from, to) = match lane {
            Lane::Pending(queue) => {
                let prefix = pending_prefix(queue);
                let end = tables::prefix_end(&prefix);
                (Table::Pending, prefix, end)
            }
            Lane::Running => {
                let last = timer_key(Timer::Lease, Millis::MAX, u64::MAX);
                (Table::Timers, timer_key(Timer::Lease, Millis(0), 0), Some(last))
            }
            Lane::Scheduled(from, to) => {
                let (from, to) = (timer_key(Timer::Due, from, 0), timer_key(Timer::Due, to, u64::MAX));
                (Table::Timers, from, Some(to))
            }
        };
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let mut failed: Option<storage::Error> = None;
        self.rows.scan(table, Bound::Included(&from), to, reverse, &mut |key, value| {
            let row = match lane {
                Lane::Pending(_) => pending_id(value).map(|id| (Millis(0), id)),
                Lane::Running | Lane::Scheduled(..) => {
                    split_timer_key(key).map(|(at, _)| (at, Bytes::copy_from_slice(value)))
                }
            };
            match row {
                Ok((at, id)) => visit(at, &id),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}
