//! What the ends of its jobs mean for an action: totals, the next of those that wait for a place, the budget of failures,
//! and its own end with the callbacks.

use std::fmt::Write as _;
use std::ops::Bound;

use bytes::Bytes;

use crate::jobs::actions::{Action, Callback, Cancelling, Occasion};
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Reason, Status, Work};
use crate::jobs::rows::parallel_prefix;
use crate::jobs::terms::Terms;
use crate::jobs::{Counts, Id, Jobs, plan_store};
use crate::storage::{self, Rows as _, Table, tables};

/// The input of a callback's job: what was given, and the action's id and totals.
pub(super) fn callback_input(callback: &Callback, action: &str, total: u64, counts: &Counts) -> String {
    let given = callback.input.as_deref().unwrap_or("{}").trim();
    let mut input = given.strip_suffix('}').unwrap_or("{").trim_end().to_owned();
    if input.len() > 1 {
        input.push(',');
    }
    let of = |status| counts.of(status);
    let (completed, failed, cancelled) = (of(Status::Completed), of(Status::Failed), of(Status::Cancelled));
    // Writing to a string does not fail.
    let _ = write!(
        input,
        "\"action_id\":\"{action}\",\"jobs_total\":{total},\"jobs_completed\":{completed},\"jobs_failed\":{failed},\"jobs_cancelled\":{cancelled}}}"
    );
    input
}

impl Jobs<'_, '_> {
    pub(super) fn put_action(&mut self, id: &Id, action: &Action) -> Result<()> {
        Ok(self.batch.put(Table::Actions, Bytes::copy_from_slice(id.as_bytes()), action.encode())?)
    }

    pub(super) fn counted_action(&self, id: &Id) -> Result<Action> {
        let missing = || storage::Error::corrupt(Table::Actions, format!("there is no action {id} for its jobs"));
        Ok(self.view().action(id.as_bytes())?.ok_or_else(missing)?)
    }

    /// Counts a change of status of one of an action's jobs, and does what follows.
    pub(super) fn count_action(&mut self, id: &Id, from: Option<Status>, to: Status) -> Result<()> {
        let before = self.counted_action(id)?;
        let mut action = before.clone();
        action.counts.shift(from, Some(to))?;
        // A job that is just made was among the live ones before.
        let (was_live, is_live) = (before.live() > 0 || from.is_none(), action.live() > 0);
        if was_live != is_live {
            for callback in &action.callbacks {
                plan_store::count(self.batch, &callback.plan, if is_live { 1 } else { -1 }, 0)?;
            }
        }
        self.put_action(id, &action)?;
        if was_live != is_live {
            let left = if was_live { Status::Running } else { before.status() };
            self.write_action_event(Some(left), id, &action)?;
        }
        if !to.is_terminal() {
            return Ok(());
        }
        if !is_live {
            return self.end_action(id, &action);
        }
        let is_over = action.max_failures.is_some_and(|most| action.counts.of(Status::Failed) > most);
        if is_over && action.cancelling == Cancelling::No {
            return self.cancel_rest(id);
        }
        self.let_next_go(id)
    }

    /// Lets those of an action's jobs go on that waited for a place, as far as there is room.
    fn let_next_go(&mut self, id: &Id) -> Result<()> {
        loop {
            let action = self.counted_action(id)?;
            if action.room() == 0 || action.counts.of(Status::Waiting) == 0 {
                return Ok(());
            }
            let prefix = parallel_prefix(id);
            let end = tables::prefix_end(&prefix);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let first = self.batch.first(Table::JobIndex, Bound::Included(&prefix), end, false)?;
            let Some((_, job)) = first else { return Ok(()) };
            let old = self.view().indexed_job(&job)?;
            let mut job = Job { status: Status::Pending, reason: Reason::None, ..old.clone() };
            job.place = self.next_number()?;
            if job.run_at.is_some_and(|at| at > self.now) {
                (job.status, job.reason) = (Status::Scheduled, Reason::Delay);
            } else {
                job.run_at = Some(self.now);
            }
            self.write(Some(&old), &job)?;
        }
    }

    /// All jobs of an action are made: one that is being cancelled is cancelled now, as far as they are.
    pub(super) fn expanded(&mut self, id: &Id) -> Result<()> {
        let action = self.counted_action(id)?;
        if action.cancelling == Cancelling::Rest {
            self.put_action(id, &Action { cancelling: Cancelling::No, ..action })?;
        }
        Ok(())
    }

    /// Marks that an action is being cancelled.
    pub(super) fn mark_cancelling(&mut self, id: &Id) -> Result<()> {
        let action = self.counted_action(id)?;
        self.put_action(id, &Action { cancelling: Cancelling::Jobs, ..action })
    }

    /// Marks that those of an action's jobs that are still to be made are cancelled as they are.
    pub(super) fn mark_rest_cancelled(&mut self, id: &Id) -> Result<()> {
        let action = self.counted_action(id)?;
        if action.cancelling == Cancelling::No {
            self.put_action(id, &Action { cancelling: Cancelling::Rest, ..action })?;
        }
        Ok(())
    }

    /// The jobs of an action that are there are cancelled.
    pub(super) fn end_cancelling(&mut self, id: &Id) -> Result<()> {
        let Some(action) = self.view().action(id.as_bytes())? else { return Ok(()) };
        let cancelling = if action.unmade() > 0 { Cancelling::Rest } else { Cancelling::No };
        self.put_action(id, &Action { cancelling, ..action })
    }

    /// All jobs of an action have ended: its callbacks are submitted.
    fn end_action(&mut self, id: &Id, action: &Action) -> Result<()> {
        let status = action.status();
        for callback in &action.callbacks {
            let calls = match callback.occasion {
                Occasion::Complete => true,
                Occasion::Success => status == Status::Completed,
                Occasion::Failure => status == Status::Failed,
            };
            if calls {
                let plan = plan_store::need(self.batch, callback.plan.as_bytes())?.plan()?;
                let input = callback_input(callback, id, action.jobs_total, &action.counts);
                let terms = Terms::of_queue(action.queue.clone());
                let work = Work::Plan(callback.plan.clone());
                let job = self.draft(None, work, plan.is_plain(), Some(&input), &terms)?;
                self.write(None, &job)?;
            }
        }
        Ok(())
    }

    /// A job of an action was removed; the action goes with its last.
    pub(super) fn forget_action_job(&mut self, id: &Id) -> Result<()> {
        let mut action = self.counted_action(id)?;
        action.jobs_kept = action.jobs_kept.saturating_sub(1);
        if action.jobs_kept > 0 {
            return self.put_action(id, &action);
        }
        for callback in &action.callbacks {
            plan_store::count(self.batch, &callback.plan, 0, -1)?;
        }
        Ok(self.batch.remove(Table::Actions, Bytes::copy_from_slice(id.as_bytes()))?)
    }
}
