//! Backups, the archive and restoring on simulated disks: whatever cuts them short, what is restored is the state of a
//! moment, and what cannot be is refused.

mod backups;
mod damage;
mod lives;
mod moments;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use crate::clock::Millis;
use crate::storage::files::Disk;
use crate::storage::sim_disk::{Faults, Operation, SimDisk};
use crate::storage::*;

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
        assert_eq!(db.stats().seq, self.history.len() as u64);
        db
    }

    /// The changes of a batch, at a time that may be later than that of the last.
    fn changes(&mut self, db: &Db) -> Result<WriteSet> {
        self.now = self.now.plus(self.rng.u64(0..3) * 10);
        let mut batch = db.batch()?;
        for _ in 0..self.rng.usize(1..5) {
            let key = Bytes::from(vec![b'k', self.rng.u8(0..40)]);
            if self.rng.u8(0..5) == 0 {
                batch.remove(Table::Keys, key)?;
            } else {
                let value = vec![self.rng.u8(..); self.rng.usize(1..1500)];
                batch.put(Table::Keys, key, value)?;
            }
        }
        Ok(batch.finish())
    }

    /// One batch that is acknowledged.
    fn batch(&mut self, db: &mut Db) {
        let rows = self.changes(db).unwrap();
        db.append(&rows, self.now).unwrap();
        self.history.push((self.now, rows.clone()));
        db.flush().unwrap();
        db.apply(&rows).unwrap();
    }

    fn backup(&mut self, db: &mut Db) -> Result<()> {
        let name = format!("backup-{}", db.stats().seq);
        let snapshot = db.durable_snapshot()?;
        let backup =
            write_backup(&Source::new(snapshot, || ()), &self.backups, &name, &mut |_| ControlFlow::Continue(()))?;
        assert_eq!(backup.seq, db.stats().seq);
        self.made.retain(|(other, _)| *other != name);
        self.made.push((name, backup));
        Ok(())
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
