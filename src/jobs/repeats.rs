//! Idempotency keys: what was submitted with one is answered alike for a day, whatever becomes of it.
//!
//! `job_index` (`i`, what, key) → until when, the digest of the submission, and what it made.

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result};
use crate::jobs::job::Digest;
use crate::jobs::rows::{Timer, timer_key};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Table};

const VERSION: u8 = 1;
/// How long a key is known.
const KEPT_MS: u64 = 86_400_000;

/// What a key belongs to; the numbers are part of the key format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Repeats {
    /// A job.
    Job = b'j',
    /// An action.
    Action = b'a',
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repeat {
    /// The timer's moment and number.
    pub(super) until: Millis,
    pub(super) number: u64,
    pub(super) submission: Digest,
    pub(super) made: Id,
    /// What is needed besides to answer the same again.
    pub(super) row: Bytes,
}

pub(super) fn row_key(what: Repeats, key: &str) -> Vec<u8> {
    [&[b'i', what as u8], key.as_bytes()].concat()
}

impl Repeat {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.number(self.until.0);
        out.number(self.number);
        self.submission.iter().for_each(|byte| out.byte(*byte));
        out.bytes(self.made.as_bytes());
        out.bytes(&self.row);
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Repeat> {
        let mut from = Reader::new(Table::JobIndex, row, VERSION)?;
        let (until, number, submission) = (Millis(from.number()?), from.number()?, from.digest()?);
        let made = Id::stored(Table::JobIndex, &from.bytes()?)?;
        let row = from.bytes()?;
        from.finish()?;
        Ok(Repeat { until, number, submission, made, row })
    }
}

impl JobsView<'_> {
    /// The queue of what was made with a key; `None` when that is gone.
    fn queue_of_repeat(&self, what: Repeats, made: &Id) -> Result<Option<Id>> {
        Ok(match what {
            Repeats::Job => self.job(made.as_bytes())?.map(|job| job.queue),
            Repeats::Action => self.action(made.as_bytes())?.map(|action| action.queue),
        })
    }
}

impl Jobs<'_, '_> {
    /// What was made with a key; an error when that was submitted with other content. Keys are everybody's: the error
    /// tells what was made only where that is of the `queue` of this submission too.
    pub(super) fn repeat(
        &self,
        what: Repeats,
        key: &str,
        submission: Digest,
        queue: &Id,
    ) -> Result<Option<(Id, Bytes)>> {
        let row = self.view().rows.get(Table::JobIndex, &row_key(what, key))?;
        let Some(repeat) = row.as_ref().map(Repeat::decode).transpose()? else { return Ok(None) };
        if repeat.submission == submission {
            return Ok(Some((repeat.made, repeat.row)));
        }
        let is_told = self.tells_of(queue, self.view().queue_of_repeat(what, &repeat.made)?.as_ref());
        let made = if is_told { format!(" for {}", repeat.made) } else { String::new() };
        Err(Error::refused(format!("idempotency_key '{key}' was used{made} with other content: choose another key")))
    }

    /// Remembers what was made with a key.
    pub(super) fn remember(
        &mut self,
        what: Repeats,
        key: &str,
        submission: Digest,
        (made, answer): (&Id, Bytes),
    ) -> Result<()> {
        let (until, number) = (self.now.plus(KEPT_MS), self.next_number()?);
        let row = row_key(what, key);
        self.batch.put(Table::Timers, timer_key(Timer::Repeat, until, number), row.clone())?;
        let repeat = Repeat { until, number, submission, made: made.clone(), row: answer };
        Ok(self.batch.put(Table::JobIndex, row, repeat.encode())?)
    }

    /// A key's day is over.
    pub(super) fn forget_repeat(&mut self, timer: Vec<u8>, row: &[u8]) -> Result<()> {
        self.batch.remove(Table::Timers, timer)?;
        Ok(self.batch.remove(Table::JobIndex, Bytes::copy_from_slice(row))?)
    }
}
