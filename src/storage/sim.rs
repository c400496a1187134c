//! Simulated crashes: one seed is one life of a store, with everything that may happen to it.
//!
//! A life is a few runs on a [`SimDisk`]. A run opens the store (and may be crashed while it does), checks that the
//! state found is one that was promised, works on it for a while, and ends in a clean stop, a kill, a power cut, a
//! failing disk or a full one. Between runs somebody may lose, damage or mix up files. [`run_seed`] is the same every
//! time for the same seed; it is called by the tests and by `xtask sim`.

mod tamper;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use crate::clock::Millis;
use crate::storage::files::Disk;
use crate::storage::sim_disk::{Faults, SimDisk};
use crate::storage::{Db, DurabilityMode, Error, Options, Rows, Snapshot, Table, WriteSet};

const TABLES: [Table; 3] = [Table::Keys, Table::Lists, Table::Jobs];
const DATA: &str = "data.redb";
const LOGS: [&str; 2] = ["data.redb-log-0", "data.redb-log-1"];

type State = BTreeMap<(Table, Bytes), Bytes>;
type Check<T> = Result<T, String>;

/// What happened in one life; for a summary, and to see that a set of seeds reaches everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Openings that succeeded.
    pub opened: u32,
    /// Openings during which the power went.
    pub crashed_opening: u32,
    /// Openings that were refused, as they should be.
    pub refused: u32,
    /// Runs that ended in a power cut.
    pub power_cuts: u32,
    /// Runs that ended in a kill.
    pub kills: u32,
    /// Runs that ended in a clean stop.
    pub stops: u32,
    /// Runs that stopped because a write or a sync failed.
    pub failures: u32,
    /// Batches and checkpoints that were refused because the disk was full.
    pub full: u32,
    /// Checkpoints begun.
    pub checkpoints: u32,
    /// Batches acknowledged.
    pub batches: u32,
    /// Records replayed.
    pub replayed: u64,
    /// Times somebody lost, damaged or mixed up files.
    pub tampered: u32,
}

impl Outcome {
    /// Adds what happened in another life.
    pub fn add(&mut self, other: &Outcome) {
        self.opened += other.opened;
        self.crashed_opening += other.crashed_opening;
        self.refused += other.refused;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.stops += other.stops;
        self.failures += other.failures;
        self.full += other.full;
        self.checkpoints += other.checkpoints;
        self.batches += other.batches;
        self.replayed += other.replayed;
        self.tampered += other.tampered;
    }
}

/// Lives one life.
///
/// # Errors
/// Says which promise was broken; the same seed breaks it again.
pub fn run_seed(seed: u64) -> Result<Outcome, String> {
    let mut life = Life::new(seed, false);
    life.live().map_err(|broken| format!("seed {seed}, {:?}: {broken}", life.options.durability))
}

/// Lives one life with the real threads; what it meets depends on their timing too.
///
/// # Errors
/// Says which promise was broken.
pub fn run_threaded(seed: u64) -> Result<Outcome, String> {
    let mut life = Life::new(seed, true);
    life.live().map_err(|broken| format!("seed {seed} with threads, {:?}: {broken}", life.options.durability))
}

/// How a run ended.
enum End {
    Clean,
    Kill,
    PowerCut,
}

