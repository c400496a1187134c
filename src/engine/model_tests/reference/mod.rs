//! The job system as its rules say it, over plain maps: no rows, no indexes, no counters, no timers that could be
//! forgotten. Whatever is asked is found by looking at everything there is.

mod actions;
mod claims;
mod control;
mod reports;
pub(super) mod schedules;
mod submit;
mod terms;
mod time;
pub(super) mod webhooks;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Millis;
use crate::jobs::Status;
use crate::jobs::job::{AfterPolicy, Reason};

pub(super) use terms::{ActionSubmission, Backoff, Conflict, Occasion, Submission, Terms, Work};

use Status::{Cancelled, Completed, Failed, Pending, Running, Scheduled, Waiting};

pub(super) const LEASE_MS: u64 = 30_000;
pub(super) const HEARTBEAT_MS: u64 = 10_000;
const AGEING_MS: u64 = 300_000;
const SILENCE_MS: u64 = 600_000;
const DAY_MS: u64 = 86_400_000;
/// Of an action so many jobs are made at once, the others so many at a time: what tests are built with.
const FIRST: usize = 8;
const CHUNK: usize = 2;

/// A worker's hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) deadline: Millis,
    length_ms: u64,
    claim: u64,
    conn: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// The order of creation.
    number: u64,
    place: u64,
    pub(super) work: Work,
    pub(super) terms: Terms,
    submission: Option<Submission>,
    pub(super) action: Option<(String, usize)>,
    pub(super) status: Status,
    pub(super) reason: Reason,
    pub(super) cancelling: bool,
    pub(super) epoch: u64,
    pub(super) starts: u32,
    pub(super) failures: u32,
    pub(super) losses: u32,
    failures_before: u32,
    losses_before: u32,
    abandons: u32,
    created_at: Millis,
    pub(super) run_at: Option<Millis>,
    /// The bounds of `run_at` where it was drawn at random, until the store was asked.
    pub(super) run_between: Option<(Millis, Millis)>,
    pub(super) expires_at: Option<Millis>,
    started_at: Millis,
    pub(super) ended_at: Option<Millis>,
    pub(super) remove_at: Option<Millis>,
    pub(super) worker: Option<String>,
    pub(super) lease: Option<Lease>,
    /// Jobs it still waits for.
    pub(super) after: BTreeSet<String>,
    has_dependents: bool,
    /// Each piece with its task.
    pub(super) output: Vec<(u32, &'static str)>,
    pub(super) progress: Option<usize>,
    pub(super) result: Option<String>,
    pub(super) error: Option<String>,
}

impl Job {
    fn bound(&self) -> Option<Millis> {
        self.terms.timeout_ms.map(|ms| self.started_at.plus(ms))
    }

    fn lane(&self) -> Lane {
        let work = if self.work == Work::Plain && self.terms.needs_gpu { Work::Plan } else { self.work };
        Lane { descent: 9 - self.terms.priority, work, needs_gpu: self.terms.needs_gpu }
    }
}

/// Jobs that the same workers can run, of one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    descent: u8,
    work: Work,
    needs_gpu: bool,
}

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    pub(super) concurrency: Option<u64>,
    pub(super) of_key: Option<u64>,
    /// Jobs, in ten seconds each; the burst is two.
    pub(super) rate: Option<u64>,
}

pub(super) const RATE_MS: u64 = 10_000;
pub(super) const BURST: u64 = 2;

#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    pub(super) paused: bool,
    pub(super) limits: Limits,
    /// Parts of a start that the rate has left, as of a moment.
    bucket: (u64, Millis),
    keyless_turn: u64,
}

impl Action {
    pub(super) fn may_retry(&self) -> bool {
        self.cancelling == Cancelling::No
    }

    pub(super) fn unmade(&self) -> usize {
        self.unmade.len()
    }
}

impl Queue {
    fn parts(&self, now: Millis) -> u64 {
        let gained = now.since(self.bucket.1) * self.limits.rate.unwrap_or(0);
        (self.bucket.0 + gained).min(BURST * RATE_MS)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Worker {
    number: u64,
    pub(super) has_gpu: bool,
    last_seen: Millis,
    timer_at: Millis,
}

impl Worker {
    fn forgotten_at(&self) -> Millis {
        self.last_seen.plus(3 * HEARTBEAT_MS).plus(DAY_MS)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelling {
    No,
    Jobs,
    Rest,
}

#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) submission: ActionSubmission,
    created: (Millis, u64),
    unmade: Vec<String>,
    /// Failed jobs of it that were removed.
    failed_and_gone: usize,
    cancelled_and_gone: usize,
    cancelling: Cancelling,
}

/// What a connection of the list contract holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Conn {
    /// Each with its epoch, and whether asking again abandons it.
    pub(super) held: BTreeMap<String, (u64, bool)>,
    heard: Millis,
}

/// Which jobs a claim takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Everything,
    Plans,
    Plain,
}

/// A claim, which may wait.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) conn: u64,
    pub(super) worker: String,
    pub(super) queues: Vec<&'static str>,
    pub(super) count: usize,
    pub(super) lease_ms: u64,
    pub(super) takes: Takes,
    /// A pop out of a queue; whether asking again abandons what it gave.
    pub(super) list: Option<bool>,
    pub(super) deadline: Option<Millis>,
}

