//! What is taken and refused when room becomes short, and when there is some again.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Millis;
use crate::storage::files::{Disk, RealDisk};
use crate::storage::plain_file;
use crate::storage::sim_disk::{Faults, SimDisk};
use crate::storage::{Bound, Db, Error, Options, Rows, Table};

fn options() -> Options {
    Options { checkpoint_size: 64 << 10, cache_size: 1 << 20, ..Options::new(Path::new("simulated")) }
}

fn open(disk: &SimDisk, options: &Options) -> Db {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Db::open_stepped(&disk, options).unwrap()
}

fn name(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// One command, with what the core does around it; true when it was taken.
fn change(db: &mut Db, adds: bool, rows: &[(Bytes, Option<Bytes>)]) -> Result<(), Error> {
    db.look_at_space().unwrap();
    if db.refusal().is_some_and(|refusal| adds || refusal.everything) {
        return Err(Error::NoRoom { needed: 0, room: 0, refusal: db.refusal().unwrap() });
    }
    let mut batch = db.batch().unwrap();
    batch.set_adds(adds);
    for (key, value) in rows {
        match value {
            Some(value) => batch.put(Table::Keys, key.clone(), value.clone())?,
            None => batch.remove(Table::Keys, key.clone())?,
        }
    }
    let rows = batch.finish();
    db.append(&rows, Millis(1)).unwrap();
    db.flush().unwrap();
    db.apply(&rows).unwrap();
    if db.checkpoint_due(0) {
        db.checkpoint().unwrap();
        drain(db);
    }
    Ok(())
}

/// Writes what is queued, as far as there is space.
fn drain(db: &mut Db) {
    while !db.is_held() && db.step().unwrap() {}
}

fn put(db: &mut Db, n: u32) -> Result<(), Error> {
    change(db, true, &[(name(n), Some(vec![n as u8; 4000].into()))])
}

fn delete(db: &mut Db, n: u32) {
    change(db, false, &[(name(n), None)]).unwrap();
}

/// What the core does when nothing is asked for a while.
fn idle(db: &mut Db) {
    loop {
        db.look_at_space().unwrap();
        drain(db);
        if !db.checkpoint_due(1000) {
            return db.look_at_space().unwrap();
        }
        db.checkpoint().unwrap();
    }
}

fn delete_all(db: &mut Db, numbers: &[u32]) {
    for numbers in numbers.chunks(16) {
        let rows: Vec<_> = numbers.iter().map(|n| (name(*n), None)).collect();
        change(db, false, &rows).unwrap();
    }
}

/// Adds until it is refused; what was added last.
fn fill(db: &mut Db, from: u32) -> u32 {
    (from..from + 100_000).find(|n| put(db, *n).is_err()).unwrap()
}

fn holds(db: &Db, n: u32) -> bool {
    db.batch().unwrap().get(Table::Keys, &name(n)).unwrap().is_some()
}

#[test]
fn what_adds_data_is_refused_before_the_disk_is_full_and_what_frees_some_goes_on() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { capacity: Some(16 << 20), ..Faults::default() });
    let mut db = open(&disk, &options());
    let end = fill(&mut db, 0);
    assert!(!db.is_held(), "the disk never was full");
    assert!((1 << 19..4 << 20).contains(&((16 << 20) - disk.allocated())), "{} taken", disk.allocated());
    let refusal = db.refusal().unwrap();
    assert!(refusal.bound == Bound::Disk && !refusal.everything);
    assert!(refusal.reason.contains("bytes are free on the file system of data.redb"), "{refusal}");
    // What was refused left nothing, what was taken is there. Every second row makes way, with nothing added.
    assert!(!holds(&db, end) && holds(&db, end - 1));
    (0..end).step_by(2).for_each(|n| delete(&mut db, n));
    // What was freed is inside the file, and taken again at once.
    let again = fill(&mut db, end);
    assert!((again - end) * 10 > end / 2 * 8, "{} of {end} rows", again - end);
    assert!(!db.is_held());
    drop(db);
    let db = open(&disk.kill(), &options());
    assert!((end..again).all(|n| holds(&db, n)) && !holds(&db, again) && holds(&db, 1) && !holds(&db, 2));
}

#[test]
fn a_command_that_is_larger_than_the_room_is_refused_alone() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { capacity: Some(16 << 20), ..Faults::default() });
    let mut db = open(&disk, &options());
    let large = |bytes: usize| [(name(1), Some(Bytes::from(vec![1; bytes])))];
    let error = change(&mut db, true, &large(14 << 20)).unwrap_err();
    assert!(matches!(&error, Error::NoRoom { needed, .. } if *needed > 14 << 20), "{error}");
    assert!(error.is_refusal() && db.refusal().is_none(), "{error}");
    change(&mut db, true, &large(1 << 20)).unwrap();
}

