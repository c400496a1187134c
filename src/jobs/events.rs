//! The feed: one numbered row for every transition of a job, and of an action, in the transaction that made it.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::Touch;
use crate::data::keys::meta_number;
use crate::jobs::actions::Action;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Reason, Status};
use crate::jobs::rows::EVENTS;
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Rows, Table};

const VERSION: u8 = 2;
/// How long events are kept.
pub(super) const KEPT_MS: u64 = 7 * 86_400_000;
/// Stands for "no status": the job or action was not there before.
const NOT_THERE: u8 = 0xff;

/// A transition of a job or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Millis,
    /// The status that was left; `None` when it was submitted.
    pub from: Option<Status>,
    /// The status that was entered.
    pub to: Status,
    /// The queue of the job, or of the action's jobs.
    pub queue: Id,
    /// Of what.
    pub subject: Subject,
}

/// What an event is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A job.
    Job {
        /// The job.
        id: Id,
        /// Why.
        reason: Reason,
        /// The job's epoch after it.
        epoch: u64,
    },
    /// An action: it was submitted, has ended, or runs again.
    Action(Id),
}

/// What a row's subject is; the numbers are part of the row format.
const JOB: u8 = 1;
const ACTION: u8 = 2;

/// The kinds of events that webhooks choose among; their places are part of the row format of webhooks.
pub const KINDS: [&str; 12] = [
    "job.waiting",
    "job.scheduled",
    "job.pending",
    "job.running",
    "job.completed",
    "job.failed",
    "job.cancelled",
    "action.submitted",
    "action.running",
    "action.completed",
    "action.failed",
    "action.cancelled",
];

impl Event {
    /// Its place among [`KINDS`]: of a job the status that it entered, of an action that or the submit.
    #[must_use]
    pub fn kind(&self) -> usize {
        match (&self.subject, self.from, self.to) {
            (Subject::Job { .. }, ..) => self.to as usize,
            (Subject::Action(_), None, _) => 7,
            (Subject::Action(_), _, Status::Completed) => 9,
            (Subject::Action(_), _, Status::Failed) => 10,
            (Subject::Action(_), _, Status::Cancelled) => 11,
            (Subject::Action(_), ..) => 8,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.number(self.at.0);
        out.byte(self.from.map_or(NOT_THERE, |status| status as u8));
        out.byte(self.to as u8);
        out.bytes(self.queue.as_bytes());
        match &self.subject {
            Subject::Job { id, reason, epoch } => {
                out.byte(JOB);
                out.bytes(id.as_bytes());
                out.byte(*reason as u8);
                out.number(*epoch);
            }
            Subject::Action(id) => {
                out.byte(ACTION);
                out.bytes(id.as_bytes());
            }
        }
        out.finish()
    }

    /// Reads an event's row.
    ///
    /// # Errors
    /// `Corrupt` when it is none of this version.
    pub fn decode(row: &Bytes) -> storage::Result<Event> {
        let mut reader = Reader::new(Table::Events, row, VERSION)?;
        let at = Millis(reader.number()?);
        let (from, to) = (reader.byte()?, reader.byte()?);
        let status = |number: u8| Status::ALL.get(usize::from(number)).copied();
        let from = if from == NOT_THERE { Some(None) } else { status(from).map(Some) };
        let (Some(from), Some(to)) = (from, status(to)) else {
            return Err(reader.corrupt("an unknown status"));
        };
        let queue = Id::stored(Table::Events, &reader.bytes()?)?;
        let kind = reader.byte()?;
        let id = Id::stored(Table::Events, &reader.bytes()?)?;
        let subject = match kind {
            JOB => {
                let reason = Reason::from_number(reader.byte()?);
                let reason = reason.ok_or_else(|| reader.corrupt("an unknown reason"))?;
                Subject::Job { id, reason, epoch: reader.number()? }
            }
            ACTION => Subject::Action(id),
            _ => return Err(reader.corrupt("neither a job nor an action")),
        };
        reader.finish()?;
        Ok(Event { at, from, to, queue, subject })
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
        let subject = Subject::Job { id: job.id.clone(), reason: job.reason, epoch: job.epoch };
        self.add_event(Event { at: self.now, from, to: job.status, queue: job.queue.clone(), subject })
    }

    /// Writes the event of an action that was submitted, has ended or runs again.
    pub(super) fn write_action_event(&mut self, from: Option<Status>, id: &Id, action: &Action) -> storage::Result<()> {
        let (to, queue) = (action.status(), action.queue.clone());
        self.add_event(Event { at: self.now, from, to, queue, subject: Subject::Action(id.clone()) })
    }

    fn add_event(&mut self, event: Event) -> storage::Result<()> {
        let number = self.next_of(EVENTS)?;
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
    fn the_kinds_are_named_after_the_statuses() {
        let id = Id::parse("id", b"x").unwrap();
        let name = |subject: &Subject, from, to| {
            KINDS[Event { at: Millis(1), from, to, queue: id.clone(), subject: subject.clone() }.kind()]
        };
        let job = Subject::Job { id: id.clone(), reason: Reason::None, epoch: 0 };
        let action = Subject::Action(id.clone());
        for status in Status::ALL {
            assert_eq!(name(&job, None, status), format!("job.{}", status.name()));
        }
        assert_eq!(name(&action, None, Status::Running), "action.submitted");
        for to in [Status::Running, Status::Completed, Status::Failed, Status::Cancelled] {
            assert_eq!(name(&action, Some(Status::Running), to), format!("action.{}", to.name()));
        }
    }

    #[test]
    fn rows_round_trip_and_unknown_bytes_are_corrupt() {
        let id = Id::parse("id", b"job_1").unwrap();
        let job = Subject::Job { id: id.clone(), reason: Reason::Retry, epoch: 1 << 40 };
        for subject in [job, Subject::Action(id.clone())] {
            for from in [None, Some(Status::Pending)] {
                let subject = subject.clone();
                let event = Event { at: Millis(1), from, to: Status::Running, queue: id.clone(), subject };
                let row = event.encode();
                assert_eq!(Event::decode(&row).unwrap(), event);
                assert!(Event::decode(&row.slice(..row.len() - 1)).is_err());
                assert!(Event::decode(&[&row[..], &[0]].concat().into()).is_err());
            }
        }
        for wrong in [[2, 1, 7, 0, 1, b'q', 2, 1, b'a'], [2, 1, 0, 0, 1, b'q', 3, 1, b'a']] {
            assert!(Event::decode(&Bytes::copy_from_slice(&wrong)).is_err());
        }
    }
}
