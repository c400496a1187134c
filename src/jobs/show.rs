//! Jobs, actions, schedules and workers as clients read them: JSON, with stored bytes as they came.

use crate::clock::Millis;
use crate::jobs::actions::{Action, Cancelling, SHOWN_JOBS, Submitted};
use crate::jobs::body::{Part, body_of};
use crate::jobs::bulk::{Preview, Progress};
use crate::jobs::error::Result;
use crate::jobs::job::{Body, Job, Status, Work};
use crate::jobs::schedules::Schedule;
use crate::jobs::workers::{Tidings, Worker};
use crate::jobs::{Id, JobsView, Settings, Stream, plan_store, time};

/// A JSON object, built field by field.
pub(super) struct Json(String);

impl Json {
    pub(super) fn new() -> Json {
        Json(String::from("{"))
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.push_str(json);
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &quoted(text));
    }

    pub(super) fn number(&mut self, name: &str, value: impl Into<u64>) {
        self.raw(name, &value.into().to_string());
    }

    pub(super) fn time(&mut self, name: &str, at: Option<Millis>) {
        if let Some(at) = at {
            self.text(name, &time::rfc3339(at));
        }
    }

    pub(super) fn texts<S: AsRef<str>>(&mut self, name: &str, texts: &[S]) {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
        self.raw(name, &format!("[{}]", texts.join(",")));
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How much of a job is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Whole,
    /// Without the bodies that do not stand in the record, for long lists.
    Row,
}