#[test]
fn what_is_on_its_way_and_what_was_freed_counts_though_nobody_is_ever_idle() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { capacity: Some(16 << 20), ..Faults::default() });
    let mut db = open(&disk, &Options { checkpoint_size: 4 << 20, ..options() });
    let large = |db: &mut Db, n| change(db, true, &[(name(n), Some(vec![n as u8; 200_000].into()))]);
    let taken = |db: &mut Db, from: u32| {
        let mut end = from;
        loop {
            while large(db, end).is_ok() {
                end += 1;
            }
            // Nobody is idle: whoever was refused tries again at once.
            if !db.checkpoint_due(0) {
                return end - from;
            }
            db.checkpoint().unwrap();
            drain(db);
        }
    };
    let end = taken(&mut db, 0);
    let free = (16 << 20) - disk.allocated() - (2 << 20);
    assert!(free < 3 * 200_000, "{free} bytes beside the reserve, after {end} rows");
    (0..end / 2).for_each(|n| delete(&mut db, n));
    let again = taken(&mut db, end);
    assert!(again * 4 >= end / 2 * 3, "{again} of {}", end / 2);
}

#[test]
fn a_record_never_meets_a_full_disk() {
    let disk = SimDisk::new(1);
    let mut db = open(&disk, &options());
    disk.set_faults(Faults { capacity: Some(disk.allocated()), ..Faults::default() });
    // Not even one of a command that adds nothing, which is larger than the log.
    let error = change(&mut db, false, &[(name(1), Some(vec![1; 1 << 20].into()))]).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    change(&mut db, false, &[(name(2), Some(vec![1; 8 << 10].into()))]).unwrap();
    assert!(!holds(&db, 1) && holds(&db, 2));
}

#[test]
fn while_a_page_waits_deletes_go_on_as_long_as_the_log_lasts_and_reads_after_that() {
    let disk = SimDisk::new(1);
    let mut db = open(&disk, &Options { checkpoint_size: 1 << 20, ..options() });
    (0..400).for_each(|n| put(&mut db, n).unwrap());
    let rows: Vec<_> = (1000..1100).map(|n| (name(n), Some(Bytes::from(vec![1; 4000])))).collect();
    change(&mut db, true, &rows).unwrap();
    // Others take what is free.
    disk.set_faults(Faults { capacity: Some(disk.allocated()), ..Faults::default() });
    db.checkpoint().unwrap();
    while !db.is_held() {
        assert!(db.step().unwrap());
    }
    assert!(put(&mut db, 2000).is_err());
    let refusal = db.refusal().unwrap();
    assert!(refusal.reason.contains("bytes wait to be written and 0 are free"), "{refusal}");
    let mut deleted = 0;
    while !db.refusal().unwrap().everything {
        let rows: Vec<_> = (0..500).map(|n| (name(n), None)).collect();
        change(&mut db, false, &rows).unwrap();
        deleted += 1;
    }
    assert!(deleted > 10 && !holds(&db, 1) && holds(&db, 1001), "{deleted}");
    assert!(matches!(db.checkpoint(), Err(Error::Full { .. })));
    // Nothing is lost by a kill, and it goes on by itself when there is room.
    let killed = open(&disk.kill(), &options());
    assert!(!holds(&killed, 1) && holds(&killed, 1001));
}

#[test]
fn it_goes_on_when_there_is_room_again() {
    let disk = SimDisk::new(1);
    let mut db = open(&disk, &options());
    (0..100).for_each(|n| put(&mut db, n).unwrap());
    put(&mut db, 100).unwrap();
    disk.set_faults(Faults { capacity: Some(disk.allocated()), ..Faults::default() });
    let rows: Vec<_> = (1000..1010).map(|n| (name(n), Some(Bytes::from(vec![1; 4000])))).collect();
    change(&mut db, false, &rows).unwrap();
    while !db.is_held() {
        db.checkpoint().unwrap();
        drain(&mut db);
    }
    disk.set_faults(Faults { capacity: Some(disk.allocated() + (1 << 30)), ..Faults::default() });
    while db.step().unwrap() {}
    assert!(put(&mut db, 2000).is_ok() && db.refusal().is_none());
    db.close().unwrap();
}

#[test]
fn a_stop_on_a_full_disk_leaves_the_log_and_says_so() {
    let disk = SimDisk::new(1);
    let mut db = open(&disk, &options());
    (0..100).for_each(|n| put(&mut db, n).unwrap());
    disk.set_faults(Faults { capacity: Some(disk.allocated()), ..Faults::default() });
    let rows: Vec<_> = (1000..1010).map(|n| (name(n), Some(Bytes::from(vec![1; 4000])))).collect();
    change(&mut db, false, &rows).unwrap();
    let error = db.close().unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    let db = open(&disk.kill(), &options());
    assert!(holds(&db, 99) && holds(&db, 1009) && db.stats().replayed > 0);
}

