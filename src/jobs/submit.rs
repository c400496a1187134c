//! Submitting jobs: what a client may ask for, checked whole before anything is written.

use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use crate::clock::Millis;
use crate::data::View;
use crate::jobs::body::{Part, check_length};
use crate::jobs::codec::Writer;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Digest, Job, Reason, Status, Work};
use crate::jobs::json::{self, Object};
use crate::jobs::plan::Plan;
use crate::jobs::queue::queue_name;
use crate::jobs::template::{Input, Needs};
use crate::jobs::{Id, Jobs, names, plan_store, time};

/// The queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "ready";
/// The farthest a job may be put off: ten years.
const MAX_DELAY_MS: u64 = 3_650 * 86_400_000;
/// The longest bound of an attempt.
const MAX_TIMEOUT_MS: u64 = 30 * 86_400_000;
/// The most labels of a job, and bytes of a label or a kind.
const MAX_LABELS: usize = 32;
const MAX_WORD_BYTES: usize = 128;

/// Fields of the model that this version does not honour: refused, never ignored.
const NOT_YET: [&str; 8] =
    ["key", "backoff", "unique_key", "on_conflict", "idempotency_key", "requires", "after", "after_policy"];

/// A plan that a job or an action runs.
#[derive(Debug, Clone)]
pub(super) enum PlanChoice {
    /// One that is stored.
    Stored(Id),
    /// One that came along.
    Inline(Box<Plan>),
}

/// What jobs and actions are submitted with alike.
#[derive(Debug, Clone)]
pub(super) struct Terms<'a> {
    queue: Id,
    priority: Option<u8>,
    labels: Vec<String>,
    meta: Option<&'a RawValue>,
    delay_ms: Option<u64>,
    run_at: Option<Millis>,
    attempts: Option<u32>,
    max_losses: Option<u32>,
    timeout_ms: Option<u64>,
    expires_at: Option<Millis>,
    retention_ms: Option<u64>,
}

/// A job that a client wants, checked.
#[derive(Debug, Clone)]
pub struct Submit<'a> {
    id: Option<Id>,
    what: What<'a>,
    terms: Terms<'a>,
}

