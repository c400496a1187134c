//! Submitting jobs: what a client may ask for, checked whole before anything is written.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::data::View;
use crate::jobs::after::After;
use crate::jobs::body::{Part, check_length};
use crate::jobs::codec::Writer;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Digest, Job, Reason, Status, Work};
use crate::jobs::json::{self, Object};
use crate::jobs::plan::Plan;
use crate::jobs::repeats::Repeats;
use crate::jobs::rows::unique_key;
use crate::jobs::template::{Input, Needs};
use crate::jobs::terms::{DEFAULT_QUEUE, Terms, check_word, word};
use crate::jobs::{Id, Jobs, JobsView, names, plan_store};
use crate::storage::Table;

/// A plan that a job or an action runs.
#[derive(Debug, Clone)]
pub(super) enum PlanChoice {
    /// One that is stored.
    Stored(Id),
    /// One that came along.
    Inline(Box<Plan>),
}

/// A job that a client wants, checked.
#[derive(Debug, Clone)]
pub struct Submit<'a> {
    id: Option<Id>,
    what: What<'a>,
    terms: Terms<'a>,
    once: Once,
    after: After,
}

/// What a submission must not be twice, and what happens when it is.
#[derive(Debug, Clone, Default)]
struct Once {
    unique_key: Option<String>,
    on_conflict: OnConflict,
    idempotency_key: Option<String>,
}

/// What happens when another job holds the unique key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum OnConflict {
    #[default]
    Reject,
    Return,
    Replace,
}

impl Once {
    fn take(from: &mut Object<'_>) -> Result<Once> {
        let (unique_key, path) = (word(from, "unique_key")?, from.path("on_conflict"));
        let on_conflict = match from.string("on_conflict")?.as_deref() {
            Some(_) if unique_key.is_none() => {
                return Err(Error::refused(format!("{path} says what happens to a unique_key: give one")));
            }
            None | Some("reject") => OnConflict::Reject,
            Some("return") => OnConflict::Return,
            Some("replace") => OnConflict::Replace,
            Some(other) => {
                let other = shown(other.as_bytes());
                return Err(Error::refused(format!("{path} must be reject, return or replace, not '{other}'")));
            }
        };
        Ok(Once { unique_key, on_conflict, idempotency_key: word(from, "idempotency_key")? })
    }
}

#[derive(Debug, Clone)]
enum What<'a> {
    Plan(PlanChoice, Option<&'a RawValue>),
    Kind(String, Option<&'a RawValue>),
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
        let once = Once::take(&mut from)?;
        let after = After::take(&mut from)?;
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
        Ok(Submit { id, what, terms, once, after })
    }

    /// The queue that it is for.
    #[must_use]
    pub fn queue(&self) -> &Id {
        &self.terms.queue
    }

    /// The jobs that it comes after.
    #[must_use]
    pub fn after(&self) -> &[Id] {
        &self.after.jobs
    }

    /// The key that no other job that has not ended may have.
    #[must_use]
    pub fn unique_key(&self) -> Option<&str> {
        self.once.unique_key.as_deref()
    }

    /// True when it cancels the job that holds its unique key.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.once.on_conflict == OnConflict::Replace
    }

    /// The same submission under this id.
    pub(super) fn named(&self, id: Id) -> Submit<'a> {
        Submit { id: Some(id), ..self.clone() }
    }
}

/// A plan that is stored and checked against inputs.
pub(super) struct ReadyPlan {
    pub(super) id: Id,
    pub(super) plan: Plan,
    pub(super) needs: Needs,
}

/// What a submission answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The job's id.
    pub id: Id,
    /// The job; `None` when it was made earlier with the idempotency key, and may be gone.
    pub job: Option<Job>,
}

impl From<Job> for Submitted {
    fn from(job: Job) -> Submitted {
        Submitted { id: job.id.clone(), job: Some(job) }
    }
}

impl JobsView<'_> {
    /// The job that holds a unique key.
    ///
    /// # Errors
    /// When the store fails.
    pub fn holder(&self, key: &str) -> Result<Option<Job>> {
        let id = self.rows.get(Table::JobIndex, &unique_key(key))?;
        id.map(|id| self.indexed_job(&id)).transpose()
    }
}