/// An old copy of the store's files, and the records they hold at most.
struct OldCopy {
    files: Vec<(&'static str, Vec<u8>)>,
    history: Vec<WriteSet>,
}

struct Life {
    rng: Rng,
    options: Options,
    disk: SimDisk,
    threads: bool,
    /// The write set of every record, in order.
    history: Vec<WriteSet>,
    /// The last record that must be found, even after a power cut.
    floor: u64,
    /// The last record that must be found as long as no power cut comes before the next opening.
    written: u64,
    /// The state as the running store should show it.
    state: State,
    copies: Vec<OldCopy>,
    outcome: Outcome,
}

impl Life {
    fn new(seed: u64, threads: bool) -> Life {
        let mut rng = Rng::with_seed(seed);
        let durability = match seed % 3 {
            0 => DurabilityMode::Always,
            1 => DurabilityMode::Interval(10_000),
            _ => DurabilityMode::None,
        };
        let options = Options {
            durability,
            // A small cache spills pages of the open transaction at any time.
            cache_size: 1 << rng.u32(14..21),
            checkpoint_size: 1 << rng.u32(13..17),
            checkpoint_stall_ms: 1 << 30,
            ..Options::new(std::path::Path::new("simulated"))
        };
        let disk = SimDisk::new(rng.u64(..));
        Life {
            rng,
            options,
            disk,
            threads,
            history: Vec::new(),
            floor: 0,
            written: 0,
            state: State::new(),
            copies: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn live(&mut self) -> Check<Outcome> {
        for _ in 0..self.rng.u32(2..9) {
            let mut db = self.open_promised()?;
            self.set_faults(60);
            let end = self.work(&mut db)?;
            self.end(db, end)?;
            if self.chance(30) {
                self.tamper()?;
            }
        }
        let db = self.open_promised()?;
        self.end(db, End::Clean)?;
        Ok(self.outcome)
    }

    fn open(&self) -> Result<Db, Error> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        if self.threads { Db::open_on(&disk, &self.options) } else { Db::open_stepped(&disk, &self.options) }
    }

    fn set_faults(&mut self, percent: u8) {
        let at = |life: &mut Life, percent| life.chance(percent).then(|| life.rng.u64(..200));
        let faults = Faults {
            power_off_at: at(self, percent),
            fail_write_at: at(self, 5),
            fail_sync_at: at(self, 8),
            fail_reads_of: None,
            capacity: self.chance(10).then(|| self.disk.allocated() + self.rng.u64(..64 << 10)),
        };
        self.disk.set_faults(faults);
    }

    /// Opens until it is not crashed in the middle, and checks that what is found was promised.
    fn open_promised(&mut self) -> Check<Db> {
        loop {
            let faults = match self.rng.u8(..100) {
                0..30 => Faults { power_off_at: Some(self.rng.u64(..80)), ..Faults::default() },
                30..35 => Faults { fail_sync_at: Some(self.rng.u64(..20)), ..Faults::default() },
                _ => Faults::default(),
            };
            let sound = faults == Faults::default();
            self.disk.set_faults(faults);
            match self.open() {
                Ok(db) => {
                    self.found(&db, self.written)?;
                    return Ok(db);
                }
                Err(Error::Refused { found, expected, .. }) => {
                    return Err(format!("refused an intact store: found {found}; expected {expected}"));
                }
                Err(_) if !sound => {
                    self.outcome.crashed_opening += 1;
                    if self.chance(70) {
                        self.disk = self.disk.crash();
                        self.written = self.floor;
                    } else {
                        self.disk = self.disk.kill();
                    }
                }
                Err(error) => return Err(format!("could not open: {error}")),
            }
        }
    }

    /// Checks that an opened store shows a state that was, no older than record `floor`; what was not found never was.
    fn found(&mut self, db: &Db, floor: u64) -> Check<()> {
        self.outcome.opened += 1;
        let stats = db.stats();
        self.outcome.replayed += stats.replayed;
        let seq = stats.seq;
        if stats.repaired {
            return Err("redb had to walk the whole file".to_owned());
        }
        if seq < floor || seq > self.history.len() as u64 {
            return Err(format!("found record {seq}, promised {floor}, written {}", self.history.len()));
        }
        self.history.truncate(usize::try_from(seq).map_err(|e| e.to_string())?);
        self.state = State::new();
        for rows in &self.history {
            apply(&mut self.state, rows);
        }
        let batch = db.batch().map_err(|error| error.to_string())?;
        match same(&batch, &self.state, &format!("after record {seq}")) {
            Ok(()) => {}
            Err(Stop::Broken(broken)) => return Err(broken),
            // The power went right behind the opening.
            Err(Stop::Failed(_)) => {}
        }
        // It is in the file now, and the file was synced.
        (self.floor, self.written) = (seq, seq);
        Ok(())
    }

    /// Runs batches until something ends the run.
    fn work(&mut self, db: &mut Db) -> Check<End> {
        let mut snapshots: Vec<(Snapshot, State)> = Vec::new();
        for _ in 0..self.rng.u32(1..60) {
            match self.act(db, &mut snapshots) {
                Ok(()) => {}
                Err(Stop::Broken(broken)) => return Err(broken),
                Err(Stop::Failed(error)) if error.is_refusal() => self.refused_for_space(db)?,
                Err(Stop::Failed(_)) => {
                    self.outcome.failures += 1;
                    return Ok(if self.chance(50) { End::PowerCut } else { End::Kill });
                }
            }
        }
        Ok(match self.rng.u8(..4) {
            0 => End::Clean,
            1 => End::Kill,
            _ => End::PowerCut,
        })
    }

    /// The disk is full: nothing may be lost; sometimes room is made, and the store has to go on.
    fn refused_for_space(&mut self, db: &Db) -> Check<()> {
        self.outcome.full += 1;
        if let Some(stopped) = db.stopped() {
            return Err(format!("a refusal stopped the store: {stopped}"));
        }
        if self.chance(30) {
            self.disk.set_faults(Faults::default());
        }
        Ok(())
    }

    fn act(&mut self, db: &mut Db, snapshots: &mut Vec<(Snapshot, State)>) -> Result<(), Stop> {
        match self.rng.u8(..20) {
            0..10 => self.batch(db)?,
            10..13 => {
                for _ in 0..self.rng.u32(..40) {
                    if self.threads || !db.step()? {
                        break;
                    }
                }
            }
            13 | 14 => {
                if db.refusal().is_none() && self.chance(50) {
                    db.checkpoint()?;
                    self.outcome.checkpoints += 1;
                }
            }
            15 => snapshots.push((db.snapshot()?, self.state.clone())),
            16 => {
                if !snapshots.is_empty() {
                    let (snapshot, state) = snapshots.swap_remove(self.rng.usize(..snapshots.len()));
                    same(&snapshot, &state, "a snapshot")?;
                }
            }
            17 if self.options.durability != DurabilityMode::Always => {
                db.sync_log()?;
                self.floor = db.stats().seq;
            }
            _ => {
                let batch = db.batch()?;
                for _ in 0..self.rng.u32(..5) {
                    let (table, key) = self.row();
                    if batch.get(table, &key)? != self.state.get(&(table, key.clone())).cloned() {
                        return Err(Stop::Broken(format!("another value of {key:?} in {table}")));
                    }
                }
                if self.chance(50) {
                    same(&batch, &self.state, "the open batch")?;
                }
            }
        }
        if db.checkpoint_due(0) {
            db.checkpoint()?;
            self.outcome.checkpoints += 1;
        }
        let stats = db.stats();
        if !stats.checkpoint_draining && stats.checkpoint_seq > self.floor {
            self.floor = stats.checkpoint_seq;
        }
        Ok(())
    }

    fn row(&mut self) -> (Table, Bytes) {
        let table = TABLES[self.rng.usize(..TABLES.len())];
        (table, Bytes::from(format!("key {:03}", self.rng.u32(..150))))
    }

    fn batch(&mut self, db: &mut Db) -> Result<(), Stop> {
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
        let seq = self.history.len() as u64 + 1;
        // Whatever happens from here on, the record may be found.
        self.history.push(rows.clone());
        if let Err(error) = db.append(&rows, Millis(seq)) {
            if error.is_refusal() {
                self.history.pop();
            }
            return Err(error.into());
        }
        db.flush()?;
        if self.options.durability == DurabilityMode::Always {
            self.floor = seq;
        }
        db.apply(&rows)?;
        apply(&mut self.state, &rows);
        self.outcome.batches += 1;
        Ok(())
    }

    fn end(&mut self, db: Db, end: End) -> Check<()> {
        let appended = db.stats().seq;
        let old = self.chance(20);
        match end {
            End::Clean => match db.close() {
                Ok(()) => {
                    (self.floor, self.written) = (appended, appended);
                    self.outcome.stops += 1;
                    if old && self.log_is_required()? {
                        return Err("the log is required after a clean stop".to_owned());
                    }
                    self.disk = if self.chance(50) { self.disk.kill() } else { self.disk.crash() };
                }
                Err(_) if self.chance(50) => {
                    // What a close that failed has written may have reached the disk only in part.
                    self.written = appended;
                    self.disk = self.disk.kill();
                }
                Err(_) => {
                    self.written = self.floor;
                    self.disk = self.disk.crash();
                }
            },
            End::Kill => {
                drop(db);
                self.written = appended;
                self.outcome.kills += 1;
                self.disk = self.disk.kill();
            }
            End::PowerCut => {
                // First the power goes, then the process: its destructors reach nothing.
                let next = self.disk.crash();
                drop(db);
                self.outcome.power_cuts += 1;
                self.written = self.floor;
                self.disk = next;
            }
        }
        if old {
            let files = [DATA, LOGS[0], LOGS[1]].into_iter();
            let files = files.filter_map(|name| Some((name, self.disk.contents(name)?))).collect();
            self.copies.push(OldCopy { files, history: self.history.clone() });
        }
        Ok(())
    }
}

/// Why a run stops.
enum Stop {
    /// A promise was broken.
    Broken(String),
    /// The store said so.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

fn apply(state: &mut State, rows: &WriteSet) {
    for (table, changes) in rows.iter() {
        for (key, value) in changes {
            match value {
                Some(value) => state.insert((table, key.clone()), value.clone()),
                None => state.remove(&(table, key.clone())),
            };
        }
    }
}

/// Checks that `rows` shows `state` and nothing else.
fn same(rows: &impl Rows, state: &State, what: &str) -> Result<(), Stop> {
    let mut found = State::new();
    for table in TABLES {
        rows.scan(table, Bound::Unbounded, Bound::Unbounded, false, &mut |key, value| {
            found.insert((table, Bytes::copy_from_slice(key)), Bytes::copy_from_slice(value));
            ControlFlow::Continue(())
        })?;
    }
    if found == *state {
        return Ok(());
    }
    let missing = state.iter().find(|(key, value)| found.get(*key) != Some(*value));
    let extra = found.keys().find(|key| !state.contains_key(*key));
    let missing = missing.map(|(key, _)| key);
    let (rows, wanted) = (found.len(), state.len());
    Err(Stop::Broken(format!(
        "{what}: {rows} rows found, {wanted} expected; first wrong or missing {missing:?}, first extra {extra:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seeds: impl Iterator<Item = u64>, life: fn(u64) -> Result<Outcome, String>) -> Outcome {
        let mut sum = Outcome::default();
        for seed in seeds {
            match life(seed) {
                Ok(outcome) => sum.add(&outcome),
                Err(broken) => panic!("{broken}"),
            }
        }
        sum
    }

    /// The seeds of one durability mode; together 501.
    fn run_mode(mode: u64) {
        let sum = run((0..167).map(|n| n * 3 + mode), run_seed);
        // Were the simulation to miss one of these, it would prove nothing about it.
        for (what, times) in [
            ("crashes during recovery", sum.crashed_opening),
            ("refusals", sum.refused),
            ("power cuts", sum.power_cuts),
            ("kills", sum.kills),
            ("clean stops", sum.stops),
            ("failed writes or syncs", sum.failures),
            ("full disks", sum.full),
            ("checkpoints", sum.checkpoints),
        ] {
            assert!(times >= 15, "only {times} {what} in 167 seeds: {sum:?}");
        }
    }

    #[test]
    fn crashes_break_no_promise_with_durability_always() {
        run_mode(0);
    }

    #[test]
    fn crashes_break_no_promise_with_durability_interval() {
        run_mode(1);
    }

    #[test]
    fn crashes_break_no_promise_with_durability_none() {
        run_mode(2);
    }

    #[test]
    fn crashes_break_no_promise_with_threads() {
        run(0..60, run_threaded);
    }

    #[test]
    fn a_seed_is_one_life() {
        assert_eq!(run_seed(7), run_seed(7));
    }
}