#[derive(Debug, Clone)]
enum What<'a> {
    Plan(PlanChoice, Option<&'a RawValue>),
    Kind(String, Option<&'a RawValue>),
}

impl<'a> Terms<'a> {
    /// Takes the fields that jobs and actions share.
    pub(super) fn take(from: &mut Object<'a>) -> Result<Terms<'a>> {
        for field in NOT_YET {
            refuse_unsupported(from, field)?;
        }
        let queue = from.string("queue")?;
        let queue = queue_name(&from.path("queue"), queue.as_deref().unwrap_or(DEFAULT_QUEUE).as_bytes())?;
        let run_at = from.take("run_at").map(|raw| time::read(raw, &from.path("run_at"))).transpose()?;
        let expires_at = from.take("expires_at").map(|raw| time::read(raw, &from.path("expires_at"))).transpose()?;
        let meta = from.take_raw("meta");
        if let Some(meta) = meta {
            check_length(&from.path("meta"), meta.get().len())?;
        }
        let terms = Terms {
            queue,
            priority: small(from, "priority", 0..=9)?.and_then(|value| u8::try_from(value).ok()),
            labels: labels(from)?,
            meta,
            delay_ms: from.integer("delay_ms", 0..=MAX_DELAY_MS)?,
            run_at,
            attempts: small(from, "attempts", 1..=1_000_000)?,
            max_losses: small(from, "max_losses", 1..=1_000_000)?,
            timeout_ms: from.integer("timeout_ms", 1..=MAX_TIMEOUT_MS)?,
            expires_at,
            retention_ms: from.integer("retention_ms", 0..=MAX_DELAY_MS)?,
        };
        if terms.delay_ms.is_some() && terms.run_at.is_some() {
            let (delay, at) = (from.path("delay_ms"), from.path("run_at"));
            return Err(Error::refused(format!("{delay} and {at} say the same thing: give one of them")));
        }
        Ok(terms)
    }

    /// The queue.
    pub(super) fn queue(&self) -> &Id {
        &self.queue
    }

    /// Adds every term to what a digest is made of.
    pub(super) fn write(&self, out: &mut Writer) {
        out.bytes(self.queue.as_bytes());
        out.strings(&self.labels);
        out.strings(self.meta.map(RawValue::get).as_slice());
        let small = [self.priority.map(u64::from), self.attempts.map(u64::from), self.max_losses.map(u64::from)];
        let times = [self.run_at.map(|at| at.0), self.expires_at.map(|at| at.0)];
        let lengths = [self.delay_ms, self.timeout_ms, self.retention_ms];
        for number in small.into_iter().chain(times).chain(lengths) {
            out.byte(u8::from(number.is_some()));
            out.number(number.unwrap_or_default());
        }
    }

    fn apply(&self, job: &mut Job, now: Millis) {
        job.priority = self.priority.unwrap_or(job.priority);
        job.labels.clone_from(&self.labels);
        job.attempts = self.attempts.unwrap_or(job.attempts);
        job.max_losses = self.max_losses.unwrap_or(job.max_losses);
        job.timeout_ms = self.timeout_ms;
        job.expires_at = self.expires_at;
        job.retention_ms = self.retention_ms;
        job.run_at = self.delay_ms.map(|delay| now.plus(delay)).or(self.run_at);
        if job.run_at.is_some_and(|at| at > now) {
            job.status = Status::Scheduled;
            job.reason = Reason::Delay;
        }
    }
}

fn small(from: &mut Object<'_>, field: &str, range: RangeInclusive<u64>) -> Result<Option<u32>> {
    Ok(from.integer(field, range)?.and_then(|value| u32::try_from(value).ok()))
}

fn labels(from: &mut Object<'_>) -> Result<Vec<String>> {
    let path = from.path("labels");
    let labels = from.strings("labels")?.unwrap_or_default();
    if labels.len() > MAX_LABELS {
        return Err(Error::refused(format!("{path} has {} labels, at most {MAX_LABELS} are taken", labels.len())));
    }
    for (place, label) in labels.iter().enumerate() {
        check_word(&format!("{path}[{place}]"), label)?;
    }
    Ok(labels)
}

fn check_word(field: &str, word: &str) -> Result<()> {
    if !word.is_empty() && word.len() <= MAX_WORD_BYTES && !word.chars().any(char::is_control) {
        return Ok(());
    }
    let found = shown(word.as_bytes());
    Err(Error::refused(format!(
        "{field} must be 1 to {MAX_WORD_BYTES} bytes without control characters, not '{found}'"
    )))
}

/// Refuses a field that the model has and this version does not honour.
pub(super) fn refuse_unsupported(from: &mut Object<'_>, field: &str) -> Result<()> {
    let path = from.path(field);
    match from.take_raw(field) {
        None => Ok(()),
        Some(raw) => Err(Error::refused(format!(
            "{path} is not supported by this version yet, but is {}: leave it out",
            shown(raw.get().as_bytes())
        ))),
    }
}

/// Takes `plan_id` or `plan`.
pub(super) fn take_plan(from: &mut Object<'_>) -> Result<Option<PlanChoice>> {
    let path = from.path("plan_id");
    match (from.string("plan_id")?, from.take("plan")) {
        (Some(id), None) => Ok(Some(PlanChoice::Stored(Id::parse(&path, id.as_bytes())?))),
        (None, Some(raw)) => Ok(Some(PlanChoice::Inline(Box::new(Plan::of(raw)?)))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Error::refused(format!("{path} and {} say the same thing: give one of them", from.path("plan"))))
        }
    }
}

impl<'a> Submit<'a> {
    /// Reads a submission.
    ///
    /// # Errors
    /// When a field is unknown, of the wrong type, out of range or not supported; the error names it.
    pub fn parse(text: &'a [u8]) -> Result<Submit<'a>> {
        let mut from = Object::parse(text, "job")?;
        let id = from.string("job_id")?.map(|id| Id::parse("job.job_id", id.as_bytes())).transpose()?;
        let terms = Terms::take(&mut from)?;
        let plan = take_plan(&mut from)?;
        let kind = from.string("kind")?;
        let (input, payload) = (from.take_raw("input"), from.take_raw("payload"));
        from.finish()?;
        for (field, body) in [("job.input", input), ("job.payload", payload)] {
            check_length(field, body.map_or(0, |body| body.get().len()))?;
        }
        let what = match (plan, kind) {
            (Some(_), Some(_)) => return Err(Error::refused("job must name a plan or a kind, not both")),
            (None, None) => return Err(Error::refused("job must name one of plan_id, plan or kind")),
            (Some(_), None) if payload.is_some() => {
                return Err(Error::refused("job.payload is for jobs of a kind: the input of a plan is job.input"));
            }
            (None, Some(_)) if input.is_some() => {
                return Err(Error::refused("job.input is for jobs of a plan: what a kind takes is job.payload"));
            }
            (Some(plan), None) => What::Plan(plan, input),
            (None, Some(kind)) => {
                check_word("job.kind", &kind)?;
                What::Kind(kind, payload)
            }
        };
        Ok(Submit { id, what, terms })
    }
}

/// A plan that is stored and checked against inputs.
pub(super) struct ReadyPlan {
    pub(super) id: Id,
    pub(super) plan: Plan,
    pub(super) needs: Needs,
}

impl Jobs<'_, '_> {
    /// Submits a job. One that was submitted with the same id and content before is the same job. Returns it.
    ///
    /// # Errors
    /// When the plan is not there, the input lacks something, or the id is taken.
    pub fn submit(&mut self, submit: &Submit<'_>) -> Result<Job> {
        let (work, is_plain, body) = match &submit.what {
            What::Plan(choice, input) => {
                let ready = self.ready_plan(choice)?;
                let text = input.map_or("{}", RawValue::get);
                ready.needs.check(&Input::parse(text.as_bytes(), "input")?, "input")?;
                (Work::Plan(ready.id), ready.plan.is_plain(), Some(text))
            }
            What::Kind(kind, payload) => (Work::Kind(kind.clone()), false, payload.map(RawValue::get)),
        };
        let named = submit.id.clone().map(|id| (id, submission(&work, body, &submit.terms)));
        if let Some((id, submission)) = &named {
            match self.view().job(id.as_bytes())? {
                None => names::check_free(&self.database_0(), &names::of_job(id))?,
                Some(known) if known.submission == Some(*submission) => return Ok(known),
                Some(_) => {
                    let hint = "choose another job_id";
                    return Err(Error::refused(format!("Job {id} exists with other content: {hint}")));
                }
            }
        }
        self.check_queue_name(&submit.terms.queue)?;
        self.create(named, work, is_plain, body, &submit.terms, None)
    }

    fn database_0(&self) -> View<'_> {
        View { rows: self.batch, keyspace: self.database_0, now: self.now }
    }

    /// Checks that a queue's name is not an ordinary key, the first time it is used.
    pub(super) fn check_queue_name(&self, queue: &Id) -> Result<()> {
        if self.view().queue(queue.as_bytes())?.is_none() && &**queue != DEFAULT_QUEUE {
            names::check_free(&self.database_0(), &names::of_queue(queue))?;
        }
        Ok(())
    }

    /// Checks that a worker's names are no ordinary keys.
    pub(super) fn check_worker_names(&self, worker: &Id) -> Result<()> {
        names::check_free(&self.database_0(), &names::of_worker(worker))
    }

    /// Finds the plan, or stores the one that came along.
    pub(super) fn ready_plan(&mut self, choice: &PlanChoice) -> Result<ReadyPlan> {
        let (id, plan) = match choice {
            PlanChoice::Stored(id) => (id.clone(), plan_store::need(self.batch, id.as_bytes())?.plan()?),
            PlanChoice::Inline(plan) => {
                let id = plan.id();
                if plan_store::load(self.batch, id.as_bytes())?.is_none() {
                    names::check_free(&self.database_0(), &names::of_plan(&id))?;
                }
                plan_store::submit(self.batch, plan, true, self.now)?;
                (Id::parse("plan_id", id.as_bytes())?, (**plan).clone())
            }
        };
        let needs = Needs::of(&plan);
        Ok(ReadyPlan { id, plan, needs })
    }

    /// Makes a job; everything was checked. `named` is the id that its submitter chose, with the submission's digest.
    pub(super) fn create(
        &mut self,
        named: Option<(Id, Digest)>,
        work: Work,
        is_plain: bool,
        body: Option<&str>,
        terms: &Terms<'_>,
        action: Option<(Id, u64)>,
    ) -> Result<Job> {
        let number = self.next_number()?;
        let (id, submission) = match named {
            Some((id, submission)) => (id, Some(submission)),
            None => (Id::generate("job_", self.now, number, self.random), None),
        };
        let mut job = Job::new(id, number, terms.queue.clone(), work, self.now);
        job.submission = submission;
        terms.apply(&mut job, self.now);
        job.is_plain = is_plain;
        job.action = action;
        self.set_body(&mut job, Part::Input, body.map(str::as_bytes))?;
        self.set_body(&mut job, Part::Meta, terms.meta.map(|meta| meta.get().as_bytes()))?;
        self.write(None, &job)?;
        Ok(job)
    }
}

/// The digest of all that a job is submitted with but its id.
fn submission(work: &Work, body: Option<&str>, terms: &Terms<'_>) -> Digest {
    let mut out = Writer::default();
    let (is_plan, name) = match work {
        Work::Plan(id) => (1, &**id),
        Work::Kind(kind) => (0, &**kind),
    };
    out.byte(is_plan);
    out.bytes(name.as_bytes());
    out.strings(body.as_slice());
    terms.write(&mut out);
    out.digest()
}

/// The inputs of an action, each checked against the plan.
pub(super) fn check_inputs(inputs: &[&RawValue], needs: &Needs) -> Result<()> {
    for (place, raw) in inputs.iter().enumerate() {
        let what = format!("inputs[{place}]");
        check_length(&what, raw.get().len())?;
        needs.check(&Input::of(raw, &what)?, &what)?;
    }
    Ok(())
}

/// An object without fields: the input of an action that was given none.
pub(super) fn empty_object() -> Result<&'static RawValue> {
    json::parse(b"{}", "input")
}
