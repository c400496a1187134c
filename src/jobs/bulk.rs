//! What is done to many jobs: replays, cancels, removals. The first jobs are done at once, the others in slices, behind
//! one durable row that says what is done, to which jobs, and how far it has come.
//!
//! `job_index` (`b`, number) → the row. Jobs that are pending in a queue that is purged, or of an action that is
//! cancelled, are not given out meanwhile: the queue's and the action's rows bear a mark.

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::keys::meta_number;
use crate::jobs::actions::Cancelling;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Job, Status};
use crate::jobs::rows::{NUMBERS, Timer, timer_key};
use crate::jobs::{Filter, Id, Jobs, JobsView};
use crate::storage::{self, Rows as _, Table};

const VERSION: u8 = 1;
/// Jobs that are done at once.
const FIRST: usize = 256;
/// For each job that is wanted, so many are looked at.
const LOOKS: usize = 4;

/// What is done; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verb {
    Retry = 1,
    Cancel = 2,
    Delete = 3,
}

/// Something that is done to many jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bulk {
    /// When it was begun, and its number: its timer's too.
    pub(super) at: Millis,
    pub(super) number: u64,
    pub(super) verb: Verb,
    /// Which jobs; the status is that of the first phase.
    pub(super) filter: Filter,
    /// The statuses whose jobs come after those of the filter's.
    pub(super) phases: Vec<Status>,
    /// Jobs with higher places or numbers came later and are left alone.
    pub(super) upto: u64,
    pub(super) cursor: String,
}

/// How far a change of many jobs has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Jobs that were changed at once.
    pub changed: usize,
    /// True when that was all; else the others follow by themselves.
    pub finished: bool,
}

/// The jobs that a change of many would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// How many were found.
    pub matched: usize,
    /// The first of them.
    pub first: Vec<Id>,
    /// True when more may be found.
    pub more: bool,
}

impl Bulk {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.number(self.at.0);
        out.number(self.number);
        out.byte(self.verb as u8);
        self.filter.write(&mut out);
        out.number(self.phases.len() as u64);
        self.phases.iter().for_each(|status| out.byte(*status as u8));
        out.number(self.upto);
        out.bytes(self.cursor.as_bytes());
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Bulk> {
        let mut from = Reader::new(Table::JobIndex, row, VERSION)?;
        let (at, number) = (Millis(from.number()?), from.number()?);
        let verb = match from.byte()? {
            1 => Verb::Retry,
            2 => Verb::Cancel,
            3 => Verb::Delete,
            _ => return Err(from.corrupt("an unknown verb")),
        };
        let (filter, mut phases) = (Filter::read(&mut from)?, Vec::new());
        for _ in 0..from.number()? {
            let status = Status::ALL.get(usize::from(from.byte()?)).copied();
            phases.push(status.ok_or_else(|| from.corrupt("an unknown status"))?);
        }
        let (upto, cursor) = (from.number()?, from.string()?);
        from.finish()?;
        Ok(Bulk { at, number, verb, filter, phases, upto, cursor })
    }

    pub(super) fn row_key(&self) -> Vec<u8> {
        [&b"b"[..], &self.number.to_be_bytes()].concat()
    }

    pub(super) fn timer(&self) -> Vec<u8> {
        timer_key(Timer::Bulk, self.at, self.number)
    }

    /// True for a job that is to be changed.
    fn wants(&self, job: &Job) -> bool {
        job.number <= self.upto
            && match self.verb {
                Verb::Retry => matches!(job.status, Status::Failed | Status::Cancelled),
                Verb::Cancel => !job.status.is_terminal() && !job.cancelling,
                Verb::Delete => job.status.is_terminal() && !job.has_dependents,
            }
    }
}

impl JobsView<'_> {
    /// The jobs that a replay by this filter would change.
    ///
    /// # Errors
    /// When the filter is for jobs that do not run again.
    pub fn preview_retry(&self, filter: &Filter) -> Result<Preview> {
        let filter = of_bad_ends(filter)?;
        let page = self.list(&filter, b"0", usize::MAX, None)?;
        let first = page.jobs.iter().take(SHOWN).map(|job| job.id.clone()).collect();
        Ok(Preview { matched: page.jobs.len(), first, more: page.next.is_some() })
    }
}

