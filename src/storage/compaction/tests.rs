//! Compacting while serving, on a simulated disk: it is small, it is the same, and it may be cut short anywhere.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use fastrand::Rng;

use super::*;
use crate::clock::Millis;
use crate::storage::compact::TEMPORARY;
use crate::storage::files::Disk;
use crate::storage::sim_disk::{Failing, Faults, Operation, SimDisk};
use crate::storage::{Compacted, CompactionEnd, Db, Options, Rows, Snapshot, Table, WriteSet, compact_on};

type State = BTreeMap<(Table, Bytes), Bytes>;

const TABLES: [Table; 3] = [Table::Keys, Table::Blobs, Table::Jobs];

fn options() -> Options {
    Options {
        cache_size: 1 << 20,
        checkpoint_size: 64 << 10,
        compact_slice: 8 << 10,
        ..Options::new(std::path::Path::new(""))
    }
}

/// A store and what has to be in it.
struct World {
    disk: SimDisk,
    db: Db,
    state: State,
    rng: Rng,
}

impl World {
    /// A store most of whose file is free, and whose log is needed.
    fn sparse() -> World {
        let disk = SimDisk::new(1);
        let db = open(&disk);
        let mut world = World { disk, db, state: State::new(), rng: Rng::with_seed(1) };
        world.write(0..600, Some(300));
        world.db.checkpoint().unwrap();
        while world.db.step().unwrap() {}
        world.write(100..600, None);
        world
    }

    /// Writes values of so many bytes, or removes them.
    fn write(&mut self, numbers: std::ops::Range<u32>, len: Option<usize>) {
        let mut batch = self.db.batch().unwrap();
        for number in numbers {
            let table = TABLES[number as usize % TABLES.len()];
            let key = Bytes::copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
            match len {
                Some(len) => {
                    let value = Bytes::from(vec![self.rng.u8(..); len]);
                    batch.put(table, key.clone(), value.clone()).unwrap();
                    self.state.insert((table, key), value);
                }
                None => {
                    batch.remove(table, key.clone()).unwrap();
                    self.state.remove(&(table, key));
                }
            }
        }
        let rows = batch.finish();
        let seq = self.db.stats().seq + 1;
        self.db.append(&rows, Millis(seq)).unwrap();
        self.db.flush().unwrap();
        self.db.apply(&rows).unwrap();
    }

    fn checkpoint_if_due(&mut self) -> crate::storage::Result<()> {
        if self.db.checkpoint_due(0) { self.db.checkpoint() } else { Ok(()) }
    }

    /// Goes on until the compaction ends; `between` is called before each of its pieces.
    fn compact(&mut self, between: &mut dyn FnMut(&mut World)) -> CompactionEnd {
        assert!(self.db.begin_compaction(u64::MAX).unwrap());
        loop {
            between(self);
            self.checkpoint_if_due().unwrap();
            self.db.step().unwrap();
            if let Some(end) = self.db.turn_compaction().unwrap() {
                return end;
            }
        }
    }

    /// One piece of a compaction; what came of it is left where it is.
    fn go_on_without_an_end(&mut self) {
        self.checkpoint_if_due().unwrap();
        self.db.step().unwrap();
        while self.db.compacting_wants_view() {
            self.checkpoint_if_due().unwrap();
            assert!(self.db.turn_compaction().unwrap().is_none());
        }
    }

    fn check(&mut self) {
        assert!(contents(&self.db.snapshot().unwrap()) == self.state, "the store has other rows");
    }
}

