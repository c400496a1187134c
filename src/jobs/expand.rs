//! Submitting actions: the first jobs at once, the others in slices, with ids that are fixed from the submit on.
//!
//! What is still to be made stands in `job_data`: (1, action, 0) → a job as all of them begin, (1, action, 1, n u32) →
//! the JSON array of a chunk of inputs. The action's row says how many jobs are made.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::clock::Millis;
use crate::jobs::actions::{Action, Cancelling, SubmitAction, Submitted};
use crate::jobs::body::Part;
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Body, Job, Reason, Status, Work};
use crate::jobs::repeats::Repeats;
use crate::jobs::rows::{Timer, expansion_key, split_timer_key, timer_key};
use crate::jobs::submit::check_inputs;
use crate::jobs::template::{Input, Needs};
use crate::jobs::{Counts, Id, Jobs, JobsView, job_row, json, plan_store};
use crate::storage::{self, Table};

/// Inputs of a chunk, which a slice makes jobs of; few in tests, so that small actions have several.
pub(super) const CHUNK: usize = if cfg!(test) { 2 } else { 250 };
/// Jobs that are made at once: a number of whole chunks.
const FIRST: usize = 4 * CHUNK;

fn missing(id: &Id) -> storage::Error {
    storage::Error::corrupt(Table::JobData, format!("action {id} lacks what its jobs are made of"))
}

impl JobsView<'_> {
    /// A job as readers see it: one that is still to be made is waiting.
    ///
    /// # Errors
    /// `Job not found`.
    pub fn shown_job(&self, id: &[u8]) -> Result<Job> {
        if let Some(job) = self.job(id)? {
            return Ok(job);
        }
        let Some((action_id, action, place)) = self.unmade(id)? else { return Err(Error::not_found("Job", id)) };
        let mut job = self.beginning(&action_id)?;
        let chunk = self.chunk(&action_id, place)?;
        let inputs = json::array(json::parse(&chunk, "inputs")?, "inputs")?;
        let input = inputs.get(chunk_place(place)).ok_or_else(|| missing(&action_id))?;
        job.input = Some(Body::Inline(Bytes::copy_from_slice(input.get().as_bytes())));
        begin(&mut job, &action_id, &action, place);
        (job.status, job.reason) = (Status::Waiting, Reason::Expanding);
        Ok(job)
    }

    /// The actions of which jobs of a queue are still to be made.
    pub(super) fn expanding(&self, queue: &Id) -> Result<Vec<(Id, Action)>> {
        let mut expanding = Vec::new();
        for (_, _, id) in self.timers(Timer::Expand, Millis::MAX, usize::MAX)? {
            let action = self.need_action(&id)?;
            if action.queue == *queue {
                expanding.push((Id::stored(Table::Timers, &id)?, action));
            }
        }
        Ok(expanding)
    }

    /// The action, and the place in it, of a job that is still to be made.
    pub(super) fn unmade(&self, id: &[u8]) -> Result<Option<(Id, Action, u64)>> {
        let Some(id) = Id::sound(id).filter(|id| id.starts_with("job_")) else { return Ok(None) };
        for (_, _, action_id) in self.timers(Timer::Expand, Millis::MAX, usize::MAX)? {
            let action = self.need_action(&action_id)?;
            if let Some(place) = action.unmade_place(&id) {
                return Ok(Some((Id::stored(Table::Timers, &action_id)?, action, place)));
            }
        }
        Ok(None)
    }

    pub(super) fn beginning(&self, id: &Id) -> Result<Job> {
        let row = self.rows.get(Table::JobData, &expansion_key(id, None))?.ok_or_else(|| missing(id))?;
        Ok(job_row::decode(id.clone(), &row)?)
    }

    /// The chunk of inputs in which a place stands.
    pub(super) fn chunk(&self, id: &Id, place: u64) -> Result<Bytes> {
        let chunk = u32::try_from(place / CHUNK as u64).unwrap_or(u32::MAX);
        Ok(self.rows.get(Table::JobData, &expansion_key(id, Some(chunk)))?.ok_or_else(|| missing(id))?)
    }
}

fn chunk_place(place: u64) -> usize {
    usize::try_from(place % CHUNK as u64).unwrap_or_default()
}

/// Makes what all jobs of an action begin as the one at a place.
fn begin(job: &mut Job, id: &Id, action: &Action, place: u64) {
    job.id = action.job_id(place);
    job.number = action.number + 1 + place;
    job.place = job.number;
    job.action = Some((id.clone(), place));
}