/// Jobs that a preview shows.
const SHOWN: usize = 100;

fn of_bad_ends(filter: &Filter) -> Result<Filter> {
    match filter.status {
        None => Ok(Filter { status: Some(Status::Failed), ..filter.clone() }),
        Some(Status::Failed | Status::Cancelled) => Ok(filter.clone()),
        Some(other) => {
            let other = other.name();
            Err(Error::refused(format!("STATUS must be failed or cancelled, not {other}: only such jobs run again")))
        }
    }
}

impl Jobs<'_, '_> {
    /// Replays all jobs that a filter admits and that have failed, or as its status says were cancelled. Those that
    /// cannot run again stay as they are.
    ///
    /// # Errors
    /// When the filter is for jobs that do not run again.
    pub fn retry_all(&mut self, filter: &Filter) -> Result<Progress> {
        let filter = of_bad_ends(filter)?;
        self.begin_bulk(Verb::Retry, filter, Vec::new(), FIRST)
    }

    /// Cancels all jobs of an action that have not ended.
    ///
    /// # Errors
    /// `Action not found`.
    pub fn cancel_action(&mut self, id: &Id) -> Result<Progress> {
        self.view().need_action(id.as_bytes())?;
        self.mark_cancelling(id)?;
        let filter = Filter { action: Some(id.clone()), ..Filter::default() };
        self.begin_bulk(Verb::Cancel, filter, Vec::new(), FIRST)
    }

    /// Too many jobs of an action have failed: the others are cancelled, in slices.
    pub(super) fn cancel_rest(&mut self, id: &Id) -> Result<()> {
        self.mark_cancelling(id)?;
        let filter = Filter { action: Some(id.clone()), ..Filter::default() };
        self.begin_bulk(Verb::Cancel, filter, Vec::new(), 0).map(drop)
    }

    /// Replays the jobs of an action that have failed, and where `cancelled` says so, those that were cancelled.
    ///
    /// # Errors
    /// `Action not found`; when it is being cancelled.
    pub fn retry_action(&mut self, id: &Id, cancelled: bool) -> Result<Progress> {
        if self.view().need_action(id.as_bytes())?.cancelling != Cancelling::No {
            return Err(Error::refused(format!("Action {id} is being cancelled: wait until that is done")));
        }
        let filter = Filter { action: Some(id.clone()), status: Some(Status::Failed), ..Filter::default() };
        let phases = if cancelled { vec![Status::Cancelled] } else { Vec::new() };
        self.begin_bulk(Verb::Retry, filter, phases, FIRST)
    }

    /// Cancels all jobs of a queue that have not started.
    ///
    /// # Errors
    /// `Queue not found`.
    pub fn purge_queue(&mut self, name: &Id) -> Result<Progress> {
        self.view().queue(name.as_bytes())?.ok_or_else(|| Error::not_found("Queue", name.as_bytes()))?;
        self.mark_purged(name, meta_number(self.batch, NUMBERS)?)?;
        for (action, _) in self.view().expanding(name)? {
            self.mark_rest_cancelled(&action)?;
        }
        // Those that wait go first: they would take the places that the others leave.
        let filter = Filter { queue: Some(name.clone()), status: Some(Status::Waiting), ..Filter::default() };
        self.begin_bulk(Verb::Cancel, filter, vec![Status::Scheduled, Status::Pending], FIRST)
    }

