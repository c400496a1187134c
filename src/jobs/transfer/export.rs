//! Values out of a store, in the order of [`super::ORDER`].

use std::ops::Bound;

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::keys::meta_number;
use crate::jobs::bulk::Bulk;
use crate::jobs::error::Result;
use crate::jobs::events::Event;
use crate::jobs::incarnation::INCARNATION;
use crate::jobs::plan_store::Stored;
use crate::jobs::repeats::Repeat;
use crate::jobs::rows::{EVENTS, NUMBERS};
use crate::jobs::show::Json;
use crate::jobs::transfer::{action, each_under, feed, job, output, put_flag, queue};
use crate::jobs::workers::Worker;
use crate::jobs::{Id, JobsView};
use crate::storage::batch::try_scan;
use crate::storage::{Error, Rows, Table};

/// What takes the values: the kind, and the object.
pub type Take<'a> = dyn FnMut(&'static str, String) -> Result<()> + 'a;

/// The first value: how far the store's counters have come; of those without `jobs` the incarnation alone.
///
/// # Errors
/// When the store fails.
pub fn counters(rows: &dyn Rows, jobs: bool) -> Result<String> {
    let mut out = Json::new();
    out.number("incarnation", meta_number(rows, INCARNATION)?);
    if jobs {
        out.number("number", meta_number(rows, NUMBERS)?);
        out.number("event", meta_number(rows, EVENTS)?);
    }
    Ok(out.finish())
}

/// Hands out everything about jobs, after [`counters`]. Of what one job or action has, no more than a piece is in memory
/// at a time.
///
/// # Errors
/// When the store fails, a row cannot be read, or `take` fails.
pub fn export(rows: &dyn Rows, take: &mut Take<'_>) -> Result<()> {
    let view = JobsView { rows, now: Millis(0) };
    let all = (Bound::Unbounded, Bound::Unbounded);
    // Behind the rows that count the use of plans.
    try_scan(rows, Table::Plans, (Bound::Included(&[1]), Bound::Unbounded), &mut |id, row| {
        take("plan", plan_json(&Id::stored(Table::Plans, id)?, &Stored::decode(&copy(row))?))
    })?;
    for (name, found) in view.queues()? {
        take("queue", queue::queue_json(&name, &found))?;
    }
    try_scan(rows, Table::Workers, all, &mut |id, row| {
        take("worker", queue::worker_json(&Id::stored(Table::Workers, id)?, &Worker::decode(&copy(row))?))
    })?;
    try_scan(rows, Table::Actions, all, &mut |id, _| action::export(&view, &Id::stored(Table::Actions, id)?, take))?;
    each_under(rows, Table::JobIndex, b"n", &mut |_, id| {
        let found = view.indexed_job(id)?;
        take("job", job::job_json(&view, &found)?)?;
        output::export(&view, &found, take)
    })?;
    export_rest(&view, take)
}

/// What is beside jobs and refers to them.
fn export_rest(view: &JobsView<'_>, take: &mut Take<'_>) -> Result<()> {
    for (id, schedule) in view.schedules(None, usize::MAX)? {
        take("schedule", feed::schedule_json(&id, &schedule, &view.schedule_job(&id)?))?;
    }
    for (id, webhook) in view.webhooks()? {
        take("webhook", feed::webhook_json(&id, &webhook))?;
    }
    each_under(view.rows, Table::JobIndex, b"i", &mut |key, row| {
        let lacks = || Error::corrupt(Table::JobIndex, format!("an idempotency key at {}", key.escape_ascii()));
        let ([_, what], word) = key.split_first_chunk().ok_or_else(lacks)?;
        let word = std::str::from_utf8(word).map_err(|_| lacks())?;
        take("repeat", feed::repeat_json(*what, word, &Repeat::decode(&copy(row))?)?)
    })?;
    each_under(view.rows, Table::JobIndex, b"b", &mut |_, row| {
        take("bulk", feed::bulk_json(&Bulk::decode(&copy(row))?))
    })?;
    try_scan(view.rows, Table::Events, (Bound::Unbounded, Bound::Unbounded), &mut |key, row| {
        let number = key.first_chunk().map(|number| u64::from_be_bytes(*number));
        let number = number.ok_or_else(|| Error::corrupt(Table::Events, "a key that is no number"))?;
        take("event", feed::event_json(number, &Event::decode(&copy(row))?))
    })
}

fn copy(row: &[u8]) -> Bytes {
    Bytes::copy_from_slice(row)
}

fn plan_json(id: &Id, stored: &Stored) -> String {
    let mut out = Json::new();
    out.text("plan_id", id);
    out.number("created_at", stored.created_at.0);
    put_flag(&mut out, "inline", stored.inline);
    out.raw("plan", &String::from_utf8_lossy(&stored.canonical));
    out.finish()
}
