//! Work that nobody asked for: sweeping expired keys, removing what was detached. In slices between units, so that it
//! holds up nobody; like any other change it goes through the batch and its log record.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clock::Millis;
use crate::data::zsets::INDEX_SLICE;
use crate::data::{Edit, keys, trash};
use crate::engine::Engine;
use crate::jobs::timers::{self, Allowed};
use crate::jobs::{self, Job, Jobs, JobsView};
use crate::storage::{self, Batch, Table};

/// Rows that one slice removes at most; well under a millisecond.
const SLICE_ROWS: usize = 256;

/// When background work is due.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// The store was looked at, for what was allowed then.
    planned_for: Option<Allowed>,
    last_sweep: Millis,
    next_sweep: Option<Millis>,
    next_trash: Option<Millis>,
    next_job: Option<Millis>,
    /// Until when each kind of work rests after a panic.
    resting: [Millis; 3],
    /// Work that is to panic when it runs next.
    #[cfg(test)]
    pub(super) panics_in: Option<Work>,
    /// Work that is to find no room at its end.
    #[cfg(test)]
    pub(super) no_room_in: Option<Work>,
}

/// The kinds of work that come again by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Sweep,
    Trash,
    Jobs,
}

/// After a panic a kind of work rests for so long: what made it panic is most likely still there.
const REST_MS: u64 = 60_000;

impl Background {
    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Millis> {
        [self.next_sweep, self.next_trash, self.next_job].into_iter().flatten().min()
    }
}

impl Background {
    /// What this batch changed was not looked at: the store is, before anything else is done.
    pub(super) fn plan_anew(&mut self) {
        self.planned_for = None;
    }

    /// Fails as a test wants it.
    #[cfg(test)]
    fn fail(&self, kind: Work) -> storage::Result<()> {
        assert_ne!(self.panics_in, Some(kind), "as the test wants it");
        let full = || storage::Error::Full { file: "a log".to_owned(), cause: std::io::ErrorKind::StorageFull.into() };
        if self.no_room_in == Some(kind) { Err(full()) } else { Ok(()) }
    }
}

