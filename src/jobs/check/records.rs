//! What holds within a record.

use std::ops::Bound;

use crate::clock::Millis;
use crate::data::check::Findings;
use crate::jobs::check::each_between;
use crate::jobs::job::{Job, Status};
use crate::jobs::schedules::{JOB, Schedule};
use crate::jobs::webhooks::MAX_WEBHOOKS;
use crate::jobs::{Id, JobsView, Result, Submit, plan_store};
use crate::storage::Table;

/// What holds within a job's record.
pub(super) fn check_job(job: &Job, found: &mut Findings) {
    let rules = [
        (job.lease.is_some() == (job.status == Status::Running), "a lease and no run, or a run and no lease"),
        (job.remove_at.is_some() == job.status.is_terminal(), "an end and no removal, or a removal and no end"),
        (!job.cancelling || job.status == Status::Running, "cancelled while nobody runs it"),
        (job.failures <= job.starts, "more failures than attempts"),
        (job.failures_before <= job.failures && job.losses_before <= job.losses, "counters below their baselines"),
        (
            job.status.is_terminal() || job.failures.saturating_sub(job.failures_before) < job.attempts,
            "attempts used up and not ended",
        ),
        (
            job.status.is_terminal() || job.losses.saturating_sub(job.losses_before) < job.max_losses,
            "losses used up and not ended",
        ),
        (
            job.lease.as_ref().is_none_or(|lease| job.attempt_bound().is_none_or(|bound| lease.deadline <= bound)),
            "a lease that outlives its attempt",
        ),
    ];
    for (_, what) in rules.iter().filter(|(holds, _)| !holds) {
        found.note(format_args!("job {} has {what}: {job:?}", job.id));
    }
}

/// A schedule has a job that can be read, and no job is left of one that is gone.
pub(super) fn check_schedules(view: &JobsView<'_>, found: &mut Findings) -> Result<()> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    each_between(view.rows, Table::Schedules, all, &mut |key, row| {
        if let [JOB, id @ ..] = key {
            if view.rows.get(Table::Schedules, id)?.is_none() {
                found.note(format_args!("schedules has {} for no schedule", key.escape_ascii()));
            }
            return Ok(());
        }
        let (id, schedule) = (Id::stored(Table::Schedules, key)?, Schedule::decode(&row)?);
        Submit::parse(&view.schedule_job(&id)?)?;
        if let Some(plan) = &schedule.plan
            && !plan_store::exists(view.rows, plan.as_bytes())?
        {
            found.note(format_args!("schedule {id} runs plan {plan}, which is not there"));
        }
        let (course, last) = (&schedule.course, schedule.last.as_ref().map(|(tick, _)| *tick));
        let is_out_of_place = |next: Millis| {
            course.start_at.is_some_and(|start| next < start)
                || course.end_at.is_some_and(|end| next > end)
                || last.is_some_and(|last| next <= last)
        };
        if schedule.next_at.is_some_and(is_out_of_place) {
            found.note(format_args!("schedule {id} comes too early or too late: {schedule:?}"));
        }
        Ok(())
    })
}

/// A webhook stands at an event that is there or is the next one, and what it says of its tries fits together.
pub(super) fn check_webhooks(view: &JobsView<'_>, found: &mut Findings) -> Result<()> {
    let (next, webhooks) = (view.next_event()?, view.webhooks()?);
    if webhooks.len() > MAX_WEBHOOKS {
        found.note(format_args!("there are {} webhooks", webhooks.len()));
    }
    for (id, webhook) in webhooks {
        let rules = [
            (webhook.cursor >= 1 && webhook.cursor <= next, "a place outside the feed"),
            ((webhook.tries > 0) == webhook.retry_at.is_some(), "tries and no retry, or a retry and no tries"),
            (webhook.tries < webhook.terms.max_attempts, "attempts used up and not given up"),
            (webhook.tries == 0 || webhook.cursor < next, "tries of an event that is still to come"),
            (webhook.delivered + webhook.given_up + webhook.passed_over < next, "more events than there were"),
        ];
        for (_, what) in rules.iter().filter(|(holds, _)| !holds) {
            found.note(format_args!("webhook {id} has {what}: {webhook:?}"));
        }
    }
    Ok(())
}
