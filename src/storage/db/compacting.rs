//! The store's part in a compaction while it is served: it feeds the copy, and goes on with it in the end.

use std::sync::Arc;

use redb::ReadableDatabase;

use crate::clock::Millis;
use crate::storage::checkpoint::Reached;
use crate::storage::compaction::{Compaction, Copier, Feed, Plan, Ready, Retired, Standby};
use crate::storage::files::Disk;
use crate::storage::meta::StoreMeta;
use crate::storage::write_behind::Applier;
use crate::storage::{Compacted, CompactionProgress, Db, Error, Options, Result, Snapshot, WriteSet};
#[cfg(debug_assertions)]
use crate::storage::{Table, db::table_rows};

/// What came of a compaction: or why nothing did, the store being as it was.
pub type CompactionEnd = std::result::Result<Compacted, String>;

/// Compactions of one store.
pub(super) struct Compacting {
    disk: Arc<dyn Disk>,
    options: Options,
    applier: Applier,
    /// The one that is under way.
    compaction: Option<Compaction>,
    /// Files that were replaced, and that somebody may still read.
    retired: Vec<Retired>,
}

impl Compacting {
    pub(super) fn new(disk: &Arc<dyn Disk>, options: &Options, applier: Applier) -> Compacting {
        let (disk, options) = (Arc::clone(disk), options.clone());
        Compacting { disk, options, applier, compaction: None, retired: Vec::new() }
    }

    /// Hands the rows of a batch to the copy.
    pub(super) fn follow(&self, rows: &WriteSet, seq: u64, time: Millis, log_bytes: u64) {
        if let Some(compaction) = &self.compaction {
            compaction.feed.push(rows, seq, time, log_bytes);
        }
    }

    pub(super) fn wants_view(&self) -> bool {
        self.compaction.as_ref().is_some_and(|compaction| compaction.feed.wants_view())
    }

    pub(super) fn is_behind(&self) -> bool {
        self.compaction.as_ref().is_some_and(|compaction| compaction.feed.is_behind())
    }

    /// The last record that the log need not keep for the copy.
    pub(super) fn kept_after(&self) -> u64 {
        self.compaction.as_ref().map_or(u64::MAX, |compaction| compaction.feed.kept_after())
    }

    /// Does one piece of the work where no thread does it.
    pub(super) fn step(&mut self) -> bool {
        self.compaction.as_mut().is_some_and(Compaction::step)
    }
}

impl Db {
    /// Begins to compact the file while it is served, copying `rate` bytes of rows a second at most. What is asked for
    /// after this is served as before; [`Db::turn_compaction`] tells of the end. False when one is under way already.
    ///
    /// # Errors
    /// When the file cannot be asked for its size, or the operating system gives no thread.
    pub fn begin_compaction(&mut self, rate: u64) -> Result<bool> {
        let compacting = &self.compacting;
        if compacting.compaction.is_some() {
            return Ok(false);
        }
        // What is written during a slice, and the rest after it, waits in memory.
        let compact_slice = compacting.options.compact_slice.min(rate / 8).max(1);
        let plan = Plan {
            disk: Arc::clone(&compacting.disk),
            options: Options { compact_slice, ..compacting.options.clone() },
            applier: compacting.applier,
            meta: StoreMeta { seq: self.applied_seq, time: self.last_time, ..self.meta },
            rate,
            signals: Arc::clone(&self.signals),
            archived_log: self.archiver.as_ref().map(|_| Arc::clone(&self.sync)),
        };
        let before = self.allocated()?;
        let copier = Copier::new(plan, self.log.bytes());
        self.compacting.compaction = Some(match compacting.applier {
            Applier::Caller => Compaction::stepped(copier, before),
            Applier::Thread => Compaction::start(copier, before)
                .map_err(|source| Error::io("starting the thread that compacts", source))?,
        });
        Ok(true)
    }

    /// Asks the compaction that is under way to end, for a reason that its end will tell; false when there is none, or
    /// the copy is about to take the file's place.
    pub fn stop_compaction(&mut self, reason: &str) -> bool {
        self.compacting.compaction.as_ref().is_some_and(|compaction| compaction.feed.stop(reason))
    }

    /// How far the compaction is that is under way.
    #[must_use]
    pub fn compaction(&self) -> Option<CompactionProgress> {
        self.compacting.compaction.as_ref().map(|compaction| compaction.feed.progress())
    }

