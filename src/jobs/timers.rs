//! What happens by itself: scheduled jobs become due, leases run out, jobs expire, what was kept long enough goes.
//!
//! Every such moment is a row of `timers`, so that nothing polls and nothing is forgotten over a restart.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Reason, Status};
use crate::jobs::rows::{Timer, split_timer_key, timer_key};
use crate::jobs::{Jobs, JobsView, Settings};
use crate::storage::{self, Table};

/// Tells whether a list claim's connection is alive and still holds the job.
pub type Holds<'a> = dyn Fn(u64, &Job) -> bool + 'a;

/// A timer's row: its moment, its number, and the id it is for.
type Row = (Millis, u64, Bytes);

impl JobsView<'_> {
    /// Up to `limit` timers of a kind that are not after `until`, earliest first.
    pub(super) fn timers(&self, kind: Timer, until: Millis, limit: usize) -> Result<Vec<Row>> {
        let from = [kind as u8];
        let mut to = vec![kind as u8];
        to.extend_from_slice(&until.0.to_be_bytes());
        to.extend_from_slice(&[0xff; 9]);
        let (mut found, mut failed) = (Vec::new(), None);
        self.rows.scan(Table::Timers, Bound::Included(&from), Bound::Excluded(&to), false, &mut |key, id| {
            match split_timer_key(key) {
                Ok((at, number)) => found.push((at, number, Bytes::copy_from_slice(id))),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() || found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(found), |error| Err(error.into()))
    }
}

/// What timers may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Whatever is due.
    Everything,
    /// What adds no job: there is no room for more.
    NoNewJobs,
}

impl Allowed {
    fn has(self, kind: Timer) -> bool {
        self == Allowed::Everything || !matches!(kind, Timer::Expand | Timer::Schedule)
    }
}

/// When the job system has something to do next that is `allowed`.
///
/// # Errors
/// When the store fails.
pub fn next(view: &JobsView<'_>, settings: &Settings, allowed: Allowed) -> Result<Option<Millis>> {
    let mut next: Option<Millis> = view.next_event_removal()?;
    for kind in Timer::ALL.into_iter().filter(|kind| allowed.has(*kind)) {
        let Some((at, number, _)) = view.timers(kind, Millis::MAX, 1)?.pop() else { continue };
        let held = kind == Timer::Lease && number <= settings.grace_claims;
        let at = if held { at.max(view.now.plus(GRACE_STEP_MS).min(settings.grace_until)) } else { at };
        next = Some(next.map_or(at, |next| next.min(at)));
    }
    Ok(next)
}

/// While leases have their grace, younger ones behind them are looked for so often.
const GRACE_STEP_MS: u64 = 250;

impl Jobs<'_, '_> {
    /// Does up to about `limit` things that are due and `allowed`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn run_timers(&mut self, limit: usize, allowed: Allowed, holds: &Holds<'_>) -> Result<()> {
        let mut left = limit;
        for kind in Timer::ALL.into_iter().filter(|kind| allowed.has(*kind)) {
            // Schedules with much to make up for leave room for what else is done in slices.
            let mut share = if kind == Timer::Schedule { left / 2 } else { left };
            for (at, number, id) in self.due(kind, share)? {
                let took = self.run_timer((kind, at, number), &id, share, holds)?;
                (share, left) = (share.saturating_sub(took), left.saturating_sub(took));
                if share == 0 {
                    break;
                }
            }
            if left == 0 {
                return Ok(());
            }
        }
        self.remove_old_events(left)?;
        Ok(())
    }

    fn due(&self, kind: Timer, limit: usize) -> Result<Vec<Row>> {
        let (until, last_held) = (self.settings.grace_until, self.settings.grace_claims);
        let in_grace = kind == Timer::Lease && self.now < until;
        let mut due = self.view().timers(kind, self.now, if in_grace { usize::MAX } else { limit })?;
        due.retain(|(_, number, _)| !in_grace || *number > last_held);
        due.truncate(limit);
        Ok(due)
    }

    /// Does one thing; returns about how many rows it took.
    fn run_timer(
        &mut self,
        (kind, at, number): (Timer, Millis, u64),
        id: &[u8],
        limit: usize,
        holds: &Holds<'_>,
    ) -> Result<usize> {
        match kind {
            Timer::Worker => return self.forget_worker_if_silent(id).map(|()| 1),
            Timer::Rate => return self.ring_rate(id).map(|()| 1),
            Timer::Repeat => return self.forget_repeat(timer_key(kind, at, number), id).map(|()| 1),
            Timer::Expand => return self.expand(timer_key(kind, at, number), id),
            Timer::Bulk => return self.run_bulk(timer_key(kind, at, number), id, limit),
            Timer::Schedule => return self.run_schedule(id, limit),
            _ => {}
        }
        let job = self.view().job(id)?.ok_or_else(|| {
            storage::Error::corrupt(Table::Timers, format!("{kind:?} names job {}", id.escape_ascii()))
        })?;
        match kind {
            Timer::Due => drop(self.become_due(&job, &job)?),
            Timer::Lease => self.end_lease(job, holds)?,
            Timer::Expire => drop(self.expire(job)?),
            // Those who wait for it have still to learn of its end.
            Timer::RemoveCompleted | Timer::RemoveFailed | Timer::RemoveCancelled if job.has_dependents => {}
            Timer::RemoveCompleted | Timer::RemoveFailed | Timer::RemoveCancelled => {
                return self.remove_job(&job, limit);
            }
            Timer::Dependents => return self.run_dependents(timer_key(kind, at, number), &job, limit),
            Timer::Worker | Timer::Rate | Timer::Repeat | Timer::Bulk | Timer::Expand | Timer::Schedule => {}
        }
        Ok(1)
    }

    /// A scheduled job, `old` as it is stored, becomes pending at the end of its queue.
    pub(super) fn become_due(&mut self, job: &Job, old: &Job) -> Result<Job> {
        let mut job = job.clone();
        job.status = Status::Pending;
        job.reason = Reason::None;
        job.place = self.next_number()?;
        self.write(Some(old), &job)?;
        Ok(job)
    }

    fn end_lease(&mut self, job: Job, holds: &Holds<'_>) -> Result<()> {
        let connection = job.lease.as_ref().map_or(0, |lease| lease.list_connection);
        let is_bounded = job.attempt_bound().is_some_and(|bound| bound <= self.now);
        if connection != 0 && !is_bounded && holds(connection, &job) {
            let length = self.settings.lease_ms;
            self.lengthen(job, length)?;
        } else {
            self.lose(job)?;
        }
        Ok(())
    }
}
