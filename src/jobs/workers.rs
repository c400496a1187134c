//! Workers: who they are, when they were last heard, what they run.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Job, Status};
use crate::jobs::json::Object;
use crate::jobs::plan::check_tool;
use crate::jobs::rows::{Timer, id_of, timer_key, worker_prefix};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Table, tables};

const VERSION: u8 = 2;
/// A worker is alive for so many heartbeats after it was heard.
const BEATS: u64 = 3;
/// How long a silent worker is shown.
const KEPT_MS: u64 = 86_400_000;
/// A sign of life within so long of the last one is not written again.
const UNWRITTEN_MS: u64 = 1_000;
/// The most capabilities of a worker: it may name every program on its PATH.
const MAX_TOOLS: usize = 10_000;
/// The most jobs that a worker may run at once.
pub const MAX_SLOTS: u64 = 10_000;

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The order of registration; its timer's number.
    pub number: u64,
    /// When it was first heard.
    pub registered_at: Millis,
    /// When it was last heard.
    pub last_seen: Millis,
    /// When its timer looks whether it is still heard.
    pub(super) timer_at: Millis,
    /// How often it means to be heard.
    pub heartbeat_ms: u64,
    /// How many jobs it runs at once; 0 when it did not say.
    pub slots: u64,
    /// What it can run.
    pub tools: Vec<String>,
    /// Its tags, as it gave them.
    pub tags: Vec<String>,
    /// The access key that it was last heard with; `None` for who may do everything.
    pub access_key: Option<Id>,
}

impl Worker {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        for number in
            [self.number, self.registered_at.0, self.last_seen.0, self.timer_at.0, self.heartbeat_ms, self.slots]
        {
            out.number(number);
        }
        out.strings(&self.tools);
        out.strings(&self.tags);
        out.strings(self.access_key.as_slice());
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Worker> {
        let mut from = Reader::new(Table::Workers, row, VERSION)?;
        let mut worker = Worker {
            number: from.number()?,
            registered_at: Millis(from.number()?),
            last_seen: Millis(from.number()?),
            timer_at: Millis(from.number()?),
            heartbeat_ms: from.number()?,
            slots: from.number()?,
            tools: from.strings()?,
            tags: from.strings()?,
            access_key: None,
        };
        let mut keys = from.strings()?;
        worker.access_key = keys.pop().map(|key| Id::stored(Table::Workers, key.as_bytes())).transpose()?;
        if !keys.is_empty() {
            return Err(from.corrupt("more than one access key"));
        }
        from.finish()?;
        Ok(worker)
    }

    /// Until when it counts as alive.
    #[must_use]
    pub fn alive_until(&self) -> Millis {
        self.last_seen.plus(BEATS * self.heartbeat_ms)
    }

    /// The key of its timer's row.
    pub(super) fn timer_key(&self) -> Vec<u8> {
        timer_key(Timer::Worker, self.timer_at, self.number)
    }

    pub(super) fn forgotten_at(&self) -> Millis {
        self.alive_until().plus(KEPT_MS)
    }
}

/// What a worker says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its id; a new one is made when it has none.
    pub id: Option<Id>,
    /// How often it means to be heard.
    pub heartbeat_ms: Option<u64>,
    /// How many jobs it runs at once.
    pub slots: Option<u64>,
    /// What it can run.
    pub tools: Option<Vec<String>>,
    /// Its tags.
    pub tags: Option<Vec<String>>,
}

impl Profile {
    /// Reads what a worker registers with: `{worker_id?, tools?, tags?, slots?, heartbeat_ms?}`.
    ///
    /// # Errors
    /// When a field is unknown, of the wrong type or out of range.
    pub fn parse(text: &[u8]) -> Result<Profile> {
        let mut from = Object::parse(text, "worker")?;
        let id = from.string("worker_id")?.map(|id| Id::parse("worker.worker_id", id.as_bytes())).transpose()?;
        let profile = Profile {
            id,
            heartbeat_ms: from.integer("heartbeat_ms", 1_000..=3_600_000)?,
            slots: from.integer("slots", 1..=MAX_SLOTS)?,
            tools: words(&mut from, "tools")?,
            tags: words(&mut from, "tags")?,
        };
        from.finish()?;
        Ok(profile)
    }

    /// Checks capabilities and tags that came by another way than JSON.
    ///
    /// # Errors
    /// When there are too many, or one is no word.
    pub fn check(&self) -> Result<()> {
        check_words(self.tools.as_deref().unwrap_or_default(), "tools")?;
        check_words(self.tags.as_deref().unwrap_or_default(), "tags")
    }
}

pub(super) fn words(from: &mut Object<'_>, field: &str) -> Result<Option<Vec<String>>> {
    let words = from.strings(field)?;
    check_words(words.as_deref().unwrap_or_default(), &from.path(field))?;
    Ok(words)
}

fn check_words(words: &[String], field: &str) -> Result<()> {
    if words.len() > MAX_TOOLS {
        return Err(Error::refused(format!("{field} has {} words, at most {MAX_TOOLS} are taken", words.len())));
    }
    words.iter().enumerate().try_for_each(|(place, word)| check_tool(word, &format!("{field}[{place}]")))
}

