//! Opening a store: from whatever a clean stop, a kill or a power cut left, to a state that has every acknowledged
//! batch, or to a refusal that says what is missing.
//!
//! Everything that is replayed goes into one transaction with one durable commit, which also raises the generation
//! and names the new run. Until that commit has reached the disk nothing else is written, so that a crash in here
//! changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, Durability, WriteTransaction};

use crate::clock::Millis;
use crate::storage::archive::{Archive, Writer};
use crate::storage::backup::forget_manifest;
use crate::storage::db::{apply_rows, definition};
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_record::{RecordHead, decode_into, record_len};
use crate::storage::log_segment::{
    self, CycleHeader, Found, NAMES, RECORDS, Segments, read_header, read_records, refuse,
};
use crate::storage::meta::StoreMeta;
use crate::storage::signals::{Signals, StopOnDrop};
use crate::storage::write_behind::{Applier, Backend, WriteBehind, WriteBehindThread};
use crate::storage::{Error, Options, Result, Table, WriteSet};

/// The file that holds the state.
pub(super) const DATA: &str = "data.redb";
/// What a restore writes into, until it is whole.
pub(super) const RESTORING: &str = "data.redb.restoring";
const DATA_TEMPORARY: &str = "data.redb.tmp";
/// Bytes of a segment when it is made.
const INITIAL_SEGMENT: u64 = 1 << 20;
/// The least a segment is made with, so that a record has a place.
const LEAST_SEGMENT: u64 = RECORDS + 4096;

/// A store that has been opened and recovered; nothing of its log is needed any more.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) pages: Arc<WriteBehind>,
    pub(super) thread: Option<WriteBehindThread>,
    pub(super) meta: StoreMeta,
    pub(super) segments: Segments,
    /// Bytes each segment has on the disk.
    pub(super) ready: [u64; 2],
    /// Records that were replayed.
    pub(super) replayed: u64,
    /// True when redb had to walk the whole file.
    pub(super) repaired: bool,
}

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
    // What is read here decides about the log: it must not be something that a power cut could still take back, as
    // the last commit of a killed process could be.
    file.sync_data().map_err(io)?;
    let pages = Arc::new(WriteBehind::new(file, applier, Arc::clone(signals)).map_err(io)?);
    if pages.len() == 0 {
        return Err(Error::Refused {
            found: format!("{} without a byte in it", disk.describe(DATA)),
            expected: "a store, or no file of that name".to_owned(),
            help: "Restore it from a backup; to begin a new store, move it and its log away.".to_owned(),
        });
    }
    let thread = match applier {
        Applier::Thread => Some(WriteBehindThread::start(Arc::clone(&pages))?),
        Applier::Caller => None,
    };
    let (database, repaired) = open_redb(&pages, options)?;
    let guard = StopOnDrop::new(signals);
    let meta = StoreMeta::read(&database)?.ok_or_else(|| Error::Refused {
        found: format!("a redb file at {} that no agq has made", disk.describe(DATA)),
        expected: "a store of agq".to_owned(),
        help: "Choose another folder with --data-dir.".to_owned(),
    })?;
    guard.disarm();
    Ok(Store { database, pages, thread, meta, repaired })
}

fn open_redb(pages: &Arc<WriteBehind>, options: &Options) -> Result<(Database, bool)> {
    let repaired = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let (cache_size, on_repair) = (options.cache_size, options.on_repair);
    let database = Database::builder()
        .set_cache_size(cache_size - cache_size / 8)
        .set_repair_callback(move |session| {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
            if let Some(tell) = on_repair {
                tell(session.progress());
            }
        })
        .create_with_backend(Backend(Arc::clone(pages)))?;
    Ok((database, repaired.load(std::sync::atomic::Ordering::Relaxed)))
}

