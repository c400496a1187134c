//! Simulated crashes of the whole engine: one seed is one life of a server without its sockets.
//!
//! Clients send commands on keys of every type and on jobs, in batches, over the real store on a disk that fails, with
//! clocks that are set; batches end, checkpoints are made, keys expire and jobs fall due as in the core loop. After each
//! crash the rows are exactly those of a record that was promised, or of one written after it; every row can be read and
//! all that has to hold of them does; a client sees what a client saw before; and nothing that was told is said again: no
//! job is granted twice at one epoch or after it was completed, no element is popped twice, no tick of a schedule comes
//! twice. Webhooks are told of everything that they want, in order; large reads on other threads answer what the store was
//! when they began; who is paused is told nothing; a key and a job of one transaction are there together.
//!
//! What commands answer is not judged here: the reference model of the jobs does that, and the comparison with Redis.
//! [`run_seed`] is the same every time for the same seed; the tests call it, and `cargo xtask sim`.

mod check;
mod clients;
mod clock;
mod data_words;
mod deliveries;
mod facts;
mod job_words;
pub mod points;
mod seen;
#[cfg(test)]
mod tests;
mod turn;
mod written;

use fastrand::Rng;

use crate::clock::Millis;
use crate::command::{Config, System, WebhookRules};
use crate::engine::{Engine, Input};
use crate::jobs::Settings;
use crate::storage::sim::ledger::{Ledger, Stop};
use crate::storage::sim::{Check, Crash, Stage, Tally, after, durability, failing, open_stepped, options};
use crate::storage::sim_disk::{Faults, Operation, SimDisk};
use crate::storage::{Db, Error, Options};
use clients::Clients;
use clock::{Change, Clock};
use seen::Seen;
use turn::Reading;
use written::Written;

/// Lives one life.
///
/// # Errors
/// Says which promise was broken; the same seed breaks it again.
pub fn run_seed(seed: u64) -> Result<Tally, String> {
    let mut life = Life::new(seed);
    life.live().map_err(|broken| format!("life of an engine, seed {seed}, {:?}: {broken}", life.options.durability))
}

/// A server that runs.
struct Running {
    db: Db,
    engine: Engine,
    /// Inputs that wait until a checkpoint has drained.
    held: Vec<Input>,
    /// Large reads under way on other threads.
    reading: Vec<Reading>,
}

fn config() -> Config {
    Config {
        key: None,
        parameters: Vec::new(),
        sweep_interval_ms: 30_000,
        jobs: Settings::default(),
        system: System::NONE,
        webhooks: WebhookRules::default(),
    }
}

struct Life {
    rng: Rng,
    options: Options,
    disk: SimDisk,
    ledger: Ledger,
    /// The time of every record.
    times: Vec<Millis>,
    clock: Clock,
    clients: Clients,
    /// What a client saw at the end, and after which record.
    seen: Option<(u64, Seen)>,
    written: Written,
    stage: Stage,
    tally: Tally,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = Rng::with_seed(seed);
        let options = options(&mut rng, durability(seed));
        let disk = SimDisk::new(rng.u64(..));
        Life {
            rng,
            options,
            disk,
            ledger: Ledger::default(),
            times: Vec::new(),
            clock: Clock::new(),
            clients: Clients::default(),
            seen: None,
            written: Written::default(),
            stage: Stage::Idle,
            tally: Tally::default(),
        }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn live(&mut self) -> Check<Tally> {
        for _ in 0..self.rng.u32(3..9) {
            let mut running = self.start()?;
            let faults = Faults {
                power_off_at: self.chance(55).then(|| self.rng.u64(..120)),
                failing: if self.chance(12) { vec![failing(&mut self.rng, 60)] } else { Vec::new() },
                capacity: self.chance(8).then(|| self.disk.allocated() + self.rng.u64(..64 << 10)),
                slow_syncs: false,
            };
            self.disk.set_faults(faults);
            let worked = self.work(&mut running);
            self.end(running, worked)?;
        }
        let mut running = self.start()?;
        self.rest(&mut running)?;
        let closed = self.close(running);
        self.tally.count("lives of an engine");
        closed.map(|()| self.tally.clone())
    }

