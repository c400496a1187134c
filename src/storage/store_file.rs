//! `data.redb`: made under another name, opened over the write-behind backend, and committed to in one way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Database, Durability, WriteTransaction};

use crate::clock::Millis;
use crate::storage::db::definition;
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_segment::{NAMES, read_header};
use crate::storage::meta::StoreMeta;
use crate::storage::signals::{Signals, StopOnDrop};
use crate::storage::write_behind::{Applier, Backend, WriteBehind, WriteBehindThread};
use crate::storage::{Error, Options, Result, Table};

/// The file that holds the state.
pub(super) const DATA: &str = "data.redb";
/// What a restore writes into, until it is whole.
pub(super) const RESTORING: &str = "data.redb.restoring";
const DATA_TEMPORARY: &str = "data.redb.tmp";
/// What every file of redb begins with: the first bytes of its header.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// redb's database over the write-behind backend, and the store's own row.
pub(super) struct Store {
    pub(super) database: Database,
    pub(super) pages: Arc<WriteBehind>,
    pub(super) thread: Option<WriteBehindThread>,
    pub(super) meta: StoreMeta,
    pub(super) repaired: bool,
}

/// Opens `data.redb` as it is, making a new one where nothing is.
pub(super) fn open_store(
    disk: &dyn Disk,
    options: &Options,
    applier: Applier,
    signals: &Arc<Signals>,
) -> Result<Store> {
    let io = |source| Error::io(format!("opening {}", disk.describe(DATA)), source);
    let file = match disk.open(DATA).map_err(io)? {
        Some(file) => file,
        None => create(disk, options)?,
    };
    // Of its own, so that the file can be given up alone once another has taken its place.
    open_file(file, &disk.describe(DATA), options, applier, Arc::new(Signals::part_of(signals)))
}

/// Opens a file that is a store, with signals of its own; messages call it `name`.
pub(super) fn open_file(
    file: Arc<dyn DiskFile>,
    name: &str,
    options: &Options,
    applier: Applier,
    signals: Arc<Signals>,
) -> Result<Store> {
    let io = |source| Error::io(format!("opening {name}"), source);
    // What is read here decides about the log: it must not be something that a power cut could still take back, as
    // the last commit of a killed process could be.
    file.sync_data().map_err(io)?;
    let mut start = [0; MAGIC.len()];
    file.read_at(0, &mut start).map_err(io)?;
    let pages = Arc::new(WriteBehind::new(file, applier, Arc::clone(&signals)).map_err(io)?);
    if pages.len() == 0 {
        return Err(Error::Refused {
            found: format!("{name} without a byte in it"),
            expected: "a store, or no file of that name".to_owned(),
            help: "Restore it from a backup; to begin a new store, move it and its log away.".to_owned(),
        });
    }
    if start != MAGIC {
        return Err(foreign(format!("{name}, which is no store of AGQ")));
    }
    let thread = match applier {
        Applier::Thread => Some(WriteBehindThread::start(Arc::clone(&pages))?),
        Applier::Caller => None,
    };
    let (database, repaired) = open_redb(&pages, options)?;
    let guard = StopOnDrop::new(&signals);
    let meta = StoreMeta::read(&database)?
        .ok_or_else(|| foreign(format!("{name}, which is a file of redb but no store of AGQ")))?;
    guard.disarm();
    Ok(Store { database, pages, thread, meta, repaired })
}

fn foreign(found: String) -> Error {
    Error::Refused {
        found,
        expected: "a file that AGQ has made".to_owned(),
        help: "Restore a backup, or choose another folder with --data-dir.".to_owned(),
    }
}

fn open_redb(pages: &Arc<WriteBehind>, options: &Options) -> Result<(Database, bool)> {
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let (cache_size, on_repair) = (options.cache_size, options.on_repair);
    let database = Database::builder()
        .set_cache_size(cache_size - cache_size / 8)
        .set_repair_callback(move |session| {
            seen.store(true, Ordering::Relaxed);
            if let Some(tell) = on_repair {
                tell(session.progress());
            }
        })
        .create_with_backend(Backend(Arc::clone(pages)))?;
    Ok((database, repaired.load(Ordering::Relaxed)))
}

/// Refuses a folder without `data.redb` in which a store has been, or was to be: one with a log, or with what is left of
/// a restore.
///
/// # Errors
/// What is there, and what helps; or a file cannot be read.
pub fn check_is_new(disk: &dyn Disk) -> Result<()> {
    let io = |source| Error::io(format!("looking for {}", disk.describe(DATA)), source);
    for name in NAMES {
        if let Some(segment) = disk.open(name).map_err(io)?
            && read_header(&*segment, name)?.is_some()
        {
            return Err(Error::Refused {
                found: format!("the log {} without {DATA}", disk.describe(name)),
                expected: "both, or neither".to_owned(),
                help: format!("Put {DATA} back; to begin a new store, move the log away."),
            });
        }
    }
    if disk.open(RESTORING).map_err(io)?.is_some() {
        return Err(Error::Refused {
            found: format!("{}: a restore was cut short", disk.describe(RESTORING)),
            expected: "a restored store, or an empty folder".to_owned(),
            help: "Run `agq restore` again; to begin a new store instead, remove that file.".to_owned(),
        });
    }
    Ok(())
}

/// Makes a new store under a temporary name, syncs it, and gives it its name.
fn create(disk: &dyn Disk, options: &Options) -> Result<Arc<dyn DiskFile>> {
    check_is_new(disk)?;
    let io = |source| Error::io(format!("making {}", disk.describe(DATA)), source);
    let file = disk.create(DATA_TEMPORARY).map_err(io)?;
    let signals = Arc::new(Signals::default());
    let pages = Arc::new(WriteBehind::new(Arc::clone(&file), Applier::Caller, signals).map_err(io)?);
    let (database, _) = open_redb(&pages, options)?;
    let txn = begin(&database)?;
    let meta = StoreMeta {
        store_id: u128::from(random()?) << 64 | u128::from(random()?),
        run_id: 0,
        generation: 0,
        seq: 0,
        time: Millis::default(),
        log_required: false,
    };
    commit_durably(txn, &meta)?;
    database.close()?;
    file.sync_data().map_err(io)?;
    disk.rename(DATA_TEMPORARY, DATA).map_err(io)?;
    disk.sync_dir().map_err(io)?;
    Ok(file)
}

/// Begins a transaction in which every table exists.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction> {
    let txn = database.begin_write()?;
    for table in Table::ALL {
        txn.open_table(definition(table))?;
    }
    Ok(txn)
}

/// The one way to commit durably: with the store's row, in two phases and with the allocator's state. A single commit
/// without the latter would make the next opening walk the whole file.
pub(super) fn commit_durably(mut txn: WriteTransaction, meta: &StoreMeta) -> Result<()> {
    meta.write(&txn)?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_two_phase_commit(true);
    txn.set_quick_repair(true);
    txn.commit()?;
    Ok(())
}

/// A random number from the operating system.
pub(super) fn random() -> Result<u64> {
    getrandom::u64().map_err(|error| Error::io("drawing a random number", std::io::Error::other(error.to_string())))
}