impl Jobs<'_, '_> {
    /// Submits an action. One that was submitted with the same id, or idempotency key, and content before is the same
    /// action.
    ///
    /// # Errors
    /// When the plan is not there, an input lacks something, or the id is taken.
    pub fn submit_action(&mut self, submit: &SubmitAction<'_>) -> Result<Submitted> {
        let ready = self.ready_plan(&submit.plan)?;
        check_inputs(&submit.inputs, &ready.needs)?;
        self.check_callbacks(submit)?;
        let plan_description = ready.plan.description.clone();
        let submission = submit.digest(&ready.id);
        let answer = |id: &Id, action: &Action| Submitted {
            id: id.clone(),
            plan: action.plan.clone(),
            plan_description: plan_description.clone(),
            jobs: action.job_ids().collect(),
        };
        if let Some(key) = &submit.idempotency_key
            && let Some((id, row)) = self.repeat(Repeats::Action, key, submission, &submit.terms.queue)?
        {
            return Ok(answer(&id, &Action::decode(&row)?));
        }
        if let Some(id) = &submit.id
            && let Some(known) = self.view().action(id.as_bytes())?
        {
            if known.submission != submission {
                let hint = "choose another action_id";
                return Err(Error::refused(format!("Action {id} exists with other content: {hint}")));
            }
            return Ok(answer(id, &known));
        }
        self.check_queue_name(&submit.terms.queue)?;
        let jobs_total = submit.inputs.len() as u64;
        let number = self.reserve_numbers(1 + jobs_total)?;
        let id = submit.id.clone();
        let id = id.unwrap_or_else(|| Id::generate("action_", self.now, number, self.random));
        let action = Action {
            plan: ready.id.clone(),
            created_at: self.now,
            jobs_total,
            jobs_kept: jobs_total,
            submission,
            expanded: 0,
            counts: Counts::default(),
            max_parallel: submit.max_parallel,
            max_failures: submit.max_failures,
            number,
            seed: self.random.u64(..),
            cancelling: Cancelling::No,
            queue: submit.terms.queue.clone(),
            callbacks: submit.callbacks.clone(),
        };
        self.put_action(&id, &action)?;
        self.write_action_event(None, &id, &action)?;
        for callback in &action.callbacks {
            plan_store::count(self.batch, &callback.plan, 1, 1)?;
        }
        if let Some(key) = &submit.idempotency_key {
            self.remember(Repeats::Action, key, submission, (&id, action.encode()))?;
        }
        let mut beginning = Job::new(id.clone(), 0, submit.terms.queue.clone(), Work::Plan(ready.id), self.now);
        submit.terms.apply(&mut beginning, self.now);
        beginning.is_plain = ready.plan.is_plain();
        beginning.meta = submit.terms.meta.map(|meta| Body::Inline(Bytes::copy_from_slice(meta.get().as_bytes())));
        for (place, input) in (0..).zip(submit.inputs.iter().take(FIRST)) {
            self.make_job(&id, &beginning, place, input.get())?;
        }
        if submit.inputs.len() > FIRST {
            self.store_rest(&id, &action, &beginning, &submit.inputs)?;
        }
        Ok(answer(&id, &action))
    }

    fn check_callbacks(&self, submit: &SubmitAction<'_>) -> Result<()> {
        for callback in &submit.callbacks {
            let plan = plan_store::need(self.batch, callback.plan.as_bytes())?.plan()?;
            let counts = Counts::default();
            let input = super::endings::callback_input(callback, "action", 0, &counts);
            Needs::of(&plan).check(&Input::parse(input.as_bytes(), "input")?, "input")?;
        }
        Ok(())
    }

    /// Stores what the other jobs are made of.
    fn store_rest(&mut self, id: &Id, action: &Action, beginning: &Job, inputs: &[&RawValue]) -> Result<()> {
        self.batch.put(Table::JobData, expansion_key(id, None), job_row::encode(beginning))?;
        for (chunk, inputs) in (0..).zip(inputs.chunks(CHUNK)).skip(FIRST / CHUNK) {
            let inputs: Vec<&str> = inputs.iter().map(|input| input.get()).collect();
            let row = format!("[{}]", inputs.join(","));
            self.batch.put(Table::JobData, expansion_key(id, Some(chunk)), row)?;
        }
        let timer = timer_key(Timer::Expand, action.created_at, action.number);
        Ok(self.batch.put(Table::Timers, timer, Bytes::copy_from_slice(id.as_bytes()))?)
    }

    /// Makes more jobs of an action: those of the chunk that comes next. Returns how many.
    pub(super) fn expand(&mut self, timer: Vec<u8>, id: &[u8]) -> Result<usize> {
        debug_assert!(split_timer_key(&timer).is_ok());
        let id = Id::stored(Table::Timers, id)?;
        let action = self.view().need_action(id.as_bytes())?;
        let beginning = self.view().beginning(&id)?;
        let first = action.expanded;
        let chunk = self.view().chunk(&id, first)?;
        let inputs = json::array(json::parse(&chunk, "inputs")?, "inputs")?;
        for (place, input) in (first..).zip(&inputs) {
            self.make_job(&id, &beginning, place, input.get())?;
        }
        let done = first + inputs.len() as u64;
        let number = u32::try_from(first / CHUNK as u64).unwrap_or(u32::MAX);
        self.batch.remove(Table::JobData, expansion_key(&id, Some(number)))?;
        if done >= action.jobs_total {
            self.batch.remove(Table::JobData, expansion_key(&id, None))?;
            self.batch.remove(Table::Timers, timer)?;
            self.expanded(&id)?;
        }
        Ok(inputs.len())
    }

    /// Makes the job at a place: to be claimed, to be due later, or to wait until fewer of its action's are under way.
    fn make_job(&mut self, id: &Id, beginning: &Job, place: u64, input: &str) -> Result<()> {
        let mut action = self.counted_action(id)?;
        action.expanded = place + 1;
        self.put_action(id, &action)?;
        let mut job = beginning.clone();
        begin(&mut job, id, &action, place);
        let meta = match job.meta.take() {
            Some(Body::Inline(bytes)) => Some(bytes),
            _ => None,
        };
        self.set_body(&mut job, Part::Input, Some(input.as_bytes()))?;
        self.set_body(&mut job, Part::Meta, meta.as_deref())?;
        let is_due = job.run_at.is_none_or(|at| at <= self.now);
        (job.status, job.reason) = match action.room() {
            _ if action.cancelling != Cancelling::No => (Status::Waiting, Reason::Expanding),
            0 => (Status::Waiting, Reason::MaxParallel),
            _ if is_due => (Status::Pending, Reason::None),
            _ => (Status::Scheduled, Reason::Delay),
        };
        self.write(None, &job)?;
        if action.cancelling != Cancelling::No {
            let called_off = Job { reason: Reason::None, ..job.clone() };
            self.end(&job, called_off, Status::Cancelled)?;
        }
        Ok(())
    }
}