    /// Opens until it is not crashed in the middle, starts the engine, and checks that what is found was promised.
    fn start(&mut self) -> Check<Running> {
        let mut db = self.open()?;
        let found = self.ledger.found(&db, self.ledger.written)?;
        self.tally.count_many("records replayed", db.stats().replayed);
        self.times.truncate(usize::try_from(found).map_err(|error| error.to_string())?);
        self.clients.facts.lost_after(found);
        self.written.lost_after(found);
        let last = self.times.last().copied().unwrap_or_default();
        if db.last_time() < last {
            return Err(format!("the store's time is {:?}, that of record {found} was {last:?}", db.last_time()));
        }
        check::check(&db.batch().map_err(|error| error.to_string())?).map_err(|stop| match stop {
            Stop::Broken(broken) => broken,
            Stop::Failed(error) => format!("a sound disk could not be read: {error}"),
        })?;
        let change = self.clock.start(&mut self.rng, &mut db);
        if change == Change::Accepted {
            // From here on the store may say the earlier time, whatever its records say.
            self.times.iter_mut().for_each(|time| *time = (*time).min(self.clock.now()));
            self.clients.facts.deliveries.forget_times();
            self.written.forget_times();
        }
        self.count_clock(change, true);
        let mut engine = self.start_engine(&mut db).map_err(|error| format!("the engine does not start: {error}"))?;
        let set_back = self.clock.was_set_back();
        if let Some((_, before)) = self.seen.take().filter(|(record, _)| *record == found) {
            seen::see(&mut engine, &db, self.clock.now())?.shows_again(before, set_back)?;
            self.tally.count("crashes after which a client saw what it had seen");
        }
        Ok(Running { db, engine, held: self.clients.connect(), reading: Vec::new() })
    }

    /// An engine over the open store, as the server makes it.
    fn start_engine(&mut self, db: &mut Db) -> Result<Engine, Error> {
        let now = self.clock.now();
        let mut batch = db.batch()?;
        let engine = Engine::new(&mut batch, config(), self.rng.u64(..), now)?;
        let rows = batch.finish();
        if !rows.is_empty() {
            self.ledger.write(&rows);
            self.times.push(now);
            db.append(&rows, now)?;
            db.flush()?;
            db.apply(&rows)?;
            self.ledger.apply(&rows);
        }
        Ok(engine)
    }

    fn open(&mut self) -> Check<Db> {
        self.stage = if self.disk.contents("data.redb").is_none() { Stage::Making } else { Stage::Opening };
        loop {
            let faults = match self.rng.u8(..100) {
                0..35 => Faults::stop_at(self.rng.u64(..60)),
                35..40 => Faults { failing: vec![failing(&mut self.rng, 20)], ..Faults::default() },
                _ => Faults::default(),
            };
            self.disk.set_faults(faults.clone());
            let opened = open_stepped(&self.disk, &self.options);
            let unreadable = faults.failing.iter().any(|failing| failing.operation == Operation::Read);
            match opened {
                Ok(db) if faults.power_off_at.is_none_or(|at| self.disk.ios() <= at) => {
                    self.disk.set_faults(Faults::default());
                    return Ok(db);
                }
                Err(Error::Refused { found, expected, .. }) if !unreadable => {
                    return Err(format!("refused an intact store: found {found}; expected {expected}"));
                }
                Err(error) if faults == Faults::default() => return Err(format!("could not open: {error}")),
                crashed => {
                    let crash = if self.chance(60) { Crash::PowerCut } else { Crash::Kill };
                    let written = self.ledger.written;
                    self.crash(crash, written);
                    drop(crashed);
                    self.stage = Stage::Reopening;
                }
            }
        }
    }

    fn end(&mut self, running: Running, worked: Result<(), Stop>) -> Check<()> {
        let crash = match worked {
            Err(Stop::Broken(broken)) => return Err(broken),
            Err(Stop::Failed(_)) => {
                self.seen = None;
                Crash::ALL[self.rng.usize(..2)]
            }
            Ok(()) => match self.rng.u8(..4) {
                0 => return self.close(running),
                1 => Crash::Kill,
                _ => Crash::PowerCut,
            },
        };
        let appended = running.db.stats().seq;
        self.crash(crash, appended);
        drop(running);
        Ok(())
    }

    fn close(&mut self, running: Running) -> Check<()> {
        let appended = running.db.stats().seq;
        if self.chance(50) {
            self.disk.set_faults(Faults::stop_at(self.rng.u64(..60)));
        }
        if running.db.close().is_ok() {
            (self.ledger.floor, self.ledger.written) = (appended, appended);
            self.tally.count("clean stops");
            self.disk = self.disk.kill();
        } else {
            self.stage = Stage::Closing;
            let crash = Crash::ALL[self.rng.usize(..2)];
            self.crash(crash, appended);
        }
        Ok(())
    }

    /// The power goes, or the process dies.
    fn crash(&mut self, crash: Crash, appended: u64) {
        self.tally.crash(self.stage, crash);
        self.disk = after(&self.disk, crash);
        self.ledger.crashed(crash, appended);
    }

    fn count_clock(&mut self, change: Change, at_start: bool) {
        match (change, at_start) {
            (Change::None, _) => {}
            (Change::Forwards, false) => self.tally.count("clocks set forwards"),
            (Change::Back, false) => self.tally.count("clocks set back"),
            (Change::Forwards, true) => self.tally.count("clocks set forwards over a restart"),
            (Change::Back, true) => self.tally.count("clocks set back over a restart"),
            (Change::Accepted, _) => self.tally.count("clocks far back that were accepted"),
        }
    }
}
