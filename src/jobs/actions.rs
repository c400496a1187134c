//! Actions: one plan over many inputs, one job each, and the totals.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::clock::Millis;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Digest, Status, Work};
use crate::jobs::json::Object;
use crate::jobs::rows::{action_prefix, id_of};
use crate::jobs::submit::{PlanChoice, check_inputs, empty_object, refuse_unsupported, take_plan};
use crate::jobs::terms::Terms;
use crate::jobs::{Counts, Id, Jobs, JobsView};
use crate::storage::{self, Table, tables};

const VERSION: u8 = 3;
/// The most inputs of an action.
pub const MAX_INPUTS: usize = 10_000;
/// How many job ids ACTION.GET shows.
pub const SHOWN_JOBS: usize = 100;

const NOT_YET: [&str; 6] =
    ["idempotency_key", "max_parallel", "max_failures", "on_complete", "on_success", "on_failure"];

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The plan that every job of it runs.
    pub plan: Id,
    /// When it was submitted.
    pub created_at: Millis,
    /// How many jobs it was submitted with; never changes.
    pub jobs_total: u64,
    /// How many of them are still kept.
    pub jobs_kept: u64,
    /// What it was submitted with: the same id again is the same action only with it.
    pub submission: Digest,
    /// It is being cancelled: its jobs are cancelled instead of started.
    pub cancelling: bool,
    /// How many jobs have which status; those that were removed count where they ended.
    pub counts: Counts,
}

impl Action {
    fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.bytes(self.plan.as_bytes());
        for number in [self.created_at.0, self.jobs_total, self.jobs_kept] {
            out.number(number);
        }
        self.submission.iter().for_each(|byte| out.byte(*byte));
        out.byte(u8::from(self.cancelling));
        self.counts.write(&mut out);
        out.finish()
    }

    fn decode(row: &Bytes) -> storage::Result<Action> {
        let mut from = Reader::new(Table::Actions, row, VERSION)?;
        let plan = Id::stored(Table::Actions, &from.bytes()?)?;
        let (created_at, jobs_total, jobs_kept) = (Millis(from.number()?), from.number()?, from.number()?);
        let submission = from.digest()?;
        let cancelling = from.byte()? != 0;
        let counts = Counts::read(&mut from)?;
        from.finish()?;
        Ok(Action { plan, created_at, jobs_total, jobs_kept, submission, cancelling, counts })
    }

    /// `running` until all jobs have ended, then `failed` if any failed, else `cancelled` if any, else `completed`.
    #[must_use]
    pub fn status(&self) -> Status {
        let any = |status| self.counts.of(status) > 0;
        match self.counts.live() {
            1.. => Status::Running,
            0 if any(Status::Failed) => Status::Failed,
            0 if any(Status::Cancelled) => Status::Cancelled,
            0 => Status::Completed,
        }
    }
}

/// An action that a client wants, checked.
#[derive(Debug, Clone)]
pub struct SubmitAction<'a> {
    id: Option<Id>,
    plan: PlanChoice,
    inputs: Vec<&'a RawValue>,
    terms: Terms<'a>,
}

impl<'a> SubmitAction<'a> {
    /// Reads a submission.
    ///
    /// # Errors
    /// When a field is unknown, of the wrong type, out of range or not supported; the error names it.
    pub fn parse(text: &'a [u8]) -> Result<SubmitAction<'a>> {
        let mut from = Object::parse(text, "action")?;
        let id = from.string("action_id")?.map(|id| Id::parse("action.action_id", id.as_bytes())).transpose()?;
        let terms = Terms::take(&mut from)?;
        for field in NOT_YET {
            refuse_unsupported(&mut from, field)?;
        }
        let plan = take_plan(&mut from)?.ok_or_else(|| Error::refused("action must name one of plan_id or plan"))?;
        let mut inputs =
            from.array("inputs")?.ok_or_else(|| Error::refused("action.inputs is missing: an array of objects"))?;
        from.finish()?;
        if inputs.is_empty() {
            inputs.push(empty_object()?);
        }
        if inputs.len() > MAX_INPUTS {
            let given = inputs.len();
            return Err(Error::refused(format!("action.inputs has {given} inputs, at most {MAX_INPUTS} are taken")));
        }
        Ok(SubmitAction { id, plan, inputs, terms })
    }

    /// The digest of all that it is submitted with but its id.
    fn digest(&self, plan: &Id) -> Digest {
        let mut out = Writer::default();
        out.bytes(plan.as_bytes());
        self.inputs.iter().for_each(|input| out.bytes(input.get().as_bytes()));
        self.terms.write(&mut out);
        out.digest()
    }
}

/// What a submitted action answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The action.
    pub id: Id,
    /// Its plan.
    pub plan: Id,
    /// What the plan is for.
    pub plan_description: Option<String>,
    /// Its jobs, one for each input, in order.
    pub jobs: Vec<Id>,
}

