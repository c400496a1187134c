//! One store, from its beginning to the look at everything at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fastrand::Rng;
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, Link};
use super::feed::{Event, Feed};
use super::jobs::Calls;
use super::life::{Clients, Lived, Plan};
use super::linear::{Checker, Violation};
use super::model::{group_of, keys_of};
use super::pace::Pace;
use super::record::{Answer, Entry, Outcome, Recorder};
use super::{data, work};
use crate::support::server::Server;

/// Groups of keys. Transactions stay within one.
const GROUPS: usize = 4;
/// What a claim holds that says nothing about it: as short as those that do.
const LEASE: [&str; 2] = ["--lease", "1"];
/// The name of the client that looks at everything.
const LOOKER: usize = 99;

/// What was seen, over all lives.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) calls: u64,
    /// Calls of which nobody knows what came of them.
    pub(super) unanswered: u64,
    pub(super) refused: u64,
    /// Connections that were cut.
    pub(super) cuts: u64,
    /// Servers that ended by themselves because their store had failed.
    pub(super) failures: u64,
    pub(super) killed_while_opening: u64,
    /// Records that a start found in the log only.
    pub(super) replayed: u64,
    /// Records that a checkpoint had put into the file before the end.
    pub(super) checkpointed: u64,
    pub(super) jobs: u64,
    pub(super) claims: u64,
    /// Leases that ran out.
    pub(super) lost_leases: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Totals) {
        self.calls += other.calls;
        self.unanswered += other.unanswered;
        self.refused += other.refused;
        self.cuts += other.cuts;
        self.failures += other.failures;
        self.killed_while_opening += other.killed_while_opening;
        self.replayed += other.replayed;
        self.checkpointed += other.checkpointed;
        self.jobs += other.jobs;
        self.claims += other.claims;
        self.lost_leases += other.lost_leases;
    }
}

/// A store, its clients, and what is known of it.
pub(super) struct Round {
    seed: u64,
    dir: TempDir,
    store: PathBuf,
    recorder: Recorder,
    clients: Clients,
    checkers: Vec<Checker>,
    /// The history so far.
    entries: Vec<Entry>,
    lives: u64,
    /// Records that the log had at the last start.
    records: u64,
    totals: Totals,
}

impl Round {
    pub(super) fn new(seed: u64, rng: &mut Rng) -> Round {
        let dir = tempfile::tempdir().unwrap();
        Round {
            seed,
            store: dir.path().join("store"),
            dir,
            recorder: Recorder::default(),
            clients: Clients::new(GROUPS, rng),
            checkers: (0..GROUPS).map(|_| Checker::default()).collect(),
            entries: Vec::new(),
            lives: 0,
            records: 0,
            totals: Totals::default(),
        }
    }

    /// The folder of the store; it is made by the first start, unless somebody makes it before.
    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// Starts a server, looks at everything, and puts load on it until the plan ends it. Then the history must be right.
    pub(super) fn live(&mut self, arguments: &[&str], plan: Plan, rng: &mut Rng) -> Lived {
        let server = Server::agq_in(&self.store, &[arguments, &LEASE].concat());
        self.live_with(server, plan, rng, |_| {})
    }

    /// The same with a server that runs already, while something else goes on.
    pub(super) fn live_with(
        &mut self,
        server: Server,
        plan: Plan,
        rng: &mut Rng,
        meanwhile: impl FnOnce(&Pace),
    ) -> Lived {
        self.lives += 1;
        let (mut records, mut totals) = (self.records, self.totals);
        with_looker(&self.recorder, &server, |client| {
            opened_well(client, &mut records, &mut totals);
            data::read_all(client, GROUPS);
        });
        (self.records, self.totals) = (records, totals);
        let lived = self.clients.live(server, self.dir.path(), &self.recorder, plan, rng, meanwhile);
        self.totals.cuts += lived.cuts;
        self.totals.failures += u64::from(lived.has_failed);
        self.check_life();
        lived
    }

    /// Starts the server and kills it while it opens the store, or soon after; now and then twice.
    pub(super) fn kill_while_opening(&mut self, arguments: &[&str], rng: &mut Rng) {
        for _ in 0..rng.u8(1..=2) {
            let mut child = Server::command(&self.store, arguments).stderr(Stdio::null()).spawn().unwrap();
            let own = format!("{}\n", child.id());
            // It writes its process id into the lock file, then opens the store.
            while !std::fs::read_to_string(self.store.join("lock")).is_ok_and(|text| text.starts_with(&own)) {
                assert_eq!(child.try_wait().unwrap(), None, "the server ended before it opened the store");
                std::thread::yield_now();
            }
            (0..rng.u32(..3000)).for_each(|_| std::thread::yield_now());
            child.kill().unwrap();
            child.wait().unwrap();
            self.totals.killed_while_opening += 1;
        }
    }

    /// Works all jobs to their ends and looks at everything, in a copy of `data.redb` alone: after a clean stop it is
    /// the whole database. Then everything must be right.
    pub(super) fn finish(mut self) -> Totals {
        let found = self.look();
        let calls = Calls::of(&self.entries);
        self.must_hold(calls.check());
        self.must_hold(found.check_beside());
        self.must_hold(Feed { events: &found.events, jobs: &found.jobs }.check(&calls));
        self.totals.jobs = found.jobs.len() as u64;
        self.totals.claims = calls.grants.values().map(|grants| grants.len() as u64).sum();
        self.totals.lost_leases =
            found.events.iter().filter(|event| event.reason.as_deref() == Some("lost")).count() as u64;
        self.totals
    }

