//! Work that nobody asked for: sweeping expired keys, removing what was detached. In slices between units, so that it
//! holds up nobody; like any other change it goes through the batch and its log record.

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
}

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
}

impl Engine {
    /// As [`Engine::run_background`]; a slice that finds no room is taken back, and comes again later.
    pub(super) fn try_background(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<bool> {
        let mark = batch.mark();
        match self.run_background(batch, now) {
            Err(error) if error.is_refusal() => {
                // The slices before it were kept one by one: only what it wrote itself is undone.
                batch.rollback(mark);
                batch.release();
                self.touched.notices.clear();
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
            let mut edit = Edit { batch, keyspace: 0, now, touched: &mut self.touched };
            let (_, more) = keys::sweep(&mut edit, SLICE_ROWS).map_err(storage_error)?;
            batch.release();
            if !more {
                self.background.last_sweep = now;
            }
        }
        if trash_due {
            trash::slice(batch, SLICE_ROWS)?;
            batch.release();
        }
        if jobs_due {
            self.run_job_timers(batch, now)?;
        }
        // An index of ranks is new data.
        if self.allowed() == Allowed::Everything {
            self.index_slice(batch, now)?;
        }
        self.tell_notices();
        self.send_messages(None);
        Ok(sweep_due || trash_due || jobs_due)
    }

    /// What timers may do: while there is no room they add nothing.
    fn allowed(&self) -> Allowed {
        if self.server.refusal.is_none() { Allowed::Everything } else { Allowed::NoNewJobs }
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
        self.background.next_sweep = keys::next_expiry(batch)?.map(|at| at.max(earliest));
        self.background.next_trash = trash::is_waiting(batch)?.then_some(now);
        let view = JobsView { rows: batch, now };
        self.background.next_job = timers::next(&view, &self.server.config.jobs, allowed).map_err(job_error)?;
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
        let mut jobs =
            Jobs { batch: &mut *batch, now, touched, random, settings, database_0: self.server.keyspaces[0] };
        jobs.run_timers(SLICE_ROWS, allowed, &holds).map_err(job_error)?;
        batch.release();
        Ok(())
    }
}

/// Where a change may bring background work forward.
const PLANNED_FROM: [Table; 4] = [Table::Deadlines, Table::Trash, Table::Timers, Table::Events];

fn job_error(error: jobs::Error) -> storage::Error {
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
