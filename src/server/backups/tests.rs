//! Which backups stay, when the next is due, and what a stop waits for.

use super::*;
use crate::server::{Control, run};
use crate::storage::sim_disk::SimDisk;
use crate::storage::{DurabilityMode, Options, Table};

fn name(time_ms: u64, store_id: u128) -> Name {
    Name::new(Millis(time_ms), 7, store_id)
}

/// Backups of which one is being written, and the store that it is of.
fn writing() -> (Backups, Arc<Work>, Db) {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let mut db = Db::open_stepped(&disk, &Options::new("simulated".as_ref())).unwrap();
    let mut batch = db.batch().unwrap();
    batch.put(Table::Keys, b"k".to_vec(), b"v".to_vec()).unwrap();
    let rows = batch.finish();
    db.append(&rows, Millis(1)).unwrap();
    db.flush().unwrap();
    db.apply(&rows).unwrap();
    let work = Arc::new(Work::new(Source::new(db.durable_snapshot().unwrap(), || ())));
    let options = crate::server::panic_tests::options("nowhere".as_ref(), DurabilityMode::Always).backups;
    let mut backups = Backups::new(options, db.stats().store_id, Millis(1), &mut Facts::default());
    backups.work = Some(Arc::clone(&work));
    (backups, work, db)
}

#[test]
fn names_say_when_and_of_which_store() {
    let name = name(1_795_843_036_123, 0xabcd_ef01 << 96);
    assert_eq!(name.file(), "agq-20261128T051716.123Z-7-abcdef01.redb");
    assert_eq!(Name::parse(&name.file()), Some(name.clone()));
    assert_eq!(name.time(), Some(Millis(1_795_843_036_123)));
    for other in ["data.redb", "agq-20261128T051716.123Z-7-abcdef01.redb.tmp", "agq-now-7-abcdef01.redb"] {
        assert_eq!(Name::parse(other), None, "{other}");
    }
}

#[test]
fn rotation_removes_the_oldest_of_this_store_and_nothing_else() {
    let disk = SimDisk::new(1);
    let (own, other) = (1_u128 << 127, 1_u128 << 126);
    let times = [1_000_u64, 2_000, 3_000, 4_000];
    times.iter().for_each(|time| disk.put(&name(*time, own).file(), b"x"));
    let foreign = [name(500, other).file(), "agq-mine.redb".to_owned(), "notes.txt".to_owned()];
    foreign.iter().for_each(|file| disk.put(file, b"x"));
    assert_eq!(rotate(&disk, &name(4_000, own), 2).unwrap(), 7);
    let mut expected: Vec<String> = times[2..].iter().map(|time| name(*time, own).file()).collect();
    expected.extend(foreign);
    expected.sort();
    assert_eq!(disk.list().unwrap(), expected);
}

#[test]
fn backups_of_a_clock_that_was_ahead_make_place_for_the_next() {
    let (disk, store) = (SimDisk::new(1), 1_u128 << 127);
    let made = |time, seq| {
        let name = Name::new(Millis(time), seq, store);
        disk.put(&name.file(), b"x");
        name
    };
    let (next_year, now) = (1_827_379_036_000, 1_795_843_036_000);
    let ahead: Vec<Name> = (0..3).map(|n| made(next_year + n, 10 + n)).collect();
    // Nothing was written since the last of them.
    let new = made(now, 12);
    assert_eq!(rotate(&disk, &new, 3).unwrap(), 11);
    let newer = made(now + 1, 13);
    assert_eq!(rotate(&disk, &newer, 3).unwrap(), 12);
    let mut expected = [&ahead[2], &new, &newer].map(Name::file);
    expected.sort();
    assert_eq!(disk.list().unwrap(), expected);
    assert_eq!(rotate(&disk, &new, 1).unwrap(), 12, "the one just made stays, whatever the others are");
    assert_eq!(disk.list().unwrap(), [new.file()]);
    // An older copy of the store was put back: its records begin again lower.
    let later = [made(now + 2, 5), made(now + 3, 6), made(now + 4, 7)];
    assert_eq!(rotate(&disk, &later[2], 2).unwrap(), 6);
    assert_eq!(disk.list().unwrap(), later[1..].iter().map(Name::file).collect::<Vec<_>>());

    let dir = tempfile::tempdir().unwrap();
    let put = |name: &Name| std::fs::write(dir.path().join(name.file()), b"x").unwrap();
    ahead.iter().for_each(put);
    assert_eq!(newest(dir.path(), store, Millis(now)), None, "none was begun yet, by this clock");
    put(&new);
    assert_eq!(newest(dir.path(), store, Millis(now)), Some(Millis(now)));
}

#[test]
fn a_stop_waits_for_the_snapshot_of_a_backup_and_for_nothing_else() {
    // Its thread has not come to it: whatever it waits for, the snapshot can go.
    let (backups, work, db) = writing();
    assert!(backups.hold_snapshot());
    backups.abandon();
    assert!(!backups.hold_snapshot());
    let disk = SimDisk::new(2);
    let written = storage::write_backup(&work.source, &disk, "b.redb", &mut |_| ControlFlow::Continue(()));
    assert!(matches!(written, Err(Error::Cancelled)), "{written:?}");
    db.close().unwrap();

    // While rows are copied it lives, and not while they are read back.
    let (backups, work, db) = writing();
    let mut phases = Vec::new();
    let written = storage::write_backup(&work.source, &disk, "b.redb", &mut |progress| {
        phases.push(progress.phase);
        assert_eq!(backups.hold_snapshot(), progress.phase == Phase::Copying);
        if progress.phase == Phase::Verifying {
            backups.abandon();
        }
        work.go_on(progress, u64::MAX)
    });
    assert!(matches!(written, Err(Error::Cancelled)), "{written:?}");
    phases.dedup();
    assert_eq!(phases, [Phase::Copying, Phase::Verifying]);
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    db.close().unwrap();
}

#[test]
fn the_end_of_a_server_waits_for_no_thread_of_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let options = crate::server::panic_tests::options(dir.path(), DurabilityMode::Always);
    let (disk_goes_on, disk) = std::sync::mpsc::channel::<()>();
    let control = Control::only(async move {
        // Such a thread, whose disk does not answer.
        drop(tokio::task::spawn_blocking(move || disk.recv()));
    });
    run(&options, control, |_| ()).unwrap();
    drop(disk_goes_on);
}
