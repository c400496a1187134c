//! A crash at every I/O of a short script of commands: plans, jobs and an action are submitted, some in a transaction with
//! keys; jobs are claimed, fail, are retried and complete; keys expire and are swept, a collection goes to the trash, an
//! action's jobs are made in slices, checkpoints are written.
//!
//! At each I/O the power is cut once and the process killed once. What was acknowledged is there then, everything that has to
//! hold does, and clients that go on from there, and repeat what they were not answered with the same ids, come to the same
//! end as those whom nothing happened to.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use agq_resp::{Reply, ReplyDecoder, ReplyLimits, Request};

use super::clients::unit;
use super::data_words::words;
use super::{check, config};
use crate::clock::Millis;
use crate::command::Session;
use crate::engine::{ConnId, Engine, Input, Output};
use crate::jobs::{JobsView, Status};
use crate::storage::sim::ledger::{Ledger, Stop};
use crate::storage::sim::{Check, Crash, Stage, Tally, after, open_stepped};
use crate::storage::sim_disk::{Faults, SimDisk};
use crate::storage::{Db, DurabilityMode, Error, Options, Rows, Table};

const START: Millis = Millis(1_800_000_000_000);
const CLIENT: ConnId = 1;
/// Inputs of the action: in what tests are built with more than the jobs that are made at once, so that slices make the rest.
const INPUTS: usize = 14;
/// Batches in which what is due has to come to its end, and claims that have to find all jobs.
const ENOUGH: usize = 400;

/// What the clients do next.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Says these, in one go.
    Say(&'static [&'static str]),
    /// Adds many members to a set.
    Fill,
    /// Submits the action.
    Act,
    /// Claims some jobs and reports on each.
    Work(usize),
    /// Works until all jobs have ended.
    Finish,
    /// So much time passes.
    Pass(u64),
    /// The store makes a checkpoint, as far as it gets at once.
    Checkpoint,
}