/// What a heartbeat tells a worker: ids of jobs that it runs or believes to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tidings {
    /// To be stopped.
    pub cancel: Vec<Id>,
    /// Not its own any more.
    pub stale: Vec<Id>,
}

/// A job that a worker believes to run, and at which epoch.
pub type Held = (Id, u64);

/// Tells whether a job's claim is the caller's own. A worker's id does not: it goes to another access key once it was
/// silent for long, and the claims that were made under it do not.
pub type Owns<'a> = &'a dyn Fn(&Job) -> bool;

/// Reads what a worker says with a heartbeat: `{jobs?: [{job_id, epoch}]}`; `None` when it names no jobs.
///
/// # Errors
/// When a field is unknown, of the wrong type or out of range.
pub fn parse_held(text: &[u8]) -> Result<Option<Vec<Held>>> {
    let mut from = Object::parse(text, "heartbeat")?;
    let jobs = from.array("jobs")?;
    from.finish()?;
    let Some(jobs) = jobs else { return Ok(None) };
    let mut held = Vec::with_capacity(jobs.len());
    for (place, raw) in jobs.into_iter().enumerate() {
        let path = format!("heartbeat.jobs[{place}]");
        let mut job = Object::of(raw, &path)?;
        let lacks = |field: &str| Error::refused(format!("{path}.{field} is missing"));
        let id = job.string("job_id")?.ok_or_else(|| lacks("job_id"))?;
        let epoch = job.integer("epoch", 0..=u64::MAX)?.ok_or_else(|| lacks("epoch"))?;
        job.finish()?;
        held.push((Id::parse(&format!("{path}.job_id"), id.as_bytes())?, epoch));
    }
    Ok(Some(held))
}

impl JobsView<'_> {
    /// A worker.
    ///
    /// # Errors
    /// When the store fails.
    pub fn worker(&self, id: &[u8]) -> Result<Option<Worker>> {
        Ok(self.rows.get(Table::Workers, id)?.as_ref().map(Worker::decode).transpose()?)
    }

    /// Every worker that is shown, in the order of ids.
    ///
    /// # Errors
    /// When the store fails.
    pub fn workers(&self) -> Result<Vec<(Id, Worker)>> {
        let mut workers = Vec::new();
        self.rows.scan(Table::Workers, Bound::Unbounded, Bound::Unbounded, false, &mut |id, row| {
            let worker = Worker::decode(&Bytes::copy_from_slice(row));
            workers.push(id_of(Table::Workers, id).and_then(|id| Ok((id, worker?))));
            ControlFlow::Continue(())
        })?;
        Ok(workers.into_iter().collect::<storage::Result<_>>()?)
    }

    /// The jobs that a worker runs, in the order of its claims.
    ///
    /// # Errors
    /// When the store fails.
    pub fn jobs_of_worker(&self, id: &Id) -> Result<Vec<Job>> {
        let prefix = worker_prefix(id);
        let end = tables::prefix_end(&prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut ids = Vec::new();
        self.rows.scan(Table::JobIndex, Bound::Included(&prefix), end, false, &mut |_, job| {
            ids.push(Bytes::copy_from_slice(job));
            ControlFlow::Continue(())
        })?;
        ids.iter().map(|id| self.indexed_job(id)).collect()
    }
}

impl Jobs<'_, '_> {
    /// Registers a worker, or refreshes what is known of it: what it does not say stays. Returns its id.
    ///
    /// # Errors
    /// When a new worker's name is an ordinary key.
    pub fn register(&mut self, profile: &Profile) -> Result<(Id, Worker)> {
        let known = match &profile.id {
            Some(id) => self.view().worker(id.as_bytes())?,
            None => None,
        };
        let mut worker = match &known {
            Some(known) => known.clone(),
            None => self.new_worker(profile.id.as_ref())?,
        };
        let number = worker.number;
        let id = profile.id.clone();
        let id = id.unwrap_or_else(|| Id::generate("worker_", self.now, number, self.random));
        worker.last_seen = self.now;
        worker.heartbeat_ms = profile.heartbeat_ms.unwrap_or(worker.heartbeat_ms);
        worker.slots = profile.slots.unwrap_or(worker.slots);
        if let Some(tools) = &profile.tools {
            worker.tools.clone_from(tools);
        }
        if let Some(tags) = &profile.tags {
            worker.tags.clone_from(tags);
        }
        self.put_worker(&id, known.as_ref(), &mut worker)?;
        Ok((id, worker))
    }

    fn new_worker(&mut self, id: Option<&Id>) -> Result<Worker> {
        if let Some(id) = id {
            self.check_worker_names(id)?;
        }
        Ok(Worker {
            number: self.next_number()?,
            registered_at: self.now,
            last_seen: self.now,
            timer_at: Millis(0),
            heartbeat_ms: self.settings.heartbeat_ms,
            slots: 0,
            tools: Vec::new(),
            tags: Vec::new(),
            access_key: None,
        })
    }