/// Makes a new store under a temporary name, syncs it, and gives it its name.
fn create(disk: &dyn Disk, options: &Options) -> Result<Arc<dyn DiskFile>> {
    let io = |source| Error::io(format!("making {}", disk.describe(DATA)), source);
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

/// Opens and recovers the store in `disk`.
pub(super) fn open(
    disk: &dyn Disk,
    archive: Option<&Arc<dyn Disk>>,
    options: &Options,
    applier: Applier,
    signals: &Arc<Signals>,
) -> Result<Opened> {
    let store = open_store(disk, options, applier, signals)?;
    // Dropped before the store is, should anything below fail: then nothing more is written.
    let guard = StopOnDrop::new(signals);
    let (replay, records) = match store.meta.log_required {
        true => read_log(disk, &store.meta)?,
        false => (Replay::nothing(&store.meta), Records::default()),
    };
    if let Some(archive) = archive {
        // Before the segments are used again; a crash from here on finds it done.
        archive_rest(disk, archive, &store.meta, &records, replay.seq)?;
    }
    let (segments, ready) = prepare_segments(disk, &store.meta, options)?;
    let txn = begin(&store.database)?;
    forget_manifest(&txn)?;
    apply_rows(&txn, &replay.rows)?;
    let meta = StoreMeta {
        run_id: random()?,
        generation: store.meta.generation + 1,
        seq: replay.seq,
        time: replay.time,
        log_required: true,
        ..store.meta
    };
    commit_durably(txn, &meta)?;
    store.pages.wait_for(store.pages.barriers())?;
    let ready = trim(&segments, ready, options)?;
    guard.disarm();
    let Store { database, pages, thread, repaired, .. } = store;
    let replayed = replay.seq - store.meta.seq;
    Ok(Opened { database, pages, thread, meta, segments, ready, replayed, repaired })
}

/// What the log holds beyond the file.
pub(super) struct Replay {
    pub(super) rows: WriteSet,
    /// The last record taken, or the file's when there is none.
    pub(super) seq: u64,
    pub(super) time: Millis,
}

impl Replay {
    fn nothing(meta: &StoreMeta) -> Replay {
        Replay { rows: WriteSet::default(), seq: meta.seq, time: meta.time }
    }
}

/// Reads both segments and takes the records after the file's, up to the first that is missing.
///
/// # Errors
/// [`Error::Refused`] when a segment is missing, foreign or damaged, or a record is missing that was synced.
pub(super) fn read_log(disk: &dyn Disk, meta: &StoreMeta) -> Result<(Replay, Records)> {
    let mut records = Records::default();
    for name in NAMES {
        let file = open_segment(disk, name)?
            .ok_or_else(|| refuse(format!("no {}", disk.describe(name)), "the log of a store that was not closed"))?;
        if let Some(header) = read_header(&*file, name)?
            && belongs(&header, meta, name)?
        {
            records.add(read_records(&*file, name, &header)?);
        }
    }
    let replay = records.replay(meta)?;
    if let Some(later) = records.promised_beyond(replay.seq) {
        return Err(refuse(
            format!(
                "record {} of the log damaged or missing, though record {later}, written later, is there",
                replay.seq + 1
            ),
            "every record that was synced",
        ));
    }
    Ok((replay, records))
}

/// Puts the records up to `seq` that the log still has into the archive, durably: those that it lacks, and once more those
/// that it shows, since what a killed process could not sync looks as if it were on the disk.
///
/// # Errors
/// [`Error::Refused`] when the archive is ahead of the store; any other when it cannot be read or written.
fn archive_rest(disk: &dyn Disk, archive: &Arc<dyn Disk>, meta: &StoreMeta, records: &Records, seq: u64) -> Result<()> {
    let last = Archive::of_store(&**archive, meta.store_id)?.last()?;
    if let Some(last) = last.filter(|last| *last > seq) {
        return Err(Error::Refused {
            found: format!("records up to {last} of this store in the archive {}", archive.describe("")),
            expected: format!("record {seq} at most, the last one of {DATA} and its log, which may be an older copy"),
            help: "Put the newer store back; or restore it with `agq restore BACKUP --archive DIR`, which makes \
                   it a store of its own; or give another folder with --archive-dir."
                .to_owned(),
        });
    }
    let mut writer = Writer::new(archive, meta.store_id, meta.run_id, meta.generation);
    let first = records.first_before(seq);
    warn_of_gap(last.map(|last| last + 1), first);
    if first <= seq {
        // What a process wrote that was killed is only read here: a power cut must not take from the log what the archive has.
        for name in NAMES {
            if let Some(segment) = open_segment(disk, name)? {
                segment.sync_data().map_err(|source| Error::io(format!("syncing {}", disk.describe(name)), source))?;
            }
        }
    }
    for (head, record) in records.between(first, seq) {
        writer.append(&head, &record)?;
    }
    writer.sync()?;
    if first <= seq { writer.replace_from(first) } else { Ok(()) }
}

/// Says what is missing in the archive between the record that should come `next` and the one that does.
fn warn_of_gap(next: Option<u64>, found: u64) {
    match next {
        Some(next) if next < found => tracing::error!(
            "records {next} to {} are NOT in the archive, and not in the log either: the store ran without it. No moment \
             after record {next} can be restored until the next backup; make one now",
            found - 1
        ),
        Some(_) => {}
        None => tracing::info!("the archive begins with record {found}: make a backup, from which it can be replayed"),
    }
}

pub(super) fn open_segment(disk: &dyn Disk, name: &str) -> Result<Option<Arc<dyn DiskFile>>> {
    disk.open(name).map_err(|source| Error::io(format!("opening {}", disk.describe(name)), source))
}

/// Whether a segment's records count: those of the file's own run do, an earlier generation's do not.
///
/// # Errors
/// [`Error::Refused`] for a segment of another store, of a later generation, or of another run of this generation.
pub(super) fn belongs(header: &CycleHeader, meta: &StoreMeta, name: &str) -> Result<bool> {
    if header.store_id != meta.store_id {
        return Err(refuse(
            format!("{name} of the store {:032x}", header.store_id),
            format!("a log of the store {:032x}", meta.store_id),
        ));
    }
    if header.generation > meta.generation {
        return Err(refuse(
            format!("{name} of generation {}, later than {DATA}, which may be an old copy", header.generation),
            format!("generation {} at most", meta.generation),
        ));
    }
    if header.generation == meta.generation && header.run_id != meta.run_id {
        return Err(refuse(
            format!("{name} of another run of generation {}", header.generation),
            "the log of the run that wrote data.redb last",
        ));
    }
    Ok(header.generation == meta.generation)
}

/// The records of both segments, by sequence number.
#[derive(Default)]
pub(super) struct Records {
    segments: Vec<Bytes>,
    found: BTreeMap<u64, (usize, Found)>,
}

impl Records {
    pub(super) fn add(&mut self, (bytes, found): (Bytes, Vec<Found>)) {
        let segment = self.segments.len();
        self.segments.push(bytes);
        self.found.extend(found.into_iter().map(|found| (found.head.seq, (segment, found))));
    }

    /// Merges the records after the file's, in sequence, up to the first that is not there.
    pub(super) fn replay(&self, meta: &StoreMeta) -> Result<Replay> {
        let mut replay = Replay::nothing(meta);
        while let Some((segment, found)) = self.found.get(&(replay.seq + 1)) {
            decode_into(&mut replay.rows, &self.segments[*segment], found.offset)?;
            replay.seq += 1;
            // Not the latest: an operator may have set the clock back.
            replay.time = found.head.time;
        }
        Ok(replay)
    }

    /// A record that says that the one after `seq`, which is not there, was on disk when it was written.
    fn promised_beyond(&self, seq: u64) -> Option<u64> {
        let later = self.found.range(seq + 1..);
        later.into_iter().find(|(_, (_, found))| found.head.synced_seq > seq).map(|(later, _)| *later)
    }

    /// The sequence numbers of the records after `seq`.
    pub(super) fn beyond(&self, seq: u64) -> Vec<u64> {
        self.found.range(seq + 1..).map(|(number, _)| *number).collect()
    }

    /// The first of the records that end with `seq` without a gap; `seq + 1` when that one is not there.
    fn first_before(&self, seq: u64) -> u64 {
        let run =
            self.found.range(..=seq).rev().zip((0..=seq).rev()).take_while(|((found, _), wanted)| **found == *wanted);
        run.last().map_or(seq + 1, |(_, first)| first)
    }

    /// The records from `first` to `last` that are there, each with its bytes.
    fn between(&self, first: u64, last: u64) -> impl Iterator<Item = (RecordHead, Bytes)> {
        let found = if first <= last { Some(self.found.range(first..=last)) } else { None };
        found.into_iter().flatten().map(|(_, (segment, found))| {
            let rest = self.segments[*segment].slice(found.offset..);
            let len = record_len(&rest);
            (found.head, rest.slice(..len))
        })
    }

    /// Adds the rows of every record after `seq` to `rows`: the sequence numbers of those records.
    pub(super) fn rows_beyond(&self, seq: u64, rows: &mut WriteSet) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for (number, (segment, found)) in self.found.range(seq + 1..) {
            decode_into(rows, &self.segments[*segment], found.offset)?;
            numbers.push(*number);
        }
        Ok(numbers)
    }
}

