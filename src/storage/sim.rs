//! Simulated crashes: one seed is one life of a store, with everything that may happen to it.
//!
//! A life is a few runs on a [`SimDisk`]. A run opens the store (and may be crashed while it does), checks that the
//! state found is one that was promised, works on it for a while, and ends in a clean stop, a kill, a power cut, a
//! failing disk or a full one. Between runs somebody may lose, damage or mix up files. [`run_seed`] is the same every
//! time for the same seed; it is called by the tests and by `xtask sim`. What a life meets by chance, [`points`] goes
//! through one by one: a crash at every I/O of what a store does.

mod act;
pub(crate) mod ledger;
pub mod points;
mod tally;
mod tamper;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

use crate::storage::files::Disk;
use crate::storage::sim_disk::{Failing, Faults, Operation, SimDisk};
use crate::storage::{Db, DurabilityMode, Error, Options, WriteSet};
use ledger::Ledger;

pub use tally::{Crash, Stage, Tally};

const DATA: &str = "data.redb";
const LOGS: [&str; 2] = ["data.redb-log-0", "data.redb-log-1"];

pub(crate) type Check<T> = Result<T, String>;

/// Lives one life.
///
/// # Errors
/// Says which promise was broken; the same seed breaks it again.
pub fn run_seed(seed: u64) -> Result<Tally, String> {
    let mut life = Life::new(seed, false);
    life.live().map_err(|broken| format!("life of a store, seed {seed}, {:?}: {broken}", life.options.durability))
}

/// Lives one life with the real threads; what it meets depends on their timing too.
///
/// # Errors
/// Says which promise was broken.
pub fn run_threaded(seed: u64) -> Result<Tally, String> {
    let mut life = Life::new(seed, true);
    life.live().map_err(|broken| format!("seed {seed} with threads, {:?}: {broken}", life.options.durability))
}

/// How a run ended.
enum End {
    Clean,
    Crash(Crash),
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
    ledger: Ledger,
    copies: Vec<OldCopy>,
    /// What is going on.
    stage: Stage,
    tally: Tally,
}

/// Options that let a small store meet everything a large one does.
pub(crate) fn options(rng: &mut Rng, durability: DurabilityMode) -> Options {
    Options {
        durability,
        // A small cache spills pages of the open transaction at any time.
        cache_size: 1 << rng.u32(14..21),
        checkpoint_size: 1 << rng.u32(13..17),
        checkpoint_stall_ms: 1 << 30,
        compact_slice: 1 << rng.u32(9..16),
        ..Options::new(Path::new("simulated"))
    }
}

/// The mode of a seed.
pub(crate) fn durability(seed: u64) -> DurabilityMode {
    match seed % 3 {
        0 => DurabilityMode::Always,
        1 => DurabilityMode::Interval(10_000),
        _ => DurabilityMode::None,
    }
}

/// Opens the store without threads.
pub(crate) fn open_stepped(disk: &SimDisk, options: &Options) -> Result<Db, Error> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Db::open_stepped(&disk, options)
}

/// An operation that fails with EIO: once or from then on, of any file or of one.
pub(crate) fn failing(rng: &mut Rng, most: u64) -> Failing {
    let operation = [Operation::Read, Operation::Write, Operation::Sync][rng.usize(..3)];
    let file = [None, Some(DATA), Some(LOGS[0]), Some(LOGS[1])][rng.usize(..4)];
    Failing { operation, file: file.map(str::to_owned), after: rng.u64(..most), lasting: rng.bool() }
}

/// True when a read, write or sync has failed, and the store has stopped for it.
fn has_failed(db: &Db) -> bool {
    db.stopped().is_some_and(|reason| reason.contains("Input/output error"))
}

