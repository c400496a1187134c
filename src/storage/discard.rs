//! Opening a store whose log was lost or damaged, on its owner's word: what `agq recover --discard-log` does.
//!
//! Copies of the segments are kept. The records that are whole and in sequence are still replayed; what lies beyond
//! is given up, and told.

use std::fmt;
use std::sync::Arc;

use crate::storage::db::{apply_rows, real_disk};
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_segment::{CycleHeader, NAMES, read_header, read_records};
use crate::storage::meta::StoreMeta;
use crate::storage::recover::{Records, belongs, open_segment};
use crate::storage::signals::{Signals, StopOnDrop};
use crate::storage::store_file::{self, DATA, Store, commit_durably, open_store};
use crate::storage::write_behind::Applier;
use crate::storage::{Error, Options, Result, Table, WriteSet};

/// What was given up, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discarded {
    /// The copies that were kept of the log, by name, in the store's folder.
    pub copies: Vec<String>,
    /// Records that were whole and in sequence, and are in the store now.
    pub replayed: u64,
    /// The last record that is in the store now.
    pub last_kept: u64,
    /// Sequence numbers of the records that could be read but not be kept, ascending.
    pub lost: Vec<u64>,
    /// Rows that those records changed.
    pub lost_rows: Vec<(Table, u64)>,
    /// What was wrong with a segment, one sentence each. What it held is not among the records above.
    pub unreadable: Vec<String>,
}

impl fmt::Display for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "replayed {} records; the store is at record {}", self.replayed, self.last_kept)?;
        for wrong in &self.unreadable {
            writeln!(f, "not read: {wrong}")?;
        }
        if let (Some(first), Some(last)) = (self.lost.first(), self.lost.last()) {
            writeln!(f, "lost: {} records between {first} and {last}", self.lost.len())?;
        }
        for (table, rows) in &self.lost_rows {
            writeln!(f, "lost: {rows} changed rows of '{table}'")?;
        }
        for copy in &self.copies {
            writeln!(f, "kept a copy: {copy}")?;
        }
        Ok(())
    }
}

/// Makes the store in `options.dir` one that opens without its log. `stamp` ends the names of the copies; nothing may
/// have the store open.
///
/// # Errors
/// When there is no store, or a file cannot be read or written.
pub fn discard_log(options: &Options, stamp: &str) -> Result<Discarded> {
    discard_log_on(&real_disk(options)?, options, stamp)
}

/// As [`discard_log`], on any disk.
///
/// # Errors
/// As [`discard_log`].
pub fn discard_log_on(disk: &Arc<dyn Disk>, options: &Options, stamp: &str) -> Result<Discarded> {
    let disk = &**disk;
    if open_segment(disk, DATA)?.is_none() {
        return Err(Error::Refused {
            found: format!("no {}", disk.describe(DATA)),
            expected: "a store whose log is to be discarded".to_owned(),
            help: "Restore data.redb first; without it the log is of no use.".to_owned(),
        });
    }
    let signals = Arc::new(Signals::default());
    let Store { database, pages, thread, meta, .. } = open_store(disk, options, Applier::Caller, &signals)?;
    let guard = StopOnDrop::new(&signals);
    let mut discarded = Discarded { last_kept: meta.seq, ..Discarded::default() };
    if meta.log_required {
        let (own, foreign) = read_what_can_be(disk, &meta, stamp, &mut discarded)?;
        let replay = own.replay(&meta)?;
        let txn = store_file::begin(&database)?;
        apply_rows(&txn, &replay.rows)?;
        let kept = StoreMeta { seq: replay.seq, time: replay.time, log_required: false, ..meta };
        commit_durably(txn, &kept)?;
        pages.wait_for(pages.barriers())?;
        discarded.replayed = replay.seq - meta.seq;
        discarded.last_kept = replay.seq;
        let mut rows = WriteSet::default();
        for records in [own, foreign] {
            discarded.lost.extend(records.rows_beyond(replay.seq, &mut rows)?);
        }
        discarded.lost.sort_unstable();
        discarded.lost_rows = rows.iter().map(|(table, changes)| (table, changes.len() as u64)).collect();
    }
    guard.disarm();
    database.close()?;
    drop(thread);
    Ok(discarded)
}

/// Copies both segments, and reads the records of this run, and those of another run of this store.
fn read_what_can_be(
    disk: &dyn Disk,
    meta: &StoreMeta,
    stamp: &str,
    told: &mut Discarded,
) -> Result<(Records, Records)> {
    let (mut own, mut foreign) = (Records::default(), Records::default());
    for name in NAMES {
        let Some(file) = open_segment(disk, name)? else {
            told.unreadable.push(format!("{name} is missing"));
            continue;
        };
        told.copies.push(copy(disk, &*file, name, stamp)?);
        let wrong = match read_header(&*file, name) {
            Ok(None) => None,
            Ok(Some(header)) => match belongs(&header, meta, name) {
                Ok(true) => add(&mut own, &*file, name, &header),
                Ok(false) => None,
                Err(error) => {
                    if header.store_id == meta.store_id {
                        add(&mut foreign, &*file, name, &header);
                    }
                    Some(error)
                }
            },
            Err(error) => Some(error),
        };
        if let Some(Error::Refused { found, .. }) = wrong {
            told.unreadable.push(found);
        }
    }
    disk.sync_dir().map_err(|source| Error::io("syncing the folder", source))?;
    Ok((own, foreign))
}

fn add(records: &mut Records, file: &dyn DiskFile, name: &str, header: &CycleHeader) -> Option<Error> {
    match read_records(file, name, header) {
        Ok(found) => {
            records.add(found);
            None
        }
        Err(error) => Some(error),
    }
}

/// Copies a segment; what cannot be read is zeros in the copy.
fn copy(disk: &dyn Disk, file: &dyn DiskFile, name: &str, stamp: &str) -> Result<String> {
    let to = format!("{name}.discarded-{stamp}");
    let write = || -> std::io::Result<()> {
        let copy = disk.create(&to)?;
        let len = file.len()?;
        let mut block = [0; 4096];
        for at in (0..len).step_by(block.len()) {
            let read = file.read_at(at, &mut block).unwrap_or_default();
            copy.write_at(at, &block[..read])?;
        }
        copy.sync_data()
    };
    write().map_err(|source| Error::io(format!("copying {name} to {to}"), source))?;
    Ok(to)
}
