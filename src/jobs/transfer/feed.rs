//! Schedules, webhooks, events, idempotency keys, and what is done to many jobs.

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::actions::{Action, Cancelling, MAX_INPUTS};
use crate::jobs::bulk::{Bulk, Verb};
use crate::jobs::check::events::may_be;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::events::{Event, Subject};
use crate::jobs::job::{Reason, Status};
use crate::jobs::json::Object;
use crate::jobs::repeats::{Repeat, Repeats};
use crate::jobs::schedules::Schedule;
use crate::jobs::show::Json;
use crate::jobs::show_feed::put_transition;
use crate::jobs::terms::{check_word, word};
use crate::jobs::transfer::{
    hex, need, need_id, need_moment, put_count, put_flag, put_json, put_moment, take_count, take_flag, take_hex,
    take_id, take_moment, take_small, take_word,
};
use crate::jobs::webhooks::{Paused, Terms, Webhook};
use crate::jobs::{Counts, Definition, Filter, Id};
use crate::storage::{Error as StorageError, Result as StorageResult, Table};

pub(super) fn schedule_json(id: &Id, schedule: &Schedule, job: &[u8]) -> String {
    let mut out = Json::new();
    out.text("schedule_id", id);
    out.number("number", schedule.number);
    out.text("cron", &schedule.course.cron);
    out.text("zone", &schedule.course.zone);
    put_moment(&mut out, "start_at", schedule.course.start_at);
    put_moment(&mut out, "end_at", schedule.course.end_at);
    out.text("misfire", schedule.misfire.name());
    out.text("overlap", schedule.overlap.name());
    put_json(&mut out, "job", &String::from_utf8_lossy(job));
    out.number("created_at", schedule.created_at.0);
    put_flag(&mut out, "paused", schedule.paused);
    put_moment(&mut out, "next_at", schedule.next_at);
    if let Some((tick, job)) = &schedule.last {
        out.number("last_at", tick.0);
        out.text("last_job_id", job);
    }
    let Schedule { fired, skipped, missed, refused, .. } = *schedule;
    for (name, count) in [("fired", fired), ("skipped", skipped), ("missed", missed), ("refused", refused)] {
        put_count(&mut out, name, count);
    }
    put_error(&mut out, schedule.last_error.as_ref());
    out.finish()
}

fn put_error(out: &mut Json, error: Option<&(Millis, String)>) {
    if let Some((at, why)) = error {
        out.number("last_error_at", at.0);
        out.text("last_error", why);
    }
}

fn take_error(from: &mut Object<'_>) -> Result<Option<(Millis, String)>> {
    both(from, ("last_error_at", take_moment), ("last_error", |from, name| from.string(name)))
}

