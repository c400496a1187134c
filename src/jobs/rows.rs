//! The keys of the job system's rows, and its sequences.
//!
//! - `pending`: (queue, [`Lane`], 0, place) → since when, and job id; (queue, lane, 1, key, place) → the same
//! - `timers`: ([`Timer`], moment, number) → job or worker id
//! - `job_index`: (`n`, number) → job id, every job in the order of creation; (`q`, queue, number), (`p`, plan, number),
//!   (`c`, kind, number), (`y`, key, number) and (`l`, label, number) → the same of those that have these; (`a`, action, place) → job id;
//!   (`w`, worker, claim) → job id, what a worker runs; (`h`, number) → job id, what waits;
//!   (`k`, …) and (`t`, …): see [`super::tenants`]; (`u`, unique key) → the job that holds it;
//!   (`d`, job, number) → the job of that number, which waits for the other's end; (`i`, …): see [`super::repeats`];
//!   (`b`, number): see [`super::bulk`];
//!   (`m`, action, place) → job id, what waits for a place among its action's
//! - `job_data`: (job, part …) → large bodies and output; (1, action, …): see [`super::expand`]

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::keys::meta_number;
use crate::jobs::lanes::Lane;
use crate::jobs::{Id, Jobs, Settings};
use crate::storage::{self, Rows, Table, tables};

/// What a row of `timers` is for; the numbers are part of the row format. Those of a status list its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Timer {
    /// A scheduled job becomes pending.
    Due = 1,
    /// A running job's lease runs out.
    Lease = 2,
    /// A completed job is removed.
    RemoveCompleted = 3,
    /// A failed job is removed.
    RemoveFailed = 4,
    /// A cancelled job is removed.
    RemoveCancelled = 5,
    /// A job that has not started fails.
    Expire = 6,
    /// A worker that is not heard any more is forgotten.
    Worker = 7,
    /// A queue whose rate is used up may give out work again.
    Rate = 8,
    /// Those that wait for a job learn of its end.
    Dependents = 9,
    /// An idempotency key is forgotten.
    Repeat = 10,
    /// Something is done to many jobs.
    Bulk = 11,
    /// More jobs of an action are made.
    Expand = 12,
    /// A schedule's next tick comes.
    Schedule = 13,
}

impl Timer {
    pub(super) const ALL: [Timer; 13] = [
        // Before a job is removed, those who wait for it learn of its end.
        Timer::Dependents,
        Timer::Due,
        Timer::Lease,
        Timer::RemoveCompleted,
        Timer::RemoveFailed,
        Timer::RemoveCancelled,
        Timer::Expire,
        Timer::Worker,
        Timer::Rate,
        Timer::Repeat,
        // What comes at a moment is not held up by what takes its time.
        Timer::Schedule,
        Timer::Bulk,
        Timer::Expand,
    ];
}

