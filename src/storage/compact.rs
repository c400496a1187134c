//! Making the file of a store that nobody serves as small as what is in it; [`super::compaction`] does it while one is
//! served.
//!
//! Row by row into a new file, in the order of the keys, which packs redb's pages full. The new file takes the old one's
//! name only when it is complete, compared and synced, and the old one was closed: a crash at any moment leaves one of
//! the two, whole. The log is read and never changed: what an archive still lacks of it is copied by the next start.

use std::ops::Bound;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTableMetadata};

use crate::storage::backup::open_table;
use crate::storage::db::{apply_rows, definition, real_disk};
use crate::storage::files::Disk;
use crate::storage::log_segment::NAMES;
use crate::storage::meta::StoreMeta;
use crate::storage::recover::{open_segment, read_log};
use crate::storage::signals::{Signals, StopOnDrop};
use crate::storage::store_file::{self, DATA, Store, commit_durably, open_store};
use crate::storage::write_behind::Applier;
use crate::storage::{Error, Options, Result, Table, plain_file};

/// What the copy is called until it takes the place of the file.
pub(super) const TEMPORARY: &str = "data.redb-compact.tmp";
/// Bytes of rows that one transaction copies: redb keeps its pages in memory.
const STEP_BYTES: usize = 32 << 20;

/// What compacting has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of `data.redb` before.
    pub before: u64,
    /// And now.
    pub after: u64,
    /// Rows that were copied.
    pub rows: u64,
}

/// Compacts the store in `options.dir`, which nobody may have open. After a crash the records of its log are put into it
/// first, as at a start; the log stays as it is, and as needed as it was.
///
/// # Errors
/// When the store is refused as it would be at a start, or a file cannot be read or written; the store is then as it was.
pub fn compact(options: &Options, copied: &mut dyn FnMut()) -> Result<Compacted> {
    compact_on(&real_disk(options)?, options, copied)
}

/// As [`compact`], on any disk.
///
/// # Errors
/// As [`compact`].
pub fn compact_on(disk: &Arc<dyn Disk>, options: &Options, copied: &mut dyn FnMut()) -> Result<Compacted> {
    let disk = &**disk;
    let io = |what: &str| {
        let what = format!("{what} {}", disk.describe(TEMPORARY));
        move |source| Error::io(what, source)
    };
    let signals = Arc::new(Signals::default());
    let mut store = open_store(disk, options, Applier::Caller, &signals)?;
    // Dropped before the store is, should anything below fail: then nothing more is written.
    let guard = StopOnDrop::new(&signals);
    if store.meta.log_required {
        put_log(disk, &mut store)?;
    }
    let before = store.pages.len();
    let file = disk.create(TEMPORARY).map_err(io("making"))?;
    let rows = copy(&store.database, &store.meta, plain_file::open(&file)?, copied);
    let rows = rows.and_then(|rows| file.sync_data().map_err(io("writing")).map(|()| rows));
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            drop(file);
            // What failed is told; a file that is left is replaced the next time.
            let _ = disk.remove(TEMPORARY);
            return Err(error);
        }
    };
    let after = file.len().map_err(io("writing"))?;
    guard.disarm();
    store.database.close()?;
    disk.rename(TEMPORARY, DATA).map_err(io("renaming"))?;
    disk.sync_dir().map_err(io("renaming"))?;
    Ok(Compacted { before, after, rows })
}

/// Puts the records of the log that the file lacks into it. The file still names the run that wrote the log, and says that it
/// is needed: a start finds there what it would have found before.
fn put_log(disk: &dyn Disk, store: &mut Store) -> Result<()> {
    let (replay, _) = read_log(disk, &store.meta)?;
    // What a process wrote that was killed is only read here: a power cut must not take from the log what the file has.
    for name in NAMES {
        if let Some(segment) = open_segment(disk, name)? {
            segment.sync_data().map_err(|source| Error::io(format!("syncing {}", disk.describe(name)), source))?;
        }
    }
    let txn = store_file::begin(&store.database)?;
    apply_rows(&txn, &replay.rows)?;
    store.meta = StoreMeta { seq: replay.seq, time: replay.time, ..store.meta };
    commit_durably(txn, &store.meta)?;
    store.pages.wait_for(store.pages.barriers())
}

/// Copies every row and the store's own, and closes the copy. Returns how many rows there are.
fn copy(from: &Database, meta: &StoreMeta, mut to: Database, copied: &mut dyn FnMut()) -> Result<u64> {
    let reading = from.begin_read()?;
    store_file::begin(&to)?.commit()?;
    let mut rows = 0;
    for table in Table::ALL {
        let mut next = Some(Vec::new());
        while let Some(first) = next {
            next = copy_some(&reading, &to, table, &first, &mut || {
                rows += 1;
                copied();
            })?;
        }
    }
    commit_durably(to.begin_write()?, meta)?;
    // Cuts what the growing file took beyond its pages.
    while to.compact().map_err(redb::Error::from)? {}
    // Compacting commits in its own way; this one again makes the next opening quick.
    commit_durably(to.begin_write()?, meta)?;
    if !to.check_integrity()? {
        return Err(Error::corrupt(Table::Meta, "the copy that was made is not sound"));
    }
    let reading = to.begin_read()?;
    let mut found = 0;
    for table in Table::ALL {
        found += reading.open_table(definition(table))?.len()?;
    }
    if found != rows {
        return Err(Error::corrupt(Table::Meta, format!("the copy has {found} rows, {rows} were copied")));
    }
    reading.close()?;
    to.close()?;
    Ok(rows)
}

