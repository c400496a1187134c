//! Actions: one plan over many inputs, one job each, and the totals.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::clock::Millis;
use crate::jobs::body::check_length;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Digest, Status};
use crate::jobs::json::Object;
use crate::jobs::rows::id_of;
use crate::jobs::submit::{PlanChoice, empty_object, take_plan};
use crate::jobs::terms::{Terms, word};
use crate::jobs::{Counts, Id, JobsView};
use crate::storage::{self, Table};

const VERSION: u8 = 4;
/// The most inputs of an action.
pub const MAX_INPUTS: usize = 100_000;
/// How many job ids ACTION.GET shows.
pub const SHOWN_JOBS: usize = 100;

/// The highest bound of parallel or failed jobs.
pub(super) const MAX_BOUND: u64 = 1_000_000;

/// When a callback's job is submitted; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Occasion {
    /// Whenever the action ends.
    Complete = 1,
    /// When all its jobs have completed.
    Success = 2,
    /// When some have failed.
    Failure = 3,
}

/// A plan that is submitted when an action ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Callback {
    pub(super) occasion: Occasion,
    pub(super) plan: Id,
    /// An object, as it came; `None` is an empty one.
    pub(super) input: Option<String>,
}

/// How far a cancel has come; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(super) enum Cancelling {
    /// There is none.
    #[default]
    No = 0,
    /// Its jobs are being cancelled.
    Jobs = 1,
    /// Those that are there are; the others are as they are made.
    Rest = 2,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The plan that every job of it runs.
    pub plan: Id,
    /// When it was submitted.
    pub created_at: Millis,
    /// How many jobs it was submitted with; never changes.
    pub jobs_total: u64,
    /// How many of them are still kept, or to be made.
    pub jobs_kept: u64,
    /// What it was submitted with: the same id again is the same action only with it.
    pub submission: Digest,
    /// How many of its jobs are made; the others follow in slices.
    pub expanded: u64,
    /// How many jobs have which status; those that were removed count where they ended.
    pub counts: Counts,
    /// Its jobs that may be under way at once.
    pub max_parallel: Option<u64>,
    /// With more failed jobs than this the rest is cancelled.
    pub max_failures: Option<u64>,
    /// Its own number; those of its jobs follow.
    pub(super) number: u64,
    /// What the ids of its jobs are drawn from.
    pub(super) seed: u64,
    pub(super) cancelling: Cancelling,
    /// The queue of its jobs, and of its callbacks.
    pub queue: Id,
    pub(super) callbacks: Vec<Callback>,
}

impl Action {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.bytes(self.plan.as_bytes());
        out.bytes(self.queue.as_bytes());
        for number in [self.created_at.0, self.jobs_total, self.jobs_kept, self.expanded, self.number, self.seed] {
            out.number(number);
        }
        for bound in [self.max_parallel, self.max_failures] {
            out.number(bound.map_or(0, |bound| bound + 1));
        }
        self.submission.iter().for_each(|byte| out.byte(*byte));
        out.byte(self.cancelling as u8);
        self.counts.write(&mut out);
        out.number(self.callbacks.len() as u64);
        for callback in &self.callbacks {
            out.byte(callback.occasion as u8);
            out.bytes(callback.plan.as_bytes());
            out.strings(callback.input.as_slice());
        }
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Action> {
        let mut from = Reader::new(Table::Actions, row, VERSION)?;
        let plan = Id::stored(Table::Actions, &from.bytes()?)?;
        let queue = Id::stored(Table::Actions, &from.bytes()?)?;
        let (created_at, jobs_total, jobs_kept) = (Millis(from.number()?), from.number()?, from.number()?);
        let (expanded, number, seed) = (from.number()?, from.number()?, from.number()?);
        let (max_parallel, max_failures) = (from.number()?.checked_sub(1), from.number()?.checked_sub(1));
        let submission = from.digest()?;
        let cancelling = match from.byte()? {
            0 => Cancelling::No,
            1 => Cancelling::Jobs,
            2 => Cancelling::Rest,
            _ => return Err(from.corrupt("an unknown mark")),
        };
        let (counts, mut callbacks) = (Counts::read(&mut from)?, Vec::new());
        for _ in 0..from.number()? {
            let occasion = match from.byte()? {
                1 => Occasion::Complete,
                2 => Occasion::Success,
                3 => Occasion::Failure,
                _ => return Err(from.corrupt("an unknown occasion")),
            };
            let plan = Id::stored(Table::Actions, &from.bytes()?)?;
            callbacks.push(Callback { occasion, plan, input: from.strings()?.pop() });
        }
        from.finish()?;
        Ok(Action {
            plan,
            created_at,
            jobs_total,
            jobs_kept,
            submission,
            expanded,
            counts,
            max_parallel,
            max_failures,
            number,
            seed,
            cancelling,
            queue,
            callbacks,
        })
    }

