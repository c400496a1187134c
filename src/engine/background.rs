//! Work that nobody asked for: sweeping expired keys, removing what was detached. In slices between units, so that it
//! holds up nobody; like any other change it goes through the batch and its log record.

use crate::clock::Millis;
use crate::data::{Edit, keys, trash};
use crate::engine::Engine;
use crate::storage::{self, Batch, Table};

/// Rows that one slice removes at most; well under a millisecond.
const SLICE_ROWS: usize = 256;

/// When background work is due.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// The store was looked at since the start.
    planned: bool,
    last_sweep: Millis,
    next_sweep: Option<Millis>,
    next_trash: Option<Millis>,
}

impl Background {
    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Millis> {
        [self.next_sweep, self.next_trash].into_iter().flatten().min()
    }
}

impl Engine {
    /// Does what is due, a slice of each kind at most, and finds out when the next is.
    pub(super) fn run_background(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        let is_due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        let (sweep_due, trash_due) = (is_due(self.background.next_sweep), is_due(self.background.next_trash));
        if sweep_due {
            let mut edit = Edit { batch, keyspace: 0, now, touched: &mut self.touched };
            let (_, more) = keys::sweep(&mut edit, SLICE_ROWS).map_err(storage_error)?;
            batch.release();
            if !more {
                self.background.last_sweep = now;
            }
        }
        if trash_due {
            trash::slice(batch, SLICE_ROWS)?;
            batch.release();
        }
        let changed = batch.has_changed(Table::Deadlines) || batch.has_changed(Table::Trash);
        if changed || sweep_due || trash_due || !self.background.planned {
            self.plan_background(batch, now)?;
        }
        Ok(())
    }

    /// Finds out when background work is due, from what stands in the store.
    fn plan_background(&mut self, batch: &Batch<'_>, now: Millis) -> storage::Result<()> {
        let earliest = self.background.last_sweep.plus(self.server.config.sweep_interval_ms);
        self.background.next_sweep = keys::next_expiry(batch)?.map(|at| at.max(earliest));
        self.background.planned = true;
        self.background.next_trash = trash::is_waiting(batch)?.then_some(now);
        Ok(())
    }
}

fn storage_error(error: crate::data::Error) -> storage::Error {
    match error {
        crate::data::Error::Storage(error) => error,
        refused => storage::Error::corrupt(Table::Deadlines, format!("the sweep was refused: {refused}")),
    }
}