impl JobsView<'_> {
    fn put_body(&self, out: &mut Json, name: &str, job: &Job, part: Part, detail: Detail) -> Result<()> {
        match body_of(job, part) {
            None => {}
            Some(Body::Stored(bytes)) if detail == Detail::Row => out.number(&format!("{name}_bytes"), *bytes),
            Some(body) => out.raw(name, &String::from_utf8_lossy(&self.body(&job.id, part, body)?)),
        }
        Ok(())
    }

    fn put_work(&self, out: &mut Json, job: &Job, detail: Detail) -> Result<()> {
        match &job.work {
            Work::Plan(plan) => {
                out.text("plan_id", plan);
                self.put_body(out, "input", job, Part::Input, detail)
            }
            Work::Kind(kind) => {
                out.text("kind", kind);
                self.put_body(out, "payload", job, Part::Input, detail)
            }
        }
    }

    /// A job as JOB.GET answers it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn job_json(&self, job: &Job, detail: Detail) -> Result<String> {
        let mut out = Json::new();
        out.text("job_id", &job.id);
        self.put_work(&mut out, job, detail)?;
        out.text("queue", &job.queue);
        out.text("status", job.status.name());
        if let Some(reason) = job.reason.name() {
            out.text("reason", reason);
        }
        if job.cancelling {
            out.raw("cancelling", "true");
        }
        if let Some((action, place)) = &job.action {
            out.text("action_id", action);
            out.number("action_index", *place);
        }
        out.number("priority", job.priority);
        put_counters(&mut out, job);
        put_times(&mut out, job);
        if let Some(worker) = &job.worker {
            out.text("worker_id", worker);
        }
        put_terms(&mut out, job);
        self.put_body(&mut out, "after", job, Part::After, detail)?;
        self.put_body(&mut out, "meta", job, Part::Meta, detail)?;
        self.put_body(&mut out, "progress", job, Part::Progress, detail)?;
        self.put_body(&mut out, "result", job, Part::Result, detail)?;
        self.put_body(&mut out, "error", job, Part::Error, detail)?;
        Ok(out.finish())
    }

    /// A job as its worker is given it by JOB.CLAIM: with its plan, or its kind and payload.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claimed_json(&self, job: &Job) -> Result<String> {
        let mut out = Json::new();
        out.text("job_id", &job.id);
        out.number("epoch", job.epoch);
        out.number("lease_ms", job.lease.as_ref().map_or(0, |lease| lease.deadline.since(self.now)));
        out.number("attempt", job.starts);
        out.text("queue", &job.queue);
        self.put_work(&mut out, job, Detail::Whole)?;
        if let Some(plan) = job.plan() {
            out.raw("plan", &plan_store::need(self.rows, plan.as_bytes())?.json(plan));
        }
        if let Some((action, _)) = &job.action {
            out.text("action_id", action);
        }
        if let Some(timeout_ms) = job.timeout_ms {
            out.number("timeout_ms", timeout_ms);
        }
        if !job.labels.is_empty() {
            out.texts("labels", &job.labels);
        }
        self.put_body(&mut out, "meta", job, Part::Meta, Detail::Whole)?;
        // Of an earlier attempt: what this one goes on from.
        self.put_body(&mut out, "progress", job, Part::Progress, Detail::Whole)?;
        Ok(out.finish())
    }

    /// What a job gave, as JOB.RESULT answers it: result or error, and its output as text.
    ///
    /// # Errors
    /// When the store fails.
    pub fn result_json(&self, job: &Job) -> Result<String> {
        let mut out = Json::new();
        out.text("job_id", &job.id);
        out.text("status", job.status.name());
        if let Some(reason) = job.reason.name() {
            out.text("reason", reason);
        }
        self.put_body(&mut out, "result", job, Part::Result, Detail::Whole)?;
        self.put_body(&mut out, "error", job, Part::Error, Detail::Whole)?;
        let mut truncated = false;
        for (name, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)] {
            let totals = self.output_totals(&job.id, stream)?;
            out.text(name, &String::from_utf8_lossy(&self.output(&job.id, stream)?));
            out.number(&format!("{name}_bytes"), totals.written);
            truncated |= totals.truncated();
        }
        out.raw("truncated", if truncated { "true" } else { "false" });
        Ok(out.finish())
    }

    /// An action as ACTION.GET answers it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn action_json(&self, id: &Id, action: &Action) -> Result<String> {
        let mut summary = Json::new();
        summary.number("jobs_total", action.jobs_total);
        for status in Status::ALL.into_iter().filter(|status| *status != Status::Scheduled) {
            // Existing readers know one word for what has not started.
            let more = match status {
                Status::Pending => action.counts.of(Status::Scheduled),
                Status::Waiting => action.unmade(),
                _ => 0,
            };
            summary.number(&format!("jobs_{}", status.name()), action.counts.of(status) + more);
        }
        let mut out = Json::new();
        out.text("action_id", id);
        out.text("plan_id", &action.plan);
        out.text("status", action.status().name());
        if action.cancelling != Cancelling::No {
            out.raw("cancelling", "true");
        }
        out.time("created_at", Some(action.created_at));
        out.raw("summary", &summary.finish());
        for (name, bound) in [("max_parallel", action.max_parallel), ("max_failures", action.max_failures)] {
            if let Some(bound) = bound {
                out.number(name, bound);
            }
        }
        out.texts("job_ids", &action.job_ids().take(SHOWN_JOBS).collect::<Vec<_>>());
        Ok(out.finish())
    }

    /// A worker as WORKERS.LIST answers it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn worker_json(&self, id: &Id, worker: &Worker) -> Result<String> {
        let running = self.jobs_of_worker(id)?;
        let status = match worker.alive_until() > self.now {
            false => "dead",
            true if running.is_empty() => "idle",
            true => "busy",
        };
        let mut out = Json::new();
        out.text("worker_id", id);
        out.text("status", status);
        out.texts("tools", &worker.tools);
        out.texts("tags", &worker.tags);
        out.time("last_seen", Some(worker.last_seen));
        out.time("registered_at", Some(worker.registered_at));
        out.number("heartbeat_ms", worker.heartbeat_ms);
        if worker.slots > 0 {
            out.number("slots", worker.slots);
        }
        out.number("running_jobs", running.len() as u64);
        Ok(out.finish())
    }
}

fn put_counters(out: &mut Json, job: &Job) {
    let counters = [
        ("attempt", job.starts),
        ("attempts", job.attempts),
        ("failures", job.failures),
        ("losses", job.losses),
        ("max_losses", job.max_losses),
    ];
    for (name, value) in counters {
        out.number(name, value);
    }
    out.number("epoch", job.epoch);
    if let Some(timeout_ms) = job.timeout_ms {
        out.number("timeout_ms", timeout_ms);
    }
}

