//! A crash at every I/O of what a store does: of being made, opened, closed, of a checkpoint, of the way from one segment
//! of the log to the other. At each the power is cut once and the process killed once; then the opening that follows is
//! crashed too, at its I/Os, and the one after that has to find exactly what the first would have found.

use bytes::Bytes;
use fastrand::Rng;

use super::ledger::{Ledger, Stop};
use super::{Check, Crash, Stage, Tally, after, open_stepped};
use crate::clock::Millis;
use crate::storage::sim_disk::{Faults, SimDisk};
use crate::storage::{Db, DurabilityMode, Error, Options, Table};

/// What is crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// A store is made.
    Making,
    /// A store is opened whose process was killed: the log has records that the file has not.
    OpeningAfterKill,
    /// The same after a power cut.
    OpeningAfterPowerCut,
    /// A store is opened that was closed.
    OpeningAfterClose,
    /// A checkpoint is made and its pages are written.
    Checkpoint,
    /// Batches fill a segment of the log, and the next; a checkpoint frees the first, and it is made longer.
    Segments,
    /// The file is compacted, while batches go on.
    Compaction,
    /// A store is closed.
    Closing,
}

impl Scene {
    /// All of them.
    pub const ALL: [Scene; 8] = [
        Scene::Making,
        Scene::OpeningAfterKill,
        Scene::OpeningAfterPowerCut,
        Scene::OpeningAfterClose,
        Scene::Checkpoint,
        Scene::Segments,
        Scene::Compaction,
        Scene::Closing,
    ];

    fn stage(self) -> Stage {
        match self {
            Scene::Making => Stage::Making,
            Scene::OpeningAfterKill | Scene::OpeningAfterPowerCut | Scene::OpeningAfterClose => Stage::Opening,
            Scene::Checkpoint => Stage::Checkpoint,
            Scene::Segments => Stage::Segment,
            Scene::Compaction => Stage::Compacting,
            Scene::Closing => Stage::Closing,
        }
    }
}

/// Crashes a scene at every I/O that it has, and the openings after it at one in `stride` of theirs, not always the same.
///
/// # Errors
/// Says which promise was broken, and at which I/O.
pub fn crash_everywhere(scene: Scene, durability: DurabilityMode, stride: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for crash in Crash::ALL {
        let mut io = 0;
        while crash_at(scene, durability, crash, io, stride, &mut tally)
            .map_err(|broken| format!("{scene:?}, {durability:?}, {crash:?} at I/O {io}: {broken}"))?
        {
            io += 1;
        }
    }
    Ok(tally)
}

/// A store on its disk, and what it has promised.
struct Stand {
    disk: SimDisk,
    options: Options,
    ledger: Ledger,
    rng: Rng,
    /// Records appended.
    appended: u64,
}

/// True when the scene was crashed; false when it has no such I/O, and came to its end.
fn crash_at(
    scene: Scene,
    durability: DurabilityMode,
    crash: Crash,
    io: u64,
    stride: u64,
    tally: &mut Tally,
) -> Check<bool> {
    let mut stand = Stand::new(durability, io);
    let db = stand.prepare(scene).map_err(|stop| format!("while it was set up: {stop:?}"))?;
    stand.disk.set_faults(Faults::stop_at(io));
    let ended = stand.play(scene, db);
    let db = match ended {
        Ok(_) if stand.disk.ios() <= io => return Ok(false),
        // What it did last may not have needed the I/O that failed.
        Ok(db) => db,
        Err(Stop::Failed(_)) => None,
        Err(Stop::Broken(broken)) => return Err(broken),
    };
    let next = after(&stand.disk, crash);
    drop(db);
    stand.disk = next;
    let appended = stand.appended;
    stand.ledger.crashed(crash, appended);
    tally.crash(scene.stage(), crash);
    stand.crash_reopening(io, stride, tally)?;
    stand.reopen(stand.ledger.written)?;
    Ok(true)
}

impl Stand {
    fn new(durability: DurabilityMode, seed: u64) -> Stand {
        let options = Options {
            durability,
            cache_size: 1 << 16,
            // The least that a segment may have.
            checkpoint_size: 1,
            checkpoint_stall_ms: 1 << 30,
            compact_slice: 2000,
            ..Options::new(std::path::Path::new("simulated"))
        };
        let disk = SimDisk::new(seed);
        // The same rows each time: only where it is crashed differs.
        Stand { disk, options, ledger: Ledger::default(), rng: Rng::with_seed(1), appended: 0 }
    }

    /// Brings the store to where the scene begins; the store, if it is open then.
    fn prepare(&mut self, scene: Scene) -> Result<Option<Db>, Stop> {
        if scene == Scene::Making {
            return Ok(None);
        }
        let mut db = open_stepped(&self.disk, &self.options)?;
        self.batches(&mut db, 6)?;
        db.checkpoint()?;
        (0..3).try_for_each(|_| db.step().map(drop))?;
        self.batches(&mut db, 6)?;
        let crash = match scene {
            Scene::Making | Scene::Checkpoint | Scene::Segments | Scene::Compaction | Scene::Closing => {
                return Ok(Some(db));
            }
            Scene::OpeningAfterKill => Crash::Kill,
            Scene::OpeningAfterPowerCut => Crash::PowerCut,
            Scene::OpeningAfterClose => {
                db.close()?;
                self.ledger.promise(self.appended);
                self.ledger.written = self.appended;
                self.disk = self.disk.kill();
                return Ok(None);
            }
        };
        let next = after(&self.disk, crash);
        drop(db);
        self.disk = next;
        self.ledger.crashed(crash, self.appended);
        // An opening appends nothing: when it is killed, no more has to be found than before.
        self.appended = self.ledger.written;
        Ok(None)
    }

