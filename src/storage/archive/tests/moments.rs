//! Any moment, from any backup before it; an archive that is full, late, or not of this store.

use super::*;

#[test]
fn a_moment_before_the_backup_is_refused() {
    let mut world = World::new(3, u64::MAX, false);
    let mut db = world.open();
    (0..5).for_each(|_| world.batch(&mut db));
    world.backup(&mut db).unwrap();
    db.close().unwrap();
    let (name, backup) = world.made[0].clone();
    let refused = world.restore(&name, Millis(backup.time.0 - 1), false).unwrap_err().to_string();
    assert!(refused.contains("Use an older backup"), "{refused}");
}

#[test]
fn a_full_archive_never_stops_the_store_and_its_gap_is_told() {
    let mut world = World::new(5, 64 << 10, false);
    let mut db = world.open();
    world.batch(&mut db);
    world.backup(&mut db).unwrap();
    while db.step().unwrap() {}
    world.archive.set_faults(Faults { capacity: Some(0), ..Faults::default() });
    while db.stats().archive.unwrap().gaps == 0 {
        world.batch(&mut db);
        if db.checkpoint_due(0) {
            db.checkpoint().unwrap();
        }
        (0..4).for_each(|_| assert!(db.step().is_ok()));
        assert_eq!(db.pace(), Pace::Go);
    }
    assert!(db.stats().archive.unwrap().error.is_some());
    world.archive.set_faults(Faults::default());
    while db.step().unwrap() {}
    world.backup(&mut db).unwrap();
    (0..9).for_each(|_| world.batch(&mut db));
    db.close().unwrap();
    let (first, backup) = world.made[0].clone();
    let refused = world.restore(&first, Millis::MAX, false).unwrap_err().to_string();
    assert!(refused.contains("no record 2 to ") && refused.contains("--stop-at-gap"), "{refused}");
    let (restored, state) = world.restore(&first, Millis::MAX, true).unwrap();
    assert!(restored.gap.is_some() && restored.seq == backup.seq);
    assert!(state == world.fold(backup.seq));
    let (second, _) = world.made[1].clone();
    let (restored, state) = world.restore(&second, Millis::MAX, false).unwrap();
    assert_eq!(restored.seq, world.history.len() as u64);
    assert!(state == world.fold(restored.seq));
    assert_eq!(archive_ranges(&world.archive).unwrap().len(), 2);
}

#[test]
fn where_the_archive_is_required_writes_wait_for_it() {
    let mut world = World::new(6, 64 << 10, true);
    let mut db = world.open();
    world.archive.set_faults(Faults { capacity: Some(0), ..Faults::default() });
    while db.pace() != Pace::Wait {
        world.batch(&mut db);
        if db.checkpoint_due(0) {
            db.checkpoint().unwrap();
        }
        (0..4).for_each(|_| assert!(db.step().is_ok()));
    }
    world.archive.set_faults(Faults::default());
    while db.step().unwrap() {}
    assert_ne!(db.pace(), Pace::Wait);
    assert_eq!(db.stats().archive.unwrap().gaps, 0);
}

#[test]
fn an_older_copy_of_the_store_does_not_go_on_with_its_archive() {
    let mut world = World::new(4, u64::MAX, false);
    let mut db = world.open();
    world.batch(&mut db);
    db.close().unwrap();
    let old = world.disk.fork();
    let mut db = world.open();
    world.batch(&mut db);
    db.close().unwrap();
    let opened = Db::open_stepped_with(&shared(&old), &shared(&world.archive), &world.options);
    let refused = opened.map(drop).unwrap_err().to_string();
    assert!(refused.contains("records up to 2 of this store in the archive"), "{refused}");
}

#[test]
fn what_a_killed_process_could_not_sync_is_copied_again() {
    for fail_sync_at in 0..6 {
        let mut world = World::new(12, u64::MAX, false);
        let mut db = world.open();
        world.batch(&mut db);
        world.backup(&mut db).unwrap();
        world.archive.set_faults(Faults::failing(Operation::Sync, fail_sync_at));
        for _ in 0..8 {
            world.batch(&mut db);
            while db.stats().archive.unwrap().error.is_none() && db.step().unwrap() {}
            if db.stats().archive.unwrap().error.is_some() {
                break;
            }
        }
        assert!(db.stats().archive.unwrap().error.is_some(), "sync {fail_sync_at} was to fail");
        (world.disk, world.archive) = (world.disk.kill(), world.archive.kill());
        drop(db);
        // The power goes as soon as the store is open again.
        let db = world.open();
        (world.disk, world.archive) = (world.disk.crash(), world.archive.crash());
        drop(db);
        world.open().close().unwrap();
        let (restored, _) = world.restore(&world.made[0].0.clone(), Millis::MAX, false).unwrap();
        assert_eq!(restored.seq, world.history.len() as u64, "sync {fail_sync_at} failed");
    }
}

#[test]
fn compacting_the_files_leaves_the_archive_nothing_less() {
    for is_closed in [false, true] {
        let mut world = World::new(14, u64::MAX, false);
        let mut db = world.open();
        world.batch(&mut db);
        world.backup(&mut db).unwrap();
        while db.step().unwrap() {}
        // What comes now is in the log alone: the archive is full until the server stops or is killed.
        world.archive.set_faults(Faults { capacity: Some(0), ..Faults::default() });
        (0..5).for_each(|_| world.batch(&mut db));
        if is_closed {
            db.close().unwrap()
        } else {
            drop(db)
        }
        let (disk, archive) = (world.disk.kill(), world.archive.kill());
        for cut in (0..).step_by(7) {
            (world.disk, world.archive) = (disk.fork(), archive.fork());
            world.disk.set_faults(Faults { power_off_at: Some(cut), ..Faults::default() });
            let done = compact_on(&shared(&world.disk), &world.options, &mut || ()).is_ok();
            world.disk = world.disk.crash();
            world.open().close().unwrap();
            let (restored, state) = world.restore(&world.made[0].0.clone(), Millis::MAX, false).unwrap();
            assert_eq!(restored.seq, 6, "after a cut at {cut}");
            assert!(state == world.fold(6));
            if done {
                break;
            }
        }
    }
}
