//! Stamps: numbers that are other ones when what they were taken of has changed, for who watches it.

use std::ops::Bound;

use xxhash_rust::xxh3::Xxh3;

use crate::jobs::body::Part;
use crate::jobs::rows::{data_key, pending_prefix};
use crate::jobs::{Id, JobsView, Result};
use crate::storage::{Table, tables};

impl JobsView<'_> {
    /// The stamp of a job: it changes with the job's row, and with the one body that changes without it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn job_stamp(&self, id: &Id) -> Result<u64> {
        let mut stamp = Xxh3::new();
        stamp.update(&self.rows.get(Table::Jobs, id.as_bytes())?.unwrap_or_default());
        stamp.update(&self.rows.get(Table::JobData, &data_key(id, &[Part::Progress as u8]))?.unwrap_or_default());
        Ok(stamp.digest())
    }

    /// The stamp of a plan.
    ///
    /// # Errors
    /// When the store fails.
    pub fn plan_stamp(&self, id: &Id) -> Result<u64> {
        self.row_stamp(Table::Plans, id)
    }

    /// The stamp of a worker.
    ///
    /// # Errors
    /// When the store fails.
    pub fn worker_stamp(&self, id: &Id) -> Result<u64> {
        self.row_stamp(Table::Workers, id)
    }

    /// The stamp of a queue, `None` for all of them together: its counts, and the first and last pending job.
    ///
    /// # Errors
    /// When the store fails.
    pub fn queue_stamp(&self, queue: Option<&Id>) -> Result<u64> {
        let mut stamp = Xxh3::new();
        let name = queue.map_or(&b""[..], |queue| queue.as_bytes());
        stamp.update(&self.rows.get(Table::Queues, name)?.unwrap_or_default());
        if let Some(queue) = queue {
            let from = pending_prefix(queue);
            let to = tables::prefix_end(&from);
            let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for last in [false, true] {
                if let Some((key, _)) = self.rows.first(Table::Pending, Bound::Included(&from), to, last)? {
                    stamp.update(&key);
                }
            }
        }
        Ok(stamp.digest())
    }

    fn row_stamp(&self, table: Table, id: &Id) -> Result<u64> {
        let mut stamp = Xxh3::new();
        stamp.update(&self.rows.get(table, id.as_bytes())?.unwrap_or_default());
        Ok(stamp.digest())
    }
}
