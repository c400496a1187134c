//! Values into an empty store. Each is checked by itself and against what came before it, so that an error names its
//! line; what needs all of them is checked, and done, at the end ([`super::ending`]).

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::clock::Millis;
use crate::data::keys::record_key;
use crate::data::{Touched, View};
use crate::jobs::error::{Error, Result};
use crate::jobs::incarnation::{INCARNATION, begin_incarnation};
use crate::jobs::job::{Job, Reason, Status};
use crate::jobs::json::{Object, kind as json_kind};
use crate::jobs::plan::{self, Plan};
use crate::jobs::plan_store::{self, Stored};
use crate::jobs::repeats::row_key;
use crate::jobs::rows::{EVENTS, NUMBERS, Timer, timer_key};
use crate::jobs::schedules::{job_key, schedule_id};
use crate::jobs::template::{Input, Needs};
use crate::jobs::transfer::action::Rest;
use crate::jobs::transfer::ending::Ending;
use crate::jobs::transfer::output::Written;
use crate::jobs::transfer::{ORDER, action, feed, job, need, need_id, need_moment, queue, take_flag, take_json};
use crate::jobs::webhooks::MAX_WEBHOOKS;
use crate::jobs::{Definition, Id, Jobs, JobsView, Settings, names};
use crate::storage::{Batch, Rows, Table, tables};

/// Plans that are kept in memory, read.
const KNOWN_PLANS: usize = 1_000;
/// The highest incarnation that an export may have.
const MAX_INCARNATION: u64 = (1 << 21) - 2;

/// What is known of a plan that jobs run.
#[derive(Clone)]
pub(super) struct KnownPlan {
    is_plain: bool,
    pub(super) needs: Needs,
}

/// What the values that came last are still open for.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Rest(Rest, KnownPlan),
    Output(Written),
}

/// Puts values into an empty store, in the order in which [`super::export`] hands them out.
pub struct Import {
    /// The time of the store that they came out of.
    now: Millis,
    random: fastrand::Rng,
    touched: Touched,
    /// The last number and the last event that the other store gave.
    last: Option<(u64, u64)>,
    /// The place in [`ORDER`] of what came last.
    place: usize,
    open: Open,
    plans: HashMap<Id, Option<KnownPlan>>,
    /// Which names of ordinary keys could be those of jobs, plans, queues and workers.
    taken: Vec<&'static str>,
    /// The last event that came.
    event: Option<u64>,
    jobs: u64,
    ending: Ending,
}

impl Import {
    /// Begins an import as of a moment, that of the export. Ids that it has to make are drawn from `random`.
    #[must_use]
    pub fn new(now: Millis, random: fastrand::Rng) -> Import {
        Import {
            now,
            random,
            touched: Touched::default(),
            last: None,
            place: 0,
            open: Open::Nothing,
            plans: HashMap::new(),
            taken: Vec::new(),
            event: None,
            jobs: 0,
            ending: Ending::default(),
        }
    }

    /// How many jobs there are.
    #[must_use]
    pub fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Takes a value of a kind into the batch. Keys must have come before.
    ///
    /// # Errors
    /// When it is not sound, does not fit to what came before, or is of no such kind; the batch must then be given up.
    pub fn take(&mut self, batch: &mut Batch<'_>, kind: &str, raw: &RawValue) -> Result<()> {
        let unknown = || Error::refused(format!("'{kind:.40}' is no kind of line"));
        let place = ORDER.iter().position(|kinds| kinds.contains(&kind)).ok_or_else(unknown)?;
        if place < self.place || place == 0 && self.last.is_some() {
            let order: Vec<&str> = ORDER.iter().flat_map(|kinds| kinds.iter().copied()).collect();
            let order = order.join(", ");
            return Err(Error::refused(format!("a line '{kind}' stands too late, the order is {order}")));
        }
        if place > 0 && self.last.is_none() {
            return Err(Error::refused(format!("a line '{kind}' stands before the line 'counters'")));
        }
        self.place = place;
        let mut from = Object::of(raw, kind)
            .map_err(|_| Error::refused(format!("'{kind}' must be an object, not {}", json_kind(raw))))?;
        match kind {
            "inputs" => self.take_inputs(batch, &mut from)?,
            "output" => self.take_output(batch, &mut from)?,
            _ => {
                self.close(batch)?;
                self.take_one(batch, kind, &mut from)?;
            }
        }
        from.finish()
    }

