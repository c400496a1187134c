use std::path::Path;
use std::sync::Arc;

use redb::{Database, TableDefinition};

use super::*;
use crate::storage::files::Disk;
use crate::storage::sim_disk::SimDisk;
use crate::storage::store_file::{begin, commit_durably};
use crate::storage::{Db, Options, plain_file};

const ROWS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("rows");

/// Changes rows and commits as the store does.
fn commit(database: &Database, rows: impl Iterator<Item = (u32, usize)>) {
    let txn = begin(database).unwrap();
    {
        let mut table = txn.open_table(ROWS).unwrap();
        for (key, len) in rows {
            match len {
                0 => drop(table.remove(key).unwrap()),
                len => drop(table.insert(key, &vec![1; len][..]).unwrap()),
            }
        }
    }
    let meta = crate::storage::meta::StoreMeta::read(database).unwrap().unwrap();
    commit_durably(txn, &meta).unwrap();
}

/// A file of redb's with the store's own row, on a disk.
fn store() -> (SimDisk, Arc<dyn DiskFile>, Database) {
    let disk = SimDisk::new(1);
    let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
    Db::open_stepped(&dynamic, &Options::new(Path::new(""))).unwrap().close().unwrap();
    let file = dynamic.open("data.redb").unwrap().unwrap();
    let database = plain_file::open(&file).unwrap();
    (disk, file, database)
}

#[test]
fn it_is_what_redb_itself_counts_and_no_free_page_is_one_that_redb_reads() {
    let (_disk, file, database) = store();
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..30 {
        let rows: Vec<_> = (0..200).map(|_| (rng.u32(..3000), [0, 0, 100, 3000, 70_000][rng.usize(..5)])).collect();
        commit(&database, rows.into_iter());
        // Once more, with nothing to free: redb frees what the last commit gave up in its memory only.
        commit(&database, std::iter::empty());
        let found = read(&*file).unwrap();
        let counted = begin(&database).unwrap().stats().unwrap().allocated_pages() * 4096;
        // It counts in the middle of a transaction: some pages of its own tables are others by then.
        assert!(counted.abs_diff(found.used - 4096) < 32 * 4096, "round {round}: {counted} {found:?}");
        assert_eq!(found.free + found.used, file.len().unwrap(), "round {round}");
        assert!(found.pieces.is_sorted_by_key(|piece| std::cmp::Reverse(piece.end - piece.start)));
        assert_eq!(found.pieces.iter().map(|piece| piece.end - piece.start).sum::<u64>(), found.free);
    }
    // Were one of them in use, redb would find a checksum that is wrong.
    drop(database);
    for piece in read(&*file).unwrap().pieces {
        file.write_at(piece.start, &vec![0xee; usize::try_from(piece.end - piece.start).unwrap()]).unwrap();
    }
    let mut database = plain_file::open(&file).unwrap();
    assert!(database.check_integrity().unwrap());
}

#[test]
fn what_is_not_as_it_should_be_is_an_error_and_never_a_panic() {
    let (disk, file, database) = store();
    commit(&database, (0..2000).map(|key| (key, 500)));
    drop(database);
    read(&*file).unwrap();
    let bytes = disk.contents("data.redb").unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    let mut refused = 0;
    for _ in 0..300 {
        let other = SimDisk::new(1);
        let mut bytes = bytes.clone();
        // The header, and pages anywhere.
        for _ in 0..4 {
            let at = if rng.bool() { rng.usize(..320) } else { rng.usize(..bytes.len()) };
            bytes[at] = rng.u8(..);
        }
        bytes.truncate(if rng.u8(..4) == 0 { rng.usize(..bytes.len()) } else { bytes.len() });
        other.put("data.redb", &bytes);
        refused += u32::from(read(&*other.open("data.redb").unwrap().unwrap()).is_err());
    }
    assert!(refused > 30, "{refused}");
}
