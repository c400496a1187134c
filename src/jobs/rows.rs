//! The keys of the job system's rows, and its sequences.
//!
//! - `pending`: (queue, 9 − priority, place) → job id
//! - `timers`: ([`Timer`], moment, number) → job or worker id
//! - `job_index`: (`n`, number) → job id, every job in the order of creation; (`a`, action, place) → job id;
//!   (`w`, worker, claim) → job id, what a worker runs; (`h`, number) → job id, what waits
//! - `job_data`: (job, part …) → large bodies and output

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::keys::meta_number;
use crate::jobs::{Id, Jobs, Settings};
use crate::storage::{self, Rows, Table, tables};

/// What a row of `timers` is for; the numbers are part of the row format. Every kind but the last three bears the
/// status whose jobs it lists.
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
}

impl Timer {
    pub(super) const ALL: [Timer; 7] = [
        Timer::Due,
        Timer::Lease,
        Timer::RemoveCompleted,
        Timer::RemoveFailed,
        Timer::RemoveCancelled,
        Timer::Expire,
        Timer::Worker,
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

/// The row of a pending job.
pub(super) fn pending_key(queue: &Id, priority: u8, place: u64) -> Vec<u8> {
    let mut key = named(None, queue, &[9 - priority.min(9)]);
    key.extend_from_slice(&place.to_be_bytes());
    key
}

/// The row of a job in the order of creation.
pub(super) fn number_key(number: u64) -> Vec<u8> {
    [&b"n"[..], &number.to_be_bytes()].concat()
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
const NUMBERS: &[u8] = b"job_number";
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

    /// Takes the next number of jobs, places and claims.
    pub(super) fn next_number(&mut self) -> storage::Result<u64> {
        self.next_of(NUMBERS)
    }
}
