//! Backups and restores that are cut short, damaged, or put where something is already.

use super::*;

/// A store with some rows, and a backup of it.
fn small_world() -> World {
    let mut world = World::new(11, u64::MAX, false);
    let mut db = world.open();
    (0..6).for_each(|_| world.batch(&mut db));
    world.backup(&mut db).unwrap();
    db.close().unwrap();
    world
}

#[test]
fn a_backup_that_is_cut_short_leaves_no_file_that_looks_whole() {
    let mut world = small_world();
    let mut db = world.open();
    let mut whole = 0;
    for at in 0.. {
        let disk = SimDisk::new(at);
        disk.set_faults(Faults { power_off_at: Some(at), ..Faults::default() });
        let written = write_backup(&Source::new(db.snapshot().unwrap(), || ()), &disk, "b.redb", &mut |_| {
            ControlFlow::Continue(())
        });
        let left = disk.crash();
        if let Some(file) = left.open("b.redb").unwrap() {
            let copy = SimDisk::new(0);
            copy_backup(&file, "b.redb", &copy, "copy", &mut |_| ControlFlow::Continue(())).unwrap();
            whole += 1;
        }
        if written.is_ok() {
            break;
        }
    }
    assert!(whole > 0);
    // A disk that fails, or is full, and somebody who ends it: nothing is left.
    for faults in [
        Faults::failing(Operation::Write, 3),
        Faults::failing(Operation::Sync, 1),
        Faults { capacity: Some(16 << 10), ..Faults::default() },
    ] {
        let disk = SimDisk::new(1);
        disk.set_faults(faults);
        write_backup(&Source::new(db.snapshot().unwrap(), || ()), &disk, "b.redb", &mut |_| ControlFlow::Continue(()))
            .unwrap_err();
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    }
    let disk = SimDisk::new(1);
    let ended =
        write_backup(&Source::new(db.snapshot().unwrap(), || ()), &disk, "b.redb", &mut |_| ControlFlow::Break(()));
    assert!(matches!(ended, Err(Error::Cancelled)) && disk.list().unwrap().is_empty());
}

#[test]
fn a_backup_gives_its_snapshot_back_before_it_waits_for_the_disk() {
    let mut world = small_world();
    let mut db = world.open();
    let disk = SimDisk::new(1);
    let (watched, found) = (disk.clone(), Arc::new(std::sync::Mutex::new(None)));
    let tell = Arc::clone(&found);
    let source = Source::new(db.snapshot().unwrap(), move || {
        *tell.lock().unwrap() = watched.contents("b.redb.tmp");
    });
    let written = write_backup(&source, &disk, "b.redb", &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(written.rows > 0 && !source.is_held());
    // Nothing was committed yet.
    let early = SimDisk::new(2);
    early.put("b.redb", &found.lock().unwrap().take().unwrap());
    look_at(&early.open("b.redb").unwrap().unwrap(), "b.redb").map(drop).unwrap_err();
    look_at(&disk.open("b.redb").unwrap().unwrap(), "b.redb").unwrap();
    db.close().unwrap();
}

#[test]
fn a_backup_with_any_damaged_page_is_refused() {
    let world = small_world();
    let (name, _) = &world.made[0];
    let whole = world.backups.contents(name).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(7919) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        world.backups.put(name, &bytes);
        let target = SimDisk::new(1);
        match restore_into(&target, &world.backups, name, None) {
            Ok(_) => assert!(state_of(&target) == world.fold(6), "byte {at} is damaged, and nobody said so"),
            Err(_) => {
                assert_eq!(target.list().unwrap(), Vec::<String>::new(), "what is refused leaves nothing");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_restore_that_is_cut_short_is_no_store_and_can_be_repeated() {
    let world = small_world();
    let (name, _) = &world.made[0];
    let (mut cut, mut done) = (0, 0);
    for at in (0..).step_by(3) {
        let disk = SimDisk::new(at);
        disk.set_faults(Faults { power_off_at: Some(at), ..Faults::default() });
        let restored = restore_into(&disk, &world.backups, name, None);
        let left = disk.crash();
        let names = left.list().unwrap();
        if names.iter().any(|name| name == DATA) {
            done += 1;
        } else {
            if !names.is_empty() {
                let opened = Db::open_stepped(&shared(&left.fork()), &Options::new(Path::new("simulated")));
                let refused = opened.map(drop).unwrap_err().to_string();
                assert!(refused.contains("Run `agq restore` again"), "{refused}");
                cut += 1;
            }
            restore_into(&left, &world.backups, name, None).unwrap();
        }
        assert!(state_of(&left) == world.fold(6), "cut at {at}");
        if restored.is_ok() {
            break;
        }
    }
    assert!(cut > 0 && done > 0, "{cut} {done}");
}

#[test]
fn a_restored_store_is_one_of_its_own_and_a_folder_with_anything_in_it_is_left_alone() {
    let world = small_world();
    let (name, backup) = world.made[0].clone();
    let target = SimDisk::new(1);
    target.put("lock", b"");
    let restored = restore_into(&target, &world.backups, &name, None).unwrap();
    assert_ne!(restored.store_id, backup.store_id);
    assert_eq!((restored.seq, restored.time), (backup.seq, backup.time));
    let refused = restore_into(&target, &world.backups, &name, None).unwrap_err().to_string();
    assert!(refused.contains("data.redb"), "{refused}");
    // A backup put in place by hand is a store too, and says nothing of its rows once it goes on.
    let by_hand = SimDisk::new(2);
    by_hand.put(DATA, &world.backups.contents(&name).unwrap());
    let mut db = Db::open_stepped(&shared(&by_hand), &world.options).unwrap();
    assert!(!db.stats().repaired, "opening it needs no walk over the whole file");
    let mut other = World::new(1, u64::MAX, false);
    other.batch(&mut db);
    db.close().unwrap();
    let copy = SimDisk::new(3);
    let file = by_hand.open(DATA).unwrap().unwrap();
    copy_backup(&file, DATA, &copy, "copy", &mut |_| ControlFlow::Continue(())).unwrap();
}