    /// Does the core's part of a compaction; between any two batches, and whenever the store wakes the core. Returns the
    /// end of one that has ended.
    ///
    /// # Errors
    /// Any error is final: the file has been replaced, and the store cannot go on with it. A start can.
    pub fn turn_compaction(&mut self) -> Result<Option<CompactionEnd>> {
        while let Some(gone) = self.compacting.retired.iter().position(Retired::can_go) {
            let retired = self.compacting.retired.swap_remove(gone);
            match self.compacting.applier {
                Applier::Thread => retired.bury(),
                Applier::Caller => drop(retired),
            }
        }
        let Some(compaction) = &self.compacting.compaction else { return Ok(None) };
        if self.space.is_disk_short() || self.pages.is_held() {
            compaction.feed.stop("the disk is full: make room for a second file of the size that this one will have");
        }
        if let Some(outcome) = compaction.feed.take_outcome() {
            return self.end_with(outcome).map(Some);
        }
        self.show_to_copy()?;
        Ok(None)
    }

    /// Hands a view to the copy, if it wants one and the last commit has everything.
    pub(super) fn show_to_copy(&mut self) -> Result<()> {
        let Some(compaction) = &self.compacting.compaction else { return Ok(()) };
        if compaction.feed.wants_view() && self.snapshot_seq.max(self.checkpoints.begun_seq()) >= self.applied_seq {
            let txn = self.database()?.begin_read()?;
            compaction.feed.show(Snapshot::new(txn, self.checkpoints.snapshot()), self.applied_seq);
        }
        Ok(())
    }

    /// Ends the compaction that is under way, before the store is closed.
    ///
    /// # Errors
    /// As [`Db::turn_compaction`].
    pub(super) fn end_compaction(&mut self) -> Result<()> {
        if let Some(compaction) = self.compacting.compaction.take() {
            let (feed, before) = (Arc::clone(&compaction.feed), compaction.before);
            if let Some(Ok(ready)) = compaction.end("the store was closed") {
                self.go_on_with(ready, &feed, before)?;
            }
            self.signals.check()?;
        }
        self.compacting.retired.clear();
        Ok(())
    }

    fn end_with(&mut self, outcome: std::result::Result<Box<Ready>, String>) -> Result<CompactionEnd> {
        let Some(compaction) = self.compacting.compaction.take() else {
            return Ok(Err("it was not under way".to_owned()));
        };
        self.signals.check()?;
        match outcome {
            Ok(ready) => self.go_on_with(ready, &compaction.feed, compaction.before).map(Ok),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Goes on with the copy, which has the file's name. What was written last is put into it first.
    fn go_on_with(&mut self, mut ready: Box<Ready>, feed: &Feed, before: u64) -> Result<Compacted> {
        let taken = ready.take_rest(feed);
        let seq = self.stop_on_error(taken)?;
        if seq != self.applied_seq {
            let reason = format!("the compacted file has record {seq}, and {} was applied", self.applied_seq);
            return self.stop_on_error(Err(Error::Stopped { reason }));
        }
        #[cfg(debug_assertions)]
        for table in Table::ALL {
            assert_eq!(table_rows(ready.standby.txn()?, table)?, table_rows(self.txn()?, table)?, "rows in {table}");
        }
        let Ready { standby, meta, log_bytes, window_rows, rows, .. } = *ready;
        let Standby { guard, txn, database, pages, thread, .. } = standby;
        pages.signals().join(&self.signals);
        guard.disarm();
        let reached = Reached { barrier: pages.barriers(), seq: meta.seq, bytes: log_bytes };
        self.compacting.retired.push(Retired {
            snapshots: self.checkpoints.replaced(reached, window_rows),
            txn: std::mem::replace(&mut self.txn, txn),
            database: self.database.replace(database),
            pages: std::mem::replace(&mut self.pages, pages),
            thread: std::mem::replace(&mut self.pages_thread, thread),
        });
        (self.meta, self.snapshot_seq) = (meta, meta.seq);
        self.space.replaced();
        self.signals.check()?;
        Ok(Compacted { before, after: self.allocated()?, rows })
    }

    /// True when the copy waits for the core.
    #[cfg(test)]
    pub(in crate::storage) fn compacting_wants_view(&self) -> bool {
        self.compacting.wants_view()
    }

    fn allocated(&self) -> Result<u64> {
        self.pages.allocated().map_err(|source| Error::io("asking how much the store takes on the disk", source))
    }
}
