//! The store: redb's file, the one open transaction of the checkpoint window, and the commit log beside it.
//!
//! A batch's life: [`Db::batch`] → commands write into it → [`Batch::finish`] → [`Db::append`] (one write to the
//! log) → [`Db::flush`] (one fdatasync) → [`Db::apply`] (the rows go into redb's open transaction). Now and then
//! [`Db::checkpoint`] commits that transaction; its pages reach the disk behind the core's back, and then the log
//! they stood in is free again.
//!
//! After an error that is no refusal the store has stopped: nothing is acknowledged or written any more, and dropping
//! it leaves the files as a kill would. The same holds for a `Db` dropped without [`Db::close`].

mod verify;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::clock::Millis;
use crate::storage::archive::Writer;
use crate::storage::archiver::{Archiver, ArchiverThread};
use crate::storage::checkpoint::{Checkpoints, Pace, Reached};
use crate::storage::files::{Disk, RealDisk};
use crate::storage::log::{Identity, Log};
use crate::storage::log_segment::{Segments, erase_header};
use crate::storage::log_sync::{BegunSync, LogSync, LogThread};
use crate::storage::meta::StoreMeta;
use crate::storage::recover::{self, Opened, commit_durably};
use crate::storage::row_cache::RowCache;
use crate::storage::signals::Signals;
use crate::storage::space::Space;
use crate::storage::write_behind::{Applier, WriteBehind, WriteBehindThread};
use crate::storage::{Batch, DurabilityMode, Error, Options, Result, Snapshot, Stats, Table, WriteSet};

/// Idle milliseconds after which a checkpoint is made.
const IDLE_MS: u64 = 1000;

/// The row cache takes an eighth of the page cache, but no more than this.
const MAX_ROW_CACHE_BYTES: usize = 32 << 20;

/// An open store.
pub struct Db {
    // The fields are dropped in this order: the transaction before the database, the database before the threads.
    /// The transaction of the checkpoint window; `None` only while one ends and the next begins.
    txn: Option<WriteTransaction>,
    /// `None` only while it is being closed.
    database: Option<Database>,
    cache: RefCell<RowCache>,
    pub(super) pages: Arc<WriteBehind>,
    _pages_thread: Option<WriteBehindThread>,
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
}

impl Db {
    /// Opens the store in `options.dir`, making it when it is not there, and recovers what a crash left.
    ///
    /// # Errors
    /// [`Error::Refused`] when the files are not a store that may be opened as it is: the message says what was
    /// found, what was expected and what helps. Any other error when a file cannot be read or written.
    pub fn open(options: &Options) -> Result<Db> {
        let disk = real_disk(options)?;
        let archive = options.archive.as_ref().map(|archive| real_folder(&archive.dir)).transpose()?;
        Db::open_with(&disk, archive.as_ref(), options, Applier::Thread)
    }

