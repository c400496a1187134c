//! What a life does with its store between two crashes.

use bytes::Bytes;

use super::ledger::{State, Stop, same};
use super::{Life, Stage};
use crate::clock::Millis;
use crate::storage::{Db, DurabilityMode, Rows, Snapshot, Table};

const TABLES: [Table; 3] = [Table::Keys, Table::Lists, Table::Jobs];

impl Life {
    pub(super) fn act(&mut self, db: &mut Db, snapshots: &mut Vec<(Snapshot, State)>) -> Result<(), Stop> {
        match self.rng.u8(..20) {
            0..10 => self.batch(db)?,
            10..13 => {
                self.stage = Stage::Checkpoint;
                for _ in 0..self.rng.u32(..40) {
                    if self.threads || !db.step()? {
                        break;
                    }
                }
            }
            13 | 14 => {
                if !db.is_held() && self.chance(50) {
                    self.checkpoint(db)?;
                }
            }
            15 => snapshots.push((db.snapshot()?, self.ledger.state.clone())),
            16 => {
                if !snapshots.is_empty() {
                    let (snapshot, state) = snapshots.swap_remove(self.rng.usize(..snapshots.len()));
                    same(&snapshot, &state, "a snapshot")?;
                }
            }
            17 if self.options.durability != DurabilityMode::Always => self.sync(db)?,
            18 if self.chance(5) => {
                // What others keep on the disk comes and goes.
                let room = self.chance(50).then(|| self.disk.allocated() + self.rng.u64(..32 << 10));
                self.disk.set_capacity(room);
            }
            _ => self.read(db)?,
        }
        self.compact(db)?;
        if db.checkpoint_due(0) {
            self.checkpoint(db)?;
        }
        let stats = db.stats();
        if !stats.checkpoint_draining {
            self.ledger.promise(stats.checkpoint_seq);
        }
        Ok(())
    }

    fn read(&mut self, db: &Db) -> Result<(), Stop> {
        let batch = db.batch()?;
        for _ in 0..self.rng.u32(..5) {
            let (table, key) = self.row();
            if batch.get(table, &key)? != self.ledger.state.get(&(table, key.clone())).cloned() {
                return Err(Stop::Broken(format!("another value of {key:?} in {table}")));
            }
        }
        if self.chance(50) {
            same(&batch, &self.ledger.state, "the open batch")?;
        }
        Ok(())
    }

    /// Now and then the file is compacted; whatever becomes of that, the store goes on.
    fn compact(&mut self, db: &mut Db) -> Result<(), Stop> {
        if db.compaction().is_none() {
            if self.chance(6) {
                db.begin_compaction(u64::MAX)?;
            }
            return Ok(());
        }
        self.stage = Stage::Compacting;
        if self.chance(1) {
            db.stop_compaction("it was stopped");
        }
        // It comes last of all that threads do.
        for _ in 0..self.rng.u32(..30) {
            if self.threads || db.compaction().is_none() || !db.step()? {
                break;
            }
        }
        match db.turn_compaction()? {
            None => {}
            Some(Ok(_)) => self.tally.count("compactions done"),
            Some(Err(_)) => self.tally.count("compactions stopped or failed"),
        }
        Ok(())
    }

    fn checkpoint(&mut self, db: &mut Db) -> Result<(), Stop> {
        self.stage = Stage::Checkpoint;
        db.checkpoint()?;
        self.tally.count("checkpoints");
        Ok(())
    }

    /// A sync of the log in the background; now and then a slow one, during which others pass.
    fn sync(&mut self, db: &mut Db) -> Result<(), Stop> {
        self.stage = Stage::Syncing;
        let (began, seq) = (self.disk.moment(), db.stats().seq);
        if self.threads || self.chance(40) {
            db.sync_log()?;
        } else {
            let begun = db.begin_sync()?;
            let passed = (0..self.rng.u32(1..4)).try_for_each(|_| self.batch(db));
            self.disk.sync_as_of(Some(began));
            let ended = db.end_sync(begun);
            self.disk.sync_as_of(None);
            passed?;
            self.stage = Stage::Syncing;
            ended?;
            self.tally.count("slow syncs");
        }
        self.ledger.promise(seq);
        Ok(())
    }

    fn row(&mut self) -> (Table, Bytes) {
        let table = TABLES[self.rng.usize(..TABLES.len())];
        (table, Bytes::from(format!("key {:03}", self.rng.u32(..150))))
    }

    pub(super) fn batch(&mut self, db: &mut Db) -> Result<(), Stop> {
        db.look_at_space()?;
        let mut batch = db.batch()?;
        let rows = if self.chance(3) { 200 } else { self.rng.u32(1..8) };
        for _ in 0..rows {
            let (table, key) = self.row();
            if self.chance(20) {
                batch.remove(table, key)?;
            } else {
                let len = if self.chance(3) { self.rng.usize(..20_000) } else { self.rng.usize(..300) };
                let fill = self.rng.u8(..);
                batch.put(table, key, vec![fill; len])?;
            }
        }
        let rows = batch.finish();
        let seq = self.ledger.write(&rows);
        self.stage = Stage::Appending;
        if let Err(error) = db.append(&rows, Millis(seq)) {
            if error.is_refusal() {
                self.ledger.take_back();
            }
            return Err(error.into());
        }
        self.stage = Stage::Syncing;
        db.flush()?;
        if self.options.durability == DurabilityMode::Always {
            self.ledger.promise(seq);
        }
        self.stage = Stage::Applying;
        db.apply(&rows)?;
        self.ledger.apply(&rows);
        self.tally.count("batches");
        Ok(())
    }
}
