//! The feed: one numbered row for every transition of a job, in the transaction that made it.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::Touch;
use crate::data::keys::meta_number;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Reason, Status};
use crate::jobs::rows::EVENTS;
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Rows, Table};

const VERSION: u8 = 1;
/// How long events are kept.
pub(super) const KEPT_MS: u64 = 7 * 86_400_000;
/// Stands for "no status": the job was not there before.
const NOT_THERE: u8 = 0xff;

/// A transition of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Millis,
    /// The status it left; `None` when it was submitted.
    pub from: Option<Status>,
    /// The status it entered.
    pub to: Status,
    /// Why.
    pub reason: Reason,
    /// The job's epoch after it.
    pub epoch: u64,
    /// The job.
    pub job: Id,
    /// Its queue.
    pub queue: Id,
}

impl Event {
    fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.number(self.at.0);
        out.byte(self.from.map_or(NOT_THERE, |status| status as u8));
        out.byte(self.to as u8);
        out.byte(self.reason as u8);
        out.number(self.epoch);
        out.bytes(self.job.as_bytes());
        out.bytes(self.queue.as_bytes());
        out.finish()
    }

    /// Reads an event's row.
    ///
    /// # Errors
    /// `Corrupt` when it is none of this version.
    pub fn decode(row: &Bytes) -> storage::Result<Event> {
        let mut reader = Reader::new(Table::Events, row, VERSION)?;
        let at = Millis(reader.number()?);
        let (from, to, reason) = (reader.byte()?, reader.byte()?, reader.byte()?);
        let status = |number: u8| Status::ALL.get(usize::from(number)).copied();
        let from = if from == NOT_THERE { Some(None) } else { status(from).map(Some) };
        let (Some(from), Some(to), Some(reason)) = (from, status(to), Reason::from_number(reason)) else {
            return Err(reader.corrupt("an unknown status or reason"));
        };
        let epoch = reader.number()?;
        let job = Id::stored(Table::Events, &reader.bytes()?)?;
        let queue = Id::stored(Table::Events, &reader.bytes()?)?;
        reader.finish()?;
        Ok(Event { at, from, to, reason, epoch, job, queue })
    }
}

impl JobsView<'_> {
    /// The number that the next event gets.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_event(&self) -> Result<u64> {
        Ok(meta_number(self.rows, EVENTS)? + 1)
    }

    /// Up to `limit` events from a number on, each with its number. Older ones than are kept are passed over.
    ///
    /// # Errors
    /// When the store fails.
    pub fn events(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>> {
        let (mut found, from) = (Vec::new(), from.to_be_bytes());
        self.rows.scan(Table::Events, Bound::Included(&from), Bound::Unbounded, false, &mut |key, row| {
            let number = key.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
            found.push(Event::decode(&Bytes::copy_from_slice(row)).map(|event| (number, event)));
            if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found.into_iter().collect::<storage::Result<_>>()?)
    }

    /// When the oldest event may go.
    pub(super) fn next_event_removal(&self) -> storage::Result<Option<Millis>> {
        let first = self.rows.first(Table::Events, Bound::Unbounded, Bound::Unbounded, false)?;
        first.map(|(_, row)| Ok(Event::decode(&row)?.at.plus(KEPT_MS))).transpose()
    }
}

impl Jobs<'_, '_> {
    /// Writes the event of a job's transition.
    pub(super) fn write_event(&mut self, from: Option<Status>, job: &Job) -> storage::Result<()> {
        let number = self.next_of(EVENTS)?;
        let event = Event {
            at: self.now,
            from,
            to: job.status,
            reason: job.reason,
            epoch: job.epoch,
            job: job.id.clone(),
            queue: job.queue.clone(),
        };
        self.batch.put(Table::Events, number.to_be_bytes().to_vec(), event.encode())?;
        self.touched.add(|| Touch::Events);
        Ok(())
    }

    /// Removes up to `limit` events that are old enough. Returns how many.
    pub(super) fn remove_old_events(&mut self, limit: usize) -> storage::Result<usize> {
        let (mut old, mut failed) = (Vec::new(), None);
        let now = self.now;
        self.batch.scan(Table::Events, Bound::Unbounded, Bound::Unbounded, false, &mut |key, row| {
            match Event::decode(&Bytes::copy_from_slice(row)) {
                Ok(event) if old.len() < limit && event.at.plus(KEPT_MS) <= now => {
                    old.push(Bytes::copy_from_slice(key));
                    return ControlFlow::Continue(());
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
            ControlFlow::Break(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let removed = old.len();
        for key in old {
            self.batch.remove(Table::Events, key)?;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_unknown_bytes_are_corrupt() {
        let id = Id::parse("id", b"job_1").unwrap();
        for from in [None, Some(Status::Pending)] {
            let event = Event {
                at: Millis(1),
                from,
                to: Status::Running,
                reason: Reason::Retry,
                epoch: 1 << 40,
                job: id.clone(),
                queue: id.clone(),
            };
            assert_eq!(Event::decode(&event.encode()).unwrap(), event);
        }
        assert!(Event::decode(&Bytes::from_static(&[1, 1, 7, 0, 0, 0, 1, b'a', 1, b'b'])).is_err());
    }
}
