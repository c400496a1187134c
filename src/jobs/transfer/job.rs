//! Jobs: each with all that it was given and gave, but what it wrote.

use std::borrow::Cow;

use crate::clock::Millis;
use crate::jobs::after::After;
use crate::jobs::body::{Part, body_of};
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{AfterPolicy, Job, Lease, Reason, Status, Work};
use crate::jobs::json::Object;
use crate::jobs::lanes::Lane;
use crate::jobs::rows::dependent_key;
use crate::jobs::show::Json;
use crate::jobs::terms::{Terms, check_word, word};
use crate::jobs::transfer::{
    hex, need, need_id, need_moment, put_count, put_flag, put_json, put_moment, take_count, take_flag, take_hex,
    take_id, take_json, take_moment, take_small, take_word,
};
use crate::jobs::{Id, JobsView, Stream};
use crate::storage::Table;

fn policy_name(policy: AfterPolicy) -> &'static str {
    match policy {
        AfterPolicy::Cancel => "cancel",
        AfterPolicy::Continue => "continue",
        AfterPolicy::Fail => "fail",
    }
}

/// What a job is submitted with, in the words of JOB.SUBMIT.
pub(super) fn put_terms(out: &mut Json, view: &JobsView<'_>, job: &Job) -> Result<()> {
    out.text("queue", &job.queue);
    out.number("priority", job.priority);
    out.number("attempts", job.attempts);
    out.number("max_losses", job.max_losses);
    for (name, at) in [("run_at", job.run_at), ("expires_at", job.expires_at)] {
        put_moment(out, name, at);
    }
    for (name, length) in [("timeout_ms", job.timeout_ms), ("retention_ms", job.retention_ms)] {
        put_moment(out, name, length.map(Millis));
    }
    if let Some(key) = &job.key {
        out.text("key", key);
    }
    for (name, words) in [("labels", &job.labels), ("requires", &job.requires)] {
        if !words.is_empty() {
            out.texts(name, words);
        }
    }
    if let Some(backoff) = job.backoff.json() {
        out.raw("backoff", &backoff);
    }
    put_body(out, view, job, ("meta", Part::Meta))
}

fn put_body(out: &mut Json, view: &JobsView<'_>, job: &Job, (name, part): (&str, Part)) -> Result<()> {
    if let Some(body) = body_of(job, part) {
        put_json(out, name, &String::from_utf8_lossy(&view.body(&job.id, part, body)?));
    }
    Ok(())
}

/// A job.
pub(super) fn job_json(view: &JobsView<'_>, job: &Job) -> Result<String> {
    let mut out = Json::new();
    out.text("job_id", &job.id);
    out.number("number", job.number);
    match &job.work {
        Work::Plan(plan) => {
            out.text("plan_id", plan);
            put_body(&mut out, view, job, ("input", Part::Input))?;
        }
        Work::Kind(kind) => {
            out.text("kind", kind);
            put_body(&mut out, view, job, ("payload", Part::Input))?;
        }
    }
    put_terms(&mut out, view, job)?;
    put_state(&mut out, view, job)?;
    for body in [("progress", Part::Progress), ("result", Part::Result), ("error", Part::Error)] {
        put_body(&mut out, view, job, body)?;
    }
    for (name, stream) in [("stdout_bytes", Stream::Stdout), ("stderr_bytes", Stream::Stderr)] {
        put_count(&mut out, name, view.output_totals(&job.id, stream)?.written);
    }
    Ok(out.finish())
}

/// Where a job stands in its life, and what it belongs to.
fn put_state(out: &mut Json, view: &JobsView<'_>, job: &Job) -> Result<()> {
    out.text("status", job.status.name());
    if let Some(reason) = job.reason.name() {
        out.text("reason", reason);
    }
    put_flag(out, "cancelling", job.cancelling);
    if let Some((action, place)) = &job.action {
        out.text("action_id", action);
        out.number("action_index", *place);
    }
    if job.place != job.number {
        out.number("place", job.place);
    }
    if let (Status::Pending, Some(key)) = (job.status, &job.key) {
        let lane = Lane::of(job);
        let shares = view.tenant(&job.queue, key)?.shares;
        put_count(out, "turn", shares.iter().find(|share| share.lane == lane).map_or(0, |share| share.turn));
    }
    let counters = [
        ("attempt", job.starts),
        ("failures", job.failures),
        ("losses", job.losses),
        ("failures_before", job.failures_before),
        ("losses_before", job.losses_before),
        ("abandons", job.abandons),
    ];
    counters.into_iter().for_each(|(name, count)| put_count(out, name, count.into()));
    put_count(out, "epoch", job.epoch);
    out.number("created_at", job.created_at.0);
    for (name, at) in [("started_at", job.started_at), ("ended_at", job.ended_at), ("remove_at", job.remove_at)] {
        put_moment(out, name, at);
    }
    for (name, id) in [("worker_id", &job.worker), ("claimed_with", &job.claimed_with)] {
        if let Some(id) = id {
            out.text(name, id);
        }
    }
    if let Some(key) = &job.unique_key {
        out.text("unique_key", key);
    }
    if let Some(digest) = job.submission {
        out.text("submission", &hex(&digest));
    }
    put_after(out, view, job)
}