type Taker<T> = fn(&mut Object<'_>, &str) -> Result<Option<T>>;

/// Two fields, of which none is there without the other.
fn both<A, B>(
    from: &mut Object<'_>,
    (first, take_first): (&str, Taker<A>),
    (second, take_second): (&str, Taker<B>),
) -> Result<Option<(A, B)>> {
    match (take_first(from, first)?, take_second(from, second)?) {
        (None, None) => Ok(None),
        (Some(a), Some(b)) => Ok(Some((a, b))),
        _ => {
            let (first, second) = (from.path(first), from.path(second));
            Err(Error::refused(format!("{first} and {second} belong together: give both, or none")))
        }
    }
}

/// Reads how far a schedule of this definition has come.
pub(super) fn take_schedule(
    from: &mut Object<'_>,
    (number, created_at): (u64, Millis),
    (definition, plan): (Definition<'_>, Option<Id>),
) -> Result<Schedule> {
    let schedule = Schedule {
        course: definition.course,
        misfire: definition.misfire,
        overlap: definition.overlap,
        plan,
        number,
        created_at,
        paused: take_flag(from, "paused")?,
        next_at: take_moment(from, "next_at")?,
        last: both(from, ("last_at", take_moment), ("last_job_id", take_id))?,
        fired: take_count(from, "fired")?,
        skipped: take_count(from, "skipped")?,
        missed: take_count(from, "missed")?,
        refused: take_count(from, "refused")?,
        last_error: take_error(from)?,
    };
    let Some(next) = schedule.next_at else { return Ok(schedule) };
    let course = &schedule.course;
    let rules = [
        (!schedule.paused, "schedule.next_at is not for one that is paused"),
        (course.start_at.is_none_or(|start| next >= start), "schedule.next_at lies before schedule.start_at"),
        (course.end_at.is_none_or(|end| next <= end), "schedule.next_at lies after schedule.end_at"),
        (
            schedule.last.as_ref().is_none_or(|(last, _)| next > *last),
            "schedule.next_at does not lie after schedule.last_at",
        ),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok(schedule),
        Some((_, what)) => Err(Error::refused(*what)),
    }
}

pub(super) fn webhook_json(id: &Id, webhook: &Webhook) -> String {
    let (mut out, terms) = (Json::new(), &webhook.terms);
    out.text("webhook", id);
    out.text("url", terms.url.as_str());
    out.texts("events", &terms.events());
    if let Some(secret) = &terms.secret {
        out.text("secret", secret);
    }
    if let Some(queue) = &terms.queue {
        out.text("queue", queue);
    }
    out.number("timeout_ms", terms.timeout_ms);
    out.number("max_attempts", terms.max_attempts);
    if let Some(backoff) = terms.backoff.json() {
        out.raw("backoff", &backoff);
    }
    out.number("created_at", webhook.created_at.0);
    if let Some(paused) = webhook.paused {
        out.text("paused", paused_name(paused));
    }
    out.number("next_seq", webhook.cursor);
    put_count(&mut out, "failed_attempts", webhook.tries.into());
    put_moment(&mut out, "retry_at", webhook.retry_at);
    let (delivered, given_up, passed_over) = (webhook.delivered, webhook.given_up, webhook.passed_over);
    for (name, count) in [("delivered", delivered), ("given_up", given_up), ("passed_over", passed_over)] {
        put_count(&mut out, name, count);
    }
    put_moment(&mut out, "delivered_at", webhook.delivered_at);
    put_error(&mut out, webhook.last_error.as_ref());
    out.finish()
}

fn paused_name(paused: Paused) -> &'static str {
    match paused {
        Paused::Asked => "asked",
        Paused::Gone => "gone",
    }
}

/// Reads a webhook; `next` is the number of the next event.
pub(super) fn take_webhook(from: &mut Object<'_>, next: u64) -> Result<(Id, Webhook)> {
    let id = need_id(from, "webhook")?;
    let terms = Terms::take(from)?;
    let created_at = need_moment(from, "created_at")?;
    let cursor = from.integer("next_seq", 1..=next)?;
    let mut webhook = Webhook::new(terms, created_at, need(from, "next_seq", cursor)?);
    webhook.paused = take_word(from, "paused", &[Paused::Asked, Paused::Gone], paused_name)?;
    (webhook.tries, webhook.retry_at) = (take_small(from, "failed_attempts")?, take_moment(from, "retry_at")?);
    webhook.delivered = take_count(from, "delivered")?;
    webhook.given_up = take_count(from, "given_up")?;
    webhook.passed_over = take_count(from, "passed_over")?;
    webhook.delivered_at = take_moment(from, "delivered_at")?;
    webhook.last_error = take_error(from)?;
    let told = [webhook.delivered, webhook.given_up, webhook.passed_over].into_iter().fold(0, u64::saturating_add);
    let rules = [
        ((webhook.tries > 0) == webhook.retry_at.is_some(), "failed_attempts and retry_at belong together"),
        (webhook.tries < webhook.terms.max_attempts, "failed_attempts must be below max_attempts"),
        (webhook.tries == 0 || webhook.cursor < next, "failed_attempts is of an event that is still to come"),
        (told < next, "delivered, given_up and passed_over are more than there were events"),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok((id, webhook)),
        Some((_, what)) => Err(Error::refused(format!("webhook {id}: {what}"))),
    }
}

/// What was made with an idempotency key.
pub(super) fn repeat_json(what: u8, key: &str, repeat: &Repeat) -> StorageResult<String> {
    let mut out = Json::new();
    out.text("idempotency_key", key);
    out.number("until", repeat.until.0);
    out.text("submission", &hex(&repeat.submission));
    if what == Repeats::Job as u8 {
        out.text("job_id", &repeat.made);
        return Ok(out.finish());
    }
    if what != Repeats::Action as u8 {
        return Err(StorageError::corrupt(Table::JobIndex, format!("an idempotency key of what is no action: {what}")));
    }
    // What the answer of the submit is made of, whether the action is still there or not.
    let action = Action::decode(&repeat.row)?;
    out.text("action_id", &repeat.made);
    out.text("plan_id", &action.plan);
    out.number("created_at", action.created_at.0);
    out.number("jobs_total", action.jobs_total);
    out.text("seed", &hex(&action.seed.to_be_bytes()));
    Ok(out.finish())
}

/// Reads what was made with an idempotency key; `number` is its own in this store.
pub(super) fn take_repeat(from: &mut Object<'_>, number: u64) -> Result<(Repeats, String, Repeat)> {
    let key = word(from, "idempotency_key")?;
    let key = need(from, "idempotency_key", key)?;
    let until = need_moment(from, "until")?;
    let submission = take_hex(from, "submission")?;
    let submission = need(from, "submission", submission)?;
    let (what, made, row) = match (take_id(from, "job_id")?, take_id(from, "action_id")?) {
        (Some(job), None) => (Repeats::Job, job, Bytes::new()),
        (None, Some(action)) => (Repeats::Action, action, take_answer(from, submission)?.encode()),
        _ => return Err(Error::refused("repeat must name one of job_id and action_id")),
    };
    Ok((what, key, Repeat { until, number, submission, made, row }))
}

/// An action as far as the answer to its submit shows it.
fn take_answer(from: &mut Object<'_>, submission: [u8; 16]) -> Result<Action> {
    let (plan, created_at) = (need_id(from, "plan_id")?, need_moment(from, "created_at")?);
    let jobs_total = from.integer("jobs_total", 1..=MAX_INPUTS as u64)?;
    let jobs_total = need(from, "jobs_total", jobs_total)?;
    let seed = take_hex::<8>(from, "seed")?;
    Ok(Action {
        queue: plan.clone(),
        plan,
        created_at,
        jobs_total,
        jobs_kept: jobs_total,
        submission,
        expanded: 0,
        counts: Counts::default(),
        max_parallel: None,
        max_failures: None,
        number: 0,
        seed: u64::from_be_bytes(need(from, "seed", seed)?),
        cancelling: Cancelling::No,
        callbacks: Vec::new(),
    })
}

const VERBS: [Verb; 3] = [Verb::Retry, Verb::Cancel, Verb::Delete];

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Retry => "retry",
        Verb::Cancel => "cancel",
        Verb::Delete => "delete",
    }
}