    /// Opens the store on `disk`, without an archive; `options.dir` is not looked at.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_on(disk: &Arc<dyn Disk>, options: &Options) -> Result<Db> {
        Db::open_with(disk, None, options, Applier::Thread)
    }

    /// Opens the store on `disk` without any thread: what threads would do happens in [`Db::step`], and where the
    /// caller would wait for it. For the simulator, which needs every run to be the same.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_stepped(disk: &Arc<dyn Disk>, options: &Options) -> Result<Db> {
        Db::open_with(disk, None, options, Applier::Caller)
    }

    /// As [`Db::open_stepped`], with an archive on another disk, as `options.archive` says.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_stepped_with(disk: &Arc<dyn Disk>, archive: &Arc<dyn Disk>, options: &Options) -> Result<Db> {
        Db::open_with(disk, Some(archive), options, Applier::Caller)
    }

    fn open_with(
        disk: &Arc<dyn Disk>,
        archive: Option<&Arc<dyn Disk>>,
        options: &Options,
        applier: Applier,
    ) -> Result<Db> {
        let signals = Arc::new(Signals::default());
        let opened = recover::open(&**disk, archive, options, applier, &signals)?;
        let Opened { database, pages, thread, meta, segments, ready, replayed, repaired } = opened;
        let interval = match options.durability {
            DurabilityMode::Interval(ms) if applier == Applier::Thread => Some(Duration::from_millis(ms)),
            _ => None,
        };
        let archiver = archive.zip(options.archive.as_ref()).map(|(disk, options)| {
            let writer = Writer::new(disk, meta.store_id, meta.run_id, meta.generation);
            Arc::new(Archiver::new(options, writer, segments.clone(), meta.seq, Arc::clone(&signals)))
        });
        let signalled = Arc::clone(&signals);
        let sync = LogSync::new(segments.clone(), ready, meta.seq, interval, signalled, archiver.clone());
        let sync = Arc::new(sync);
        let identity = Identity { store_id: meta.store_id, run_id: meta.run_id, generation: meta.generation };
        let reached = Reached { barrier: pages.barriers(), seq: meta.seq, bytes: 0 };
        let log_thread = match applier {
            Applier::Thread => Some(LogThread::start(Arc::clone(&sync))?),
            Applier::Caller => None,
        };
        let archive_thread = match (&archiver, applier) {
            (Some(archiver), Applier::Thread) => Some(ArchiverThread::start(archiver)?),
            _ => None,
        };
        let mut db = Db {
            cache: RefCell::new(RowCache::new((options.cache_size / 8).min(MAX_ROW_CACHE_BYTES), meta.run_id)),
            txn: None,
            database: Some(database),
            pages,
            _pages_thread: thread,
            log: Log::new(identity, segments.clone(), meta.seq, Arc::clone(&sync), archiver.clone()),
            sync,
            _log_thread: log_thread,
            _archive_thread: archive_thread,
            archiver,
            segments,
            signals,
            durability: options.durability,
            checkpoint_size: options.checkpoint_size,
            meta,
            last_time: meta.time,
            applied_seq: meta.seq,
            snapshot_seq: meta.seq,
            checkpoints: Checkpoints::new(reached, options.checkpoint_stall_ms),
            space: Space::new(disk, options, applier),
            replayed,
            repaired,
        };
        db.txn = Some(db.database()?.begin_write()?);
        db.look_at_space()?;
        Ok(db)
    }

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

    /// True when a checkpoint should be made now; `idle_ms` is how long nothing was asked.
    ///
    /// Because the log is full, or a later one would hold up the core for longer than it may, or there is nothing
    /// else to do; never while the last one is on its way to the disk.
    #[must_use]
    pub fn checkpoint_due(&self, idle_ms: u64) -> bool {
        let begun = self.checkpoints.begun_seq();
        if self.is_draining() || self.pages.is_held() {
            return false;
        }
        if self.applied_seq == begun {
            return self.space.wants_checkpoint();
        }
        // Without room for more a checkpoint tells what is free again.
        idle_ms >= IDLE_MS
            || self.space.is_short()
            || self.checkpoints.window_rows >= self.checkpoints.rows_allowed()
            || self.log.wants_checkpoint(begun)
            // While the log grows for the archive it is its bytes that count.
            || self.log.bytes() - self.checkpoints.begun_bytes() > 2 * self.checkpoint_size
    }

    pub(super) fn is_draining(&self) -> bool {
        self.checkpoints.is_draining(self.pages.passed())
    }

    /// How fast writing units may come, so that checkpoints keep up. While a page waits for space none is made, and what may
    /// still run is bounded by [`Db::refusal`].
    #[must_use]
    pub fn pace(&self) -> Pace {
        if self.pages.is_held() {
            return Pace::Go;
        }
        let waits_for_archive = self.archiver.as_ref().is_some_and(|archiver| archiver.holds_writes(self.log.bytes()));
        let uncovered = self.checkpoints.uncovered(self.log.bytes(), self.pages.passed());
        if waits_for_archive || uncovered > 2 * self.checkpoint_size {
            Pace::Wait
        } else if self.checkpoints.window_rows > 2 * self.checkpoints.rows_allowed() && self.is_draining() {
            Pace::Slow
        } else {
            Pace::Go
        }
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

    /// Commits the open transaction durably and begins the next. Its pages are written behind the caller's back.
    ///
    /// # Errors
    /// [`Error::Full`] when the disk is full: nothing was done. Any other error is final; the log has everything that
    /// was acknowledged.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.check_held()?;
        self.settle();
        let began = Instant::now();
        if self.archiver.is_some() {
            // A record that is in the file and, after a power cut, not in the log could not be archived any more.
            self.sync_log()?;
        }
        self.commit(Some(true))?;
        let stall = began.elapsed();
        let reached = Reached { barrier: self.pages.barriers(), seq: self.applied_seq, bytes: self.log.bytes() };
        self.checkpoints.begin(reached, stall);
        self.space.checkpoint_begun();
        if self.durability == DurabilityMode::None {
            self.sync.request();
        }
        Ok(())
    }

    /// Frees the log that checkpoints on the disk cover.
    pub(super) fn settle(&mut self) {
        let drained = self.checkpoints.settle(self.pages.passed());
        if let Some(archiver) = &self.archiver
            && archiver.must_give_up(self.log.bytes())
            && archiver.archived() < drained.seq
        {
            archiver.skip(drained.seq, drained.bytes);
        }
        // The log does not become longer at the cost of what is kept free.
        let has_room = self.space.room() / 4 > self.checkpoint_size;
        self.log.release(drained.seq, if has_room { self.checkpoint_size } else { 0 });
    }

    /// The one function that commits: between batches, with every row of the transaction already in the log.
    /// `log_required` is what the durable commit says of the log; `None` commits for a snapshot, not durably.
    fn commit(&mut self, durable: Option<bool>) -> Result<()> {
        self.signals.check()?;
        let committed = self.try_commit(durable);
        self.stop_on_error(committed)
    }

    fn try_commit(&mut self, durable: Option<bool>) -> Result<()> {
        let mut txn = self.txn.take().ok_or_else(|| Error::Stopped { reason: "a commit has failed".to_owned() })?;
        assert_eq!(
            self.applied_seq,
            self.log.seq(),
            "a commit stands between batches: all that is in the log is applied"
        );
        self.meta = StoreMeta {
            seq: self.applied_seq,
            time: self.last_time,
            log_required: durable.unwrap_or(true),
            ..self.meta
        };
        if durable.is_some() {
            commit_durably(txn, &self.meta)?;
        } else {
            self.meta.write(&txn)?;
            txn.set_durability(Durability::None)?;
            txn.commit()?;
        }
        self.txn = Some(self.database()?.begin_write()?);
        Ok(())
    }

    /// A view of everything applied so far, for another thread. Drop it soon: the file grows while it lives.
    ///
    /// # Errors
    /// When redb fails.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        if self.snapshot_seq.max(self.checkpoints.begun_seq()) < self.applied_seq {
            self.commit(None)?;
            self.snapshot_seq = self.applied_seq;
        }
        let txn = self.database()?.begin_read()?;
        Ok(Snapshot::new(txn, self.checkpoints.snapshot()))
    }

    /// The same for what outlives the store, a backup say: all of it is durable, in any mode. Otherwise it could have records
    /// that a power cut takes from the store, which then goes on with others under their numbers.
    ///
    /// # Errors
    /// As [`Db::snapshot`], and when the log cannot be synced.
    pub fn durable_snapshot(&mut self) -> Result<Snapshot> {
        self.sync_log()?;
        self.snapshot()
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
    /// one sync, or lengthens a segment by one step. False when there is nothing to do.
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
        Ok(self.archiver.as_ref().is_some_and(|archiver| archiver.step().unwrap_or(false)))
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

    /// Makes a checkpoint and closes: `data.redb` alone is then the whole database.
    ///
    /// # Errors
    /// When something fails; the log then still has everything. [`Error::Full`]: the disk is full, and the files are as a
    /// kill would leave them.
    pub fn close(mut self) -> Result<()> {
        let closed = self.try_close();
        self.stop_on_error(closed)
    }

    /// Puts everything into the archive. False when that is not possible now.
    fn archive_all(&mut self) -> Result<bool> {
        let Some(archiver) = self.archiver.clone() else { return Ok(true) };
        self.sync_log()?;
        Ok(archiver.finish())
    }

    fn try_close(&mut self) -> Result<()> {
        self.check_held()?;
        let archived = self.archive_all()?;
        // Where the archive lacks something the log is kept for it: the next opening copies it.
        self.commit(Some(!archived))?;
        self.pages.wait_for(self.pages.barriers())?;
        // Aborted, there is nothing in it: redb closes only when no transaction is open.
        if let Some(txn) = self.txn.take() {
            txn.abort()?;
        }
        if let Some(database) = self.database.take() {
            database.close()?;
        }
        if !archived {
            tracing::error!(
                "the archive does not have all that the log has: the log is kept, and copied at the next start"
            );
            return Ok(());
        }
        for segment in &self.segments {
            erase_header(&**segment).map_err(|source| Error::io("emptying the log", source))?;
        }
        Ok(())
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Whoever drops a store without closing it wants what a kill leaves: redb's destructor would commit.
        self.signals.stop("it was closed");
    }
}

/// The folder of `options`.
///
/// # Errors
/// When it cannot be made.
pub(super) fn real_disk(options: &Options) -> Result<Arc<dyn Disk>> {
    real_folder(&options.dir)
}

fn real_folder(dir: &Path) -> Result<Arc<dyn Disk>> {
    let disk =
        RealDisk::open(dir).map_err(|source| Error::io(format!("making the folder {}", dir.display()), source))?;
    Ok(Arc::new(disk))
}

/// How a table is named to redb.
pub(super) fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
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