    /// The same without a judgement of the jobs.
    pub(super) fn look(&mut self) -> Found {
        let copy = self.dir.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(self.store.join("data.redb"), copy.join("data.redb")).unwrap();
        let server = Server::agq_in(&copy, &LEASE);
        let mut found = Found::default();
        with_looker(&self.recorder, &server, |client| {
            work::drain(client);
            data::read_all(client, GROUPS);
            found = Found::read(client, &self.entries);
        });
        assert!(server.stop(), "a clean stop ends with exit code 0");
        self.check_life();
        found
    }

    /// The history so far.
    pub(super) fn history(&self) -> &[Entry] {
        &self.entries
    }

    /// Looks at the history of the life that is over.
    fn check_life(&mut self) {
        let entries = self.recorder.close();
        self.totals.calls += entries.len() as u64;
        for entry in &entries {
            match &entry.outcome {
                Outcome::Unknown => self.totals.unanswered += 1,
                Outcome::Refused(_) => self.totals.refused += 1,
                Outcome::Answered(_) => {}
            }
        }
        let groups = by_group(&entries);
        self.entries.extend(entries);
        let results: Vec<_> = std::thread::scope(|scope| {
            let checks = self.checkers.iter_mut().zip(&groups);
            let threads: Vec<_> = checks.map(|(checker, group)| scope.spawn(|| checker.check(group))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        results.into_iter().for_each(|result| self.must_hold(result));
    }

    /// Keeps the history when it is wrong.
    fn must_hold(&self, result: Result<(), Violation>) {
        if let Err(Violation(what)) = result {
            panic!("{what}");
        }
    }
}

/// The calls on each group of keys.
pub(super) fn by_group(entries: &[Entry]) -> Vec<Vec<Entry>> {
    let mut groups: Vec<Vec<Entry>> = vec![Vec::new(); GROUPS];
    for entry in entries {
        let group = keys_of(&entry.call).first().and_then(|key| group_of(key)?[1..].parse::<usize>().ok());
        if let Some(group) = group {
            groups[group].push(entry.clone());
        }
    }
    groups
}

/// Says how to repeat what has failed, and keeps its files.
impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            let text: String = self.entries.iter().map(|entry| format!("{entry}\n")).collect();
            let file = self.dir.path().join("history.txt");
            std::fs::write(&file, text).unwrap();
            let (seed, lives) = (self.seed, self.lives);
            eprintln!(
                "AGQ_SEED={seed} failed in life {lives} of a store; its history is {}, beside its files",
                file.display()
            );
        }
    }
}

/// A client that is left alone.
fn with_looker(recorder: &Recorder, server: &Server, look: impl FnOnce(&mut Client<'_>)) {
    let pace = Pace::new(u64::MAX, None);
    let link = Link::new(LOOKER, server.socket(), recorder, &pace);
    look(&mut link.connect().unwrap());
}

/// Checks that the start needed no repair, and notes what it found in the log.
fn opened_well(client: &mut Client<'_>, before: &mut u64, totals: &mut Totals) {
    let Ok(Answer::Text(info)) = client.aside("INFO persistence") else { panic!("INFO does not answer") };
    let field = |name: &str| -> u64 {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no number '{name}':\n{info}"))
    };
    assert_eq!(field("store_repaired"), 0, "redb had to walk the whole file");
    let (records, replayed) = (field("log_last_record"), field("store_replayed_records"));
    assert!(records >= *before, "the log went back from record {before} to {records}");
    totals.replayed += replayed;
    totals.checkpointed += (records - *before).saturating_sub(replayed);
    *before = records;
}

/// What is there in the end.
#[derive(Default)]
pub(super) struct Found {
    pub(super) events: Vec<Event>,
    pub(super) jobs: BTreeMap<String, Value>,
    /// Jobs that the keys say are there.
    beside: BTreeSet<String>,
}

impl Found {
    fn read(client: &mut Client<'_>, entries: &[Entry]) -> Found {
        let mut found = Found { beside: data::jobs_beside(client, GROUPS).into_iter().collect(), ..Found::default() };
        loop {
            let from = found.events.last().map_or(0, |event| event.seq + 1);
            let answer = client.aside(&format!("EVENTS.READ FROM {from} COUNT 1000")).unwrap();
            let Answer::Many(parts) = &answer else { panic!("EVENTS.READ: {answer}") };
            let before = found.events.len();
            found.events.extend(parts[1].texts().map(Event::parse));
            if found.events.len() == before {
                break;
            }
        }
        let ids = found.events.iter().map(|event| &event.job).chain(&found.beside);
        let mut ids: BTreeSet<String> = ids.cloned().collect();
        ids.extend(Calls::of(entries).submits.into_keys());
        for id in ids {
            if let Ok(Answer::Text(job)) = client.aside(&format!("JOB.GET {id}")) {
                found.jobs.insert(id, serde_json::from_str(&job).unwrap());
            }
        }
        found
    }

    /// A job that was submitted in a transaction with a key is there exactly when the key says so.
    fn check_beside(&self) -> Result<(), Violation> {
        let beside = self.jobs.iter().filter(|(_, job)| job["queue"] == "beside");
        let there: BTreeSet<&String> = beside.map(|(id, _)| id).collect();
        let said: BTreeSet<&String> = self.beside.iter().collect();
        match there.symmetric_difference(&said).next() {
            Some(id) => {
                Err(Violation(format!("{id} was submitted by half: the job without its key, or the key alone")))
            }
            None => Ok(()),
        }
    }
}
