//! Queues, and how many jobs of each status they have; a row without a name counts them all.

use bytes::Bytes;

use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Job, Status};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Table};

/// A queue whose name begins so belongs to one run and vanishes with its last job.
pub const PRIVATE_PREFIX: &str = "run_";

const VERSION: u8 = 2;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// No claim takes from it.
    pub paused: bool,
    /// Its jobs.
    pub counts: Counts,
    /// How many of the pending ones a list claim may take: without any, such a claim need not look for one.
    pub plain: u64,
}

impl Queue {
    fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.byte(if self.paused { PAUSED } else { 0 });
        self.counts.write(&mut out);
        out.number(self.plain);
        out.finish()
    }

    fn decode(row: &Bytes) -> storage::Result<Queue> {
        let mut from = Reader::new(Table::Queues, row, VERSION)?;
        let flags = from.byte()?;
        if flags & !PAUSED != 0 {
            return Err(from.corrupt("unknown flags"));
        }
        let queue = Queue { paused: flags & PAUSED != 0, counts: Counts::read(&mut from)?, plain: from.number()? };
        from.finish()?;
        Ok(queue)
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
    /// Counts a job's change of status in a queue and in all.
    pub(super) fn count(&mut self, queue: &Id, job: &Job, from: Option<Status>, to: Option<Status>) -> Result<()> {
        let plain = |status: Option<Status>| i64::from(job.is_plain && status == Some(Status::Pending));
        for name in [&b""[..], queue.as_bytes()] {
            let mut row = self.view().queue(name)?.unwrap_or_default();
            row.counts.shift(from, to)?;
            row.plain = row.plain.checked_add_signed(plain(to) - plain(from)).ok_or_else(|| {
                storage::Error::corrupt(Table::Queues, format!("the plain jobs of queue '{queue}' would be below zero"))
            })?;
            let name_row = Bytes::copy_from_slice(name);
            if name.starts_with(PRIVATE_PREFIX.as_bytes()) && row.counts.total() == 0 && !row.paused {
                self.batch.remove(Table::Queues, name_row)?;
            } else {
                self.batch.put(Table::Queues, name_row, row.encode())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_unknown_flags_are_corrupt() {
        let mut queue = Queue { paused: true, plain: 300, ..Queue::default() };
        queue.counts.shift(None, Some(Status::Failed)).unwrap();
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
