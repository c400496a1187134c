//! Queues, with what an operator chose for them, and workers. How many jobs of a queue have which status follows from the
//! jobs.

use crate::jobs::Id;
use crate::jobs::error::{Error, Result};
use crate::jobs::json::Object;
use crate::jobs::limits::{Bucket, Limits, Rate};
use crate::jobs::queue::{Queue, queue_name};
use crate::jobs::show::Json;
use crate::jobs::transfer::{need, need_id, need_moment, put_count, put_flag, take_count, take_flag, take_id};
use crate::jobs::workers::{MAX_SLOTS, Worker, words};

/// The highest bound of a queue, and the longest time of a rate: those of QUEUE.LIMIT.
const MAX_BOUND: u64 = 1_000_000_000;
const MAX_PER_MS: u64 = 86_400_000;

pub(super) fn queue_json(name: &Id, queue: &Queue) -> String {
    let mut out = Json::new();
    out.text("queue", name);
    put_flag(&mut out, "paused", queue.paused);
    let bounds = [("concurrency", queue.limits.concurrency), ("key_concurrency", queue.limits.key_concurrency)];
    for (field, bound) in bounds {
        put_count(&mut out, field, bound.unwrap_or(0));
    }
    if let Some(Rate { jobs, per_ms, burst }) = queue.limits.rate {
        let mut rate = Json::new();
        for (field, number) in [("jobs", jobs), ("per_ms", per_ms), ("burst", burst)] {
            rate.number(field, number);
        }
        // As many as there are at that moment; each start takes `per_ms` of them.
        rate.number("left", queue.bucket.parts);
        rate.number("left_at", queue.bucket.at.0);
        out.raw("rate", &rate.finish());
    }
    put_count(&mut out, "purged", queue.purged);
    put_count(&mut out, "keyless_turn", queue.keyless_turn);
    out.finish()
}

/// Reads a queue. `last` is the last number that was given.
pub(super) fn take_queue(from: &mut Object<'_>, last: u64) -> Result<(Id, Queue)> {
    let path = from.path("queue");
    let name = from.string("queue")?;
    let name = queue_name(&path, need(from, "queue", name)?.as_bytes())?;
    let mut queue = Queue { paused: take_flag(from, "paused")?, ..Queue::default() };
    queue.limits = Limits {
        concurrency: from.integer("concurrency", 1..=MAX_BOUND)?,
        key_concurrency: from.integer("key_concurrency", 1..=MAX_BOUND)?,
        rate: None,
    };
    if let Some(mut from) = from.object("rate")? {
        let mut number = |field: &str, most: u64| {
            let number = from.integer(field, 1..=most)?;
            need(&from, field, number)
        };
        let (jobs, per_ms, burst) =
            (number("jobs", MAX_BOUND)?, number("per_ms", MAX_PER_MS)?, number("burst", MAX_BOUND)?);
        queue.limits.rate = Some(Rate { jobs, per_ms, burst });
        let most = burst.saturating_mul(per_ms);
        let parts = from.integer("left", 0..=most)?.unwrap_or(most);
        queue.bucket = Bucket { parts, at: need_moment(&mut from, "left_at")?, timer: None };
        from.finish()?;
    }
    queue.purged = from.integer("purged", 0..=last)?.unwrap_or(0);
    queue.keyless_turn = from.integer("keyless_turn", 0..=last)?.unwrap_or(0);
    Ok((name, queue))
}

pub(super) fn worker_json(id: &Id, worker: &Worker) -> String {
    let mut out = Json::new();
    out.text("worker_id", id);
    for (field, words) in [("tools", &worker.tools), ("tags", &worker.tags)] {
        if !words.is_empty() {
            out.texts(field, words);
        }
    }
    put_count(&mut out, "slots", worker.slots);
    out.number("heartbeat_ms", worker.heartbeat_ms);
    out.number("registered_at", worker.registered_at.0);
    out.number("last_seen", worker.last_seen.0);
    if let Some(key) = &worker.access_key {
        out.text("access_key", key);
    }
    out.finish()
}

/// Reads a worker; `number` is its own in this store.
pub(super) fn take_worker(from: &mut Object<'_>, number: u64) -> Result<(Id, Worker)> {
    let id = need_id(from, "worker_id")?;
    let heartbeat_ms = from.integer("heartbeat_ms", 1..=3_600_000)?;
    let mut worker = Worker {
        number,
        registered_at: need_moment(from, "registered_at")?,
        last_seen: need_moment(from, "last_seen")?,
        timer_at: crate::clock::Millis(0),
        heartbeat_ms: need(from, "heartbeat_ms", heartbeat_ms)?,
        slots: take_count(from, "slots")?,
        tools: words(from, "tools")?.unwrap_or_default(),
        tags: words(from, "tags")?.unwrap_or_default(),
        access_key: take_id(from, "access_key")?,
    };
    if worker.slots > MAX_SLOTS {
        return Err(Error::refused(format!("worker.slots is {}, at most {MAX_SLOTS} are taken", worker.slots)));
    }
    worker.timer_at = worker.forgotten_at();
    Ok((id, worker))
}