/// The jobs that one comes after, and those of them whose ends it has still to learn.
fn put_after(out: &mut Json, view: &JobsView<'_>, job: &Job) -> Result<()> {
    let after = view.after(job)?;
    if after.is_empty() {
        return Ok(());
    }
    out.texts("after", &after);
    if job.after_policy != AfterPolicy::Cancel {
        out.text("after_policy", policy_name(job.after_policy));
    }
    if job.status != Status::Waiting {
        return Ok(());
    }
    let mut awaited = Vec::new();
    for id in after {
        if view.rows.get(Table::JobIndex, &dependent_key(&id, job.number))?.is_some() {
            awaited.push(id);
        }
    }
    if !awaited.is_empty() {
        out.texts("waits_for", &awaited);
    }
    Ok(())
}

/// A job as a line says that it is; its bodies are still to be stored.
pub(super) struct Taken<'a> {
    pub(super) job: Job,
    pub(super) bodies: Vec<(Part, Cow<'a, str>)>,
    /// Those whose ends it has still to learn.
    pub(super) awaited: Vec<Id>,
    /// Where its key stands in the row of keys.
    pub(super) turn: Option<u64>,
    /// How much it wrote to its streams.
    pub(super) written: [u64; 2],
}

/// Reads a job. Which of the numbers there can be is known by `last`, the last that was given.
pub(super) fn take_job<'a>(from: &mut Object<'a>, last: u64, now: Millis) -> Result<Taken<'a>> {
    let id = need_id(from, "job_id")?;
    let number = from.integer("number", 1..=last)?;
    let number = need(from, "number", number)?;
    let (work, input) = take_work(from)?;
    let mut bodies: Vec<(Part, Cow<'_, str>)> = input.into_iter().map(|input| (Part::Input, input)).collect();
    let parts = [("meta", Part::Meta), ("progress", Part::Progress), ("result", Part::Result), ("error", Part::Error)];
    for (name, part) in parts {
        bodies.extend(take_json(from, name)?.map(|body| (part, body)));
    }
    let created_at = need_moment(from, "created_at")?;
    let terms = Terms::take(from)?;
    let mut job = Job::new(id, number, terms.queue.clone(), work, created_at);
    terms.apply(&mut job, created_at);
    let status = take_word(from, "status", &Status::ALL, Status::name)?;
    job.status = need(from, "status", status)?;
    job.reason =
        take_word(from, "reason", &Reason::ALL, |reason| reason.name().unwrap_or_default())?.unwrap_or(Reason::None);
    job.cancelling = take_flag(from, "cancelling")?;
    job.place = from.integer("place", 1..=last)?.unwrap_or(number);
    let turn = from.integer("turn", 1..=last)?;
    take_course(from, &mut job)?;
    let awaited = take_after(from, &mut job, &mut bodies)?;
    let written = [take_count(from, "stdout_bytes")?, take_count(from, "stderr_bytes")?];
    job.has_output = written.iter().any(|bytes| *bytes > 0);
    if job.status == Status::Running {
        // It is given back once everything is there.
        job.lease = Some(Lease { deadline: now, length_ms: 0, claim: 0, list_connection: 0 });
    }
    check(&job, turn, &awaited)?;
    Ok(Taken { job, bodies, awaited, turn, written })
}

fn take_work<'a>(from: &mut Object<'a>) -> Result<(Work, Option<Cow<'a, str>>)> {
    match (take_id(from, "plan_id")?, from.string("kind")?) {
        (Some(plan), None) => {
            let input = take_json(from, "input")?;
            Ok((Work::Plan(plan), Some(need(from, "input", input)?)))
        }
        (None, Some(kind)) => {
            check_word(&from.path("kind"), &kind)?;
            Ok((Work::Kind(kind), take_json(from, "payload")?))
        }
        _ => Err(Error::refused("job must name one of plan_id and kind")),
    }
}