/// The key of a timer.
pub(super) fn timer_key(kind: Timer, at: Millis, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(kind as u8);
    key.extend_from_slice(&at.0.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The moment and the number of a timer's key.
pub(super) fn split_timer_key(key: &[u8]) -> storage::Result<(Millis, u64)> {
    let corrupt = || storage::Error::corrupt(Table::Timers, format!("a key of {} bytes", key.len()));
    let (at, number) = key.get(1..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or_else(corrupt)?;
    let number: [u8; 8] = number.try_into().map_err(|_| corrupt())?;
    Ok((Millis(u64::from_be_bytes(*at)), u64::from_be_bytes(number)))
}

fn named(tag: Option<u8>, name: &str, tail: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + name.len() + tail.len());
    key.extend(tag);
    tables::put_name(&mut key, name.as_bytes());
    key.extend_from_slice(tail);
    key
}

/// What every pending row of a queue begins with.
pub(super) fn pending_prefix(queue: &Id) -> Vec<u8> {
    named(None, queue, &[])
}

/// What every pending row of a lane begins with.
pub(super) fn lane_prefix(queue: &Id, lane: Lane) -> Vec<u8> {
    let mut key = pending_prefix(queue);
    lane.put(&mut key);
    key
}

/// What every row of a lane's jobs without a key (`None`), or with one, begins with.
pub(super) fn share_prefix(queue: &Id, lane: Lane, key: Option<&str>) -> Vec<u8> {
    let mut row = lane_prefix(queue, lane);
    row.push(u8::from(key.is_some()));
    if let Some(key) = key {
        tables::put_name(&mut row, key.as_bytes());
    }
    row
}

/// The row of a pending job.
pub(super) fn pending_key(queue: &Id, lane: Lane, key: Option<&str>, place: u64) -> Vec<u8> {
    let mut row = share_prefix(queue, lane, key);
    row.extend_from_slice(&place.to_be_bytes());
    row
}

/// What a pending row holds: since when the job waits, and its id.
pub(super) fn pending_value(since: Millis, id: &Id) -> Bytes {
    [&since.0.to_be_bytes()[..], id.as_bytes()].concat().into()
}

/// Since when the job of a pending row waits, and its id.
pub(super) fn split_pending_value(value: &[u8]) -> storage::Result<(Millis, Id)> {
    let corrupt = || storage::Error::corrupt(Table::Pending, format!("'{}' names no job", value.escape_ascii()));
    let (since, id) = value.split_first_chunk::<8>().ok_or_else(corrupt)?;
    Ok((Millis(u64::from_be_bytes(*since)), id_of(Table::Pending, id)?))
}

/// The row of what a key has in a queue.
pub(super) fn tenant_key(queue: &Id, key: &str) -> Vec<u8> {
    named(Some(b'k'), queue, key.as_bytes())
}

/// What every row of the turns of a lane begins with.
pub(super) fn turns_prefix(queue: &Id, lane: Lane) -> Vec<u8> {
    let mut row = named(Some(b't'), queue, &[]);
    lane.put(&mut row);
    row
}

/// The row of a key's turn in a lane.
pub(super) fn turn_key(queue: &Id, lane: Lane, turn: u64) -> Vec<u8> {
    let mut row = turns_prefix(queue, lane);
    row.extend_from_slice(&turn.to_be_bytes());
    row
}

/// The row of a job in the order of creation.
pub(super) fn number_key(number: u64) -> Vec<u8> {
    [&b"n"[..], &number.to_be_bytes()].concat()
}

/// What every row of the jobs that have something alike, a queue or a label, begins with.
pub(super) fn alike_prefix(tag: u8, word: &str) -> Vec<u8> {
    named(Some(tag), word, &[])
}

/// The row of a job among those that have something alike.
pub(super) fn alike_key(tag: u8, word: &str, number: u64) -> Vec<u8> {
    named(Some(tag), word, &number.to_be_bytes())
}

/// The row of a waiting job.
pub(super) fn waiting_key(number: u64) -> Vec<u8> {
    [&b"h"[..], &number.to_be_bytes()].concat()
}

/// What every row of an action's jobs begins with.
pub(super) fn action_prefix(action: &Id) -> Vec<u8> {
    named(Some(b'a'), action, &[])
}

/// The row of an action's job.
pub(super) fn action_key(action: &Id, place: u64) -> Vec<u8> {
    named(Some(b'a'), action, &place.to_be_bytes())
}

/// What every row of a worker's running jobs begins with.
pub(super) fn worker_prefix(worker: &Id) -> Vec<u8> {
    named(Some(b'w'), worker, &[])
}

/// The row of a worker's running job.
pub(super) fn worker_key(worker: &Id, claim: u64) -> Vec<u8> {
    named(Some(b'w'), worker, &claim.to_be_bytes())
}

/// The row of a unique key.
pub(super) fn unique_key(key: &str) -> Vec<u8> {
    [b"u", key.as_bytes()].concat()
}

/// What every row of those that wait for a job's end begins with.
pub(super) fn dependents_prefix(job: &Id) -> Vec<u8> {
    named(Some(b'd'), job, &[])
}

/// The row of one that waits for a job's end.
pub(super) fn dependent_key(job: &Id, dependent: u64) -> Vec<u8> {
    named(Some(b'd'), job, &dependent.to_be_bytes())
}

/// What every row of those of an action's jobs that wait for a place begins with.
pub(super) fn parallel_prefix(action: &Id) -> Vec<u8> {
    named(Some(b'm'), action, &[])
}

/// The row of one of an action's jobs that waits for a place.
pub(super) fn parallel_key(action: &Id, place: u64) -> Vec<u8> {
    named(Some(b'm'), action, &place.to_be_bytes())
}

/// Begins the rows of what is still to be made of an action's jobs; no id does.
pub(super) const EXPANSION: u8 = 1;

/// What all jobs of an action begin as (`None`), or a chunk of their inputs.
pub(super) fn expansion_key(action: &Id, chunk: Option<u32>) -> Vec<u8> {
    let mut key = named(Some(EXPANSION), action, &[u8::from(chunk.is_some())]);
    key.extend(chunk.into_iter().flat_map(u32::to_be_bytes));
    key
}

/// What every row beside a job's record begins with.
pub(super) fn data_prefix(job: &Id) -> Vec<u8> {
    named(None, job, &[])
}

/// A row beside a job's record.
pub(super) fn data_key(job: &Id, part: &[u8]) -> Vec<u8> {
    named(None, job, part)
}

/// An id that stands as the value of an index row.
pub(super) fn id_of(table: Table, value: &[u8]) -> storage::Result<Id> {
    Id::stored(table, value)
}

/// A job's, place's or claim's number: one sequence for all, so that each is used once.
pub(super) const NUMBERS: &[u8] = b"job_number";
/// The last event's number.
pub(super) const EVENTS: &[u8] = b"event_number";

impl Settings {
    /// The same for an engine that starts now: leases that are there have one full lease of grace.
    ///
    /// # Errors
    /// When the store fails.
    pub fn started(self, rows: &dyn Rows, now: Millis) -> storage::Result<Settings> {
        let grace_claims = meta_number(rows, NUMBERS)?;
        Ok(Settings { grace_until: now.plus(self.lease_ms), grace_claims, ..self })
    }
}

impl Jobs<'_, '_> {
    /// Takes the next number of a sequence.
    pub(super) fn next_of(&mut self, sequence: &'static [u8]) -> storage::Result<u64> {
        let number = meta_number(self.batch, sequence)? + 1;
        self.batch.put(Table::Meta, Bytes::from_static(sequence), number.to_be_bytes().to_vec())?;
        Ok(number)
    }

    /// Takes so many numbers of jobs, places and claims at once. Returns the first.
    pub(super) fn reserve_numbers(&mut self, count: u64) -> storage::Result<u64> {
        let last = meta_number(self.batch, NUMBERS)?;
        self.batch.put(Table::Meta, Bytes::from_static(NUMBERS), (last + count).to_be_bytes().to_vec())?;
        Ok(last + 1)
    }

    /// Takes the next number of jobs, places and claims.
    pub(super) fn next_number(&mut self) -> storage::Result<u64> {
        self.next_of(NUMBERS)
    }
}
