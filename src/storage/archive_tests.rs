//! Backups, the archive and restoring on simulated disks: whatever cuts them short, what is restored is the state of a
//! moment, and what cannot be is refused.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use super::*;
use crate::clock::Millis;
use crate::storage::files::Disk;
use crate::storage::sim_disk::{Faults, Operation, SimDisk};

const DATA: &str = "data.redb";

type State = BTreeMap<Bytes, Bytes>;

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn options(rng: &mut Rng, max_lag: u64, required: bool) -> Options {
    Options {
        cache_size: 1 << 20,
        checkpoint_size: 1 << rng.u32(13..17),
        archive: Some(ArchiveOptions { dir: PathBuf::new(), max_lag, required }),
        ..Options::new(Path::new("simulated"))
    }
}

/// A store with an archive, and all that it was ever told.
struct World {
    rng: Rng,
    options: Options,
    disk: SimDisk,
    archive: SimDisk,
    backups: SimDisk,
    /// The write set of every record with its time; the first has number 1.
    history: Vec<(Millis, WriteSet)>,
    now: Millis,
    made: Vec<(String, Backup)>,
}

impl World {
    fn new(seed: u64, max_lag: u64, required: bool) -> World {
        let mut rng = Rng::with_seed(seed);
        let options = options(&mut rng, max_lag, required);
        let [disk, archive, backups] = [0, 1, 2].map(|n| SimDisk::new(seed ^ n << 40));
        World { rng, options, disk, archive, backups, history: Vec::new(), now: Millis(1_000), made: Vec::new() }
    }

    fn open(&mut self) -> Db {
        let db = Db::open_stepped_with(&shared(&self.disk), &shared(&self.archive), &self.options).unwrap();
        let seq = db.stats().seq as usize;
        assert!(seq == self.history.len() || seq + 1 == self.history.len(), "{seq} of {}", self.history.len());
        self.history.truncate(seq);
        db
    }

    /// One batch; true when it was acknowledged.
    fn batch(&mut self, db: &mut Db, flush: bool) {
        self.now = self.now.plus(self.rng.u64(0..3) * 10);
        let mut batch = db.batch().unwrap();
        for _ in 0..self.rng.usize(1..5) {
            let key = Bytes::from(vec![b'k', self.rng.u8(0..40)]);
            if self.rng.u8(0..5) == 0 {
                batch.remove(Table::Keys, key).unwrap();
            } else {
                let value = vec![self.rng.u8(..); self.rng.usize(1..1500)];
                batch.put(Table::Keys, key, value).unwrap();
            }
        }
        let rows = batch.finish();
        db.append(&rows, self.now).unwrap();
        self.history.push((self.now, rows.clone()));
        if flush {
            db.flush().unwrap();
            db.apply(&rows).unwrap();
        }
    }

    fn backup(&mut self, db: &mut Db) {
        let name = format!("backup-{}", db.stats().seq);
        let snapshot = db.snapshot().unwrap();
        let backup = write_backup(snapshot, &self.backups, &name, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(backup.seq, db.stats().seq);
        self.made.retain(|(other, _)| *other != name);
        self.made.push((name, backup));
    }

    /// A run: batches, checkpoints, work in the background, backups, and a disk of the archive that fails for a while.
    fn run(&mut self) {
        let mut db = self.open();
        for _ in 0..self.rng.usize(1..60) {
            self.batch(&mut db, true);
            match self.rng.u8(0..16) {
                0 => self.backup(&mut db),
                1 => db.checkpoint().unwrap(),
                2 => self.archive.set_faults(Faults::failing(Operation::Write, self.rng.u64(0..6))),
                3 => self.archive.set_faults(Faults::failing(Operation::Sync, self.rng.u64(0..3))),
                4 => self.archive.set_faults(Faults { capacity: Some(self.archive.allocated()), ..Faults::default() }),
                5 => self.archive.set_faults(Faults::default()),
                _ => {}
            }
            if db.checkpoint_due(0) {
                db.checkpoint().unwrap();
            }
            for _ in 0..self.rng.usize(0..6) {
                db.step().unwrap();
            }
        }
        match self.rng.u8(0..4) {
            0 => db.close().unwrap(),
            1 => {
                self.batch(&mut db, false);
                (self.disk, self.archive) = (self.disk.kill(), self.archive.kill());
            }
            _ => {
                let unflushed = self.rng.bool();
                if unflushed {
                    self.batch(&mut db, false);
                }
                (self.disk, self.archive) = (self.disk.crash(), self.archive.crash());
            }
        }
        self.archive.set_faults(Faults::default());
    }

    fn fold(&self, seq: u64) -> State {
        let mut state = State::new();
        for (_, rows) in &self.history[..seq as usize] {
            for (_, changes) in rows.iter() {
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(state.insert(key.clone(), value.clone())),
                        None => drop(state.remove(key)),
                    }
                }
            }
        }
        state
    }

    /// The record that a moment ends with.
    fn record_at(&self, to: Millis) -> u64 {
        self.history.iter().take_while(|(time, _)| *time <= to).count() as u64
    }

    fn restore(&self, name: &str, to: Millis, stop_at_gap: bool) -> Result<(Restored, State)> {
        let target = SimDisk::new(9);
        let restored = restore_into(&target, &self.backups, name, Some((&self.archive, to, stop_at_gap)))?;
        Ok((restored, state_of(&target)))
    }
}