    /// Plays the scene; the store, if it is open at the end.
    fn play(&mut self, scene: Scene, db: Option<Db>) -> Result<Option<Db>, Stop> {
        let Some(mut db) = db else {
            let db = open_stepped(&self.disk, &self.options)?;
            return Ok(Some(db));
        };
        match scene {
            Scene::Closing => {
                db.close()?;
                self.ledger.promise(self.appended);
                return Ok(None);
            }
            Scene::Segments => {
                self.batches(&mut db, 8)?;
                db.checkpoint()?;
                self.drain(&mut db)?;
                self.batches(&mut db, 8)?;
                self.drain(&mut db)?;
            }
            Scene::Compaction => self.compact(&mut db)?,
            _ => {
                db.checkpoint()?;
                self.drain(&mut db)?;
            }
        }
        Ok(Some(db))
    }

    /// Compacts the file, with a batch now and then.
    fn compact(&mut self, db: &mut Db) -> Result<(), Stop> {
        db.begin_compaction(u64::MAX)?;
        for turn in 0.. {
            if turn % 8 == 0 && turn < 48 {
                self.batches(db, 1)?;
            }
            if db.checkpoint_due(0) {
                db.checkpoint()?;
            }
            for _ in 0..8 {
                db.step()?;
            }
            match db.turn_compaction()? {
                None if db.stopped().is_none() => {}
                Some(Ok(_)) => break,
                // The disk has failed it, and will fail the store.
                None | Some(Err(_)) => {
                    return Err(Error::Stopped { reason: "the compaction failed".to_owned() }.into());
                }
            }
        }
        self.drain(db)
    }

    /// Lets the pages of a checkpoint reach the disk, and the log grow.
    fn drain(&mut self, db: &mut Db) -> Result<(), Stop> {
        while db.step()? {}
        if let Some(reason) = db.stopped() {
            return Err(Error::Stopped { reason: reason.to_owned() }.into());
        }
        self.ledger.promise(db.stats().checkpoint_seq);
        Ok(())
    }

    /// Batches of rows of which a few fill a segment.
    fn batches(&mut self, db: &mut Db, count: usize) -> Result<(), Stop> {
        for _ in 0..count {
            let mut batch = db.batch()?;
            for _ in 0..3 {
                let key = self.rng.u32(..40).to_be_bytes().to_vec();
                if self.rng.u8(..4) == 0 {
                    batch.remove(Table::Keys, key)?;
                } else {
                    let len = self.rng.usize(..400);
                    batch.put(Table::Keys, key, Bytes::from(vec![self.rng.u8(..); len]))?;
                }
            }
            let rows = batch.finish();
            let seq = self.ledger.write(&rows);
            let appended = db.append(&rows, Millis(seq));
            self.appended = db.stats().seq;
            appended?;
            db.flush()?;
            if self.options.durability == DurabilityMode::Always {
                self.ledger.promise(seq);
            }
            db.apply(&rows)?;
            self.ledger.apply(&rows);
        }
        Ok(())
    }

    /// Opens what a crash left, and checks it: the last record found.
    fn reopen(&mut self, floor: u64) -> Check<u64> {
        let db = open_stepped(&self.disk, &self.options).map_err(|error| format!("could not open: {error}"))?;
        let found = self.ledger.found(&db, floor)?;
        // What follows is not the subject: the store is left as a kill would.
        drop(db);
        Ok(found)
    }

    /// Crashes the opening of what a crash left: what the next one finds is what this one would have found.
    fn crash_reopening(&mut self, io: u64, stride: u64, tally: &mut Tally) -> Check<()> {
        let (left, ledger) = (self.disk.fork(), self.ledger.clone());
        let undisturbed = self.reopen(ledger.written)?;
        let mut at = io % stride;
        loop {
            let crash = Crash::ALL[usize::from((io + at / stride) % 2 == 1)];
            (self.disk, self.ledger) = (left.fork(), ledger.clone());
            self.disk.set_faults(Faults::stop_at(at));
            let opened = open_stepped(&self.disk, &self.options);
            if self.disk.ios() <= at {
                break;
            }
            let next = after(&self.disk, crash);
            drop(opened);
            self.disk = next;
            tally.crash(Stage::Reopening, crash);
            // What a kill left unsynced may be gone after a power cut.
            let floor = if crash == Crash::PowerCut { ledger.floor } else { undisturbed };
            let found =
                self.reopen(floor).map_err(|broken| format!("crashed again at I/O {at}, {crash:?}: {broken}"))?;
            if found > undisturbed {
                return Err(format!("crashed again at I/O {at}, {crash:?}: found {found}, before {undisturbed}"));
            }
            at += stride;
        }
        (self.disk, self.ledger) = (left, ledger);
        Ok(())
    }
}