    fn take_one(&mut self, batch: &mut Batch<'_>, kind: &str, from: &mut Object<'_>) -> Result<()> {
        match kind {
            "counters" => self.take_counters(batch, from),
            "plan" => self.take_plan(batch, from),
            "queue" => self.take_queue(batch, from),
            "worker" => self.take_worker(batch, from),
            "action" => self.take_action(batch, from),
            "job" => self.take_job(batch, from),
            "schedule" => self.take_schedule(batch, from),
            "webhook" => self.take_webhook(batch, from),
            "repeat" => self.take_repeat(batch, from),
            "bulk" => self.take_bulk(batch, from),
            _ => self.take_event(batch, from),
        }
    }

    /// The job system in the batch.
    fn at<'a, 'txn>(&'a mut self, batch: &'a mut Batch<'txn>) -> Jobs<'a, 'txn> {
        Jobs {
            batch,
            now: self.now,
            touched: &mut self.touched,
            random: &mut self.random,
            settings: Settings::default(),
            // In a store in which nothing was ever flushed.
            database_0: 0,
            access_key: None,
        }
    }

    fn last_number(&self) -> u64 {
        self.last.map_or(0, |(number, _)| number)
    }

    fn last_event(&self) -> u64 {
        self.last.map_or(0, |(_, event)| event)
    }

    fn take_counters(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let incarnation = from.integer("incarnation", 0..=MAX_INCARNATION)?.unwrap_or(0);
        let mut number = |name: &str| Ok::<_, Error>(from.integer(name, 0..=1 << 53)?.unwrap_or(0));
        let (number, event) = (number("number")?, number("event")?);
        self.last = Some((number, event));
        for (key, value) in [(INCARNATION, incarnation), (NUMBERS, number), (EVENTS, event)] {
            if value > 0 {
                batch.put(Table::Meta, Bytes::from_static(key), value.to_be_bytes().to_vec())?;
            }
        }
        begin_incarnation(batch)?;
        for prefix in ["job:", "plan:", "queue:", "worker:"] {
            let from = record_key(0, prefix.as_bytes());
            let end = tables::prefix_end(&from);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            if batch.first(Table::Keys, Bound::Included(&from), end, false)?.is_some() {
                self.taken.push(prefix);
            }
        }
        Ok(())
    }

    /// Checks that names which become views are no ordinary keys.
    fn check_names(&self, batch: &Batch<'_>, names: impl FnOnce() -> Vec<String>, prefix: &str) -> Result<()> {
        if !self.taken.contains(&prefix) {
            return Ok(());
        }
        names::check_free(&View { rows: batch, keyspace: 0, now: self.now }, &names())
    }

    fn take_plan(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let id = need_id(from, "plan_id")?;
        let (created_at, inline) = (need_moment(from, "created_at")?, take_flag(from, "inline")?);
        let raw = from.take("plan");
        let found = Plan::of(need(from, "plan", raw)?)?;
        if let Some(other) = found.plan_id {
            return Err(Error::refused(format!("plan.plan.plan_id is {other}: only plan.plan_id says the id")));
        }
        if plan_store::exists(batch, id.as_bytes())? {
            return Err(Error::refused(format!("plan {id} a second time")));
        }
        self.check_names(batch, || names::of_plan(&id), "plan:")?;
        let canonical = Bytes::from(found.canonical());
        let task_count = u16::try_from(found.tasks.len()).unwrap_or(u16::MAX);
        let stored = Stored { inline, created_at, task_count, description: found.description, canonical };
        Ok(batch.put(Table::Plans, id.as_bytes().to_vec(), stored.encode())?)
    }

    /// A plan; `None` when it is not there.
    fn plan(&mut self, batch: &Batch<'_>, id: &Id) -> Result<Option<KnownPlan>> {
        if let Some(known) = self.plans.get(id) {
            return Ok(known.clone());
        }
        let stored = plan_store::load(batch, id.as_bytes())?;
        let plan = stored.map(|stored| stored.plan()).transpose()?;
        let known = plan.map(|plan: plan::Plan| KnownPlan { is_plain: plan.is_plain(), needs: Needs::of(&plan) });
        if self.plans.len() >= KNOWN_PLANS {
            self.plans.clear();
        }
        self.plans.insert(id.clone(), known.clone());
        Ok(known)
    }

    fn take_queue(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let (name, queue) = queue::take_queue(from, self.last_number())?;
        if batch.get(Table::Queues, name.as_bytes())?.is_some() {
            return Err(Error::refused(format!("queue {name} a second time")));
        }
        self.at(batch).check_queue_name(&name)?;
        Ok(batch.put(Table::Queues, name.as_bytes().to_vec(), queue.encode())?)
    }