fn restore_into(
    target: &SimDisk,
    backups: &SimDisk,
    name: &str,
    replay: Option<(&SimDisk, Millis, bool)>,
) -> Result<Restored> {
    let backup = backups.open(name).unwrap().unwrap();
    let replay = replay.map(|(archive, to, stop_at_gap)| Replay { archive, to, stop_at_gap });
    let what = Restore { backup: &backup, name, replay };
    restore(target, &what, &mut |_| Ok(()), &mut |_| ControlFlow::Continue(()))
}

fn state_of(disk: &SimDisk) -> State {
    let db = Db::open_stepped(&shared(disk), &Options::new(Path::new("simulated"))).unwrap();
    let mut state = State::new();
    let batch = db.batch().unwrap();
    batch
        .scan(Table::Keys, Bound::Unbounded, Bound::Unbounded, false, &mut |key, value| {
            state.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            ControlFlow::Continue(())
        })
        .unwrap();
    state
}

#[test]
fn any_moment_is_restored_from_any_backup_before_it() {
    let seeds = std::env::var("AGQ_ARCHIVE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(5);
    let mut restored_moments = 0;
    for seed in 1..=seeds {
        let mut world = World::new(seed, u64::MAX, false);
        for _ in 0..world.rng.usize(1..6) {
            world.run();
        }
        let mut db = world.open();
        world.batch(&mut db, true);
        world.backup(&mut db);
        db.close().unwrap();
        if world.rng.bool() {
            let oldest = world.rng.usize(0..world.made.len());
            world.made.drain(..oldest);
            let (_, backup) = &world.made[0];
            prune_archive(&world.archive, backup.store_id, backup.seq).unwrap();
        }
        for _ in 0..4 {
            let (name, backup) = world.made[world.rng.usize(0..world.made.len())].clone();
            let to = Millis(world.rng.u64(backup.time.0..=world.now.0 + 5));
            let expected = world.record_at(to);
            let (restored, state) =
                world.restore(&name, to, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!((restored.seq, restored.gap), (expected, None), "seed {seed}: {name} to {to:?}");
            assert!(state == world.fold(expected), "seed {seed}: {name} to {to:?} is another state");
            restored_moments += u32::from(restored.replayed > 0);
        }
    }
    assert!(restored_moments > 0, "no record was ever replayed");
}

#[test]
fn a_moment_before_the_backup_is_refused() {
    let mut world = World::new(3, u64::MAX, false);
    let mut db = world.open();
    (0..5).for_each(|_| world.batch(&mut db, true));
    world.backup(&mut db);
    db.close().unwrap();
    let (name, backup) = world.made[0].clone();
    let refused = world.restore(&name, Millis(backup.time.0 - 1), false).unwrap_err().to_string();
    assert!(refused.contains("Use an older backup"), "{refused}");
}

#[test]
fn a_full_archive_never_stops_the_store_and_its_gap_is_told() {
    let mut world = World::new(5, 64 << 10, false);
    let mut db = world.open();
    world.batch(&mut db, true);
    world.backup(&mut db);
    while db.step().unwrap() {}
    world.archive.set_faults(Faults { capacity: Some(0), ..Faults::default() });
    while db.stats().archive.unwrap().gaps == 0 {
        world.batch(&mut db, true);
        if db.checkpoint_due(0) {
            db.checkpoint().unwrap();
        }
        (0..4).for_each(|_| assert!(db.step().is_ok()));
        assert_eq!(db.pace(), Pace::Go);
    }
    assert!(db.stats().archive.unwrap().error.is_some());
    world.archive.set_faults(Faults::default());
    while db.step().unwrap() {}
    world.backup(&mut db);
    (0..9).for_each(|_| world.batch(&mut db, true));
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
        world.batch(&mut db, true);
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
fn a_damaged_record_is_refused_and_all_before_it_can_be_restored() {
    let mut world = World::new(8, u64::MAX, false);
    let mut db = world.open();
    world.batch(&mut db, true);
    world.backup(&mut db);
    (0..20).for_each(|_| world.batch(&mut db, true));
    db.close().unwrap();
    let piece = world.archive.list().unwrap().remove(0);
    let mut bytes = world.archive.contents(&piece).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.archive.put(&piece, &bytes);
    let (name, backup) = world.made[0].clone();
    let refused = world.restore(&name, Millis::MAX, false).unwrap_err().to_string();
    assert!(refused.contains("damaged in") && refused.contains("latest moment"), "{refused}");
    let (restored, state) = world.restore(&name, Millis::MAX, true).unwrap();
    assert!(restored.seq > backup.seq && restored.seq < world.history.len() as u64, "{restored:?}");
    assert!(state == world.fold(restored.seq));
    let (again, _) = world.restore(&name, restored.time.min(world.history[restored.seq as usize].0), true).unwrap();
    assert_eq!(again.seq, restored.seq);
}

#[test]
fn an_older_copy_of_the_store_does_not_go_on_with_its_archive() {
    let mut world = World::new(4, u64::MAX, false);
    let mut db = world.open();
    world.batch(&mut db, true);
    db.close().unwrap();
    let old = world.disk.fork();
    let mut db = world.open();
    world.batch(&mut db, true);
    db.close().unwrap();
    let opened = Db::open_stepped_with(&shared(&old), &shared(&world.archive), &world.options);
    let refused = opened.map(drop).unwrap_err().to_string();
    assert!(refused.contains("records up to 2 of this store in the archive"), "{refused}");
}

/// A store with some rows, and a backup of it.
fn small_world() -> World {
    let mut world = World::new(11, u64::MAX, false);
    let mut db = world.open();
    (0..6).for_each(|_| world.batch(&mut db, true));
    world.backup(&mut db);
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
        let written = write_backup(db.snapshot().unwrap(), &disk, "b.redb", &mut |_| ControlFlow::Continue(()));
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
        write_backup(db.snapshot().unwrap(), &disk, "b.redb", &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    }
    let disk = SimDisk::new(1);
    let ended = write_backup(db.snapshot().unwrap(), &disk, "b.redb", &mut |_| ControlFlow::Break(()));
    assert!(matches!(ended, Err(Error::Cancelled)) && disk.list().unwrap().is_empty());
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
    other.batch(&mut db, true);
    db.close().unwrap();
    let copy = SimDisk::new(3);
    let file = by_hand.open(DATA).unwrap().unwrap();
    copy_backup(&file, DATA, &copy, "copy", &mut |_| ControlFlow::Continue(())).unwrap();
}

#[test]
fn what_a_killed_process_could_not_sync_is_copied_again() {
    for fail_sync_at in 0..6 {
        let mut world = World::new(12, u64::MAX, false);
        let mut db = world.open();
        world.batch(&mut db, true);
        world.backup(&mut db);
        world.archive.set_faults(Faults::failing(Operation::Sync, fail_sync_at));
        for _ in 0..8 {
            world.batch(&mut db, true);
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