/// Puts both segments in place, synced, names included, and returns how many bytes of each are on the disk.
///
/// Where the store needs no log, whatever the segments hold is erased first: it belongs to a time that has passed.
fn prepare_segments(disk: &dyn Disk, meta: &StoreMeta, options: &Options) -> Result<(Segments, [u64; 2])> {
    let prepare = |name: &'static str| -> std::io::Result<(Arc<dyn DiskFile>, u64)> {
        let found = disk.open(name)?;
        let len = found.as_ref().map_or(Ok(0), |file| file.len())?;
        let file = match found {
            Some(file) if meta.log_required || len >= LEAST_SEGMENT => {
                if meta.log_required {
                    file.sync_data()?
                } else {
                    log_segment::erase_header(&*file)?
                }
                file
            }
            _ => log_segment::create(disk, name, initial_len(options))?,
        };
        let len = file.len()?;
        Ok((file, len))
    };
    let io = |name: &str| {
        let what = format!("preparing {}", disk.describe(name));
        move |source| Error::io(what, source)
    };
    let (first, first_len) = prepare(NAMES[0]).map_err(io(NAMES[0]))?;
    let (second, second_len) = prepare(NAMES[1]).map_err(io(NAMES[1]))?;
    disk.sync_dir().map_err(io(NAMES[0]))?;
    Ok(([first, second], [first_len, second_len]))
}

fn initial_len(options: &Options) -> u64 {
    INITIAL_SEGMENT.min(options.checkpoint_size).max(LEAST_SEGMENT)
}

/// Cuts segments that had to grow past the checkpoint size; only once nothing in them is needed.
fn trim(segments: &Segments, mut ready: [u64; 2], options: &Options) -> Result<[u64; 2]> {
    let most = options.checkpoint_size.max(initial_len(options));
    for ((file, len), name) in segments.iter().zip(&mut ready).zip(NAMES) {
        if *len > most {
            file.set_len(most)
                .and_then(|()| file.sync_data())
                .map_err(|e| Error::io(format!("shortening {name}"), e))?;
            *len = most;
        }
    }
    Ok(ready)
}
