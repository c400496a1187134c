//! What is done when every value is there, in pieces: actions must be whole, jobs that ran are given back, and rates ring.

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::actions::Action;
use crate::jobs::error::{Error, Result};
use crate::jobs::job::Job;
use crate::jobs::rows::{Timer, timer_key};
use crate::jobs::{Id, Jobs, plan_store};
use crate::storage::Table;

/// Actions or jobs of a piece.
const PIECE: usize = 100;

/// How far the end of an import has come.
#[derive(Debug)]
pub(super) enum Ending {
    /// Actions behind this one are to be looked at.
    Actions(Option<Id>),
    /// Jobs that ran are to be given back.
    Running,
    /// Queues are to be looked at.
    Queues,
}

impl Default for Ending {
    fn default() -> Ending {
        Ending::Actions(None)
    }
}

impl Ending {
    /// Does a piece. False when more is to be done.
    pub(super) fn go_on(&mut self, jobs: &mut Jobs<'_, '_>) -> Result<bool> {
        match self {
            Ending::Actions(after) => {
                let actions = jobs.view().actions(after.as_ref(), PIECE)?;
                for (id, action) in &actions {
                    jobs.end_action_import(id, action)?;
                }
                *self = match actions.into_iter().next_back() {
                    Some((id, _)) => Ending::Actions(Some(id)),
                    None => Ending::Running,
                };
                Ok(false)
            }
            Ending::Running => {
                let running = jobs.view().timers(Timer::Lease, Millis::MAX, PIECE)?;
                for (_, _, id) in &running {
                    let job = jobs.view().indexed_job(id)?;
                    jobs.give_back_imported(&job)?;
                    jobs.batch.release();
                }
                if running.is_empty() {
                    *self = Ending::Queues;
                }
                Ok(false)
            }
            Ending::Queues => {
                jobs.ring_imported()?;
                Ok(true)
            }
        }
    }
}

impl Jobs<'_, '_> {
    /// All jobs of an action have come, or are still to be made.
    fn end_action_import(&mut self, id: &Id, action: &Action) -> Result<()> {
        let made = action.counts.total();
        if made != action.expanded {
            let (total, unmade) = (action.jobs_total, action.unmade());
            return Err(Error::refused(format!(
                "action {id} has {made} jobs, removed ones included, and {unmade} to be made: expected {total} together"
            )));
        }
        if action.jobs_kept == 0 {
            return Err(Error::refused(format!("action {id} has no job: it goes with its last one")));
        }
        if action.live() == 0 {
            return Ok(());
        }
        for callback in &action.callbacks {
            let plan = &callback.plan;
            if !plan_store::exists(self.batch, plan.as_bytes())? {
                return Err(Error::refused(format!(
                    "action {id} calls plan {plan} when it ends: there is no such plan"
                )));
            }
            plan_store::count(self.batch, plan, 1, 0)?;
        }
        Ok(())
    }

    /// A job that ran where it came from is pending again at its old place, with neither a failure nor a loss: nobody
    /// here runs it. One that must never run twice has failed, since nobody knows how far its worker came.
    fn give_back_imported(&mut self, job: &Job) -> Result<()> {
        if job.max_losses > 1 {
            return self.give_back(job, None).map(drop);
        }
        let epoch = self.next_epoch(job.epoch)?;
        self.count_loss(job, Job { epoch, ..job.clone() }).map(drop)
    }

    /// Where a rate is used up, a timer tells when there is a start again.
    fn ring_imported(&mut self) -> Result<()> {
        for (name, mut queue) in self.view().queues()? {
            let Some(rate) = queue.limits.rate.filter(|rate| queue.bucket.tokens(*rate, self.now) == 0) else {
                continue;
            };
            let (at, number) = (queue.bucket.next_token(rate), self.next_number()?);
            queue.bucket.timer = Some((at, number));
            let row = Bytes::copy_from_slice(name.as_bytes());
            self.batch.put(Table::Timers, timer_key(Timer::Rate, at, number), row.clone())?;
            self.batch.put(Table::Queues, row, queue.encode())?;
        }
        Ok(())
    }
}