    fn take_worker(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let number = self.at(batch).next_number()?;
        let (id, worker) = queue::take_worker(from, number)?;
        if batch.get(Table::Workers, id.as_bytes())?.is_some() {
            return Err(Error::refused(format!("worker {id} a second time")));
        }
        self.check_names(batch, || names::of_worker(&id), "worker:")?;
        batch.put(Table::Timers, worker.timer_key(), id.as_bytes().to_vec())?;
        Ok(batch.put(Table::Workers, id.as_bytes().to_vec(), worker.encode())?)
    }

    fn take_action(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let taken = action::take_action(from, self.last_number())?;
        let (id, action) = (&taken.id, &taken.action);
        if batch.get(Table::Actions, id.as_bytes())?.is_some() {
            return Err(Error::refused(format!("action {id} a second time")));
        }
        for callback in &action.callbacks {
            // Whether it is open is known when its jobs have come.
            plan_store::count(batch, &callback.plan, 0, 1)?;
        }
        if let Some(beginning) = &taken.beginning {
            let missing = || Error::refused(format!("action.plan_id is {}, there is no such plan", action.plan));
            let plan = self.plan(batch, &action.plan)?.ok_or_else(missing)?;
            let beginning = Job { is_plain: plan.is_plain, ..beginning.clone() };
            self.open = Open::Rest(Rest::begin(&mut self.at(batch), &taken, &beginning)?, plan);
        }
        self.at(batch).put_action(id, action)
    }

    fn take_inputs(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let Open::Rest(mut rest, plan) = std::mem::take(&mut self.open) else {
            return Err(Error::refused("a line 'inputs' without an action before it whose jobs are still to be made"));
        };
        rest.take(&mut self.at(batch), from, &plan)?;
        self.open = Open::Rest(rest, plan);
        Ok(())
    }

    fn take_output(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let Open::Output(mut written) = std::mem::take(&mut self.open) else {
            return Err(Error::refused("a line 'output' without a job before it that wrote something"));
        };
        written.take(&mut self.at(batch), from)?;
        self.open = Open::Output(written);
        Ok(())
    }

    /// What was open has all its parts.
    pub(super) fn close(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        match std::mem::take(&mut self.open) {
            Open::Nothing => Ok(()),
            Open::Rest(rest, _) => rest.finish(),
            Open::Output(written) => written.finish(&mut self.at(batch)),
        }
    }

    fn take_job(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let (last, now) = (self.last_number(), self.now);
        let mut taken = job::take_job(from, last, now)?;
        let id = taken.job.id.clone();
        if batch.get(Table::Jobs, id.as_bytes())?.is_some() {
            return Err(Error::refused(format!("job {id} a second time")));
        }
        self.check_names(batch, || names::of_job(&id), "job:")?;
        self.check_work(batch, &mut taken)?;
        let mut jobs = self.at(batch);
        jobs.check_queue_name(&taken.job.queue)?;
        let job = &mut taken.job;
        for (part, text) in &taken.bodies {
            jobs.set_body(job, *part, Some(text.as_bytes()))?;
        }
        if let Some(lease) = &mut job.lease {
            lease.claim = jobs.next_number()?;
        }
        if job.status == Status::Pending && job.reason == Reason::Lost {
            // Its old worker may not go on with it: it is in the other store that it lost it.
            job.epoch = jobs.next_epoch(job.epoch)?;
        }
        if let Some(turn) = taken.turn {
            jobs.seat(job, turn)?;
        }
        jobs.put_imported(job)?;
        for awaited in &taken.awaited {
            jobs.await_imported(job, awaited)?;
        }
        if job.has_output {
            self.open = Open::Output(Written::new(id, taken.written));
        }
        self.jobs += 1;
        Ok(())
    }

    /// A job that has not ended has a plan, and what that needs.
    fn check_work(&mut self, batch: &Batch<'_>, taken: &mut job::Taken<'_>) -> Result<()> {
        let Some(id) = taken.job.plan().cloned() else { return Ok(()) };
        let Some(plan) = self.plan(batch, &id)? else {
            if taken.job.status.is_terminal() {
                return Ok(());
            }
            let job = &taken.job.id;
            return Err(Error::refused(format!(
                "job {job} has not ended, and its plan_id is {id}: there is no such plan"
            )));
        };
        taken.job.is_plain = plan.is_plain;
        if let Some((_, input)) = taken.bodies.first().filter(|_| !taken.job.status.is_terminal()) {
            plan.needs.check(&Input::parse(input.as_bytes(), "job.input")?, "job.input")?;
        }
        Ok(())
    }