/// Copies the rows of a table from a key on, as many as a transaction takes. Returns where to go on.
fn copy_some(
    from: &ReadTransaction,
    to: &Database,
    table: Table,
    first: &[u8],
    copied: &mut dyn FnMut(),
) -> Result<Option<Vec<u8>>> {
    // A store of before this table has none.
    let Some(rows) = open_table(from, table)? else { return Ok(None) };
    let txn = to.begin_write()?;
    let (mut left, mut next) = (STEP_BYTES, None);
    {
        let mut open = txn.open_table(definition(table))?;
        for row in rows.range::<&[u8]>((Bound::Included(first), Bound::Unbounded))? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            if left == 0 {
                next = Some(key.to_vec());
                break;
            }
            left = left.saturating_sub(key.len() + value.len());
            copied();
            open.insert(key, value)?;
        }
    }
    txn.commit()?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use bytes::Bytes;

    use super::*;
    use crate::clock::Millis;
    use crate::storage::sim_disk::{Faults, SimDisk};
    use crate::storage::{Db, Rows};

    fn options() -> Options {
        Options { cache_size: 1 << 20, checkpoint_size: 64 << 10, ..Options::new(std::path::Path::new("")) }
    }

    fn open(disk: &SimDisk) -> Db {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Db::open_stepped(&disk, &options()).unwrap()
    }

    fn write(db: &mut Db, numbers: std::ops::Range<u32>, value: Option<&[u8]>) {
        let mut batch = db.batch().unwrap();
        for number in numbers {
            let key = number.wrapping_mul(2_654_435_761).to_be_bytes().to_vec();
            match value {
                Some(value) => batch.put(Table::Keys, key, value.to_vec()).unwrap(),
                None => batch.remove(Table::Keys, key).unwrap(),
            }
        }
        let rows = batch.finish();
        db.append(&rows, Millis(7)).unwrap();
        db.flush().unwrap();
        db.apply(&rows).unwrap();
    }

    /// Every row of the store.
    fn contents(db: &mut Db) -> Vec<(Table, Bytes, Bytes)> {
        let (snapshot, mut found) = (db.snapshot().unwrap(), Vec::new());
        for table in Table::ALL {
            let all = Bound::Unbounded;
            snapshot
                .scan(table, all, all, false, &mut |key, value| {
                    found.push((table, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
        found
    }

    /// A store whose file is mostly free, and whose log is needed.
    fn sparse() -> SimDisk {
        let disk = SimDisk::new(1);
        let mut db = open(&disk);
        write(&mut db, 0..1000, Some(&[7; 300]));
        db.checkpoint().unwrap();
        while db.step().unwrap() {}
        write(&mut db, 100..1000, None);
        drop(db);
        disk.kill()
    }

    #[test]
    fn a_compacted_store_is_small_and_the_same() {
        let disk = sparse();
        let expected = contents(&mut open(&disk.fork()));
        assert_eq!(expected.len(), 100);
        let mut steps = 0;
        let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
        let done = compact_on(&dynamic, &options(), &mut || steps += 1).unwrap();
        assert_eq!((steps, done.rows), (100, 100));
        assert!(done.after * 4 < done.before, "{done:?}");
        assert_eq!(disk.contents(DATA).unwrap().len() as u64, done.after);
        let mut db = open(&disk);
        assert_eq!((contents(&mut db), db.last_time()), (expected, Millis(7)));
        assert!(!db.stats().repaired);
        assert_eq!(dynamic.list().unwrap().len(), 3, "nothing is left behind");
    }

    #[test]
    fn a_power_cut_at_any_moment_loses_nothing() {
        let before = sparse();
        let expected = contents(&mut open(&before.fork()));
        let survives = |cut: u64| {
            let disk = before.fork();
            disk.set_faults(Faults { power_off_at: Some(cut), ..Faults::default() });
            let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
            let done = compact_on(&dynamic, &options(), &mut || ()).is_ok();
            assert_eq!(contents(&mut open(&disk.crash())), expected, "after a cut at {cut}");
            done
        };
        let end = (0..).step_by(4).find(|cut| survives(*cut)).unwrap();
        assert!(end > 100, "{end}");
        // Every moment near the end, where files change places.
        for cut in end - 30..end {
            survives(cut);
        }
    }

    #[test]
    fn a_full_disk_leaves_the_store_as_it_was() {
        let disk = sparse();
        let expected = contents(&mut open(&disk.fork()));
        disk.set_faults(Faults { capacity: Some(disk.allocated() + (24 << 10)), ..Faults::default() });
        let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
        compact_on(&dynamic, &options(), &mut || ()).unwrap_err();
        disk.set_faults(Faults::default());
        assert_eq!(disk.contents(TEMPORARY), None);
        assert_eq!(contents(&mut open(&disk)), expected);
    }
}