fn dynamic(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn open(disk: &SimDisk) -> Db {
    Db::open_stepped(&dynamic(disk), &options()).unwrap()
}

fn contents(rows: &Snapshot) -> State {
    let (mut found, all) = (State::new(), Bound::Unbounded);
    for table in Table::ALL {
        let mut keep = |key: &[u8], value: &[u8]| {
            found.insert((table, Bytes::copy_from_slice(key)), Bytes::copy_from_slice(value));
            ControlFlow::Continue(())
        };
        rows.scan(table, all, all, false, &mut keep).unwrap();
    }
    found
}

#[test]
fn the_file_becomes_as_small_as_without_a_server() {
    let mut world = World::sparse();
    let offline = world.disk.fork();
    let without = compact_on(&dynamic(&offline), &options(), &mut || ()).unwrap();
    let mut slices = std::collections::BTreeSet::new();
    let done = world.compact(&mut |world| slices.extend(world.db.compaction().map(|at| at.rows))).unwrap();
    assert!(slices.len() > 3, "{slices:?}");
    assert_eq!(done.rows, 100);
    assert!(done.after * 2 < done.before && done.after <= without.after * 5 / 4, "{done:?}, offline {without:?}");
    world.check();
    // It goes on like any store.
    world.write(0..50, Some(200));
    world.db.checkpoint().unwrap();
    world.check();
    world.db.close().unwrap();
    assert_eq!(dynamic(&world.disk).list().unwrap().len(), 3, "nothing is left behind");
    assert!(contents(&open(&world.disk).snapshot().unwrap()) == world.state);
}

/// Writes now and then, into what was copied and what was not.
fn write_now_and_then(world: &mut World) {
    if world.rng.u8(..4) == 0 {
        let first = world.rng.u32(..800);
        let len = [None, None, Some(10), Some(400), Some(3000)][world.rng.usize(..5)];
        let many = world.rng.u32(..6);
        world.write(first..first + many, len);
    }
    // Pages are written faster than they come.
    for _ in 0..world.rng.u32(..80) {
        if !world.db.step().unwrap() {
            break;
        }
    }
}

#[test]
fn what_is_written_meanwhile_is_in_it() {
    for seed in 0..8 {
        let mut world = World::sparse();
        world.rng = Rng::with_seed(seed);
        world.compact(&mut write_now_and_then).unwrap();
        world.check();
        write_now_and_then(&mut world);
        let after = if seed % 2 == 0 { world.disk.crash() } else { world.disk.kill() };
        assert!(contents(&open(&after).snapshot().unwrap()) == world.state, "seed {seed}");
    }
}

#[test]
fn a_snapshot_outlives_the_file_it_shows() {
    let mut world = World::sparse();
    let (snapshot, state) = (world.db.snapshot().unwrap(), world.state.clone());
    world.compact(&mut write_now_and_then).unwrap();
    for _ in 0..3 {
        write_now_and_then(&mut world);
        assert!(world.db.turn_compaction().unwrap().is_none());
        world.db.checkpoint().unwrap();
    }
    assert!(contents(&snapshot) == state);
    drop(snapshot);
    assert!(world.db.turn_compaction().unwrap().is_none());
    world.check();
    // And once more.
    world.compact(&mut write_now_and_then).unwrap();
    world.check();
}

/// Compacts, with writes, until an I/O fails: what the store had then.
fn cut(disk: &SimDisk, faults: Faults) -> (World, bool) {
    let disk = disk.fork();
    let db = open(&disk);
    let mut world = World { disk, db, state: State::new(), rng: Rng::with_seed(5) };
    world.state = contents(&world.db.snapshot().unwrap());
    world.disk.set_faults(faults);
    assert!(world.db.begin_compaction(u64::MAX).unwrap());
    let mut written = 0;
    let ended = loop {
        if written < 6 {
            let number = 90 + written;
            let mut batch = world.db.batch().unwrap();
            let key = Bytes::copy_from_slice(&[7, number]);
            batch.put(Table::Keys, key.clone(), key.clone()).unwrap();
            let rows = batch.finish();
            let done = world.db.append(&rows, Millis(9)).and_then(|()| world.db.flush());
            if done.is_err() {
                break false;
            }
            world.state.insert((Table::Keys, key.clone()), key);
            if world.db.apply(&rows).is_err() {
                break false;
            }
            written += 1;
        }
        if world.checkpoint_if_due().is_err() || world.db.step().is_err() {
            break false;
        }
        match world.db.turn_compaction() {
            Err(_) => break false,
            Ok(Some(end)) => break end.is_ok() && written == 6,
            Ok(None) => {}
        }
    };
    (world, ended)
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing() {
    let before = World::sparse();
    let disk = before.disk.kill();
    let mut ios = 0;
    for stride in [7, 1] {
        // First all of it in strides, then each I/O near the end, where files change places.
        let mut at = if stride == 7 { 0 } else { ios.max(40) - 40 };
        loop {
            let (world, ended) = cut(&disk, Faults { power_off_at: Some(at), ..Faults::default() });
            let after = world.disk.crash();
            // What was appended last may be there, though nobody was told.
            let found = contents(&open(&after).snapshot().unwrap());
            let unanswered = found.len() - world.state.len();
            assert!(unanswered <= 1, "cut at {at}: {unanswered} rows too many");
            for (row, value) in &world.state {
                assert_eq!(found.get(row), Some(value), "cut at {at}");
            }
            assert_eq!(after.contents(TEMPORARY), None, "cut at {at}: a start removes what is left");
            if ended {
                break;
            }
            at += stride;
        }
        ios = at;
    }
    assert!(ios > 100, "{ios}");
}

#[test]
fn a_full_disk_ends_it_and_leaves_the_store_as_it_was() {
    for more in [0, 24 << 10, 48 << 10] {
        let mut world = World::sparse();
        world.db.checkpoint().unwrap();
        while world.db.step().unwrap() {}
        // Enough for its own look at the room: what stops it is a write that fails.
        let capacity = world.disk.allocated() + more;
        let mut pieces = 0;
        let ended = world.compact(&mut |world| {
            pieces += 1;
            if pieces == 3 {
                world.disk.set_faults(Faults { capacity: Some(capacity), ..Faults::default() });
            }
        });
        let reason = ended.unwrap_err();
        assert!(reason.contains("space") || reason.contains("room"), "{reason}");
        world.disk.set_faults(Faults::default());
        assert_eq!((world.db.stopped(), world.disk.contents(TEMPORARY)), (None, None));
        world.check();
        world.compact(&mut |_| ()).unwrap();
        world.check();
    }
}

#[test]
fn a_copy_that_cannot_be_written_or_read_is_given_up_alone() {
    for operation in [Operation::Read, Operation::Write, Operation::Sync] {
        for after in [0, 3, 9, 20] {
            let mut world = World::sparse();
            world.db.checkpoint().unwrap();
            while world.db.step().unwrap() {}
            let file = Some(TEMPORARY.to_owned());
            let failing = vec![Failing { operation, file, after, lasting: false }];
            world.disk.set_faults(Faults { failing, ..Faults::default() });
            let ended = world.compact(&mut |_| ());
            world.disk.set_faults(Faults::default());
            assert_eq!(world.db.stopped(), None, "{operation:?} after {after}: {ended:?}");
            assert_eq!(world.disk.contents(TEMPORARY), None);
            world.check();
            world.write(0..5, Some(7));
            let after = world.disk.crash();
            assert!(contents(&open(&after).snapshot().unwrap()) == world.state);
        }
    }
}

#[test]
fn one_that_is_stopped_leaves_nothing_behind() {
    for moment in 1..12 {
        let mut world = World::sparse();
        let mut pieces = 0;
        let ended = world.compact(&mut |world| {
            pieces += 1;
            if pieces == moment {
                assert!(world.db.stop_compaction("somebody said so"));
            }
        });
        assert_eq!(ended.unwrap_err(), "somebody said so", "at piece {moment}");
        assert_eq!((world.db.compaction(), world.disk.contents(TEMPORARY)), (None, None));
        world.check();
    }
}

#[test]
fn the_log_keeps_what_a_copy_with_the_name_does_not_have() {
    for kill in [false, true] {
        let mut world = World::sparse();
        assert!(world.db.begin_compaction(u64::MAX).unwrap());
        while world.db.compaction().map(|at| at.phase) != Some(CompactionPhase::Replacing) {
            world.go_on_without_an_end();
        }
        // The core is slow to go on with it: checkpoints of the old file free no log any more.
        for first in 0..30 {
            world.write(first * 20..first * 20 + 20, Some(1000));
            world.db.checkpoint().unwrap();
            while world.db.step().unwrap() {}
        }
        let after = if kill { world.disk.kill() } else { world.disk.crash() };
        assert!(contents(&open(&after).snapshot().unwrap()) == world.state);
        world.db.turn_compaction().unwrap().unwrap().unwrap();
        world.check();
        let after = world.disk.crash();
        assert!(contents(&open(&after).snapshot().unwrap()) == world.state);
    }
}

#[test]
fn a_store_is_closed_at_any_moment_of_it() {
    let mut complete = 0;
    for pieces in 0..60 {
        let mut world = World::sparse();
        assert!(world.db.begin_compaction(u64::MAX).unwrap());
        (0..pieces).for_each(|_| world.go_on_without_an_end());
        let phase = world.db.compaction().map(|at| at.phase);
        complete += u32::from(phase == Some(CompactionPhase::Replacing));
        world.db.close().unwrap();
        let mut db = open(&world.disk);
        assert_eq!(db.stats().replayed, 0);
        assert!(contents(&db.snapshot().unwrap()) == world.state, "after {pieces} pieces");
    }
    assert!(complete > 0, "no copy had the name when the store was closed");
}

#[test]
fn writers_that_are_too_fast_end_it_and_not_the_other_way_round() {
    let feed = Feed::new(Arc::default());
    let mut rows = WriteSet::default();
    rows.insert(Table::Blobs, Bytes::from("large"), Some(Bytes::from(vec![1; 12 << 20])));
    feed.push(&rows, 1, Millis(1), 1);
    assert!(!feed.is_behind());
    feed.push(&rows, 2, Millis(1), 2);
    assert!(feed.is_behind());
    assert_eq!(feed.pop(u64::MAX).map(|entry| entry.seq), Some(1));
    assert!(!feed.is_behind() && feed.pop(1).is_none() && feed.check().is_ok());
    (3..20).for_each(|seq| feed.push(&rows, seq, Millis(1), seq));
    assert!(feed.check().is_err() && feed.pop(u64::MAX).is_none() && !feed.is_behind());
    feed.finish(Err(crate::storage::Error::Cancelled));
    let Some(Err(reason)) = feed.take_outcome() else { panic!("no reason is told") };
    assert!(reason.contains("more is written than can be copied"), "{reason}");
}

#[test]
fn a_store_that_may_not_grow_has_room_again() {
    let disk = SimDisk::new(1);
    let options = Options { max_file_size: Some(1 << 20), ..options() };
    let db = Db::open_stepped(&dynamic(&disk), &options).unwrap();
    let mut world = World { disk, db, state: State::new(), rng: Rng::with_seed(1) };
    let mut number = 0;
    while world.db.refusal().is_none() {
        world.write(number..number + 10, Some(1000));
        number += 10;
        world.db.checkpoint().unwrap();
        while world.db.step().unwrap() {}
        world.db.look_at_space().unwrap();
    }
    world.write(0..number - 5, None);
    world.compact(&mut |world| world.db.look_at_space().unwrap()).unwrap();
    world.db.look_at_space().unwrap();
    assert_eq!(world.db.refusal(), None);
    let stats = world.db.stats();
    assert!(stats.allocated_bytes < 512 << 10, "{stats:?}");
    world.check();
}

#[test]
fn a_second_one_waits_for_the_first() {
    let mut world = World::sparse();
    assert!(world.db.begin_compaction(u64::MAX).unwrap());
    assert!(!world.db.begin_compaction(u64::MAX).unwrap());
}

#[test]
fn with_threads_too() {
    let disk = SimDisk::new(3);
    let db = Db::open_on(&dynamic(&disk), &options()).unwrap();
    let (sender, woken) = std::sync::mpsc::channel();
    db.on_wake(move || sender.send(()).unwrap_or_default());
    let mut world = World { disk, db, state: State::new(), rng: Rng::with_seed(3) };
    world.write(0..600, Some(300));
    world.write(100..600, None);
    assert!(world.db.begin_compaction(u64::MAX).unwrap());
    let done: Compacted = loop {
        let first = world.rng.u32(..800);
        let len = world.rng.bool().then_some(50);
        world.write(first..first + 3, len);
        if let Some(end) = world.db.turn_compaction().unwrap() {
            break end.unwrap();
        }
        if world.db.checkpoint_due(0) {
            world.db.checkpoint().unwrap();
        } else {
            // Nothing to do until a thread says so.
            woken.recv().unwrap();
        }
    };
    assert!(done.rows >= 90, "{done:?}");
    world.check();
    world.db.close().unwrap();
    assert!(contents(&open(&world.disk).snapshot().unwrap()) == world.state);
}
