//! Queues, and how many jobs of each status they have; a row without a name counts them all.

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::Touch;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Job, Status};
use crate::jobs::lanes::Lanes;
use crate::jobs::limits::{Bucket, Limits};
use crate::jobs::rows::{Timer, timer_key};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Table};

/// A queue whose name begins so belongs to one run and vanishes with its last job.
pub const PRIVATE_PREFIX: &str = "run_";

const VERSION: u8 = 3;
const PAUSED: u8 = 1;

/// The names that stand for all running and all scheduled jobs.
const RESERVED: [&str; 2] = ["processing", "scheduled"];

/// How many jobs have each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; 7]);

impl Counts {
    /// How many have this status.
    #[must_use]
    pub fn of(&self, status: Status) -> u64 {
        self.0[status as usize]
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many are not at their end.
    #[must_use]
    pub fn live(&self) -> u64 {
        Status::ALL.into_iter().filter(|status| !status.is_terminal()).map(|status| self.of(status)).sum()
    }

    /// One leaves a status, one enters one.
    pub(super) fn shift(&mut self, from: Option<Status>, to: Option<Status>) -> storage::Result<()> {
        if let Some(to) = to {
            self.0[to as usize] += 1;
        }
        if let Some(from) = from {
            let count = &mut self.0[from as usize];
            *count = count.checked_sub(1).ok_or_else(|| {
                storage::Error::corrupt(Table::Queues, format!("a count of {} jobs would fall below zero", from.name()))
            })?;
        }
        Ok(())
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.0.iter().for_each(|count| out.number(*count));
    }

    pub(super) fn read(from: &mut Reader<'_>) -> storage::Result<Counts> {
        let mut counts = Counts::default();
        for count in &mut counts.0 {
            *count = from.number()?;
        }
        Ok(counts)
    }
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queue {
    /// No claim takes from it.
    pub paused: bool,
    /// Its jobs.
    pub counts: Counts,
    /// What bounds its claims.
    pub limits: Limits,
    /// How many starts its rate has left.
    pub(super) bucket: Bucket,
    /// It is purged: jobs whose places are not above this one are cancelled instead of started.
    pub(super) purged: u64,
    /// The turn of the jobs without a key among the keys.
    pub(super) keyless_turn: u64,
    /// Its lanes with pending jobs.
    pub(super) lanes: Lanes,
}

impl Queue {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.byte(if self.paused { PAUSED } else { 0 });
        self.counts.write(&mut out);
        self.limits.write(self.bucket, &mut out);
        out.number(self.purged);
        out.number(self.keyless_turn);
        self.lanes.write(&mut out);
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Queue> {
        let mut from = Reader::new(Table::Queues, row, VERSION)?;
        let flags = from.byte()?;
        if flags & !PAUSED != 0 {
            return Err(from.corrupt("unknown flags"));
        }
        let counts = Counts::read(&mut from)?;
        let (limits, bucket) = Limits::read(&mut from)?;
        let (purged, keyless_turn) = (from.number()?, from.number()?);
        let lanes = Lanes::read(&mut from)?;
        from.finish()?;
        Ok(Queue { paused: flags & PAUSED != 0, counts, limits, bucket, purged, keyless_turn, lanes })
    }

    /// How many of its jobs may start now, were there any number of them.
    #[must_use]
    pub(super) fn room(&self, now: Millis) -> u64 {
        if self.paused {
            return 0;
        }
        let running = self.counts.of(Status::Running);
        let places = self.limits.concurrency.map_or(u64::MAX, |limit| limit.saturating_sub(running));
        places.min(self.limits.rate.map_or(u64::MAX, |rate| self.bucket.tokens(rate, now)))
    }

    /// True when nothing but jobs makes its row: without them it need not be kept.
    fn is_untouched(&self) -> bool {
        !self.paused && self.limits == Limits::default() && self.purged == 0
    }
}

/// Checks the name of a queue that a client gave.
///
/// # Errors
/// When it is no id, or one of those that stand for all queues.
pub fn queue_name(field: &str, text: &[u8]) -> Result<Id> {
    let name = Id::parse(field, text)?;
    if RESERVED.contains(&&*name) {
        return Err(Error::refused(format!(
            "{field} must not be '{}': that name stands for all {} jobs",
            shown(text),
            if &*name == "processing" { "running" } else { "scheduled" }
        )));
    }
    Ok(name)
}

impl JobsView<'_> {
    /// A queue that has been used.
    ///
    /// # Errors
    /// When the store fails.
    pub fn queue(&self, name: &[u8]) -> Result<Option<Queue>> {
        Ok(self.rows.get(Table::Queues, name)?.as_ref().map(Queue::decode).transpose()?)
    }

    /// The counts over all queues.
    ///
    /// # Errors
    /// When the store fails.
    pub fn totals(&self) -> Result<Counts> {
        Ok(self.queue(b"")?.unwrap_or_default().counts)
    }

    /// Every queue in the order of names.
    ///
    /// # Errors
    /// When the store fails.
    pub fn queues(&self) -> Result<Vec<(Id, Queue)>> {
        let (mut queues, mut failed) = (Vec::new(), None);
        let from = std::ops::Bound::Excluded(&b""[..]);
        self.rows.scan(Table::Queues, from, std::ops::Bound::Unbounded, false, &mut |name, row| {
            let queue = Queue::decode(&Bytes::copy_from_slice(row));
            match Id::stored(Table::Queues, name).and_then(|name| Ok((name, queue?))) {
                Ok(found) => queues.push(found),
                Err(error) => {
                    failed = Some(error);
                    return std::ops::ControlFlow::Break(());
                }
            }
            std::ops::ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(queues), |error| Err(error.into()))
    }
}

impl Jobs<'_, '_> {
    /// Counts a job's change, of status or of queue, in what it leaves and in what it enters.
    pub(super) fn count(&mut self, old: Option<&Job>, new: Option<&Job>) -> Result<()> {
        let mut totals = self.view().queue(b"")?.unwrap_or_default();
        totals.counts.shift(old.map(|job| job.status), new.map(|job| job.status))?;
        self.put_queue(b"", &totals)?;
        match (old, new) {
            (Some(from), Some(to)) if from.queue != to.queue => {
                self.count_in_queue(&from.queue, (Some(from), None))?;
                self.count_in_queue(&to.queue, (None, Some(to)))
            }
            (Some(job), _) | (None, Some(job)) => self.count_in_queue(&job.queue, (old, new)),
            (None, None) => Ok(()),
        }
    }

    fn count_in_queue(&mut self, name: &Id, (old, new): (Option<&Job>, Option<&Job>)) -> Result<()> {
        let status = |job: Option<&Job>| job.map(|job| job.status);
        let mut queue = self.view().queue(name.as_bytes())?.unwrap_or_default();
        let had_no_room = queue.room(self.now) == 0;
        queue.counts.shift(status(old), status(new))?;
        for (job, change) in [(old, -1), (new, 1)] {
            if let Some(job) = job.filter(|job| job.status == Status::Pending) {
                queue.lanes.shift(job, change)?;
            }
        }
        let starts = status(old) == Some(Status::Pending) && status(new) == Some(Status::Running);
        if starts {
            self.charge(name, &mut queue, old)?;
        }
        let limit = queue.limits.key_concurrency;
        self.put_queue(name.as_bytes(), &queue)?;
        if had_no_room && queue.room(self.now) > 0 {
            self.touched.add(|| Touch::Queue(Bytes::copy_from_slice(name.as_bytes())));
        }
        self.count_tenant(name, (old, new), limit)
    }

    /// A job starts: it takes a token, and jobs without a key take their next turn behind all keys.
    fn charge(&mut self, name: &Id, queue: &mut Queue, job: Option<&Job>) -> Result<()> {
        let has_keys = queue.lanes.iter().any(|waiting| waiting.keyed > 0);
        if has_keys && job.is_some_and(|job| job.key.is_none()) {
            queue.keyless_turn = self.next_number()?;
        }
        let Some(rate) = queue.limits.rate else { return Ok(()) };
        queue.bucket.take(rate, self.now);
        if queue.bucket.timer.is_none() && queue.bucket.tokens(rate, self.now) == 0 {
            let (at, number) = (queue.bucket.next_token(rate), self.next_number()?);
            queue.bucket.timer = Some((at, number));
            let row = timer_key(Timer::Rate, at, number);
            self.batch.put(Table::Timers, row, Bytes::copy_from_slice(name.as_bytes()))?;
        }
        Ok(())
    }

    /// There is a token again: those who wait for jobs of the queue try anew.
    pub(super) fn ring_rate(&mut self, name: &[u8]) -> Result<()> {
        let missing = || storage::Error::corrupt(Table::Timers, format!("there is no queue {}", name.escape_ascii()));
        let mut queue = self.view().queue(name)?.ok_or_else(missing)?;
        self.stop_rate_timer(&mut queue)?;
        self.put_queue(name, &queue)?;
        self.touched.add(|| Touch::Queue(Bytes::copy_from_slice(name)));
        Ok(())
    }

    fn stop_rate_timer(&mut self, queue: &mut Queue) -> Result<()> {
        if let Some((at, number)) = queue.bucket.timer.take() {
            self.batch.remove(Table::Timers, timer_key(Timer::Rate, at, number))?;
        }
        Ok(())
    }

    /// Stops claims from a queue, or lets them go on; submits go on all the time.
    ///
    /// # Errors
    /// When a new queue's name is an ordinary key.
    pub fn pause_queue(&mut self, name: &Id, paused: bool) -> Result<Queue> {
        self.check_queue_name(name)?;
        let mut queue = self.view().queue(name.as_bytes())?.unwrap_or_default();
        queue.paused = paused;
        self.put_queue(name.as_bytes(), &queue)?;
        self.touched.add(|| Touch::Queue(Bytes::copy_from_slice(name.as_bytes())));
        Ok(queue)
    }

    /// Gives a queue other limits; what it runs already goes on. A rate begins with a full bucket.
    ///
    /// # Errors
    /// When a new queue's name is an ordinary key.
    pub fn limit_queue(&mut self, name: &Id, limits: Limits) -> Result<Queue> {
        self.check_queue_name(name)?;
        let mut queue = self.view().queue(name.as_bytes())?.unwrap_or_default();
        let before = std::mem::replace(&mut queue.limits, limits);
        if before.rate != limits.rate {
            self.stop_rate_timer(&mut queue)?;
            queue.bucket = limits.rate.map(|rate| Bucket::full(rate, self.now)).unwrap_or_default();
        }
        self.put_queue(name.as_bytes(), &queue)?;
        if before.key_concurrency != limits.key_concurrency {
            for (key, tenant) in self.view().tenants(name)? {
                let served = (None, limits.key_concurrency);
                self.place_tenant(name, &key, &tenant, tenant.clone(), served)?;
            }
        }
        self.touched.add(|| Touch::Queue(Bytes::copy_from_slice(name.as_bytes())));
        Ok(queue)
    }

    /// Marks how far a queue is purged, 0 when that is done.
    pub(super) fn mark_purged(&mut self, name: &Id, upto: u64) -> Result<()> {
        let mut queue = self.view().queue(name.as_bytes())?.unwrap_or_default();
        queue.purged = upto;
        self.put_queue(name.as_bytes(), &queue)
    }

    /// Forgets a queue's pause and limits, and the queue when it has no jobs.
    pub(super) fn forget_queue(&mut self, name: &Id) -> Result<()> {
        let Some(mut queue) = self.view().queue(name.as_bytes())? else { return Ok(()) };
        if queue.counts.total() > 0 {
            return Ok(());
        }
        self.stop_rate_timer(&mut queue)?;
        Ok(self.batch.remove(Table::Queues, Bytes::copy_from_slice(name.as_bytes()))?)
    }

    fn put_queue(&mut self, name: &[u8], queue: &Queue) -> Result<()> {
        let row = Bytes::copy_from_slice(name);
        if name.starts_with(PRIVATE_PREFIX.as_bytes()) && queue.counts.total() == 0 && queue.is_untouched() {
            return Ok(self.batch.remove(Table::Queues, row)?);
        }
        Ok(self.batch.put(Table::Queues, row, queue.encode())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::limits::Rate;

    #[test]
    fn rows_round_trip_and_unknown_flags_are_corrupt() {
        let rate = Rate { jobs: 3, per_ms: 1000, burst: 7 };
        let limits = Limits { concurrency: Some(5), key_concurrency: None, rate: Some(rate) };
        let mut bucket = Bucket::full(rate, Millis(4));
        bucket.timer = Some((Millis(5), 6));
        let mut queue = Queue { paused: true, limits, bucket, keyless_turn: 300, ..Queue::default() };
        queue.counts.shift(None, Some(Status::Failed)).unwrap();
        let name = Id::parse("id", b"a").unwrap();
        let mut job = Job::new(name.clone(), 1, name, crate::jobs::Work::Kind("k".into()), Millis(0));
        job.requires = vec!["gpu".into()];
        queue.lanes.shift(&job, 1).unwrap();
        assert_eq!(Queue::decode(&queue.encode()).unwrap(), queue);
        let mut row = queue.encode().to_vec();
        row[1] = 2;
        assert!(Queue::decode(&row.into()).is_err());
    }

    #[test]
    fn a_count_never_falls_below_zero() {
        let mut counts = Counts::default();
        assert!(counts.shift(Some(Status::Pending), Some(Status::Running)).is_err());
    }

    #[test]
    fn names_that_stand_for_all_queues_are_refused() {
        let error = queue_name("queue", b"processing").unwrap_err().to_string();
        assert_eq!(error, "ERR queue must not be 'processing': that name stands for all running jobs");
        assert!(queue_name("queue", b"ready").is_ok());
    }
}