    /// Jobs that have not ended, those that are still to be made included.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.counts.live() + self.unmade()
    }

    /// Jobs that are still to be made.
    #[must_use]
    pub fn unmade(&self) -> u64 {
        self.jobs_total.saturating_sub(self.expanded)
    }

    /// How many more of its jobs may be under way.
    pub(super) fn room(&self) -> u64 {
        let under_way = [Status::Pending, Status::Scheduled, Status::Running].map(|status| self.counts.of(status));
        self.max_parallel.map_or(u64::MAX, |most| most.saturating_sub(under_way.iter().sum()))
    }

    /// The id of the job at a place, fixed from the submit on.
    #[must_use]
    pub fn job_id(&self, place: u64) -> Id {
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Id::generate("job_", self.created_at, place, &mut random)
    }

    /// The place of a job that is still to be made. An id shows its time and the lowest 12 bits of its place, so that few
    /// places come into question.
    pub(super) fn unmade_place(&self, id: &Id) -> Option<u64> {
        let rest = id.strip_prefix("job_")?.strip_prefix(&format!("{:012x}", self.created_at.0))?;
        let low = u64::from_str_radix(rest.get(1..4)?, 16).ok()?;
        let first = self.expanded + (low.wrapping_sub(self.expanded) & 0xfff);
        (first..self.jobs_total).step_by(0x1000).find(|place| self.job_id(*place) == *id)
    }

    /// The ids of its jobs, in the order of its inputs.
    pub fn job_ids(&self) -> impl Iterator<Item = Id> {
        (0..self.jobs_total).map(|place| self.job_id(place))
    }

    /// `running` until all jobs have ended, then `failed` if any failed, else `cancelled` if any, else `completed`.
    #[must_use]
    pub fn status(&self) -> Status {
        let any = |status| self.counts.of(status) > 0;
        match self.live() {
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
    pub(super) id: Option<Id>,
    pub(super) plan: PlanChoice,
    pub(super) inputs: Vec<&'a RawValue>,
    pub(super) terms: Terms<'a>,
    pub(super) idempotency_key: Option<String>,
    pub(super) max_parallel: Option<u64>,
    pub(super) max_failures: Option<u64>,
    pub(super) callbacks: Vec<Callback>,
}

impl<'a> SubmitAction<'a> {
    /// The queue that its jobs are for.
    #[must_use]
    pub fn queue(&self) -> &Id {
        &self.terms.queue
    }

    /// Reads a submission.
    ///
    /// # Errors
    /// When a field is unknown, of the wrong type, out of range or not supported; the error names it.
    pub fn parse(text: &'a [u8]) -> Result<SubmitAction<'a>> {
        let mut from = Object::parse(text, "action")?;
        let id = from.string("action_id")?.map(|id| Id::parse("action.action_id", id.as_bytes())).transpose()?;
        let terms = Terms::take(&mut from)?;
        let idempotency_key = word(&mut from, "idempotency_key")?;
        let (max_parallel, max_failures) =
            (from.integer("max_parallel", 1..=MAX_BOUND)?, from.integer("max_failures", 0..=MAX_BOUND)?);
        let mut callbacks = Vec::new();
        for (field, occasion) in OCCASIONS {
            callbacks.extend(callback(&mut from, field, occasion)?);
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
        Ok(SubmitAction { id, plan, inputs, terms, idempotency_key, max_parallel, max_failures, callbacks })
    }

    /// The digest of all that it is submitted with but its id.
    pub(super) fn digest(&self, plan: &Id) -> Digest {
        let mut out = Writer::default();
        out.bytes(plan.as_bytes());
        self.inputs.iter().for_each(|input| out.bytes(input.get().as_bytes()));
        self.terms.write(&mut out);
        out.strings(self.idempotency_key.as_slice());
        for bound in [self.max_parallel, self.max_failures] {
            out.number(bound.map_or(0, |bound| bound + 1));
        }
        for callback in &self.callbacks {
            out.byte(callback.occasion as u8);
            out.bytes(callback.plan.as_bytes());
            out.strings(callback.input.as_slice());
        }
        out.digest()
    }
}

pub(super) const OCCASIONS: [(&str, Occasion); 3] =
    [("on_complete", Occasion::Complete), ("on_success", Occasion::Success), ("on_failure", Occasion::Failure)];

/// What a callback's input gets besides what was given.
pub(super) const TOTALS: [&str; 5] = ["action_id", "jobs_total", "jobs_completed", "jobs_failed", "jobs_cancelled"];

/// Takes `{plan_id, input?}`.
fn callback(from: &mut Object<'_>, field: &str, occasion: Occasion) -> Result<Option<Callback>> {
    let path = from.path(field);
    let Some(mut from) = from.object(field)? else { return Ok(None) };
    let plan = from.string("plan_id")?.ok_or_else(|| Error::refused(format!("{path}.plan_id is missing")))?;
    let plan = Id::parse(&format!("{path}.plan_id"), plan.as_bytes())?;
    let input = from.take("input");
    from.finish()?;
    if let Some(input) = input {
        check_callback_input(input, &format!("{path}.input"))?;
    }
    Ok(Some(Callback { occasion, plan, input: input.map(|input| input.get().to_owned()) }))
}

/// Checks what a callback is given: an object without what is added to it.
pub(super) fn check_callback_input(input: &RawValue, path: &str) -> Result<()> {
    check_length(path, input.get().len())?;
    let mut fields = Object::of(input, path)?;
    match TOTALS.into_iter().find(|name| fields.take_raw(name).is_some()) {
        Some(taken) => Err(Error::refused(format!("{path}.{taken} is what AGQ adds itself: leave it out"))),
        None => Ok(()),
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
}
