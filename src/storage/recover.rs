//! Opening a store: from whatever a clean stop, a kill or a power cut left, to a state that has every acknowledged
//! batch, or to a refusal that says what is missing.
//!
//! Everything that is replayed goes into one transaction with one durable commit, which also raises the generation
//! and names the new run. Until that commit has reached the disk nothing else is written, so that a crash in here
//! changes nothing.

mod records;

use std::sync::Arc;

use redb::Database;

pub(super) use records::{Records, Replay, belongs, open_segment, read_log};

use crate::storage::archive::{Archive, Writer};
use crate::storage::backup::forget_manifest;
use crate::storage::compact::TEMPORARY as UNFINISHED;
use crate::storage::db::apply_rows;
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_segment::{self, NAMES, RECORDS, Segments};
use crate::storage::meta::StoreMeta;
use crate::storage::signals::{Signals, StopOnDrop};
use crate::storage::store_file::{DATA, Store, begin, commit_durably, open_store, random};
use crate::storage::write_behind::{Applier, WriteBehind, WriteBehindThread};
use crate::storage::{Error, Options, Result};

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
    remove_unfinished(disk)?;
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

/// Removes the copy of a compaction that was cut short.
fn remove_unfinished(disk: &dyn Disk) -> Result<()> {
    let io = |source| Error::io(format!("removing {}", disk.describe(UNFINISHED)), source);
    if disk.open(UNFINISHED).map_err(io)?.is_some() {
        disk.remove(UNFINISHED).map_err(io)?;
    }
    Ok(())
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
