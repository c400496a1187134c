//! Actions, and the inputs of those of their jobs that are still to be made. How many jobs have which status follows from
//! the jobs; what is said here is how those ended that were removed.

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::actions::{Action, Callback, Cancelling, MAX_BOUND, MAX_INPUTS, OCCASIONS, check_callback_input};
use crate::jobs::body::check_length;
use crate::jobs::error::{Error, Result};
use crate::jobs::expand::CHUNK;
use crate::jobs::job::{Body, Job, Status, Work};
use crate::jobs::json::{self, Object};
use crate::jobs::rows::{Timer, action_prefix, expansion_key, timer_key};
use crate::jobs::show::Json;
use crate::jobs::template::Input;
use crate::jobs::terms::Terms;
use crate::jobs::transfer::export::Take;
use crate::jobs::transfer::import::KnownPlan;
use crate::jobs::transfer::job::put_terms;
use crate::jobs::transfer::{
    each_under, hex, need, need_id, need_moment, put_count, put_json, take_count, take_hex, take_json, take_word,
};
use crate::jobs::{Counts, Id, Jobs, JobsView, job_row};
use crate::storage::{Rows as _, Table};

const ENDS: [Status; 3] = [Status::Completed, Status::Failed, Status::Cancelled];
const CANCELLING: [Cancelling; 2] = [Cancelling::Jobs, Cancelling::Rest];

fn cancelling_name(cancelling: Cancelling) -> &'static str {
    if cancelling == Cancelling::Jobs { "jobs" } else { "rest" }
}

/// Hands out an action and the inputs that no job was made of yet.
pub(super) fn export(view: &JobsView<'_>, id: &Id, take: &mut Take<'_>) -> Result<()> {
    let action = view.need_action(id.as_bytes())?;
    take("action", action_json(view, id, &action)?)?;
    let mut place = action.expanded;
    while place < action.jobs_total {
        let chunk = view.chunk(id, place)?;
        let count = json::array(json::parse(&chunk, "inputs")?, "inputs")?.len() as u64;
        let mut out = Json::new();
        out.text("action_id", id);
        out.number("action_index", place);
        put_json(&mut out, "inputs", &String::from_utf8_lossy(&chunk));
        take("inputs", out.finish())?;
        place += count.max(1);
    }
    Ok(())
}

fn action_json(view: &JobsView<'_>, id: &Id, action: &Action) -> Result<String> {
    let mut kept = Counts::default();
    each_under(view.rows, Table::JobIndex, &action_prefix(id), &mut |_, job| {
        Ok(kept.shift(None, Some(view.indexed_job(job)?.status))?)
    })?;
    let mut out = Json::new();
    out.text("action_id", id);
    out.number("number", action.number);
    out.text("plan_id", &action.plan);
    out.text("queue", &action.queue);
    out.number("created_at", action.created_at.0);
    out.number("jobs_total", action.jobs_total);
    for status in ENDS {
        let removed = action.counts.of(status).saturating_sub(kept.of(status));
        put_count(&mut out, &format!("removed_{}", status.name()), removed);
    }
    for (name, bound) in [("max_parallel", action.max_parallel), ("max_failures", action.max_failures)] {
        if let Some(bound) = bound {
            out.number(name, bound);
        }
    }
    for (name, occasion) in OCCASIONS {
        for callback in action.callbacks.iter().filter(|callback| callback.occasion == occasion) {
            let mut called = Json::new();
            called.text("plan_id", &callback.plan);
            if let Some(input) = &callback.input {
                put_json(&mut called, "input", input);
            }
            out.raw(name, &called.finish());
        }
    }
    if action.cancelling != Cancelling::No {
        out.text("cancelling", cancelling_name(action.cancelling));
    }
    out.text("seed", &hex(&action.seed.to_be_bytes()));
    out.text("submission", &hex(&action.submission));
    if action.unmade() > 0 {
        out.number("expanded", action.expanded);
        let mut rest = Json::new();
        put_terms(&mut rest, view, &view.beginning(id)?)?;
        out.raw("job", &rest.finish());
    }
    Ok(out.finish())
}

/// An action as a line says that it is, before its jobs have come.
pub(super) struct Taken {
    pub(super) id: Id,
    pub(super) action: Action,
    /// What the jobs that are still to be made begin as.
    pub(super) beginning: Option<Job>,
}

/// Reads an action. `last` is the last number that was given.
pub(super) fn take_action(from: &mut Object<'_>, last: u64) -> Result<Taken> {
    let id = need_id(from, "action_id")?;
    let (plan, queue, created_at) =
        (need_id(from, "plan_id")?, need_id(from, "queue")?, need_moment(from, "created_at")?);
    let jobs_total = from.integer("jobs_total", 1..=MAX_INPUTS as u64)?;
    let jobs_total = need(from, "jobs_total", jobs_total)?;
    // The numbers of its jobs follow its own.
    let number = from.integer("number", 1..=last.saturating_sub(jobs_total))?;
    let number = need(from, "number", number)?;
    let expanded = from.integer("expanded", 0..=jobs_total - 1)?;
    let mut counts = Counts::default();
    for status in ENDS {
        let removed = from.integer(&format!("removed_{}", status.name()), 0..=jobs_total)?.unwrap_or(0);
        (0..removed).try_for_each(|_| counts.shift(None, Some(status)))?;
    }
    let max_parallel = from.integer("max_parallel", 1..=MAX_BOUND)?;
    let max_failures = from.integer("max_failures", 0..=MAX_BOUND)?;
    let callbacks = take_callbacks(from)?;
    let cancelling = take_word(from, "cancelling", &CANCELLING, cancelling_name)?.unwrap_or(Cancelling::No);
    let seed = take_hex::<8>(from, "seed")?;
    let seed = u64::from_be_bytes(need(from, "seed", seed)?);
    let submission = take_hex(from, "submission")?.unwrap_or_default();
    let beginning = match (expanded, from.object("job")?) {
        (None, None) => None,
        (Some(_), Some(terms)) => Some(take_beginning(terms, (&id, &plan, &queue), created_at)?),
        _ => return Err(Error::refused("action.expanded and action.job belong together: give both, or none")),
    };
    let expanded = expanded.unwrap_or(jobs_total);
    if beginning.is_some() && !expanded.is_multiple_of(CHUNK as u64) {
        return Err(Error::refused(format!("action.expanded must be a multiple of {CHUNK}, not {expanded}")));
    }
    let action = Action {
        plan,
        created_at,
        jobs_total,
        jobs_kept: jobs_total - expanded,
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
    };
    Ok(Taken { id, action, beginning })
}