#[test]
fn max_file_size_bounds_what_the_files_take_and_deleting_makes_room() {
    let disk = SimDisk::new(1);
    let max = 16 << 20;
    let options = Options { max_file_size: Some(max), ..options() };
    let mut db = open(&disk, &options);
    let end = fill(&mut db, 0);
    assert!(disk.allocated() < max, "{}", disk.allocated());
    let refusal = db.refusal().unwrap();
    assert!(refusal.bound == Bound::MaxFileSize && refusal.reason.contains("16777216 of --max-file-size"), "{refusal}");
    (0..end).step_by(2).for_each(|n| delete(&mut db, n));
    let again = fill(&mut db, end);
    assert!(again - end > end / 8, "{} rows", again - end);
    assert!(disk.allocated() <= max, "{}", disk.allocated());
}

/// Fills a store, deletes those of `end` rows that `which` says, and fills it again; deletes the others too, ends and
/// begins anew, and fills it once more. How many rows were deleted and taken, each time.
fn deleted_and_taken(bound: Bound, gives_back: bool, which: impl Fn(u32, u32) -> bool) -> [(u32, u32); 2] {
    let bytes = 8 << 20;
    let (max, capacity) = if bound == Bound::Disk { (None, Some(bytes)) } else { (Some(bytes), None) };
    let options = Options { max_file_size: max, ..options() };
    let faults = Faults { capacity, ..Faults::default() };
    let disk = SimDisk::new(1);
    if !gives_back {
        disk.give_nothing_back();
    }
    disk.set_faults(faults.clone());
    let mut db = open(&disk, &options);
    let end = fill(&mut db, 0);
    let (some, rest): (Vec<u32>, Vec<u32>) = (0..end).partition(|n| which(*n, end));
    delete_all(&mut db, &some);
    let again = fill(&mut db, end);
    assert!(!db.is_held() && disk.allocated() <= bytes, "{} taken", disk.allocated());
    delete_all(&mut db, &rest);
    drop(db);
    let disk = disk.kill();
    disk.set_faults(faults);
    let mut db = open(&disk, &options);
    assert!(rest.iter().chain(&some).all(|n| !holds(&db, *n)) && (end..again).all(|n| holds(&db, n)));
    idle(&mut db);
    let third = fill(&mut db, again);
    assert!(!db.is_held() && disk.allocated() <= bytes, "{} taken", disk.allocated());
    let count = |rows: &[u32]| u32::try_from(rows.len()).unwrap();
    [(count(&some), again - end), (count(&rest), third - again)]
}

#[test]
fn what_was_deleted_can_be_written_again_wherever_it_stood() {
    for bound in [Bound::Disk, Bound::MaxFileSize] {
        for (name, which) in [
            ("every second", (|n, _| n % 2 == 0) as fn(u32, u32) -> bool),
            ("the first half", |n, end| n < end / 2),
            ("the second half", |n, end| n >= end / 2),
            ("all but a tenth", |n, end| n >= end / 10),
        ] {
            for (deleted, taken) in deleted_and_taken(bound, true, which) {
                assert!(taken * 10 > deleted * 8, "{bound:?}, {name}: {taken} of {deleted} rows");
            }
        }
    }
}

#[test]
fn a_file_system_that_takes_nothing_back_gives_room_for_what_was_deleted_as_long_as_the_reserve_lasts() {
    for bound in [Bound::Disk, Bound::MaxFileSize] {
        let [(deleted, taken), _] = deleted_and_taken(bound, false, |n, _| n % 2 == 0);
        assert!(taken * 2 > deleted, "{bound:?}: {taken} of {deleted} rows");
    }
}

#[test]
fn what_was_deleted_before_room_became_short_makes_room_for_large_commands() {
    let options = Options { max_file_size: Some(64 << 20), ..options() };
    let large = |db: &mut Db, n: u32| change(db, true, &[(name(n), Some(vec![n as u8; 100_000].into()))]);
    let disk = SimDisk::new(1);
    let mut db = open(&disk, &options);
    let end = (0..10_000).find(|n| large(&mut db, *n).is_err()).unwrap();
    // The command was refused alone: there is room for a smaller one.
    assert_eq!(db.refusal(), None);
    (0..end).step_by(2).for_each(|n| delete(&mut db, n));
    let mut again = end;
    for _ in 0..2 {
        again = (again..20_000).find(|n| large(&mut db, *n).is_err()).unwrap();
        idle(&mut db);
    }
    assert!((again - end) * 10 > end / 2 * 8, "{} of {end} rows", again - end);
    assert!(disk.allocated() <= 64 << 20, "{}", disk.allocated());
}