/// What has become of a job so far.
fn take_course(from: &mut Object<'_>, job: &mut Job) -> Result<()> {
    let action = take_id(from, "action_id")?;
    let place = from.integer("action_index", 0..=u64::MAX)?;
    job.action = match (action, place) {
        (None, None) => None,
        (Some(action), Some(place)) => Some((action, place)),
        _ => return Err(Error::refused("job.action_id and job.action_index belong together: give both, or none")),
    };
    (job.starts, job.failures) = (take_small(from, "attempt")?, take_small(from, "failures")?);
    (job.losses, job.abandons) = (take_small(from, "losses")?, take_small(from, "abandons")?);
    job.failures_before = take_small(from, "failures_before")?;
    job.losses_before = take_small(from, "losses_before")?;
    job.epoch = from.integer("epoch", 0..=(1 << 53) - 1)?.unwrap_or(0);
    job.started_at = take_moment(from, "started_at")?;
    job.ended_at = take_moment(from, "ended_at")?;
    job.remove_at = take_moment(from, "remove_at")?;
    job.worker = take_id(from, "worker_id")?;
    job.claimed_with = take_id(from, "claimed_with")?;
    job.unique_key = word(from, "unique_key")?;
    job.submission = take_hex(from, "submission")?;
    Ok(())
}

fn take_after<'a>(from: &mut Object<'a>, job: &mut Job, bodies: &mut Vec<(Part, Cow<'a, str>)>) -> Result<Vec<Id>> {
    let path = from.path("waits_for");
    let words = from.strings("waits_for")?.unwrap_or_default();
    let after = After::take(from)?;
    job.after_policy = after.policy;
    let mut awaited = Vec::new();
    for (place, text) in words.iter().enumerate() {
        let id = Id::parse(&format!("{path}[{place}]"), text.as_bytes())?;
        if !after.jobs.contains(&id) || awaited.contains(&id) {
            return Err(Error::refused(format!(
                "{path}[{place}] names job {id}, expected one of job.after, each once"
            )));
        }
        awaited.push(id);
    }
    job.after_left = u32::try_from(awaited.len()).unwrap_or(u32::MAX);
    bodies.extend(after.json().map(|text| (Part::After, Cow::Owned(text))));
    Ok(awaited)
}

/// What holds within every job.
fn check(job: &Job, turn: Option<u64>, awaited: &[Id]) -> Result<()> {
    let (status, ended) = (job.status, job.status.is_terminal());
    let reasons: &[Reason] = match status {
        Status::Waiting => &[Reason::After, Reason::MaxParallel],
        Status::Scheduled => &[Reason::Delay, Reason::Retry, Reason::Snooze],
        Status::Pending => &[Reason::None, Reason::Lost],
        Status::Running | Status::Completed => &[Reason::None],
        Status::Cancelled => &[Reason::None, Reason::Dependency],
        Status::Failed => {
            &[Reason::Exhausted, Reason::Poison, Reason::Timeout, Reason::Rejected, Reason::Expired, Reason::Dependency]
        }
    };
    let rules = [
        (reasons.contains(&job.reason), "reason is not one of its status"),
        (!job.cancelling || status == Status::Running, "cancelling is for jobs that run"),
        (job.failures <= job.starts, "failures is more than attempt"),
        (job.failures_before <= job.failures, "failures_before is more than failures"),
        (job.losses_before <= job.losses, "losses_before is more than losses"),
        (ended || job.failures.saturating_sub(job.failures_before) < job.attempts, "its attempts are used up"),
        (ended || job.losses.saturating_sub(job.losses_before) < job.max_losses, "its losses are used up"),
        (ended == job.remove_at.is_some(), "remove_at is for jobs that have ended, and for all of them"),
        (!ended || job.ended_at.is_some(), "ended_at is missing"),
        (status != Status::Scheduled || job.run_at.is_some(), "run_at is missing"),
        (status != Status::Running || job.worker.is_some(), "worker_id is missing"),
        (status != Status::Running || job.started_at.is_some(), "started_at is missing"),
        (
            (status == Status::Waiting && job.reason == Reason::After) != awaited.is_empty(),
            "waits_for is for jobs that wait after others, and for all of them",
        ),
        (job.reason != Reason::MaxParallel || job.action.is_some(), "action_id is missing"),
        (turn.is_none() || status == Status::Pending && job.key.is_some(), "turn is for pending jobs with a key"),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, what)) => {
            let (id, status) = (&job.id, status.name());
            Err(Error::refused(format!("job {id} is {status}: {what}")))
        }
    }
}