impl Engine {
    /// As [`Engine::run_background`]; a slice that finds no room was taken back, and comes again later.
    pub(super) fn try_background(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<bool> {
        match self.run_background(batch, now) {
            Err(error) if error.is_refusal() => {
                // What the slices before it did stands.
                self.tell_notices();
                self.send_messages(None);
                Ok(true)
            }
            ran => ran,
        }
    }

    /// Does what is due, a slice of each kind at most. True when something was.
    pub(super) fn run_background(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<bool> {
        let is_due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        let (sweep_due, trash_due) = (is_due(self.background.next_sweep), is_due(self.background.next_trash));
        let jobs_due = is_due(self.background.next_job);
        self.want_touches();
        if sweep_due {
            self.slice(batch, Work::Sweep, now, Engine::sweep_slice)?;
        }
        if trash_due {
            self.slice(batch, Work::Trash, now, |_, batch, _| trash::slice(batch, SLICE_ROWS).map(drop))?;
        }
        if jobs_due {
            self.slice(batch, Work::Jobs, now, Engine::run_job_timers)?;
        }
        // An index of ranks is new data.
        if self.allowed() == Allowed::Everything {
            self.index_slice_or_give_up(batch, now)?;
        }
        self.tell_notices();
        self.send_messages(None);
        Ok(sweep_due || trash_due || jobs_due)
    }

    /// What timers may do: while there is no room they add nothing.
    fn allowed(&self) -> Allowed {
        if self.server.refusal.is_none() { Allowed::Everything } else { Allowed::NoNewJobs }
    }

    /// Runs a slice of work: all of it or, where it panics or finds no room, nothing.
    fn slice(
        &mut self,
        batch: &mut Batch<'_>,
        kind: Work,
        now: Millis,
        work: impl FnOnce(&mut Engine, &mut Batch<'_>, Millis) -> storage::Result<()>,
    ) -> storage::Result<()> {
        let (mark, keyspaces_before) = (batch.mark(), self.server.keyspaces);
        let (touched_before, messages_before) = (self.touched.things.len(), self.server.messages.len());
        let notices_before = self.touched.notices.len();
        let worked = catch_unwind(AssertUnwindSafe(|| {
            work(self, batch, now)?;
            #[cfg(test)]
            self.background.fail(kind)?;
            storage::Result::Ok(())
        }));
        if !matches!(worked, Ok(Ok(()))) {
            batch.rollback(mark);
            self.touched.notices.truncate(notices_before);
            self.touched.things.truncate(touched_before);
            self.server.messages.truncate(messages_before);
            self.server.keyspaces = keyspaces_before;
        }
        batch.release();
        worked.unwrap_or_else(|_panic| {
            tracing::error!(
                ?kind,
                "work in the background panicked; it was taken back and rests for a minute: please report it"
            );
            self.background.resting[kind as usize] = now.plus(REST_MS);
            Ok(())
        })
    }

    fn sweep_slice(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        let mut edit = Edit { batch, keyspace: 0, now, touched: &mut self.touched };
        let (_, more) = keys::sweep(&mut edit, SLICE_ROWS).map_err(storage_error)?;
        if !more {
            self.background.last_sweep = now;
        }
        Ok(())
    }

    /// As [`Engine::index_slice`]; a set whose index panics is left without one.
    fn index_slice_or_give_up(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        let mark = batch.mark();
        let worked = catch_unwind(AssertUnwindSafe(|| self.index_slice(batch, now)));
        if !matches!(worked, Ok(Ok(()))) {
            batch.rollback(mark);
            batch.release();
        }
        worked.unwrap_or_else(|_panic| {
            tracing::error!("the index of a sorted set panicked; it was taken back and is not made: please report it");
            self.server.indexing.pop_front();
            Ok(())
        })
    }

    /// Goes on making the index of ranks of a sorted set.
    fn index_slice(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        let Some((keyspace, name)) = self.server.indexing.front().cloned() else { return Ok(()) };
        let mut edit = Edit { batch, keyspace, now, touched: &mut self.touched };
        // The key may be gone by now, or hold something else.
        let more = match edit.view().sorted_set(&name) {
            Ok(Some(set)) => edit.zindex(&name, &set, INDEX_SLICE).map_err(storage_error)?,
            Ok(None) | Err(crate::data::Error::WrongType) => false,
            Err(error) => return Err(storage_error(error)),
        };
        batch.release();
        if !more {
            self.server.indexing.pop_front();
        }
        Ok(())
    }

    /// Finds out when background work is due, from what stands in the store. It comes last in a batch: a claim that waited
    /// and was served in it has a lease that runs out.
    pub(super) fn plan_background(&mut self, batch: &Batch<'_>, worked: bool, now: Millis) -> storage::Result<()> {
        let changed = PLANNED_FROM.into_iter().any(|table| batch.has_changed(table));
        let allowed = self.allowed();
        if !changed && !worked && self.background.planned_for == Some(allowed) {
            return Ok(());
        }
        let earliest = self.background.last_sweep.plus(self.server.config.sweep_interval_ms);
        let [sweep, trash, jobs] = self.background.resting;
        self.background.next_sweep = keys::next_expiry(batch)?.map(|at| at.max(earliest).max(sweep));
        self.background.next_trash = trash::is_waiting(batch)?.then_some(now.max(trash));
        let view = JobsView { rows: batch, now };
        let next_job = timers::next(&view, &self.server.config.jobs, allowed).map_err(job_error)?;
        self.background.next_job = next_job.map(|at| at.max(jobs));
        self.background.planned_for = Some(allowed);
        Ok(())
    }

    /// Runs what is due of the job system. A list claim lives on while its connection does.
    fn run_job_timers(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        let (settings, allowed) = (self.server.config.jobs, self.allowed());
        let sessions = &self.sessions;
        let holds = |conn: u64, job: &Job| {
            sessions.get(&conn).is_some_and(|session| session.jobs.holds(job, now, settings.list_claim_silence_ms))
        };
        let (touched, random) = (&mut self.touched, &mut self.random);
        let mut jobs = Jobs {
            batch: &mut *batch,
            now,
            touched,
            random,
            settings,
            database_0: self.server.keyspaces[0],
            access_key: None,
        };
        jobs.run_timers(SLICE_ROWS, allowed, &holds).map_err(job_error)
    }
}

/// Where a change may bring background work forward.
const PLANNED_FROM: [Table; 4] = [Table::Deadlines, Table::Trash, Table::Timers, Table::Events];

pub(super) fn job_error(error: jobs::Error) -> storage::Error {
    match error {
        jobs::Error::Storage(error) => error,
        refused => storage::Error::corrupt(Table::Timers, format!("a timer was refused: {refused}")),
    }
}

fn storage_error(error: crate::data::Error) -> storage::Error {
    match error {
        crate::data::Error::Storage(error) => error,
        refused => storage::Error::corrupt(Table::Deadlines, format!("the sweep was refused: {refused}")),
    }
}