#[test]
fn the_system_tells_what_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let space = RealDisk::open(dir.path()).unwrap().space().unwrap().unwrap();
    assert!(space.available > 0 && space.available <= space.total, "{space:?}");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
    let file = disk.create("f").unwrap();
    file.set_len(1 << 20).unwrap();
    assert!(file.allocated().unwrap() < 1 << 20, "sparse");
    file.write_at(0, &vec![1; 1 << 20]).unwrap();
    assert!(file.allocated().unwrap() >= 1 << 20);
}

/// Reads that an opening after a kill does beyond those of redb's own opening, and those of both; of a store with `rows`
/// rows and the same log behind its last checkpoint.
fn reads_to_open(rows: u32, replayed: u32) -> (u64, u64) {
    let disk = SimDisk::new(1);
    let mut db = open(&disk, &options());
    for n in (0..rows).step_by(50) {
        let some: Vec<_> = (n..n + 50).map(|n| (name(n), Some(Bytes::from(vec![1; 200])))).collect();
        change(&mut db, true, &some).unwrap();
    }
    db.checkpoint().unwrap();
    drain(&mut db);
    for n in 0..replayed {
        let mut batch = db.batch().unwrap();
        batch.put(Table::Keys, name(n * (rows / replayed)), Bytes::from_static(b"changed")).unwrap();
        let rows = batch.finish();
        db.append(&rows, Millis(2)).unwrap();
        db.flush().unwrap();
        db.apply(&rows).unwrap();
    }
    let (disk, copy) = (disk.kill(), disk.kill());
    let before = copy.reads();
    let redb = plain_file::open(&copy.open("data.redb").unwrap().unwrap()).unwrap();
    let of_redb = copy.reads() - before;
    drop(redb);
    let before = disk.reads();
    let db = open(&disk, &options());
    assert_eq!((db.stats().replayed, db.stats().repaired), (u64::from(replayed), false));
    let reads = disk.reads() - before;
    (reads.saturating_sub(of_redb), reads)
}

#[test]
fn an_opening_reads_what_the_log_asks_for_whatever_the_size_of_the_file() {
    let [a, b, c, d] = [(1_000, 1), (1_000, 20), (20_000, 1), (20_000, 20)].map(|(rows, log)| reads_to_open(rows, log));
    // The larger file is some thousand pages, its trees one level deeper; each of twenty rows stands in another page.
    assert!(c.0 <= a.0 + 20 && d.0 <= b.0 + 60, "{a:?} {b:?} {c:?} {d:?}");
    // With its debug assertions redb's own opening marks every page (`mark_allocated_page_for_debug`).
    assert!(cfg!(debug_assertions) || c.1 <= a.1 + 30 && d.1 <= b.1 + 70, "{a:?} {b:?} {c:?} {d:?}");
}

#[test]
fn what_is_told_of_short_room_holds_for_as_long_as_it_is_short() {
    let bounded = |max_file_size| Options { max_file_size, ..options() };
    for (capacity, options) in [(Some(16 << 20), bounded(None)), (None, bounded(Some(16 << 20)))] {
        let disk = SimDisk::new(1);
        disk.set_faults(Faults { capacity, ..Faults::default() });
        let mut db = open(&disk, &options);
        let end = fill(&mut db, 0);
        let (mut refused, mut some_may_go) = (0, 0);
        for n in 0..end {
            delete(&mut db, n);
            if n % 16 == 0 {
                idle(&mut db);
            }
            db.look_at_space().unwrap();
            let Some(shortage) = db.shortage() else { continue };
            let words: Vec<&str> = shortage.reason.split_whitespace().collect();
            let before = |what: &[&str]| -> u64 {
                let at = words.windows(what.len()).position(|found| found == what).unwrap();
                words[at - 1].parse().unwrap()
            };
            let left = if capacity.is_some() { before(&["bytes", "are", "free"]) } else { before(&["are", "left"]) };
            assert!(left < before(&["are", "needed"]), "{shortage}");
            let has_place = shortage.reason.contains("in the place of what was deleted");
            assert_eq!(db.refusal().is_none(), has_place, "{shortage}");
            refused += u32::from(!has_place);
            some_may_go += u32::from(has_place);
        }
        assert!(refused > 0 && some_may_go > 0, "{refused} and {some_may_go} of {end}");
        idle(&mut db);
        assert!(db.shortage().is_none(), "{:?}", db.shortage());
    }
}