impl JobsView<'_> {
    /// An action.
    ///
    /// # Errors
    /// When the store fails.
    pub fn action(&self, id: &[u8]) -> Result<Option<Action>> {
        Ok(self.rows.get(Table::Actions, id)?.as_ref().map(Action::decode).transpose()?)
    }

    /// An action that must be there.
    ///
    /// # Errors
    /// `Action not found` when it is not.
    pub fn need_action(&self, id: &[u8]) -> Result<Action> {
        self.action(id)?.ok_or_else(|| Error::not_found("Action", id))
    }

    /// Up to `limit` actions behind an id, in the order of ids.
    ///
    /// # Errors
    /// When the store fails.
    pub fn actions(&self, after: Option<&Id>, limit: usize) -> Result<Vec<(Id, Action)>> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
        let mut actions = Vec::new();
        self.rows.scan(Table::Actions, from, Bound::Unbounded, false, &mut |id, row| {
            let action = Action::decode(&Bytes::copy_from_slice(row));
            actions.push(id_of(Table::Actions, id).and_then(|id| Ok((id, action?))));
            if actions.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(actions.into_iter().collect::<storage::Result<_>>()?)
    }

    /// The first jobs of an action, in the order of its inputs.
    ///
    /// # Errors
    /// When the store fails.
    pub fn action_jobs(&self, id: &Id, limit: usize) -> Result<Vec<Id>> {
        let prefix = action_prefix(id);
        let end = tables::prefix_end(&prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut jobs = Vec::new();
        self.rows.scan(Table::JobIndex, Bound::Included(&prefix), end, false, &mut |_, job| {
            jobs.push(id_of(Table::JobIndex, job));
            if jobs.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(jobs.into_iter().collect::<storage::Result<_>>()?)
    }
}

impl Jobs<'_, '_> {
    /// Submits an action and all its jobs. One that was submitted with the same id and content before is the same
    /// action.
    ///
    /// # Errors
    /// When the plan is not there, an input lacks something, or the id is taken.
    pub fn submit_action(&mut self, submit: &SubmitAction<'_>) -> Result<Submitted> {
        let ready = self.ready_plan(&submit.plan)?;
        check_inputs(&submit.inputs, &ready.needs)?;
        let plan_description = ready.plan.description.clone();
        let submission = submit.digest(&ready.id);
        if let Some(id) = &submit.id
            && let Some(known) = self.view().action(id.as_bytes())?
        {
            if known.submission != submission {
                let hint = "choose another action_id";
                return Err(Error::refused(format!("Action {id} exists with other content: {hint}")));
            }
            let jobs = self.view().action_jobs(id, MAX_INPUTS)?;
            return Ok(Submitted { id: id.clone(), plan: ready.id, plan_description, jobs });
        }
        self.check_queue_name(submit.terms.queue())?;
        let number = self.next_number()?;
        let id = submit.id.clone();
        let id = id.unwrap_or_else(|| Id::generate("action_", self.now, number, self.random));
        let jobs_total = submit.inputs.len() as u64;
        let action = Action {
            plan: ready.id.clone(),
            created_at: self.now,
            jobs_total,
            jobs_kept: jobs_total,
            submission,
            cancelling: false,
            counts: Counts::default(),
        };
        self.put_action(&id, &action)?;
        let is_plain = ready.plan.is_plain();
        let mut jobs = Vec::with_capacity(submit.inputs.len());
        for (place, input) in (0..).zip(&submit.inputs) {
            let work = Work::Plan(ready.id.clone());
            let mut job = self.draft(None, work, is_plain, Some(input.get()), &submit.terms)?;
            job.action = Some((id.clone(), place));
            self.write(None, &job)?;
            jobs.push(job.id);
        }
        Ok(Submitted { id, plan: ready.id, plan_description, jobs })
    }

    fn put_action(&mut self, id: &Id, action: &Action) -> Result<()> {
        Ok(self.batch.put(Table::Actions, Bytes::copy_from_slice(id.as_bytes()), action.encode())?)
    }

    /// Marks that an action is being cancelled, or that this is done.
    pub(super) fn mark_cancelling(&mut self, id: &Id, cancelling: bool) -> Result<()> {
        let Some(action) = self.view().action(id.as_bytes())? else { return Ok(()) };
        self.put_action(id, &Action { cancelling, ..action })
    }

    fn counted_action(&self, id: &Id) -> Result<Action> {
        let missing = || storage::Error::corrupt(Table::Actions, format!("there is no action {id} for its jobs"));
        Ok(self.view().action(id.as_bytes())?.ok_or_else(missing)?)
    }

    /// Counts a change of status of one of an action's jobs.
    pub(super) fn count_action(&mut self, id: &Id, from: Option<Status>, to: Status) -> Result<()> {
        let mut action = self.counted_action(id)?;
        action.counts.shift(from, Some(to))?;
        self.put_action(id, &action)
    }

    /// A job of an action was removed; the action goes with its last.
    pub(super) fn forget_action_job(&mut self, id: &Id) -> Result<()> {
        let mut action = self.counted_action(id)?;
        action.jobs_kept = action.jobs_kept.saturating_sub(1);
        if action.jobs_kept == 0 {
            self.batch.remove(Table::Actions, Bytes::copy_from_slice(id.as_bytes()))?;
            return Ok(());
        }
        self.put_action(id, &action)
    }
}