    /// Removes a queue, its limits and all its jobs, which must have ended.
    ///
    /// # Errors
    /// `Queue not found`; when it has jobs that have not ended.
    pub fn delete_queue(&mut self, name: &Id) -> Result<Progress> {
        let queue = self.view().queue(name.as_bytes())?.ok_or_else(|| Error::not_found("Queue", name.as_bytes()))?;
        let unmade: u64 = self.view().expanding(name)?.iter().map(|(_, action)| action.unmade()).sum();
        let live = queue.counts.live() + unmade;
        if live > 0 {
            return Err(Error::refused(format!(
                "Queue {name} has {live} jobs that have not ended: wait for them, or QUEUE.PURGE it first"
            )));
        }
        let filter = Filter { queue: Some(name.clone()), ..Filter::default() };
        self.begin_bulk(Verb::Delete, filter, Vec::new(), FIRST)
    }

    fn begin_bulk(&mut self, verb: Verb, filter: Filter, phases: Vec<Status>, first: usize) -> Result<Progress> {
        let number = self.next_number()?;
        let mut bulk = Bulk { at: self.now, number, verb, filter, phases, upto: number, cursor: "0".to_owned() };
        let (changed, finished) = self.slice(&mut bulk, first)?;
        if finished {
            self.end_bulk(&bulk)?;
        } else {
            self.batch.put(Table::JobIndex, bulk.row_key(), bulk.encode())?;
            self.batch.put(Table::Timers, bulk.timer(), bulk.row_key())?;
        }
        Ok(Progress { changed, finished })
    }

    /// Goes on with what is done to many jobs.
    pub(super) fn run_bulk(&mut self, timer: Vec<u8>, row: &[u8], limit: usize) -> Result<usize> {
        let missing = || storage::Error::corrupt(Table::Timers, format!("there is no bulk {}", row.escape_ascii()));
        let found = self.batch.get(Table::JobIndex, row)?.ok_or_else(missing)?;
        let mut bulk = Bulk::decode(&found)?;
        let (changed, finished) = self.slice(&mut bulk, limit)?;
        if finished {
            self.batch.remove(Table::Timers, timer)?;
            self.batch.remove(Table::JobIndex, bulk.row_key())?;
            self.end_bulk(&bulk)?;
        } else {
            self.batch.put(Table::JobIndex, bulk.row_key(), bulk.encode())?;
        }
        Ok(changed + 1)
    }

    /// Changes up to about `limit` jobs. Returns how many, and whether that was all.
    fn slice(&mut self, bulk: &mut Bulk, limit: usize) -> Result<(usize, bool)> {
        let (mut changed, mut left) = (0, limit);
        while left > 0 {
            let most = (left, left.saturating_mul(LOOKS));
            let page = self.view().list_within(&bulk.filter, bulk.cursor.as_bytes(), most, None)?;
            for job in page.jobs.iter().filter(|job| bulk.wants(job)) {
                changed += usize::from(self.change(bulk.verb, job)?);
            }
            match page.next {
                Some(next) => {
                    bulk.cursor = next;
                    break;
                }
                None if bulk.phases.is_empty() => return Ok((changed, true)),
                None => {
                    bulk.filter.status = Some(bulk.phases.remove(0));
                    "0".clone_into(&mut bulk.cursor);
                    left = left.saturating_sub(page.jobs.len().max(1));
                }
            }
        }
        Ok((changed, false))
    }

    /// Changes a job; false when it has to stay as it is.
    fn change(&mut self, verb: Verb, job: &Job) -> Result<bool> {
        let done = match verb {
            Verb::Retry => self.retry(job.id.as_bytes()).map(drop),
            Verb::Cancel => self.cancel(job.id.as_bytes()).map(drop),
            Verb::Delete => self.delete(job.id.as_bytes()),
        };
        match done {
            Ok(()) => Ok(true),
            // One whose plan is gone, or whose unique key another holds.
            Err(Error::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn end_bulk(&mut self, bulk: &Bulk) -> Result<()> {
        match (bulk.verb, &bulk.filter) {
            (Verb::Cancel, Filter { action: Some(action), .. }) => self.end_cancelling(action),
            (Verb::Cancel, Filter { queue: Some(queue), .. }) => self.mark_purged(queue, 0),
            (Verb::Delete, Filter { queue: Some(queue), .. }) => self.forget_queue(queue),
            _ => Ok(()),
        }
    }
}
