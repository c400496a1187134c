//! The store against the model: every job, queue and worker.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use crate::engine::model_tests::reference::Model;
use crate::engine::model_tests::reference::webhooks::Feed;
use crate::engine::model_tests::steps::PROGRESS;
use crate::jobs::actions::Action;
use crate::jobs::check::check;
use crate::jobs::events::KINDS;
use crate::jobs::{Id, Job, JobsView, Status, Stream};
use crate::storage::{Rows, Table};

/// Every job in the store, in the order of creation.
fn jobs(rows: &dyn Rows) -> Vec<Job> {
    let view = JobsView { rows, now: crate::clock::Millis(0) };
    let mut ids = Vec::new();
    rows.scan(Table::Jobs, Bound::Unbounded, Bound::Unbounded, false, &mut |id, _| {
        ids.push(id.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut jobs: Vec<Job> = ids.iter().map(|id| view.need_job(id).unwrap()).collect();
    jobs.sort_by_key(|job| job.number);
    jobs
}

/// Takes over what the model cannot know: the ids of callbacks' jobs, and waits that were drawn at random.
pub(super) fn learn(model: &mut Model, rows: &dyn Rows) {
    let has_unknown = model.jobs.iter().any(|(id, job)| id.starts_with('?') || job.run_between.is_some());
    for job in if has_unknown { jobs(rows) } else { Vec::new() } {
        if !model.jobs.contains_key(&*job.id) {
            assert!(model.name_callback(&job.id), "nobody submitted {job:?}");
        }
        let Some(known) = model.jobs.get_mut(&*job.id) else { continue };
        if let Some((from, to)) = known.run_between.take() {
            let at = job.run_at.unwrap();
            assert!((from..=to).contains(&at), "{} waits until {at:?}, not between {from:?} and {to:?}", job.id);
            known.run_at = Some(at);
        }
    }
}

/// Checks that the store shows the model and nothing else, and that the invariants of all rows hold.
pub(super) fn compare(model: &Model, rows: &dyn Rows) {
    let mut wrong = check(rows).unwrap();
    wrong.extend(crate::data::check::check(rows).unwrap());
    assert!(wrong.is_empty(), "{wrong:#?}");
    let view = JobsView { rows, now: model.now };
    let found = jobs(rows);
    let ids: BTreeSet<&str> = found.iter().map(|job| &*job.id).collect();
    let expected: BTreeSet<&str> = model.jobs.keys().map(String::as_str).collect();
    assert_eq!(ids, expected, "jobs in the store and in the model");
    for job in &found {
        compare_job(model, &view, job);
    }
    for (name, queue) in view.queues().unwrap() {
        let known = model.queues.get(&*name).unwrap_or_else(|| panic!("nobody made queue {name}"));
        assert_eq!(queue.paused, known.paused, "queue {name}");
        for status in Status::ALL {
            let count = model.jobs.values().filter(|job| job.terms.queue == &*name && job.status == status).count();
            assert_eq!(queue.counts.of(status), count as u64, "queue {name}, {status:?}");
        }
    }
    let workers: BTreeSet<String> = view.workers().unwrap().iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(workers, model.workers.keys().cloned().collect(), "workers in the store and in the model");
    let actions = view.actions(None, usize::MAX).unwrap();
    let names: Vec<&str> = actions.iter().map(|(id, _)| &**id).collect();
    assert_eq!(names, model.actions.keys().map(String::as_str).collect::<Vec<_>>(), "actions");
    actions.iter().for_each(|(id, action)| compare_action(model, id, action));
    compare_schedules(model, &view);
    compare_webhooks(model, &view);
}

fn compare_webhooks(model: &Model, view: &JobsView<'_>) {
    let stored = view.webhooks().unwrap();
    let names: Vec<&str> = stored.iter().map(|(id, _)| &**id).collect();
    assert_eq!(names, model.webhooks.keys().copied().collect::<Vec<_>>(), "webhooks in the store and in the model");
    if stored.is_empty() {
        return;
    }
    let (feed, first) = feed(view.rows);
    for (id, webhook) in stored {
        let known = &model.webhooks[&*id];
        let shown = (webhook.paused.is_some(), webhook.tries, webhook.retry_at, webhook.delivered, webhook.given_up);
        let expected = (known.paused, known.tries, known.retry_at, known.delivered, known.given_up);
        assert_eq!(shown, expected, "webhook {id} in the store and in the model");
        // What it does not want it passes in memory, and writes down now and then.
        let next = |from: u64| known.hook.next(&feed, from.max(first));
        assert_eq!(next(webhook.cursor), next(known.next), "where webhook {id} stands: {webhook:?}, {known:?}");
    }
}

/// The events that the store keeps, and the number of the first.
pub(super) fn feed(rows: &dyn Rows) -> (Feed, u64) {
    let view = JobsView { rows, now: crate::clock::Millis(0) };
    let events = view.events(0, usize::MAX).unwrap().into_iter();
    let feed: Feed =
        events.map(|(number, event)| (number, (KINDS[event.kind()].to_owned(), event.queue.to_string()))).collect();
    let first = feed.keys().next().copied().unwrap_or_else(|| next_event(rows));
    (feed, first)
}

/// The event at which a webhook stands in the store, if there is such a webhook.
pub(super) fn place(rows: &dyn Rows, webhook: &str) -> Option<u64> {
    let view = JobsView { rows, now: crate::clock::Millis(0) };
    view.need_webhook(webhook.as_bytes()).ok().map(|webhook| webhook.cursor)
}

/// The number of the next event.
pub(super) fn next_event(rows: &dyn Rows) -> u64 {
    JobsView { rows, now: crate::clock::Millis(0) }.next_event().unwrap()
}

fn compare_schedules(model: &Model, view: &JobsView<'_>) {
    let stored: Vec<_> = view.schedules(None, usize::MAX).unwrap();
    let stored = stored.into_iter().map(|(id, found)| {
        let last = found.last.map(|(tick, job)| (tick, job.to_string()));
        let ticks = [found.fired, found.skipped, found.missed, found.refused];
        (id.to_string(), found.paused, found.next_at, last, ticks)
    });
    let known = model
        .schedules
        .iter()
        .map(|(name, known)| ((*name).to_owned(), known.paused, known.next_at, known.last.clone(), known.ticks));
    assert_eq!(stored.collect::<Vec<_>>(), known.collect::<Vec<_>>(), "schedules in the store and in the model");
}

/// The tick at which a schedule in the store stands: how many it goes through at once is its own affair.
pub(super) fn stands(rows: &dyn Rows, schedule: &str) -> Option<crate::clock::Millis> {
    let view = JobsView { rows, now: crate::clock::Millis(0) };
    view.need_schedule(schedule.as_bytes()).unwrap().next_at
}

fn compare_job(model: &Model, view: &JobsView<'_>, job: &Job) {
    let known = &model.jobs[&*job.id];
    let body = |body: Option<&crate::jobs::job::Body>| {
        body.map(|body| match body {
            crate::jobs::job::Body::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            crate::jobs::job::Body::Stored(_) => panic!("no body of this test is long"),
        })
    };
    // What an ended job waited for does not count any more.
    let after_left = if job.status == Status::Waiting { job.after_left } else { 0 };
    let stored = (
        (&*job.queue, job.status, job.reason, job.cancelling, job.epoch),
        (job.starts, job.failures, job.losses, after_left as usize),
        (job.run_at, job.expires_at, job.ended_at, job.remove_at),
        (job.worker.as_deref().map(str::to_owned), job.lease.as_ref().map(|lease| lease.deadline)),
        (body(job.result.as_ref()), body(job.error.as_ref()), body(job.progress.as_ref())),
        String::from_utf8(view.output(&job.id, Stream::Stdout).unwrap()).unwrap(),
    );
    let expected = (
        (known.terms.queue, known.status, known.reason, known.cancelling, known.epoch),
        (known.starts, known.failures, known.losses, known.after.len()),
        (known.run_at, known.expires_at, known.ended_at, known.remove_at),
        (known.worker.clone(), known.lease.as_ref().map(|lease| lease.deadline)),
        (known.result.clone(), known.error.clone(), known.progress.map(|progress| PROGRESS[progress].0.to_owned())),
        known.output.iter().map(|(_, text)| *text).collect(),
    );
    assert_eq!(stored, expected, "job {} in the store and in the model", job.id);
}

fn compare_action(model: &Model, id: &Id, action: &Action) {
    let known = &model.actions[&**id];
    assert_eq!(action.live() > 0, model.is_live(id), "action {id}: {action:?}");
    assert_eq!(action.unmade(), known.unmade() as u64, "action {id}: {action:?}");
    let counted = action.counts.of(Status::Failed) as usize;
    assert_eq!(counted, model.failed(id), "failed jobs of action {id}");
}

/// Those of `wanted` that the store has run again since the model last looked, in the order in which it did.
pub(super) fn retried(model: &Model, rows: &dyn Rows, wanted: &BTreeSet<String>) -> Vec<String> {
    let again = |job: &Job| wanted.contains(&*job.id) && job.epoch > model.jobs[&*job.id].epoch;
    let mut retried: Vec<Job> = jobs(rows).into_iter().filter(again).collect();
    retried.sort_by_key(|job| job.place);
    retried.into_iter().map(|job| job.id.to_string()).collect()
}
