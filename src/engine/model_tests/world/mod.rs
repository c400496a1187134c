//! The engine over a store on a disk that fails, its clients, and the model beside it.

mod clients;
mod webhooks;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agq_resp::{Reply, ReplyDecoder, ReplyLimits, Request};
use bytes::BytesMut;

use crate::clock::Millis;
use crate::command::{Config, Session, System, WebhookRules};
use crate::engine::model_tests::compare::{compare, learn, retried, stands};
use crate::engine::model_tests::reference::{
    Action, ActionSubmission, Answer, Claim, Job, LEASE_MS, Model, No, Submission, Takes, Terms, Work,
};
use crate::engine::model_tests::steps::{
    CONTROL, Cut, DELIVERER, Deed, LEASED, LISTED, PLANS, PROGRESS, START, Step, callbacks,
};
use crate::engine::{ConnId, Engine, Input, Output, Unit};
use crate::jobs::job::AfterPolicy;
use crate::jobs::{Settings, Status};
use crate::storage::files::Disk;
use crate::storage::sim_disk::{Faults, Operation, SimDisk};
use crate::storage::{Batch, Db, Options};

use workers::{claim_named, decode, told};

/// While leases have their grace, younger ones are looked for so often.
const GRACE_STEP_MS: u64 = 250;
const RESULT: &str = "{\"ok\":true}";
const ERROR: &str = "{\"error\":\"no\"}";

/// One life.
pub(super) struct World {
    disk: SimDisk,
    options: Options,
    /// `None` only while it is between two runs.
    db: Option<Db>,
    engine: Engine,
    side: Side,
    /// What is still chosen at random: crashes while it opens.
    rng: fastrand::Rng,
}

/// What the test knows: the model, and what clients were told.
#[derive(Clone, Default)]
struct Side {
    model: Model,
    /// Jobs with the last epoch that anybody saw of each.
    known: Vec<(String, u64)>,
    submissions: Vec<Submission>,
    actions: Vec<String>,
    last_name: usize,
}

/// An open batch.
struct Open<'a, 'txn> {
    engine: &'a mut Engine,
    batch: &'a mut Batch<'txn>,
    side: &'a mut Side,
}

fn open(disk: &SimDisk, options: &Options) -> crate::storage::Result<Db> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Db::open_stepped(&disk, options)
}

/// Starts an engine and opens the connections.
fn start(db: &mut Db, seed: u64, now: Millis) -> Engine {
    let config = Config {
        key: None,
        parameters: Vec::new(),
        sweep_interval_ms: 30_000,
        jobs: Settings::default(),
        system: System::NONE,
        webhooks: WebhookRules::default(),
    };
    let mut batch = db.batch().unwrap();
    let mut engine = Engine::new(&mut batch, config, seed, now).unwrap();
    for conn in LEASED.into_iter().chain(LISTED).chain([CONTROL]) {
        engine.take(&mut batch, Input::Open(Box::new(Session::new(conn, String::new(), true))), now).unwrap();
    }
    let own = Session { is_own: true, ..Session::new(DELIVERER, String::new(), true) };
    engine.take(&mut batch, Input::Open(Box::new(own)), now).unwrap();
    assert!(batch.finish().is_empty());
    engine
}