impl Life {
    fn new(seed: u64, threads: bool) -> Life {
        let mut rng = Rng::with_seed(seed);
        let options = options(&mut rng, durability(seed));
        let disk = SimDisk::new(rng.u64(..));
        Life {
            rng,
            options,
            disk,
            threads,
            ledger: Ledger::default(),
            copies: Vec::new(),
            stage: Stage::Idle,
            tally: Tally::default(),
        }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn live(&mut self) -> Check<Tally> {
        for _ in 0..self.rng.u32(2..9) {
            let mut db = self.open_promised()?;
            self.set_faults(60);
            let end = self.work(&mut db)?;
            self.end(db, &end)?;
            if self.chance(30) {
                self.tamper()?;
            }
        }
        let db = self.open_promised()?;
        self.end(db, &End::Clean)?;
        Ok(self.tally.clone())
    }

    fn open(&self) -> Result<Db, Error> {
        if self.threads {
            let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
            Db::open_on(&disk, &self.options)
        } else {
            open_stepped(&self.disk, &self.options)
        }
    }

    fn set_faults(&mut self, percent: u8) {
        let faults = Faults {
            power_off_at: self.chance(percent).then(|| self.rng.u64(..200)),
            failing: if self.chance(15) { vec![failing(&mut self.rng, 60)] } else { Vec::new() },
            capacity: self.chance(10).then(|| self.disk.allocated() + self.rng.u64(..64 << 10)),
            slow_syncs: self.threads && self.chance(50),
        };
        self.disk.set_faults(faults);
    }

    /// Opens until it is not crashed in the middle, and checks that what is found was promised.
    fn open_promised(&mut self) -> Check<Db> {
        self.stage = if self.disk.contents(DATA).is_none() { Stage::Making } else { Stage::Opening };
        loop {
            let faults = match self.rng.u8(..100) {
                0..30 => Faults::stop_at(self.rng.u64(..80)),
                30..38 => Faults { failing: vec![failing(&mut self.rng, 20)], ..Faults::default() },
                38..42 => Faults { capacity: Some(self.disk.allocated()), ..Faults::default() },
                _ => Faults::default(),
            };
            self.disk.set_faults(faults.clone());
            let opened = self.open();
            if faults.power_off_at.is_none() {
                self.disk.set_faults(Faults::default());
            }
            let sound = faults == Faults::default();
            let unreadable = faults.failing.iter().any(|failing| failing.operation == Operation::Read);
            match opened {
                Ok(db) => {
                    self.found(&db, self.ledger.written)?;
                    return Ok(db);
                }
                Err(Error::Refused { found, expected, .. }) if !unreadable => {
                    return Err(format!("refused an intact store: found {found}; expected {expected}"));
                }
                Err(error) if sound => return Err(format!("could not open: {error}")),
                Err(_) => {
                    let crash = if self.chance(70) { Crash::PowerCut } else { Crash::Kill };
                    self.tally.crash(self.stage, crash);
                    if faults.power_off_at.is_none() {
                        self.tally.count("openings on a failing or full disk");
                    }
                    // What was written is so as long as nothing but kills comes before it is opened.
                    let written = self.ledger.written;
                    self.crash(crash, written);
                    self.stage = Stage::Reopening;
                }
            }
        }
    }

    fn found(&mut self, db: &Db, floor: u64) -> Check<()> {
        self.tally.count("openings");
        self.tally.count_many("records replayed", db.stats().replayed);
        self.ledger.found(db, floor).map(drop)
    }

    /// Runs batches until something ends the run.
    fn work(&mut self, db: &mut Db) -> Check<End> {
        let mut snapshots = Vec::new();
        for _ in 0..self.rng.u32(1..60) {
            self.stage = Stage::Idle;
            match self.act(db, &mut snapshots) {
                Ok(()) => {}
                Err(ledger::Stop::Broken(broken)) => return Err(broken),
                // A read, write or sync that failed stops the store, whatever is refused for want of space meanwhile.
                Err(ledger::Stop::Failed(error)) if error.is_refusal() && !has_failed(db) => {
                    self.refused_for_space(db)?
                }
                Err(ledger::Stop::Failed(_)) => {
                    self.tally.count("failed or cut reads, writes and syncs");
                    let crash = Crash::ALL[self.rng.usize(..2)];
                    return Ok(End::Crash(crash));
                }
            }
        }
        self.stage = Stage::Idle;
        Ok(match self.rng.u8(..4) {
            0 => End::Clean,
            1 => End::Crash(Crash::Kill),
            _ => End::Crash(Crash::PowerCut),
        })
    }

    /// The disk is full: nothing may be lost; sometimes room is made, and the store has to go on.
    fn refused_for_space(&mut self, db: &Db) -> Check<()> {
        self.tally.count("refusals on a full disk");
        if let Some(stopped) = db.stopped() {
            return Err(format!("a refusal stopped the store: {stopped}"));
        }
        if self.chance(30) {
            self.disk.set_capacity(None);
            self.tally.count("full disks that had room again");
        }
        Ok(())
    }

    fn end(&mut self, db: Db, end: &End) -> Check<()> {
        let appended = db.stats().seq;
        let old = self.chance(20);
        match end {
            End::Clean => self.close(db, appended, old)?,
            End::Crash(Crash::Kill) => {
                drop(db);
                self.tally.crash(self.stage, Crash::Kill);
                self.crash(Crash::Kill, appended);
            }
            End::Crash(Crash::PowerCut) => {
                // First the power goes, then the process: its destructors reach nothing.
                self.tally.crash(self.stage, Crash::PowerCut);
                self.crash(Crash::PowerCut, appended);
                drop(db);
            }
        }
        if old {
            let files = [DATA, LOGS[0], LOGS[1]].into_iter();
            let files = files.filter_map(|name| Some((name, self.disk.contents(name)?))).collect();
            self.copies.push(OldCopy { files, history: self.ledger.history.clone() });
        }
        Ok(())
    }

    fn close(&mut self, db: Db, appended: u64, look: bool) -> Check<()> {
        if db.close().is_ok() {
            (self.ledger.floor, self.ledger.written) = (appended, appended);
            self.tally.count("clean stops");
            if look && self.log_is_required()? {
                return Err("the log is required after a clean stop".to_owned());
            }
            self.disk = if self.chance(50) { self.disk.kill() } else { self.disk.crash() };
            return Ok(());
        }
        // What a close that failed has written may have reached the disk only in part.
        let crash = Crash::ALL[self.rng.usize(..2)];
        self.tally.crash(Stage::Closing, crash);
        self.crash(crash, appended);
        Ok(())
    }

    /// The power goes, or the process dies.
    fn crash(&mut self, crash: Crash, appended: u64) {
        self.disk = after(&self.disk, crash);
        self.ledger.crashed(crash, appended);
    }
}

/// The disk as it is found after a crash.
pub(crate) fn after(disk: &SimDisk, crash: Crash) -> SimDisk {
    match crash {
        Crash::PowerCut => disk.crash(),
        Crash::Kill => disk.kill(),
    }
}