const SCRIPT: [Deed; 13] = [
    Deed::Say(&[
        r#"PLAN.SUBMIT {"plan_id":"p","tasks":[{"task_number":1,"command":"echo"}]}"#,
        r#"JOB.SUBMIT {"job_id":"plain","plan_id":"p","priority":9}"#,
        r#"JOB.SUBMIT {"job_id":"retried","kind":"k","payload":[1],"attempts":3,"priority":8,"backoff":{"type":"fixed","ms":1000}}"#,
        r#"JOB.SUBMIT {"job_id":"later","kind":"k","delay_ms":4000}"#,
        r#"JOB.SUBMIT {"job_id":"after","kind":"k","after":["retried"]}"#,
    ]),
    Deed::Say(&[
        "MULTI",
        "SET both v",
        r#"JOB.SUBMIT {"job_id":"both","kind":"k","unique_key":"u","on_conflict":"return"}"#,
        "HSET h field value",
        "EXEC",
    ]),
    Deed::Fill,
    Deed::Say(&["SET short v PX 3000", "SET long v", "RENAME long renamed"]),
    Deed::Act,
    Deed::Work(3),
    Deed::Checkpoint,
    Deed::Say(&["UNLINK many", "SET renamed w"]),
    Deed::Pass(40_000),
    Deed::Work(2),
    Deed::Checkpoint,
    Deed::Say(&[r#"JOB.SUBMIT {"job_id":"last","kind":"k","after":["both","later"]}"#]),
    Deed::Finish,
];

/// What clients see in the end.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    jobs: BTreeMap<String, (Status, String)>,
    replies: Vec<Reply>,
    /// Rows that wait for a sweep, or are to be removed.
    left: usize,
}

/// A server, and what it was asked so far.
struct Stand {
    disk: SimDisk,
    options: Options,
    ledger: Ledger,
    now: Millis,
    appended: u64,
    stage: Stage,
    /// For each deed that is done, the last record by then.
    done: Vec<u64>,
}

/// Crashes the script at I/O `first` and every `stride` further on, up to its last one.
///
/// # Errors
/// Says which promise was broken, and at which I/O.
pub fn crash_everywhere(durability: DurabilityMode, first: u64, stride: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let undisturbed = Stand::new(durability, 0).live_undisturbed().map_err(|stop| format!("undisturbed: {stop:?}"))?;
    for crash in Crash::ALL {
        let mut io = first;
        while crash_at(durability, crash, io, &undisturbed, &mut tally)
            .map_err(|broken| format!("a script of commands, {durability:?}, {crash:?} at I/O {io}: {broken}"))?
        {
            io += stride;
        }
    }
    Ok(tally)
}

/// True when the script was crashed there; false when it has no such I/O.
fn crash_at(
    durability: DurabilityMode,
    crash: Crash,
    io: u64,
    undisturbed: &Outcome,
    tally: &mut Tally,
) -> Check<bool> {
    let mut stand = Stand::new(durability, io);
    let (mut db, mut engine) = stand.start().map_err(|stop| format!("it does not start: {stop:?}"))?;
    stand.disk.set_faults(Faults::stop_at(io));
    match stand.play(&mut db, &mut engine) {
        Ok(()) if stand.disk.ios() <= io => return Ok(false),
        // What it did last may not have needed the I/O that failed.
        Ok(()) | Err(Stop::Failed(_)) => {}
        Err(Stop::Broken(broken)) => return Err(broken),
    }
    tally.crash(stand.stage, crash);
    let next = after(&stand.disk, crash);
    drop((db, engine));
    stand.disk = next;
    let appended = stand.appended;
    stand.ledger.crashed(crash, appended);
    let outcome = stand.go_on().map_err(|stop| match stop {
        Stop::Broken(broken) => broken,
        Stop::Failed(error) => format!("on a sound disk: {error}"),
    })?;
    tally.count("scripts that came to the same end");
    if outcome == *undisturbed {
        return Ok(true);
    }
    Err(format!("it ends with {outcome:?}; without the crash it would have been {undisturbed:?}"))
}

impl Stand {
    fn new(durability: DurabilityMode, seed: u64) -> Stand {
        let options = Options {
            durability,
            cache_size: 1 << 16,
            checkpoint_size: 1 << 14,
            checkpoint_stall_ms: 1 << 30,
            ..Options::new(std::path::Path::new("simulated"))
        };
        let (disk, ledger) = (SimDisk::new(seed), Ledger::default());
        Stand { disk, options, ledger, now: START, appended: 0, stage: Stage::Idle, done: Vec::new() }
    }

    fn start(&mut self) -> Result<(Db, Engine), Stop> {
        let db = open_stepped(&self.disk, &self.options)?;
        let mut batch = db.batch()?;
        let mut engine = Engine::new(&mut batch, config(), 1, self.now)?;
        engine.take(&mut batch, Input::Open(Box::new(Session::new(CLIENT, String::new(), true))), self.now)?;
        if !batch.finish().is_empty() {
            return Err(Stop::Broken("a start wrote rows".to_owned()));
        }
        Ok((db, engine))
    }

    fn live_undisturbed(mut self) -> Result<Outcome, Stop> {
        let (mut db, mut engine) = self.start()?;
        self.play(&mut db, &mut engine)?;
        self.outcome(&mut db, &mut engine)
    }

    /// Opens what a crash left, checks it, and goes on from what was acknowledged.
    fn go_on(&mut self) -> Result<Outcome, Stop> {
        let (mut db, mut engine) = self.start()?;
        let found = self.ledger.found(&db, self.ledger.written).map_err(Stop::Broken)?;
        self.appended = found;
        check::check(&db.batch()?)?;
        self.done.retain(|record| *record <= found);
        self.play(&mut db, &mut engine)?;
        self.outcome(&mut db, &mut engine)
    }

    /// Does what is not done yet.
    fn play(&mut self, db: &mut Db, engine: &mut Engine) -> Result<(), Stop> {
        for deed in &SCRIPT[self.done.len()..] {
            match deed {
                Deed::Say(commands) => drop(self.say(db, engine, commands.iter().map(|text| words(text)))?),
                Deed::Fill => {
                    let members = (0..600).map(|n| format!("m{n}"));
                    let command = ["SADD", "many"].map(str::to_owned).into_iter().chain(members).collect();
                    self.say(db, engine, [command])?;
                }
                Deed::Act => {
                    let inputs = vec!["{}"; INPUTS].join(",");
                    let json = format!(
                        r#"{{"action_id":"a","plan_id":"p","attempts":2,"inputs":[{inputs}],"on_complete":{{"plan_id":"p"}}}}"#
                    );
                    self.say(db, engine, [vec!["ACTION.SUBMIT".to_owned(), json]])?;
                }
                Deed::Work(count) => drop(self.work(db, engine, *count)?),
                Deed::Finish => self.finish(db, engine)?,
                Deed::Pass(ms) => self.now = self.now.plus(*ms),
                Deed::Checkpoint => self.checkpoint(db)?,
            }
            self.settle(db, engine)?;
            self.done.push(self.ledger.history.len() as u64);
        }
        Ok(())
    }

    /// Lets everything happen that is due.
    fn settle(&mut self, db: &mut Db, engine: &mut Engine) -> Result<(), Stop> {
        for _ in 0..ENOUGH {
            if engine.next_deadline().is_none_or(|at| at > self.now) {
                return Ok(());
            }
            self.batch(db, engine, Vec::new())?;
        }
        Err(Stop::Broken("it does not come to rest".to_owned()))
    }

    fn finish(&mut self, db: &mut Db, engine: &mut Engine) -> Result<(), Stop> {
        for _ in 0..ENOUGH {
            self.settle(db, engine)?;
            if self.work(db, engine, 500)? > 0 {
                continue;
            }
            let view_rows = db.batch()?;
            let view = JobsView { rows: &view_rows, now: self.now };
            let counts = view.totals().map_err(|error| Stop::Broken(error.to_string()))?;
            let live = Status::ALL.into_iter().filter(|status| !status.is_terminal());
            if live.map(|status| counts.of(status)).sum::<u64>() == 0 {
                return Ok(());
            }
            // A worker that did not live to report holds them, or they wait for their time.
            self.now = self.now.plus(2_000);
        }
        Err(Stop::Broken("jobs do not come to their end".to_owned()))
    }

    /// Claims so many jobs at most and reports on them: one fails at its first attempt, all others complete.
    fn work(&mut self, db: &mut Db, engine: &mut Engine, count: usize) -> Result<usize, Stop> {
        let claim = format!("JOB.CLAIM w COUNT {count} LEASE 10000 QUEUES ready");
        let replies = self.say(db, engine, [words(&claim)])?;
        let Some(Reply::Array(claimed)) = replies.first() else {
            return Err(Stop::Broken(format!("a claim answered {replies:?}")));
        };
        let mut reports = Vec::new();
        for job in claimed {
            let json: Option<serde_json::Value> = job.as_str().and_then(|text| serde_json::from_str(text).ok());
            let Some((id, epoch, attempt)) = json
                .as_ref()
                .and_then(|job| Some((job["job_id"].as_str()?, job["epoch"].as_u64()?, job["attempt"].as_u64()?)))
            else {
                return Err(Stop::Broken(format!("a claim without a job: {job:?}")));
            };
            let how = if id == "retried" && attempt == 1 { "JOB.FAIL" } else { "JOB.COMPLETE" };
            reports.push([how, id, &epoch.to_string(), r#"{"error":"no"}"#].map(str::to_owned).to_vec());
        }
        if !reports.is_empty() {
            self.say(db, engine, reports)?;
        }
        Ok(claimed.len())
    }

    /// Says commands in one batch; none of them is refused, the first time or any other.
    fn say(
        &mut self,
        db: &mut Db,
        engine: &mut Engine,
        commands: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<Vec<Reply>, Stop> {
        let commands: Vec<Vec<String>> = commands.into_iter().collect();
        let requests = commands.iter().map(|words| Request::from_args(words.iter().map(String::as_str)));
        let mut replies = self.batch(db, engine, vec![Input::Unit(unit(CLIENT, requests))])?;
        // A long pipeline is taken in several batches.
        while replies.len() < commands.len() {
            let rest = commands[replies.len()..].iter();
            let rest = rest.map(|words| Request::from_args(words.iter().map(String::as_str)));
            replies.extend(self.batch(db, engine, vec![Input::Unit(unit(CLIENT, rest))])?);
        }
        let in_them = replies.iter().flat_map(|reply| match reply {
            Reply::Array(replies) => &replies[..],
            other => std::slice::from_ref(other),
        });
        match in_them.filter_map(Reply::as_error).next() {
            None => Ok(replies),
            Some(error) => {
                Err(Stop::Broken(format!("of {commands:?} one was refused: {}", String::from_utf8_lossy(error))))
            }
        }
    }

    /// One batch, as the core loop runs it.
    fn batch(&mut self, db: &mut Db, engine: &mut Engine, inputs: Vec<Input>) -> Result<Vec<Reply>, Stop> {
        self.now = self.now.plus(1);
        self.stage = Stage::Idle;
        let mut batch = db.batch()?;
        for input in inputs {
            engine.take(&mut batch, input, self.now)?;
        }
        engine.tick(&mut batch, self.now, true)?;
        let rows = batch.finish();
        if !rows.is_empty() {
            let seq = self.ledger.write(&rows);
            self.stage = Stage::Appending;
            let appended = db.append(&rows, self.now);
            self.appended = db.stats().seq;
            appended?;
            self.stage = Stage::Syncing;
            db.flush()?;
            if self.options.durability == DurabilityMode::Always {
                self.ledger.promise(seq);
            }
        }
        let replies = heard(engine)?;
        self.stage = Stage::Applying;
        db.apply(&rows)?;
        self.ledger.apply(&rows);
        if db.checkpoint_due(0) {
            self.checkpoint(db)?;
        }
        self.stage = Stage::Checkpoint;
        for _ in 0..2 {
            db.step()?;
        }
        self.stopped(db)?;
        Ok(replies)
    }

    fn checkpoint(&mut self, db: &mut Db) -> Result<(), Stop> {
        self.stage = Stage::Checkpoint;
        db.checkpoint()?;
        self.stopped(db)
    }

    fn stopped(&mut self, db: &Db) -> Result<(), Stop> {
        if let Some(reason) = db.stopped() {
            return Err(Error::Stopped { reason: reason.to_owned() }.into());
        }
        let stats = db.stats();
        if !stats.checkpoint_draining {
            self.ledger.promise(stats.checkpoint_seq);
        }
        Ok(())
    }

    /// What clients see once all keys have expired that will.
    fn outcome(&mut self, db: &mut Db, engine: &mut Engine) -> Result<Outcome, Stop> {
        self.now = self.now.plus(60_000);
        self.batch(db, engine, Vec::new())?;
        self.settle(db, engine)?;
        let ask = ["MGET both short long renamed", "HGETALL h", "SCARD many", "QUEUE.LIST", "DBSIZE"];
        let replies = self.say(db, engine, ask.map(words))?;
        let batch = db.batch()?;
        check::check(&batch)?;
        let mut left = 0;
        for table in [Table::Deadlines, Table::Trash] {
            batch.scan(table, Bound::Unbounded, Bound::Unbounded, false, &mut |_, _| {
                left += 1;
                ControlFlow::Continue(())
            })?;
        }
        Ok(Outcome { jobs: jobs(&batch, self.now)?, replies, left })
    }
}

/// Every job's end, and what it ended with. Ids that were drawn at random are named by their place.
fn jobs(rows: &dyn Rows, now: Millis) -> Result<BTreeMap<String, (Status, String)>, Stop> {
    let (view, mut ids) = (JobsView { rows, now }, Vec::new());
    rows.scan(Table::Jobs, Bound::Unbounded, Bound::Unbounded, false, &mut |id, _| {
        ids.push(id.to_vec());
        ControlFlow::Continue(())
    })?;
    let mut jobs = BTreeMap::new();
    for id in ids {
        let job = view.need_job(&id).map_err(|error| Stop::Broken(error.to_string()))?;
        let name = match &job.action {
            Some((action, place)) => format!("{action}/{place}"),
            None if job.id.starts_with("job_") => "the callback".to_owned(),
            None => job.id.to_string(),
        };
        let ended = (job.status, format!("{:?}", job.result));
        if let Some(other) = jobs.insert(name.clone(), ended) {
            return Err(Stop::Broken(format!("there are two jobs for {name}: {other:?} and {job:?}")));
        }
    }
    Ok(jobs)
}

fn heard(engine: &mut Engine) -> Result<Vec<Reply>, Stop> {
    let mut replies = Vec::new();
    for output in engine.take_outputs() {
        let Output::Finished(mut finished) = output else {
            return Err(Stop::Broken("there are messages for nobody".to_owned()));
        };
        let mut decoder = ReplyDecoder::new(ReplyLimits::default());
        while let Some(reply) = decoder.decode(&mut finished.out).map_err(|error| Stop::Broken(error.to_string()))? {
            replies.push(reply);
        }
    }
    Ok(replies)
}