fn unit(conn: ConnId, words: &[&str]) -> Unit {
    let requests = [Request::from_args(words)].into();
    Unit { conn, requests, protocol_error: None, out: BytesMut::new() }
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let disk = SimDisk::new(seed);
        let options = Options {
            cache_size: 1 << 17,
            checkpoint_size: 1 << 16,
            checkpoint_stall_ms: 1 << 30,
            ..Options::new(std::path::Path::new("simulated"))
        };
        let mut db = open(&disk, &options).unwrap();
        let engine = start(&mut db, seed, START);
        let mut side = Side::default();
        side.model.now = START;
        side.model.give_grace();
        let rng = fastrand::Rng::with_seed(seed);
        let mut world = World { disk, options, db: Some(db), engine, side, rng };
        world.batch(None, |open| {
            (0..LISTED.len()).for_each(|n| open.ping(n));
            for plan in PLANS {
                open.call(CONTROL, &["PLAN.SUBMIT", plan]);
            }
            open.call(CONTROL, &["WORKER.REGISTER", r#"{"worker_id":"w0","tools":["gpu"]}"#]);
            open.side.model.register("w0", true);
        });
        world.settle();
        world
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Batch(deeds, cut) => {
                self.batch(*cut, |open| deeds.iter().for_each(|deed| open.act(deed)));
            }
            Step::Pass(ms) => self.side.model.now = self.side.model.now.plus(*ms),
            Step::SetForward(ms) => {
                self.side.model.now = self.side.model.now.plus(*ms);
                self.batch(None, |open| {
                    let now = open.side.model.now;
                    open.engine.clock_stepped(open.batch, now).unwrap();
                    open.side.model.give_grace();
                });
            }
            Step::Checkpoint => self.checkpoint().unwrap(),
            Step::Restart => self.restart(),
        }
        self.settle();
    }

    fn db(&mut self) -> &mut Db {
        self.db.as_mut().unwrap()
    }

    /// Runs a batch as the core loop does, and checks what stands in it then.
    fn batch(&mut self, cut: Option<Cut>, fill: impl FnOnce(&mut Open<'_, '_>)) {
        let before = self.side.clone();
        let db = self.db.as_mut().unwrap();
        let last = db.stats().seq;
        let mut batch = db.batch().unwrap();
        let mut open = Open { engine: &mut self.engine, batch: &mut batch, side: &mut self.side };
        fill(&mut open);
        open.tick();
        compare(&self.side.model, &batch);
        let (rows, now) = (batch.finish(), self.side.model.now);
        let faults = match cut {
            Some(Cut::AtIo(io)) => Faults::stop_at(io),
            Some(Cut::SyncFails) => Faults::failing(Operation::Sync, 0),
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
        if let Some(Cut::Before { power }) = cut {
            return self.crash(power, (last, last), &[(last, before)]);
        }
        let after = last + u64::from(!rows.is_empty());
        let either = [(last, before), (after, self.side.clone())];
        let Ok(()) = self.db().append(&rows, now) else { return self.crash(true, (last, last), &either) };
        if let Some(Cut::Written { power }) = cut {
            return self.crash(power, (last, after), &either);
        }
        let Ok(()) = self.db().flush() else { return self.crash(true, (last, after), &either) };
        if let Some(Cut::Synced { power }) = cut {
            return self.crash(power, (after, after), &either);
        }
        let applied = self.db().apply(&rows);
        let failed = applied.is_err() || matches!(cut, Some(Cut::AtIo(_))) && self.checkpoint().is_err();
        if failed || self.db().stopped().is_some() {
            return self.crash(true, (after, after), &either);
        }
        self.disk.set_faults(Faults::default());
        let due = self.db().checkpoint_due(0);
        if due {
            self.db().checkpoint().unwrap();
        }
        self.db().step().unwrap();
    }

    /// A checkpoint, up to its last barrier.
    fn checkpoint(&mut self) -> crate::storage::Result<()> {
        self.db().checkpoint()?;
        while self.db().step()? {}
        Ok(())
    }

    /// The process ends; what is found next is one of these states. No synced record is lost, and none that was written
    /// unless the power goes before the next opening has synced it.
    fn crash(&mut self, power: bool, (synced, written): (u64, u64), states: &[(u64, Side)]) {
        let mut floor = if power { synced } else { written };
        let db = self.db.take();
        if power {
            // First the power goes, then the process.
            let next = self.disk.crash();
            drop(db);
            self.disk = next;
        } else {
            drop(db);
            self.disk = self.disk.kill();
        }
        let db = loop {
            let power_off_at = (self.rng.u8(..4) == 0).then(|| self.rng.u64(..60));
            self.disk.set_faults(Faults { power_off_at, ..Faults::default() });
            match open(&self.disk, &self.options) {
                Ok(db) => break db,
                Err(error) => assert!(power_off_at.is_some(), "{error}"),
            }
            self.disk = self.disk.crash();
            floor = synced;
        };
        let found = db.stats().seq;
        let state = states.iter().find(|(seq, _)| *seq == found && found >= floor);
        let seqs: Vec<u64> = states.iter().map(|(seq, _)| *seq).collect();
        let (_, side) = state.unwrap_or_else(|| panic!("found record {found}, of {seqs:?}, no earlier than {floor}"));
        self.side = side.clone();
        self.begin(db);
    }

    /// A clean stop, and the next start.
    fn restart(&mut self) {
        self.db.take().unwrap().close().unwrap();
        self.disk = self.disk.crash();
        let db = open(&self.disk, &self.options).unwrap();
        self.begin(db);
    }

    fn begin(&mut self, mut db: Db) {
        self.disk.set_faults(Faults::default());
        self.engine = start(&mut db, self.rng.u64(..), self.side.model.now);
        self.side.model.restart();
        let now = self.side.model.now;
        compare(&self.side.model, &db.batch().unwrap());
        self.db = Some(db);
        assert!(self.engine.next_deadline().is_none_or(|at| at >= now));
        // The first turn finds out what is due.
        self.batch(None, |open| (0..LISTED.len()).for_each(|n| open.ping(n)));
    }

    /// Lets everything happen that is due.
    fn settle(&mut self) {
        for _ in 0..200 {
            let now = self.side.model.now;
            let is_quiet = self.engine.next_deadline().is_none_or(|at| at > now);
            if is_quiet && self.side.model.is_looked_for() {
                self.side.model.now = now.plus(GRACE_STEP_MS);
            } else if is_quiet {
                let model = &self.side.model;
                assert!(!model.is_due(), "something is due, and nothing happens: {model:#?}");
                let forgotten = model.parked.iter().find(|claim| model.can_serve(claim));
                assert!(forgotten.is_none(), "a job waits, and so does {forgotten:?}");
                return;
            } else {
                self.batch(None, |_| {});
            }
        }
        panic!("it does not come to rest: {:#?}", self.side.model);
    }
}