    fn take_schedule(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let id = need_id(from, "schedule_id")?;
        let id = schedule_id(id.as_bytes())?;
        let view = JobsView { rows: batch, now: self.now };
        if view.schedule(id.as_bytes())?.is_some() {
            return Err(Error::refused(format!("schedule {id} a second time")));
        }
        let number = from.integer("number", 1..=self.last_number())?;
        let number = need(from, "number", number)?;
        let created_at = need_moment(from, "created_at")?;
        let job = take_json(from, "job")?;
        let job = need(from, "job", job)?;
        let raw = crate::jobs::json::parse(job.as_bytes(), "schedule.job")?;
        let definition = Definition::take(from, Some(raw))?;
        let mut jobs = self.at(batch);
        let plan = jobs.plan_of(definition.submit())?;
        let schedule = feed::take_schedule(from, (number, created_at), (definition, plan))?;
        if let Some(timer) = schedule.timer_key()
            && jobs.batch.get(Table::Timers, &timer)?.is_some()
        {
            return Err(Error::refused(format!("schedule.number is {number}, that of another schedule")));
        }
        jobs.batch.put(Table::Schedules, job_key(&id), Bytes::copy_from_slice(job.as_bytes()))?;
        jobs.write_schedule(&id, None, Some(&schedule))
    }

    fn take_webhook(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let (id, mut webhook) = feed::take_webhook(from, self.last_event() + 1)?;
        let view = JobsView { rows: batch, now: self.now };
        if view.webhook(id.as_bytes())?.is_some() {
            return Err(Error::refused(format!("webhook {id} a second time")));
        }
        if view.webhooks()?.len() >= MAX_WEBHOOKS {
            return Err(Error::refused(format!("there are more than {MAX_WEBHOOKS} webhooks")));
        }
        let mut jobs = self.at(batch);
        webhook.version = jobs.next_number()?;
        jobs.store_webhook(&id, &webhook)
    }

    fn take_repeat(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let number = self.at(batch).next_number()?;
        let (what, key, repeat) = feed::take_repeat(from, number)?;
        let row = row_key(what, &key);
        if batch.get(Table::JobIndex, &row)?.is_some() {
            return Err(Error::refused(format!("idempotency_key '{key}' a second time")));
        }
        batch.put(Table::Timers, timer_key(Timer::Repeat, repeat.until, number), row.clone())?;
        Ok(batch.put(Table::JobIndex, row, repeat.encode())?)
    }

    fn take_bulk(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let bulk = feed::take_bulk(from, self.last_number())?;
        if batch.get(Table::JobIndex, &bulk.row_key())?.is_some() {
            return Err(Error::refused(format!("bulk.number is {}, that of another", bulk.number)));
        }
        // That the cursor is one of its filter.
        JobsView { rows: batch, now: self.now }.list_within(&bulk.filter, bulk.cursor.as_bytes(), (1, 1), None)?;
        batch.put(Table::Timers, bulk.timer(), bulk.row_key())?;
        Ok(batch.put(Table::JobIndex, bulk.row_key(), bulk.encode())?)
    }

    fn take_event(&mut self, batch: &mut Batch<'_>, from: &mut Object<'_>) -> Result<()> {
        let (number, event) = feed::take_event(from, self.last_event())?;
        if self.event.is_some_and(|before| number != before + 1) {
            let expected = self.event.unwrap_or(0) + 1;
            return Err(Error::refused(format!(
                "event.seq is {number}, expected {expected}: each follows the one before"
            )));
        }
        self.event = Some(number);
        Ok(batch.put(Table::Events, number.to_be_bytes().to_vec(), event.encode())?)
    }

    /// Ends the import, a piece at a time: false when more is to be done, in another batch.
    ///
    /// # Errors
    /// When something is missing.
    pub fn finish(&mut self, batch: &mut Batch<'_>) -> Result<bool> {
        self.close(batch)?;
        if self.last.is_none() {
            self.last = Some((0, 0));
            begin_incarnation(batch)?;
        }
        let last_event = self.last_event();
        if let Some(event) = self.event.filter(|event| *event != last_event) {
            return Err(Error::refused(format!("the last event is {event}, counters.event says {last_event}")));
        }
        let mut ending = std::mem::take(&mut self.ending);
        let done = ending.go_on(&mut self.at(batch));
        self.ending = ending;
        done
    }
}