fn put_terms(out: &mut Json, job: &Job) {
    for (name, key) in [("key", &job.key), ("unique_key", &job.unique_key)] {
        if let Some(key) = key {
            out.text(name, key);
        }
    }
    for (name, words) in [("labels", &job.labels), ("requires", &job.requires)] {
        if !words.is_empty() {
            out.texts(name, words);
        }
    }
    if let Some(backoff) = job.backoff.json() {
        out.raw("backoff", &backoff);
    }
}

fn put_times(out: &mut Json, job: &Job) {
    out.time("created_at", Some(job.created_at));
    out.time("run_at", job.run_at);
    out.time("expires_at", job.expires_at);
    out.time("started_at", job.started_at);
    out.time("ended_at", job.ended_at);
    out.time("lease_until", job.lease.as_ref().map(|lease| lease.deadline));
    out.time("remove_at", job.remove_at);
}

/// What ACTION.SUBMIT answers.
#[must_use]
pub fn submitted_json(submitted: &Submitted) -> String {
    let mut out = Json::new();
    out.text("action_id", &submitted.id);
    out.text("plan_id", &submitted.plan);
    if let Some(description) = &submitted.plan_description {
        out.text("plan_description", description);
    }
    out.number("jobs_created", submitted.jobs.len() as u64);
    out.texts("job_ids", &submitted.jobs);
    out.finish()
}

/// What WORKER.REGISTER answers.
#[must_use]
pub fn registered_json(id: &Id, worker: &Worker, settings: &Settings) -> String {
    let mut out = Json::new();
    out.text("worker_id", id);
    out.number("heartbeat_ms", worker.heartbeat_ms);
    out.number("lease_ms", settings.lease_ms);
    out.number("max_output", settings.max_output);
    out.finish()
}

/// What WORKER.HEARTBEAT answers.
#[must_use]
pub fn tidings_json(tidings: &Tidings) -> String {
    let mut out = Json::new();
    out.texts("cancel", &tidings.cancel);
    out.texts("stale", &tidings.stale);
    out.finish()
}

/// What JOB.CANCEL answers.
#[must_use]
pub fn cancelled_json(job: &Job) -> String {
    let mut out = Json::new();
    out.text("job_id", &job.id);
    out.text("status", job.status.name());
    out.raw("cancelling", if job.cancelling { "true" } else { "false" });
    out.finish()
}

/// How far a change of many jobs has come.
#[must_use]
pub fn progress_json(progress: &Progress) -> String {
    format!("{{\"changed\":{},\"finished\":{}}}", progress.changed, progress.finished)
}

/// A schedule as SCHEDULE.GET answers it, with the job that it submits, or as SCHEDULE.LIST does, without.
#[must_use]
pub fn schedule_json(id: &Id, schedule: &Schedule, job: Option<&[u8]>) -> String {
    let mut out = Json::new();
    out.text("schedule_id", id);
    out.text("cron", &schedule.course.cron);
    out.text("zone", &schedule.course.zone);
    out.time("start_at", schedule.course.start_at);
    out.time("end_at", schedule.course.end_at);
    out.text("misfire", schedule.misfire.name());
    out.text("overlap", schedule.overlap.name());
    if let Some(job) = job {
        out.raw("job", &String::from_utf8_lossy(job));
    }
    if let Some(plan) = &schedule.plan {
        out.text("plan_id", plan);
    }
    out.raw("paused", if schedule.paused { "true" } else { "false" });
    out.time("next_at", schedule.next_at);
    if let Some((tick, job)) = &schedule.last {
        out.time("last_at", Some(*tick));
        out.text("last_job_id", job);
    }
    let Schedule { fired, skipped, missed, refused, .. } = *schedule;
    for (name, count) in [("fired", fired), ("skipped", skipped), ("missed", missed), ("refused", refused)] {
        out.number(name, count);
    }
    if let Some((tick, why)) = &schedule.last_error {
        let mut error = Json::new();
        error.time("at", Some(*tick));
        error.text("error", why);
        out.raw("last_error", &error.finish());
    }
    out.time("created_at", Some(schedule.created_at));
    out.finish()
}

/// What a change of many jobs would change.
#[must_use]
pub fn preview_json(preview: &Preview) -> String {
    let mut out = Json::new();
    out.number("matched", preview.matched as u64);
    out.raw("more", if preview.more { "true" } else { "false" });
    out.texts("job_ids", &preview.first);
    out.finish()
}