/// What is done to many jobs, and how far it has come.
pub(super) fn bulk_json(bulk: &Bulk) -> String {
    let (mut out, filter) = (Json::new(), &bulk.filter);
    out.text("verb", verb_name(bulk.verb));
    out.number("at", bulk.at.0);
    out.number("number", bulk.number);
    out.number("upto", bulk.upto);
    let ids = [("action_id", &filter.action), ("queue", &filter.queue), ("plan_id", &filter.plan)];
    let ids = ids.map(|(name, id)| (name, id.as_ref().map(|id| &**id)));
    let words = [("kind", &filter.kind), ("key", &filter.key), ("label", &filter.label)];
    let words = words.map(|(name, word)| (name, word.as_deref()));
    for (name, text) in ids.into_iter().chain(words) {
        if let Some(text) = text {
            out.text(name, text);
        }
    }
    if let Some(status) = filter.status {
        out.text("status", status.name());
    }
    put_moment(&mut out, "since", filter.since);
    put_moment(&mut out, "until", filter.until);
    if !bulk.phases.is_empty() {
        out.texts("then", &bulk.phases.iter().map(|status| status.name()).collect::<Vec<_>>());
    }
    out.text("cursor", &bulk.cursor);
    out.finish()
}

pub(super) fn take_bulk(from: &mut Object<'_>, last: u64) -> Result<Bulk> {
    let verb = take_word(from, "verb", &VERBS, verb_name)?;
    let mut number = |name: &str| {
        let number = from.integer(name, 1..=last)?;
        need(from, name, number)
    };
    let (number, upto) = (number("number")?, number("upto")?);
    let mut filter = Filter {
        action: take_id(from, "action_id")?,
        queue: take_id(from, "queue")?,
        plan: take_id(from, "plan_id")?,
        ..Filter::default()
    };
    for (name, place) in [("kind", &mut filter.kind), ("key", &mut filter.key), ("label", &mut filter.label)] {
        *place = from.string(name)?;
        place.iter().try_for_each(|word| check_word(&from.path(name), word))?;
    }
    filter.status = take_word(from, "status", &Status::ALL, Status::name)?;
    (filter.since, filter.until) = (take_moment(from, "since")?, take_moment(from, "until")?);
    let path = from.path("then");
    let mut phases = Vec::new();
    for (place, text) in from.strings("then")?.unwrap_or_default().iter().enumerate() {
        let status = Status::ALL.into_iter().find(|status| status.name() == text);
        let found = shown(text.as_bytes());
        phases.push(status.ok_or_else(|| Error::refused(format!("{path}[{place}] must be a status, not '{found}'")))?);
    }
    let cursor = from.string("cursor")?.unwrap_or_else(|| "0".to_owned());
    Ok(Bulk { at: need_moment(from, "at")?, number, verb: need(from, "verb", verb)?, filter, phases, upto, cursor })
}

