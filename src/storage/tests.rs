//! The store on a real folder: what survives a clean stop and a kill, and what is refused.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::clock::Millis;
use crate::storage::files::Disk;
use crate::storage::shadow::ShadowDisk;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn options(dir: &Path) -> Options {
    Options { checkpoint_size: 64 << 10, ..Options::new(dir) }
}

fn put(db: &mut Db, key: &str, value: &[u8]) {
    let mut batch = db.batch().unwrap();
    batch.put(Table::Keys, Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value)).unwrap();
    let rows = batch.finish();
    db.append(&rows, Millis(1)).unwrap();
    db.flush().unwrap();
    db.apply(&rows).unwrap();
}

fn get(db: &Db, key: &str) -> Option<Bytes> {
    db.batch().unwrap().get(Table::Keys, key.as_bytes()).unwrap()
}

fn refused(dir: &Path) -> String {
    match Db::open(&options(dir)) {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn a_closed_store_is_one_file() {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    put(&mut db, "a", b"1");
    db.close().unwrap();
    let copy = folder();
    std::fs::copy(dir.path().join("data.redb"), copy.path().join("data.redb")).unwrap();
    let db = Db::open(&options(copy.path())).unwrap();
    assert_eq!(get(&db, "a").as_deref(), Some(&b"1"[..]));
    assert_eq!((db.stats().generation, db.stats().replayed), (2, 0));
    assert!(!db.stats().repaired);
}

#[test]
fn a_kill_loses_nothing_appended() {
    for mode in [DurabilityMode::Always, DurabilityMode::Interval(10_000), DurabilityMode::None] {
        let dir = folder();
        let options = Options { durability: mode, ..options(dir.path()) };
        let mut db = Db::open(&options).unwrap();
        for n in 0..100 {
            put(&mut db, &format!("key {n}"), &[n; 50]);
            if n == 50 {
                db.checkpoint().unwrap();
            }
        }
        drop(db);
        let db = Db::open(&options).unwrap();
        for n in 0..100 {
            assert_eq!(get(&db, &format!("key {n}")).as_deref(), Some(&[n; 50][..]), "{mode:?}");
        }
        assert!(db.stats().replayed >= 49, "{:?}", db.stats());
        assert!(!db.stats().repaired);
    }
}

#[test]
fn segments_take_turns_and_stay_small() {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    for n in 0..2000u32 {
        put(&mut db, &format!("key {}", n % 100), &[n as u8; 500]);
        if db.checkpoint_due(0) {
            db.checkpoint().unwrap();
        }
    }
    assert!(db.stats().checkpoints >= 5, "{:?}", db.stats());
    assert!(db.stats().log_bytes <= 1 << 20, "{:?}", db.stats());
    drop(db);
    let db = Db::open(&options(dir.path())).unwrap();
    for n in 1900..2000u32 {
        assert_eq!(get(&db, &format!("key {}", n % 100)).as_deref(), Some(&[n as u8; 500][..]));
    }
}

#[test]
fn a_record_larger_than_a_segment_grows_it() {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    put(&mut db, "large", &vec![7; 1 << 20]);
    put(&mut db, "small", b"1");
    assert!(db.checkpoint_due(0));
    assert_eq!(db.pace(), Pace::Wait, "more than twice the checkpoint size waits for a checkpoint");
    drop(db);
    let mut db = Db::open(&options(dir.path())).unwrap();
    assert_eq!(get(&db, "large").map(|value| value.len()), Some(1 << 20));
    assert_eq!(get(&db, "small").as_deref(), Some(&b"1"[..]));
    assert_eq!(db.stats().log_bytes, 128 << 10, "cut to the checkpoint size again");
    put(&mut db, "later", b"2");
    drop(db);
    assert_eq!(get(&Db::open(&options(dir.path())).unwrap(), "later").as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_checkpoint_that_has_reached_the_disk_wakes_the_core() {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    let (wake, woken) = mpsc::channel();
    db.on_wake(move || wake.send(()).unwrap_or(()));
    put(&mut db, "large", &vec![7; 1 << 20]);
    db.checkpoint().unwrap();
    while db.pace() == Pace::Wait {
        woken.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert!(!db.checkpoint_due(5000), "nothing was written since");
}

#[test]
fn the_interval_mode_syncs_by_itself() {
    let dir = folder();
    let options = Options { durability: DurabilityMode::Interval(1), ..options(dir.path()) };
    let mut db = Db::open(&options).unwrap();
    put(&mut db, "a", b"1");
    let begun = std::time::Instant::now();
    while db.stats().synced_seq < 1 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

#[test]
fn snapshots_see_what_was_applied_when_they_were_taken() {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    put(&mut db, "a", b"1");
    let snapshot = db.snapshot().unwrap();
    put(&mut db, "a", b"2");
    assert_eq!(snapshot.get(Table::Keys, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(db.snapshot().unwrap().get(Table::Keys, b"a").unwrap().as_deref(), Some(&b"2"[..]));
    drop(snapshot);
    drop(db);
    assert_eq!(get(&Db::open(&options(dir.path())).unwrap(), "a").as_deref(), Some(&b"2"[..]));
}

#[test]
fn time_is_kept_across_a_kill_and_a_stop() {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    let mut rows = WriteSet::default();
    rows.insert(Table::Keys, Bytes::from_static(b"a"), None);
    db.append(&rows, Millis(1_000)).unwrap();
    db.apply(&rows).unwrap();
    drop(db);
    let db = Db::open(&options(dir.path())).unwrap();
    assert_eq!(db.last_time(), Millis(1_000));
    db.close().unwrap();
    assert_eq!(Db::open(&options(dir.path())).unwrap().last_time(), Millis(1_000));
}

#[test]
fn rows_that_are_not_in_the_log_stop_the_store() {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    let mut rows = WriteSet::default();
    rows.insert(Table::Keys, Bytes::from_static(b"a"), Some(Bytes::new()));
    assert!(matches!(db.apply(&rows), Err(Error::Stopped { .. })));
    assert!(matches!(db.checkpoint(), Err(Error::Stopped { .. })));
    assert!(db.stopped().is_some());
}

/// A store that was killed with three records in its log.
fn killed() -> TempDir {
    let dir = folder();
    let mut db = Db::open(&options(dir.path())).unwrap();
    for key in ["a", "b", "c"] {
        put(&mut db, key, b"value");
    }
    drop(db);
    dir
}

#[test]
fn a_missing_log_is_refused() {
    let dir = killed();
    std::fs::remove_file(dir.path().join("data.redb-log-1")).unwrap();
    let message = refused(dir.path());
    assert!(message.contains("data.redb-log-1") && message.contains("--discard-log"), "{message}");
}

#[test]
fn a_log_without_its_store_is_refused() {
    let dir = killed();
    std::fs::remove_file(dir.path().join("data.redb")).unwrap();
    let message = refused(dir.path());
    assert!(message.contains("without data.redb"), "{message}");
}

#[test]
fn a_file_that_is_no_store_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.redb");
    let expected = format!("found {}, which is no store of AGQ; expected a file that AGQ has made", path.display());
    for foreign in [&b"short"[..], &[b'x'; 20_000]] {
        std::fs::write(&path, foreign).unwrap();
        let message = refused(dir.path());
        assert!(message.contains(&expected) && message.contains("Restore a backup"), "{message}");
        let disk: Arc<dyn Disk> = Arc::new(ShadowDisk::of_folder(dir.path()));
        let message = survey(&disk, &options(dir.path())).unwrap_err().to_string();
        assert!(message.contains(&expected), "a check says the same: {message}");
    }
}

#[test]
fn the_log_of_another_store_is_refused() {
    let dir = killed();
    std::fs::copy(killed().path().join("data.redb-log-0"), dir.path().join("data.redb-log-0")).unwrap();
    let message = refused(dir.path());
    assert!(message.contains("of the store"), "{message}");
}

#[test]
fn a_log_of_a_later_generation_is_refused() {
    let dir = killed();
    let old = std::fs::read(dir.path().join("data.redb")).unwrap();
    let mut db = Db::open(&options(dir.path())).unwrap();
    put(&mut db, "d", b"value");
    drop(db);
    std::fs::write(dir.path().join("data.redb"), old).unwrap();
    let message = refused(dir.path());
    assert!(message.contains("later than data.redb"), "{message}");
}

#[test]
fn a_damaged_header_is_refused() {
    let dir = killed();
    let path = dir.path().join("data.redb-log-0");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let db = Db::open(&options(dir.path())).unwrap();
    assert!(get(&db, "c").is_some(), "the other copy of the header counts");
    drop(db);

    let dir = killed();
    let path = dir.path().join("data.redb-log-0");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    bytes[4096 + 40] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(refused(dir.path()).contains("no header"));
}

#[test]
fn a_cut_log_is_refused() {
    let dir = killed();
    let file = std::fs::File::options().write(true).open(dir.path().join("data.redb-log-0")).unwrap();
    file.set_len(9000).unwrap();
    assert!(refused(dir.path()).contains("9000 bytes"));
}

#[test]
fn a_damaged_record_is_refused_and_the_last_one_cut() {
    // Three records of one row each: 40 + 3 + 1 + 5 bytes, padded to 56.
    let (first, last) = (8192, 8192 + 2 * 56);
    let dir = killed();
    let path = dir.path().join("data.redb-log-0");
    let intact = std::fs::read(&path).unwrap();
    let mut damaged = intact.clone();
    damaged[first + 50] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let message = refused(dir.path());
    assert!(message.contains("record 1 ") && message.contains("record 2"), "{message}");
    // Nothing tells a damaged last record from one that never was acknowledged.
    let mut damaged = intact;
    damaged[last + 50] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let db = Db::open(&options(dir.path())).unwrap();
    assert_eq!(get(&db, "b").as_deref(), Some(&b"value"[..]));
    assert_eq!(get(&db, "c"), None);
}

#[test]
fn what_is_no_store_is_refused() {
    let dir = folder();
    std::fs::write(dir.path().join("data.redb"), b"").unwrap();
    assert!(refused(dir.path()).contains("without a byte"));
    let dir = folder();
    drop(redb::Database::create(dir.path().join("data.redb")).unwrap());
    assert!(refused(dir.path()).contains("which is a file of redb but no store of AGQ"));
}

#[test]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let inner = dir.path().join("agq");
    let db = Db::open(&options(&inner)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    for name in ["data.redb", "data.redb-log-0", "data.redb-log-1"] {
        assert_eq!(mode(&inner.join(name)), 0o600, "{name}");
    }
    db.close().unwrap();
}

#[test]
fn a_discarded_log_is_copied_and_what_is_lost_is_told() {
    let dir = killed();
    let path = dir.path().join("data.redb-log-0");
    let mut damaged = std::fs::read(&path).unwrap();
    damaged[8192 + 56 + 50] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert!(refused(dir.path()).contains("record 2 "));
    let told = discard_log(&options(dir.path()), "2026-07-01").unwrap();
    assert_eq!((told.replayed, told.last_kept, &told.lost[..]), (1, 1, &[3][..]));
    assert_eq!(told.lost_rows, [(Table::Keys, 1)]);
    assert_eq!(std::fs::read(dir.path().join("data.redb-log-0.discarded-2026-07-01")).unwrap(), damaged);
    let db = Db::open(&options(dir.path())).unwrap();
    assert!(get(&db, "a").is_some() && get(&db, "b").is_none() && get(&db, "c").is_none());
}

#[test]
fn the_log_of_a_later_generation_can_be_discarded() {
    let dir = killed();
    let old = std::fs::read(dir.path().join("data.redb")).unwrap();
    let mut db = Db::open(&options(dir.path())).unwrap();
    put(&mut db, "d", b"value");
    drop(db);
    std::fs::write(dir.path().join("data.redb"), old).unwrap();
    let told = discard_log(&options(dir.path()), "now").unwrap();
    assert_eq!((told.last_kept, &told.lost[..]), (0, &[4][..]));
    assert!(told.to_string().contains("later than data.redb"), "{told}");
    assert_eq!(get(&Db::open(&options(dir.path())).unwrap(), "d"), None);
}

#[test]
fn without_a_store_there_is_nothing_to_discard() {
    assert!(matches!(discard_log(&options(folder().path()), "now"), Err(Error::Refused { .. })));
}

#[test]
fn a_full_disk_takes_the_batch_back_and_the_store_goes_on() {
    let disk = sim_disk::SimDisk::new(1);
    let shared: std::sync::Arc<dyn files::Disk> = std::sync::Arc::new(disk.clone());
    let mut db = Db::open_stepped(&shared, &options(Path::new("simulated"))).unwrap();
    put(&mut db, "small", b"1");
    disk.set_faults(sim_disk::Faults { capacity: Some(disk.allocated()), ..Default::default() });
    let mut rows = WriteSet::default();
    rows.insert(Table::Keys, Bytes::from_static(b"large"), Some(vec![7; 1 << 20].into()));
    let error = db.append(&rows, Millis(2)).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("no space"), "{error}");
    put(&mut db, "next", b"2");
    assert_eq!((get(&db, "large"), get(&db, "next").as_deref()), (None, Some(&b"2"[..])));

    // Pages that find no space wait for it; writes are refused meanwhile, nothing is lost.
    for n in 0..40 {
        put(&mut db, &format!("key {n}"), &[n; 900]);
    }
    let mut rows = WriteSet::default();
    for n in 0..3000u32 {
        rows.insert(Table::Jobs, Bytes::copy_from_slice(&n.to_be_bytes()), Some(vec![1; 500].into()));
    }
    disk.set_faults(sim_disk::Faults::default());
    db.append(&rows, Millis(3)).unwrap();
    db.apply(&rows).unwrap();
    disk.set_faults(sim_disk::Faults { capacity: Some(disk.allocated()), ..Default::default() });
    db.checkpoint().unwrap();
    while db.refusal().is_none() {
        assert!(db.step().unwrap());
    }
    assert!(!db.checkpoint_due(5000) && db.checkpoint().unwrap_err().is_refusal());
    disk.set_faults(sim_disk::Faults::default());
    while db.step().unwrap() {}
    assert_eq!(db.refusal(), None);
    assert!(db.stats().checkpoint_seq == db.stats().seq && !db.stats().checkpoint_draining);
    db.close().unwrap();
}

#[test]
fn a_failed_sync_is_never_acknowledged_again() {
    let disk = sim_disk::SimDisk::new(1);
    let shared: std::sync::Arc<dyn files::Disk> = std::sync::Arc::new(disk.clone());
    let mut db = Db::open_on(&shared, &options(Path::new("simulated"))).unwrap();
    put(&mut db, "a", b"1");
    disk.set_faults(sim_disk::Faults::failing(sim_disk::Operation::Sync, 0));
    let mut rows = WriteSet::default();
    rows.insert(Table::Keys, Bytes::from_static(b"b"), Some(Bytes::new()));
    db.append(&rows, Millis(2)).unwrap();
    assert!(!db.flush().unwrap_err().is_refusal());
    for result in [db.flush(), db.append(&rows, Millis(2)), db.apply(&rows), db.checkpoint()] {
        assert!(matches!(result, Err(Error::Stopped { .. })), "{result:?}");
    }
    let before = disk.contents("data.redb");
    drop(db);
    assert_eq!(disk.contents("data.redb"), before, "a stopped store writes nothing, its destructors included");
}

#[test]
fn while_the_disk_hangs_writes_wait_before_the_core_does() {
    let disk = sim_disk::SimDisk::new(1);
    let shared: std::sync::Arc<dyn files::Disk> = std::sync::Arc::new(disk.clone());
    // So that nothing else holds writes back, and redb hands over its pages soon.
    let options = Options { checkpoint_size: 1 << 30, cache_size: 1 << 20, ..Options::new(Path::new("simulated")) };
    let mut db = Db::open_stepped(&shared, &options).unwrap();
    put(&mut db, "first", b"1");
    db.checkpoint().unwrap();
    let before = disk.contents("data.redb");
    let mut written = 0;
    while db.pace() != Pace::Wait {
        written += 1;
        assert!(written < 10_000, "nothing holds writes back");
        put(&mut db, &format!("key {written}"), &[1; 16 << 10]);
    }
    assert_eq!(disk.contents("data.redb"), before, "the core has waited for the disk");
    assert_eq!(get(&db, "first").as_deref(), Some(&b"1"[..]));
    while db.pace() == Pace::Wait {
        assert!(db.step().unwrap(), "the pages that wait are not written");
    }
    db.close().unwrap();
}