/// What a command answers when it does not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum No {
    Stale(u64),
    Refused,
}

pub(super) type Answer<T = ()> = Result<T, No>;

/// Everything there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) now: Millis,
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) queues: BTreeMap<&'static str, Queue>,
    pub(super) workers: BTreeMap<String, Worker>,
    pub(super) actions: BTreeMap<String, Action>,
    pub(super) schedules: BTreeMap<&'static str, schedules::Schedule>,
    pub(super) webhooks: BTreeMap<&'static str, webhooks::Webhook>,
    pub(super) conns: BTreeMap<u64, Conn>,
    /// Claims that wait, the oldest first.
    pub(super) parked: Vec<Claim>,
    /// Idempotency keys: what was made, with what, until when.
    repeats: BTreeMap<&'static str, (String, Submission, Millis)>,
    /// Turns of keys in the lanes of queues.
    turns: BTreeMap<(&'static str, Lane, &'static str), u64>,
    /// Actions whose jobs are to be cancelled at the next turn.
    bulks: Vec<String>,
    last: u64,
    grace_until: Millis,
    grace_claims: u64,
}
impl Model {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn job(&self, id: &str) -> Answer<&Job> {
        self.jobs.get(id).ok_or(No::Refused)
    }

    fn count(&self, wanted: impl Fn(&Job) -> bool) -> u64 {
        self.jobs.values().filter(|job| wanted(job)).count() as u64
    }

    /// The server starts: connections are gone, and leases have a full one of grace.
    pub(super) fn restart(&mut self) {
        self.conns.clear();
        self.parked.clear();
        self.give_grace();
    }

    pub(super) fn give_grace(&mut self) {
        (self.grace_until, self.grace_claims) = (self.now.plus(LEASE_MS), self.last);
    }

    fn put(&mut self, id: &str, job: Job) {
        let old = self.jobs.insert(id.to_owned(), job.clone());
        let from = old.as_ref().map(|old| old.status);
        let starts = from == Some(Pending) && job.status == Running;
        if starts {
            self.charge(&job);
        }
        if let Some(key) = job.terms.key {
            let served =
                (job.status == Running && from != Some(Running)).then(|| old.as_ref().map(Job::lane)).flatten();
            self.take_turns(job.terms.queue, key, served);
        }
        if from == Some(job.status) {
            return;
        }
        if job.status.is_terminal()
            && let Some(job) = self.jobs.get_mut(id)
        {
            job.after.clear();
        }
        if let Some((action, _)) = &job.action
            && job.status.is_terminal()
        {
            self.one_ended(&action.clone());
        }
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Job)) {
        let mut job = self.jobs[id].clone();
        change(&mut job);
        self.put(id, job);
    }

    fn end(&mut self, id: &str, status: Status, reason: Reason) {
        let now = self.now;
        self.change(id, |job| {
            let kept = if status == Failed { 180 * DAY_MS } else { 7 * DAY_MS };
            (job.status, job.reason, job.cancelling, job.lease) = (status, reason, false, None);
            job.ended_at = Some(now);
            job.remove_at = Some(now.plus(job.terms.retention_ms.unwrap_or(kept)));
        });
    }

    fn charge(&mut self, job: &Job) {
        let name = job.terms.queue;
        let has_keys =
            self.count(|job| job.terms.queue == name && job.status == Pending && job.terms.key.is_some()) > 0;
        let turn = if has_keys && job.terms.key.is_none() { Some(self.next()) } else { None };
        let now = self.now;
        let queue = self.queues.entry(name).or_default();
        queue.keyless_turn = turn.unwrap_or(queue.keyless_turn);
        if queue.limits.rate.is_some() {
            queue.bucket = (queue.parts(now).saturating_sub(RATE_MS), now);
        }
    }

    /// Puts a key where its jobs say that it stands; behind all others in the lane that it was served from.
    fn take_turns(&mut self, queue: &'static str, key: &'static str, served: Option<Lane>) {
        let of_key = |job: &&Job| job.terms.queue == queue && job.terms.key == Some(key);
        let running = self.jobs.values().filter(of_key).filter(|job| job.status == Running).count() as u64;
        let pending = self.jobs.values().filter(of_key).filter(|job| job.status == Pending);
        let lanes: BTreeSet<Lane> = pending.map(Job::lane).collect();
        let aside = self.queues.get(queue).and_then(|queue| queue.limits.of_key).is_some_and(|limit| running >= limit);
        self.turns.retain(|(of, lane, who), _| {
            *of != queue || *who != key || (!aside && lanes.contains(lane) && served != Some(*lane))
        });
        for lane in lanes.into_iter().filter(|_| !aside) {
            if !self.turns.contains_key(&(queue, lane, key)) {
                let turn = self.next();
                self.turns.insert((queue, lane, key), turn);
            }
        }
    }
}
