//! The store: redb's file, the one open transaction of the checkpoint window, and the commit log beside it.
//!
//! A batch's life: [`Db::batch`] → commands write into it → [`Batch::finish`] → [`Db::append`] (one write to the
//! log) → [`Db::flush`] (one fdatasync) → [`Db::apply`] (the rows go into redb's open transaction). Now and then
//! [`Db::checkpoint`] commits that transaction; its pages reach the disk behind the core's back, and then the log
//! they stood in is free again.
//!
//! After an error that is no refusal the store has stopped: nothing is acknowledged or written any more, and dropping
//! it leaves the files as a kill would. The same holds for a `Db` dropped without [`Db::close`].

mod checkpoints;
mod closing;
mod compacting;
mod opening;
mod verify;

use std::cell::RefCell;
use std::sync::Arc;

use redb::{Database, TableDefinition, WriteTransaction};

use crate::clock::Millis;
use crate::storage::archiver::{Archiver, ArchiverThread};
use crate::storage::checkpoint::Checkpoints;
use crate::storage::log::Log;
use crate::storage::log_segment::Segments;
use crate::storage::log_sync::{BegunSync, LogSync, LogThread};
use crate::storage::meta::StoreMeta;
use crate::storage::row_cache::RowCache;
use crate::storage::signals::Signals;
use crate::storage::space::Space;
use crate::storage::write_behind::{WriteBehind, WriteBehindThread};
use crate::storage::{Batch, DurabilityMode, Error, Result, Stats, Table, WriteSet};

pub use compacting::CompactionEnd;
pub(super) use opening::real_disk;

/// An open store.
pub struct Db {
    // The fields are dropped in this order: the transaction before the database, the database before the threads.
    /// The transaction of the checkpoint window; `None` only while one ends and the next begins.
    txn: Option<WriteTransaction>,
    /// `None` only while it is being closed.
    database: Option<Database>,
    cache: RefCell<RowCache>,
    pub(super) pages: Arc<WriteBehind>,
    pages_thread: Option<WriteBehindThread>,
    pub(super) log: Log,
    sync: Arc<LogSync>,
    _log_thread: Option<LogThread>,
    _archive_thread: Option<ArchiverThread>,
    archiver: Option<Arc<Archiver>>,
    pub(super) segments: Segments,
    signals: Arc<Signals>,
    durability: DurabilityMode,
    checkpoint_size: u64,
    /// What the last commit wrote.
    meta: StoreMeta,
    last_time: Millis,
    /// The last record whose rows the open transaction has.
    applied_seq: u64,
    /// The last record that a commit for a snapshot covered.
    snapshot_seq: u64,
    pub(super) checkpoints: Checkpoints,
    pub(super) space: Space,
    replayed: u64,
    repaired: bool,
    compacting: compacting::Compacting,
}

impl Db {
    fn txn(&self) -> Result<&WriteTransaction> {
        self.txn.as_ref().ok_or_else(|| Error::Stopped { reason: "a commit has failed".to_owned() })
    }

    fn database(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(|| Error::Stopped { reason: "it is closed".to_owned() })
    }