fn take_callbacks(from: &mut Object<'_>) -> Result<Vec<Callback>> {
    let mut callbacks = Vec::new();
    for (name, occasion) in OCCASIONS {
        let path = from.path(name);
        let Some(mut from) = from.object(name)? else { continue };
        let plan = need_id(&mut from, "plan_id")?;
        let input = take_json(&mut from, "input")?;
        from.finish()?;
        if let Some(input) = &input {
            let path = format!("{path}.input");
            check_callback_input(json::parse(input.as_bytes(), &path)?, &path)?;
        }
        callbacks.push(Callback { occasion, plan, input: input.map(|input| input.into_owned()) });
    }
    Ok(callbacks)
}

fn take_beginning(mut from: Object<'_>, (id, plan, queue): (&Id, &Id, &Id), created_at: Millis) -> Result<Job> {
    let meta = take_json(&mut from, "meta")?;
    let terms = Terms::take(&mut from)?;
    from.finish()?;
    if terms.queue != *queue {
        return Err(Error::refused(format!(
            "action.job.queue is {}, expected that of the action, {queue}",
            terms.queue
        )));
    }
    let mut job = Job::new(id.clone(), 0, queue.clone(), Work::Plan(plan.clone()), created_at);
    terms.apply(&mut job, created_at);
    job.meta = meta.map(|meta| Body::Inline(Bytes::copy_from_slice(meta.as_bytes())));
    Ok(job)
}

/// The inputs that no job was made of yet, as they come.
pub(super) struct Rest {
    id: Id,
    /// The place of the next input.
    next: u64,
    total: u64,
    chunk: Vec<String>,
}

impl Rest {
    /// Stores what the jobs begin as. Those that come after have their inputs.
    pub(super) fn begin(jobs: &mut Jobs<'_, '_>, taken: &Taken, beginning: &Job) -> Result<Rest> {
        let (id, action) = (&taken.id, &taken.action);
        jobs.batch.put(Table::JobData, expansion_key(id, None), job_row::encode(beginning))?;
        let timer = timer_key(Timer::Expand, action.created_at, action.number);
        if jobs.batch.get(Table::Timers, &timer)?.is_some() {
            return Err(Error::refused(format!("action.number is {}, that of another action", action.number)));
        }
        jobs.batch.put(Table::Timers, timer, Bytes::copy_from_slice(id.as_bytes()))?;
        Ok(Rest { id: id.clone(), next: action.expanded, total: action.jobs_total, chunk: Vec::new() })
    }

    /// Takes some inputs into the batch.
    pub(super) fn take(&mut self, jobs: &mut Jobs<'_, '_>, from: &mut Object<'_>, plan: &KnownPlan) -> Result<()> {
        let id = need_id(from, "action_id")?;
        let first = take_count(from, "action_index")?;
        if (&id, first) != (&self.id, self.next) {
            let (expected, next) = (&self.id, self.next);
            return Err(Error::refused(format!(
                "inputs of action {id} from {first} on, expected those of action {expected} from {next} on"
            )));
        }
        let path = from.path("inputs");
        let inputs = match (from.take_raw("inputs"), from.string("inputs_text")?) {
            (Some(raw), None) => raw.get().to_owned(),
            (None, Some(text)) => text,
            _ => return Err(Error::refused(format!("give one of {path} and {path}_text"))),
        };
        for (place, raw) in json::array(json::parse(inputs.as_bytes(), &path)?, &path)?.into_iter().enumerate() {
            let what = format!("{path}[{place}]");
            check_length(&what, raw.get().len())?;
            plan.needs.check(&Input::parse(raw.get().as_bytes(), &what)?, &what)?;
            self.add(jobs, raw.get())?;
        }
        Ok(())
    }

    fn add(&mut self, jobs: &mut Jobs<'_, '_>, input: &str) -> Result<()> {
        if self.next >= self.total {
            let (id, total) = (&self.id, self.total);
            return Err(Error::refused(format!("action {id} has more inputs than its {total} jobs")));
        }
        self.chunk.push(input.to_owned());
        self.next += 1;
        if self.next.is_multiple_of(CHUNK as u64) || self.next == self.total {
            let chunk = u32::try_from((self.next - 1) / CHUNK as u64).unwrap_or(u32::MAX);
            let row = format!("[{}]", self.chunk.join(","));
            self.chunk.clear();
            jobs.batch.put(Table::JobData, expansion_key(&self.id, Some(chunk)), row)?;
            jobs.batch.release();
        }
        Ok(())
    }

    /// All inputs have come.
    pub(super) fn finish(self) -> Result<()> {
        if self.next == self.total {
            return Ok(());
        }
        let (id, next, total) = (self.id, self.next, self.total);
        Err(Error::refused(format!("action {id} has inputs up to place {next}, expected them for all {total} jobs")))
    }
}