    /// Writes a worker. Its timer is set once and looks then whether the worker was heard since.
    fn put_worker(&mut self, id: &Id, old: Option<&Worker>, worker: &mut Worker) -> Result<()> {
        let row_id = Bytes::copy_from_slice(id.as_bytes());
        worker.access_key = self.access_key.cloned();
        if old.is_none() {
            worker.timer_at = worker.forgotten_at();
            let key = worker.timer_key();
            self.batch.put(Table::Timers, key, row_id.clone())?;
        }
        Ok(self.batch.put(Table::Workers, row_id, worker.encode())?)
    }

    /// A worker was heard; one that is not known is registered.
    ///
    /// # Errors
    /// When a new worker's name is an ordinary key.
    pub fn hear_worker(&mut self, id: &Id) -> Result<()> {
        match self.view().worker(id.as_bytes())? {
            Some(known)
                if self.now.since(known.last_seen) < UNWRITTEN_MS && known.access_key.as_ref() == self.access_key =>
            {
                Ok(())
            }
            Some(known) => {
                let mut worker = Worker { last_seen: self.now, ..known.clone() };
                self.put_worker(id, Some(&known), &mut worker)
            }
            None => self.register(&Profile { id: Some(id.clone()), ..Profile::default() }).map(drop),
        }
    }

    /// A worker is alive. `held` are the jobs that it believes to run: their leases are lengthened, and no others, so
    /// that a claim whose answer never reached it runs out. Without them every lease of the worker is lengthened.
    /// Tells what it must know of its jobs. A claim that is not the caller's is `stale` to it, and stays as it is.
    ///
    /// # Errors
    /// `Worker not found`.
    pub fn heartbeat(&mut self, id: &Id, held: Option<&[Held]>, owns: Owns<'_>) -> Result<Tidings> {
        let known = self.view().worker(id.as_bytes())?.ok_or_else(|| Error::not_found("Worker", id.as_bytes()))?;
        let mut worker = Worker { last_seen: self.now, ..known.clone() };
        self.put_worker(id, Some(&known), &mut worker)?;
        let mut tidings = Tidings::default();
        for (job, epoch) in held.unwrap_or_default() {
            let runs = |found: &Job| found.epoch == *epoch && found.status == Status::Running;
            match self.view().job(job.as_bytes())?.filter(owns) {
                Some(found) if runs(&found) => {}
                // A lease that ran out is taken up again where nobody has claimed the job since.
                Some(found) if found.worker.as_ref() == Some(id) => match self.extend(job.as_bytes(), *epoch, 0) {
                    Ok(_) => {}
                    Err(Error::Stale { .. }) => tidings.stale.push(job.clone()),
                    Err(error) => return Err(error),
                },
                _ => tidings.stale.push(job.clone()),
            }
        }
        for job in self.view().jobs_of_worker(id)?.into_iter().filter(owns) {
            if job.cancelling {
                tidings.cancel.push(job.id.clone());
            }
            if held.is_none_or(|held| held.contains(&(job.id.clone(), job.epoch))) {
                let length = job.lease.as_ref().map_or(self.settings.lease_ms, |lease| lease.length_ms);
                self.lengthen(job, length)?;
            }
        }
        Ok(tidings)
    }

    /// A worker goes: the caller's jobs go back to their places, and no loss is counted. Returns how many.
    ///
    /// # Errors
    /// `Worker not found`.
    pub fn unregister(&mut self, id: &Id, owns: Owns<'_>) -> Result<usize> {
        let worker = self.view().worker(id.as_bytes())?.ok_or_else(|| Error::not_found("Worker", id.as_bytes()))?;
        let jobs: Vec<Job> = self.view().jobs_of_worker(id)?.into_iter().filter(owns).collect();
        for job in &jobs {
            self.give_back(job, None)?;
        }
        self.forget_worker(id.as_bytes(), &worker)?;
        Ok(jobs.len())
    }

    fn forget_worker(&mut self, id: &[u8], worker: &Worker) -> Result<()> {
        self.batch.remove(Table::Timers, worker.timer_key())?;
        Ok(self.batch.remove(Table::Workers, Bytes::copy_from_slice(id))?)
    }

    /// A worker's timer: forgets it, or looks again later when it was heard since.
    pub(super) fn forget_worker_if_silent(&mut self, id: &[u8]) -> Result<()> {
        let missing = || storage::Error::corrupt(Table::Timers, format!("there is no worker {}", id.escape_ascii()));
        let mut worker = self.view().worker(id)?.ok_or_else(missing)?;
        let at = worker.forgotten_at();
        let id = id_of(Table::Timers, id)?;
        if at <= self.now && self.view().jobs_of_worker(&id)?.is_empty() {
            return self.forget_worker(id.as_bytes(), &worker);
        }
        self.batch.remove(Table::Timers, worker.timer_key())?;
        // A worker that still holds leases is looked at again a beat later.
        worker.timer_at = if at > self.now { at } else { self.now.plus(worker.heartbeat_ms) };
        let row_id = Bytes::copy_from_slice(id.as_bytes());
        self.batch.put(Table::Timers, worker.timer_key(), row_id.clone())?;
        Ok(self.batch.put(Table::Workers, row_id, worker.encode())?)
    }
}