    /// Begins a batch over what was applied so far.
    ///
    /// # Errors
    /// When the store has stopped.
    pub fn batch(&self) -> Result<Batch<'_>> {
        Ok(Batch::new(self.txn()?, &self.cache, Some((&self.log, &self.space))))
    }

    /// Appends a batch's rows to the log, as one record; a batch that changed nothing needs none. Not yet durable,
    /// not yet readable. Every batch that was appended must be applied, in the same order.
    ///
    /// # Errors
    /// [`Error::Full`] ([`Error::is_refusal`]): the log could not grow, the batch was taken back whole and must not be
    /// applied; the store goes on. Any other error means that nothing may be acknowledged any more.
    pub fn append(&mut self, rows: &WriteSet, time: Millis) -> Result<()> {
        self.signals.check()?;
        self.settle();
        self.last_time = self.last_time.max(time);
        if rows.is_empty() {
            return Ok(());
        }
        let appended = self.log.append(rows, self.last_time);
        self.stop_on_error(appended)
    }

    /// Makes what was appended durable, as the mode asks.
    ///
    /// # Errors
    /// Any error means 'outcome unknown': nothing may be acknowledged any more.
    pub fn flush(&mut self) -> Result<()> {
        match self.durability {
            DurabilityMode::Always => self.sync_log(),
            DurabilityMode::Interval(_) | DurabilityMode::None => self.signals.check(),
        }
    }

    /// Makes everything that was appended durable, in any mode.
    ///
    /// # Errors
    /// As [`Db::flush`].
    pub fn sync_log(&mut self) -> Result<()> {
        self.signals.check()?;
        let synced = self.sync.sync();
        self.stop_on_error(synced)
    }

    /// Puts appended rows into the open transaction, where the next batch reads them.
    ///
    /// # Errors
    /// When redb fails; the log has the rows.
    pub fn apply(&mut self, rows: &WriteSet) -> Result<()> {
        self.signals.check()?;
        if rows.is_empty() {
            return Ok(());
        }
        if self.applied_seq >= self.log.seq() {
            let reason = "rows were to be applied that are not in the log".to_owned();
            return self.stop_on_error(Err(Error::Stopped { reason }));
        }
        // First the cache: the rows that the batch read in it are still near.
        self.cache.borrow_mut().apply(rows);
        let applied = self.txn().and_then(|txn| apply_rows(txn, rows));
        let change = self.stop_on_error(applied)?;
        self.space.applied(change);
        self.applied_seq += 1;
        self.checkpoints.window_rows += rows.rows() as u64;
        self.compacting.follow(rows, self.applied_seq, self.last_time, self.log.bytes());
        Ok(())
    }

    /// Stops the store when something failed that cannot be undone.
    fn stop_on_error<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && !error.is_refusal()
        {
            self.signals.stop(error.to_string());
        }
        result
    }

    /// Lets writing units pass though the archive is behind: the server stops, and what waits has to end.
    pub fn let_pass(&self) {
        if let Some(archiver) = &self.archiver {
            archiver.let_pass();
        }
    }

    /// Calls `wake`, from any thread, whenever a checkpoint has reached the disk, a page finds no room there, or the
    /// store has stopped: the core should look at [`Db::pace`], [`Db::refusal`], [`Db::checkpoint_due`] and
    /// [`Db::stopped`] again. It must not call the store.
    pub fn on_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.signals.on_wake(Box::new(wake));
    }

    /// Why the store has stopped, if it has: nothing may be acknowledged, and the process should end without
    /// anything else.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.signals.stopped()
    }

    /// Stops the store at once and for good, leaving the files as a kill would.
    pub fn stop(&self, reason: &str) {
        self.signals.stop(reason);
    }

    /// The time of the last batch in the log; the clock never runs behind it.
    #[must_use]
    pub fn last_time(&self) -> Millis {
        self.last_time
    }

    /// Goes on from another time, an earlier one too: the operator accepted the system's clock as it is.
    pub fn set_time(&mut self, time: Millis) {
        self.last_time = time;
    }

    /// The store's figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            file_bytes: self.pages.len(),
            allocated_bytes: self.space.allocated(),
            max_file_size: self.space.max_file_size(),
            file_system: self.space.file_system(),
            log_bytes: self.log.file_bytes(),
            window_rows: self.checkpoints.window_rows,
            window_rows_allowed: self.checkpoints.rows_allowed(),
            checkpoints: self.checkpoints.made,
            checkpoint_draining: self.is_draining(),
            last_stall_us: u64::try_from(self.checkpoints.last_stall.as_micros()).unwrap_or(u64::MAX),
            seq: self.log.seq(),
            synced_seq: self.sync.synced_seq(),
            checkpoint_seq: self.checkpoints.begun_seq(),
            generation: self.meta.generation,
            store_id: self.meta.store_id,
            replayed: self.replayed,
            repaired: self.repaired,
            archive: self.archiver.as_ref().map(|archiver| archiver.stats(self.log.bytes())),
        }
    }

    /// Does one piece of what threads would do, in a store opened with [`Db::open_stepped`]: writes one page, passes
    /// one sync, lengthens a segment by one step, or goes on with a compaction. False when there is nothing to do.
    ///
    /// # Errors
    /// When it fails; that is final.
    pub fn step(&mut self) -> Result<bool> {
        if self.pages.step() {
            return Ok(true);
        }
        let lengthened = self.sync.lengthen();
        if self.stop_on_error(lengthened)? {
            return Ok(true);
        }
        // What the archive cannot do now it tries again; the log keeps what it lacks.
        if self.archiver.as_ref().is_some_and(|archiver| archiver.step().unwrap_or(false)) {
            return Ok(true);
        }
        Ok(self.compacting.step())
    }

    /// Begins a sync of the log, as the helper thread does while the core goes on, in a store opened with
    /// [`Db::open_stepped`]; [`Db::end_sync`] ends it. There is one at a time.
    ///
    /// # Errors
    /// When the store has stopped.
    pub fn begin_sync(&mut self) -> Result<BegunSync> {
        self.signals.check()?;
        let begun = self.sync.begin();
        self.stop_on_error(begun)
    }

    /// Ends a sync of the log: what was appended before it began is durable.
    ///
    /// # Errors
    /// As [`Db::flush`].
    pub fn end_sync(&mut self, begun: BegunSync) -> Result<()> {
        self.signals.check()?;
        let ended = self.sync.end(begun);
        self.stop_on_error(ended)
    }
}

/// How a table is named to redb.
pub(super) fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// How many rows a table has.
pub(super) fn table_rows(txn: &WriteTransaction, table: Table) -> Result<u64> {
    use redb::ReadableTableMetadata as _;
    Ok(txn.open_table(definition(table))?.len()?)
}

/// Bytes of keys and values that rows brought and took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) added: u64,
    pub(super) freed: u64,
}

/// Puts rows into a transaction, each table opened once.
pub(super) fn apply_rows(txn: &WriteTransaction, rows: &WriteSet) -> Result<Change> {
    let mut change = Change::default();
    for (table, changes) in rows.iter() {
        let mut open = txn.open_table(definition(table))?;
        for (key, value) in changes {
            let before = match value {
                Some(value) => open.insert(&key[..], &value[..])?,
                None => open.remove(&key[..])?,
            };
            change.added += value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64);
            change.freed += before.map_or(0, |before| (key.len() + before.value().len()) as u64);
        }
    }
    Ok(change)
}
