//! Opening a store, with threads or without.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::compacting::Compacting;
use crate::storage::archive::Writer;
use crate::storage::archiver::{Archiver, ArchiverThread};
use crate::storage::checkpoint::{Checkpoints, Reached};
use crate::storage::files::{Disk, RealDisk};
use crate::storage::log::{Identity, Log};
use crate::storage::log_sync::{LogSync, LogThread};
use crate::storage::recover::{self, Opened};
use crate::storage::row_cache::RowCache;
use crate::storage::signals::Signals;
use crate::storage::space::Space;
use crate::storage::write_behind::Applier;
use crate::storage::{Db, DurabilityMode, Error, Options, Result};

/// The row cache takes an eighth of the page cache, but no more than this.
const MAX_ROW_CACHE_BYTES: usize = 32 << 20;

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
            pages_thread: thread,
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
            compacting: Compacting::new(disk, options, applier),
        };
        db.txn = Some(db.database()?.begin_write()?);
        db.look_at_space()?;
        Ok(db)
    }
}

/// The folder of `options`.
///
/// # Errors
/// When it cannot be made.
pub(in crate::storage) fn real_disk(options: &Options) -> Result<Arc<dyn Disk>> {
    real_folder(&options.dir)
}

fn real_folder(dir: &Path) -> Result<Arc<dyn Disk>> {
    let disk =
        RealDisk::open(dir).map_err(|source| Error::io(format!("making the folder {}", dir.display()), source))?;
    Ok(Arc::new(disk))
}