pub(super) fn event_json(number: u64, event: &Event) -> String {
    let mut out = Json::new();
    out.number("seq", number);
    out.number("at", event.at.0);
    put_transition(&mut out, event);
    if let Subject::Job { epoch, .. } = &event.subject {
        put_count(&mut out, "epoch", *epoch);
    }
    out.finish()
}

/// Reads an event and its number; `last` is the last that was given.
pub(super) fn take_event(from: &mut Object<'_>, last: u64) -> Result<(u64, Event)> {
    let number = from.integer("seq", 1..=last)?;
    let number = need(from, "seq", number)?;
    let at = need_moment(from, "at")?;
    let queue = need_id(from, "queue")?;
    let left = take_word(from, "from", &Status::ALL, Status::name)?;
    let to = take_word(from, "to", &Status::ALL, Status::name)?;
    let to = need(from, "to", to)?;
    let subject = match (take_id(from, "job_id")?, take_id(from, "action_id")?) {
        (Some(id), None) => {
            let reason = take_word(from, "reason", &Reason::ALL, |reason| reason.name().unwrap_or_default())?;
            Subject::Job { id, reason: reason.unwrap_or(Reason::None), epoch: take_count(from, "epoch")? }
        }
        (None, Some(id)) => Subject::Action(id),
        _ => return Err(Error::refused("event must name one of job_id and action_id")),
    };
    let event = Event { at, from: left, to, queue, subject };
    if !may_be(&event) {
        let (left, to) = (left.map_or("nothing", Status::name), to.name());
        return Err(Error::refused(format!("event {number} goes from {left} to {to}, which there is not")));
    }
    Ok((number, event))
}