impl Jobs<'_, '_> {
    /// Submits a job. One that was submitted with the same id, or idempotency key, and content before is the same job.
    ///
    /// # Errors
    /// When the plan is not there, the input lacks something, or the id is taken.
    pub fn submit(&mut self, submit: &Submit<'_>) -> Result<Submitted> {
        let (work, is_plain, body) = self.work_of(submit)?;
        let digest = submission(&work, body, submit);
        if let Some(key) = &submit.once.idempotency_key
            && let Some((made, _)) = self.repeat(Repeats::Job, key, digest, &submit.terms.queue)?
        {
            return Ok(Submitted { id: made, job: None });
        }
        if let Some(id) = &submit.id {
            match self.view().job(id.as_bytes())? {
                None => names::check_free(&self.database_0(), &names::of_job(id))?,
                Some(known) if known.submission == Some(digest) => return Ok(known.into()),
                Some(_) => {
                    let hint = "choose another job_id";
                    return Err(Error::refused(format!("Job {id} exists with other content: {hint}")));
                }
            }
        }
        self.check_queue_name(&submit.terms.queue)?;
        if let Some(holder) = self.resolve_conflict(&submit.once)? {
            return Ok(holder.into());
        }
        let named = submit.id.clone().map(|id| (id, digest));
        let mut job = self.draft(named, work, is_plain, body, &submit.terms)?;
        job.unique_key.clone_from(&submit.once.unique_key);
        let bad = self.begin_after(&mut job, &submit.after)?;
        if job.after_left > 0 || bad.is_some() {
            (job.status, job.reason) = (Status::Waiting, Reason::After);
        }
        self.write(None, &job)?;
        if let Some(key) = &submit.once.idempotency_key {
            self.remember(Repeats::Job, key, digest, (&job.id, Bytes::new()))?;
        }
        Ok(if bad.is_some() { self.end_after(&job, job.clone())? } else { job }.into())
    }

    /// What a submission is for, checked; whether workers of the list contract can do it; and what it is given.
    fn work_of<'s>(&mut self, submit: &Submit<'s>) -> Result<(Work, bool, Option<&'s str>)> {
        match &submit.what {
            What::Plan(choice, input) => {
                let ready = self.ready_plan(choice)?;
                let text = input.map_or("{}", RawValue::get);
                ready.needs.check(&Input::parse(text.as_bytes(), "input")?, "input")?;
                Ok((Work::Plan(ready.id), ready.plan.is_plain(), Some(text)))
            }
            What::Kind(kind, payload) => Ok((Work::Kind(kind.clone()), false, payload.map(RawValue::get))),
        }
    }

    /// Checks what will be submitted later as if it were now, and stores the plan that came along. Returns what it is for.
    pub(super) fn check_submit(&mut self, submit: &Submit<'_>) -> Result<Work> {
        let (work, ..) = self.work_of(submit)?;
        self.check_queue_name(&submit.terms.queue)?;
        Ok(work)
    }

    /// Makes way for a job with a unique key. Returns the job that holds the key where that is the answer.
    fn resolve_conflict(&mut self, once: &Once) -> Result<Option<Job>> {
        let Some(key) = &once.unique_key else { return Ok(None) };
        let Some(holder) = self.view().holder(key)? else { return Ok(None) };
        let (id, status) = (&holder.id, holder.status.name());
        match once.on_conflict {
            OnConflict::Return => Ok(Some(holder)),
            OnConflict::Reject => Err(Error::refused(format!(
                "unique_key '{key}' is held by job {id}, which is {status}: wait for its end, or say on_conflict"
            ))),
            OnConflict::Replace if holder.status == Status::Running => Err(Error::refused(format!(
                "unique_key '{key}' is held by job {id}, which is running and cannot be replaced: cancel it first"
            ))),
            OnConflict::Replace => {
                self.cancel(holder.id.as_bytes())?;
                Ok(None)
            }
        }
    }

    /// The plan that a submission is for, which must be there unless it comes along.
    pub(super) fn plan_of(&mut self, submit: &Submit<'_>) -> Result<Option<Id>> {
        match self.work_of(submit)?.0 {
            Work::Plan(plan) => Ok(Some(plan)),
            Work::Kind(_) => Ok(None),
        }
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

    /// Makes a job; everything was checked. `named` is the id that its submitter chose, with the submission's digest. It
    /// is still to be written.
    pub(super) fn draft(
        &mut self,
        named: Option<(Id, Digest)>,
        work: Work,
        is_plain: bool,
        body: Option<&str>,
        terms: &Terms<'_>,
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
        self.set_body(&mut job, Part::Input, body.map(str::as_bytes))?;
        self.set_body(&mut job, Part::Meta, terms.meta.map(|meta| meta.get().as_bytes()))?;
        Ok(job)
    }
}

/// The digest of all that a job is submitted with but its id.
fn submission(work: &Work, body: Option<&str>, submit: &Submit<'_>) -> Digest {
    let mut out = Writer::default();
    let (is_plan, name) = match work {
        Work::Plan(id) => (1, &**id),
        Work::Kind(kind) => (0, &**kind),
    };
    out.byte(is_plan);
    out.bytes(name.as_bytes());
    out.strings(body.as_slice());
    submit.terms.write(&mut out);
    out.strings(submit.once.unique_key.as_slice());
    out.byte(submit.once.on_conflict as u8);
    out.strings(submit.once.idempotency_key.as_slice());
    out.strings(&submit.after.jobs);
    out.byte(submit.after.policy as u8);
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
