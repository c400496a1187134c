//! Proves the invariants of the job system over all rows: tests call it after every step, and it can be run on a file.
//!
//! It reads everything, trusts no counter, and says in words what does not hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::body::{Part, body_of};
use crate::jobs::bulk::Bulk;
use crate::jobs::events::{Event, KEPT_MS, Subject};
use crate::jobs::job::{Body, Job, Reason, Status};
use crate::jobs::lanes::Lanes;
use crate::jobs::plan_store::{self, Usage};
use crate::jobs::repeats::Repeat;
use crate::jobs::rows::{EXPANSION, Timer, data_key, dependent_key, tenant_key, timer_key, turn_key};
use crate::jobs::schedules::job_key;
use crate::jobs::state::{index_rows, may_follow};
use crate::jobs::tenants::{Share, Tenant};
use crate::jobs::webhooks::MAX_WEBHOOKS;
use crate::jobs::{Counts, Id, JobsView, Stream, Submit};
use crate::storage::{Result, Rows, Table, tables};

/// What does not hold; nothing when all is well.
///
/// # Errors
/// When the store cannot be read, or a row cannot.
pub fn check(rows: &dyn Rows) -> crate::jobs::Result<Vec<String>> {
    let view = JobsView { rows, now: Millis(0) };
    let mut jobs = BTreeMap::new();
    for (id, _) in all(rows, Table::Jobs)? {
        jobs.insert(Bytes::clone(&id), view.need_job(&id)?);
    }
    let mut wrong = Vec::new();
    check_indexes(rows, &jobs, &mut wrong)?;
    check_counters(&view, &jobs, &mut wrong)?;
    check_events(rows, &jobs, &mut wrong)?;
    jobs.values().for_each(|job| check_job(job, &mut wrong));
    check_data(rows, &jobs, &mut wrong)?;
    check_webhooks(&view, &mut wrong)?;
    Ok(wrong)
}

fn all(rows: &dyn Rows, table: Table) -> Result<Vec<(Bytes, Bytes)>> {
    let mut found = Vec::new();
    rows.scan(table, Bound::Unbounded, Bound::Unbounded, false, &mut |key, value| {
        found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// A job stands in exactly the rows that its record says, and nothing else stands there.
fn check_indexes(rows: &dyn Rows, jobs: &BTreeMap<Bytes, Job>, wrong: &mut Vec<String>) -> crate::jobs::Result<()> {
    let mut expected: BTreeMap<(Table, Vec<u8>), Bytes> = BTreeMap::new();
    for job in jobs.values() {
        for (table, key, value) in index_rows(job)? {
            if expected.insert((table, key), value).is_some() {
                wrong.push(format!("job {} shares a row of {table} with another", job.id));
            }
        }
    }
    for (id, worker) in (JobsView { rows, now: Millis(0) }).workers()? {
        expected.insert((Table::Timers, worker.timer_key()), Bytes::copy_from_slice(id.as_bytes()));
    }
    expect_tenants(rows, jobs, &mut expected, wrong)?;
    expect_repeats(rows, &mut expected)?;
    expect_bulks(rows, &mut expected)?;
    for (id, schedule) in (JobsView { rows, now: Millis(0) }).schedules(None, usize::MAX)? {
        let timer = schedule.timer_key().map(|timer| (Table::Timers, timer));
        expected.extend(timer.map(|timer| (timer, Bytes::copy_from_slice(id.as_bytes()))));
    }
    for (id, action) in (JobsView { rows, now: Millis(0) }).actions(None, usize::MAX)? {
        if action.unmade() > 0 {
            let timer = timer_key(Timer::Expand, action.created_at, action.number);
            expected.insert((Table::Timers, timer), Bytes::copy_from_slice(id.as_bytes()));
        }
    }
    expect_dependents(rows, jobs, &mut expected, wrong)?;
    for table in [Table::Pending, Table::Timers, Table::JobIndex] {
        for (key, value) in all(rows, table)? {
            match expected.remove(&(table, key.to_vec())) {
                Some(found) if found == value => {}
                _ => wrong.push(format!("{table} has {} for '{}'", key.escape_ascii(), value.escape_ascii())),
            }
        }
    }
    wrong.extend(
        expected
            .iter()
            .map(|((table, key), id)| format!("{table} lacks {} for '{}'", key.escape_ascii(), id.escape_ascii())),
    );
    Ok(())
}

/// What keys have in queues, their turns, and the timers of rates.
fn expect_tenants(
    rows: &dyn Rows,
    jobs: &BTreeMap<Bytes, Job>,
    expected: &mut BTreeMap<(Table, Vec<u8>), Bytes>,
    wrong: &mut Vec<String>,
) -> crate::jobs::Result<()> {
    let view = JobsView { rows, now: Millis(0) };
    let mut tenants: BTreeMap<(Id, String), Tenant> = BTreeMap::new();
    for job in jobs.values().filter(|job| matches!(job.status, Status::Pending | Status::Running)) {
        if let Some(key) = &job.key {
            tenants.entry((job.queue.clone(), key.clone())).or_default().shift(job, 1)?;
        }
    }
    for ((queue, key), counted) in tenants {
        let found = view.tenant(&queue, &key)?;
        let bare = |tenant: &Tenant| {
            let shares = tenant.shares.iter().map(|share| Share { turn: 0, ..*share }).collect();
            Tenant { running: tenant.running, shares }
        };
        let limit = view.queue(queue.as_bytes())?.and_then(|queue| queue.limits.key_concurrency);
        let stands_aside = limit.is_some_and(|limit| counted.running >= limit);
        if bare(&found) != counted || found.shares.iter().any(|share| (share.turn == 0) != stands_aside) {
            wrong.push(format!("key '{key}' of queue {queue} is {found:?}, its jobs make it {counted:?}"));
        }
        for share in found.shares.iter().filter(|share| share.turn != 0) {
            let turn = (Table::JobIndex, turn_key(&queue, share.lane, share.turn));
            expected.insert(turn, Bytes::copy_from_slice(key.as_bytes()));
        }
        expected.insert((Table::JobIndex, tenant_key(&queue, &key)), found.encode());
    }
    for (name, queue) in view.queues()? {
        if let Some((at, number)) = queue.bucket.timer {
            expected
                .insert((Table::Timers, timer_key(Timer::Rate, at, number)), Bytes::copy_from_slice(name.as_bytes()));
        }
    }
    Ok(())
}

/// The timers of idempotency keys.
fn expect_repeats(rows: &dyn Rows, expected: &mut BTreeMap<(Table, Vec<u8>), Bytes>) -> crate::jobs::Result<()> {
    for (key, value) in all(rows, Table::JobIndex)?.into_iter().filter(|(key, _)| key.starts_with(b"i")) {
        let repeat = Repeat::decode(&value)?;
        expected.insert((Table::Timers, timer_key(Timer::Repeat, repeat.until, repeat.number)), key.clone());
        expected.insert((Table::JobIndex, key.to_vec()), value);
    }
    Ok(())
}

/// What is done to many jobs has a timer.
fn expect_bulks(rows: &dyn Rows, expected: &mut BTreeMap<(Table, Vec<u8>), Bytes>) -> crate::jobs::Result<()> {
    for (key, value) in all(rows, Table::JobIndex)?.into_iter().filter(|(key, _)| key.starts_with(b"b")) {
        let bulk = Bulk::decode(&value)?;
        expected.insert((Table::Timers, timer_key(Timer::Bulk, bulk.at, bulk.number)), key.clone());
        expected.insert((Table::JobIndex, key.to_vec()), value);
    }
    Ok(())
}

/// A job waits for those that have not ended, or whose end it has still to be told; these know that they are awaited.
fn expect_dependents(
    rows: &dyn Rows,
    jobs: &BTreeMap<Bytes, Job>,
    expected: &mut BTreeMap<(Table, Vec<u8>), Bytes>,
    wrong: &mut Vec<String>,
) -> crate::jobs::Result<()> {
    let view = JobsView { rows, now: Millis(0) };
    let mut timers: HashMap<Bytes, Vec<u8>> = HashMap::new();
    for (key, id) in all(rows, Table::Timers)? {
        if key.first() == Some(&(Timer::Dependents as u8)) && timers.insert(id.clone(), key.to_vec()).is_some() {
            wrong.push(format!("the end of job {} is told twice", id.escape_ascii()));
        }
    }
    for job in jobs.values() {
        let timer = timers.remove(job.id.as_bytes());
        if timer.is_some() != (job.has_dependents && job.status.is_terminal()) {
            wrong.push(format!("job {} is told about, or not, while it is {job:?}", job.id));
        }
        if let Some(timer) = timer {
            expected.insert((Table::Timers, timer), Bytes::copy_from_slice(job.id.as_bytes()));
        }
        if job.status != Status::Waiting {
            continue;
        }
        let mut left = 0;
        for awaited in view.after(job)? {
            let row = dependent_key(&awaited, job.number);
            if rows.get(Table::JobIndex, &row)?.is_none() {
                continue;
            }
            left += 1;
            if !jobs.get(awaited.as_bytes()).is_some_and(|awaited| awaited.has_dependents) {
                wrong.push(format!("job {} waits for {awaited}, which does not know it", job.id));
            }
            expected.insert((Table::JobIndex, row), Bytes::copy_from_slice(job.id.as_bytes()));
        }
        if left != job.after_left || (left == 0) == (job.reason == Reason::After) {
            wrong.push(format!("job {} waits for {left} jobs and says {}", job.id, job.after_left));
        }
    }
    Ok(())
}

/// Every counter is the size of what it counts.
fn check_counters(
    view: &JobsView<'_>,
    jobs: &BTreeMap<Bytes, Job>,
    wrong: &mut Vec<String>,
) -> crate::jobs::Result<()> {
    let mut queues: HashMap<Id, Counts> = HashMap::new();
    let mut lanes: HashMap<Id, Lanes> = HashMap::new();
    let mut plans: BTreeMap<Id, Usage> = BTreeMap::new();
    let mut actions: HashMap<Id, Counts> = HashMap::new();
    let mut totals = Counts::default();
    for job in jobs.values() {
        totals.shift(None, Some(job.status))?;
        queues.entry(job.queue.clone()).or_default().shift(None, Some(job.status))?;
        if job.status == Status::Pending {
            lanes.entry(job.queue.clone()).or_default().shift(job, 1)?;
        }
        if let Some((action, _)) = &job.action {
            actions.entry(action.clone()).or_default().shift(None, Some(job.status))?;
        }
        if let Some(plan) = job.plan() {
            let usage = plans.entry(plan.clone()).or_default();
            usage.jobs += 1;
            usage.open += u64::from(!job.status.is_terminal());
        }
    }
    if view.totals()? != totals {
        wrong.push(format!("all queues count {:?}, there are {totals:?}", view.totals()?));
    }
    for (name, queue) in view.queues()? {
        let counted = queues.remove(&name).unwrap_or_default();
        let lanes = lanes.remove(&name).unwrap_or_default();
        if queue.counts != counted || queue.lanes != lanes {
            wrong.push(format!("queue {name} counts {queue:?}, there are {counted:?} in {lanes:?}"));
        }
    }
    wrong.extend(queues.keys().map(|name| format!("queue {name} has jobs and no row")));
    for (id, _) in all(view.rows, Table::Actions)? {
        let action = view.need_action(&id)?;
        for callback in &action.callbacks {
            let usage = plans.entry(callback.plan.clone()).or_default();
            usage.jobs += 1;
            usage.open += u64::from(action.live() > 0);
        }
    }
    check_schedules(view, &mut plans, wrong)?;
    for (id, counted) in plans {
        let usage = plan_store::usage(view.rows, &id)?;
        if usage != counted {
            wrong.push(format!("plan {id} counts {usage:?}, there are {counted:?}"));
        }
    }
    check_actions(view, actions, wrong)
}

/// A schedule has a job that can be read, of the plan that is counted for it, and no job is left of one that is gone.
fn check_schedules(
    view: &JobsView<'_>,
    plans: &mut BTreeMap<Id, Usage>,
    wrong: &mut Vec<String>,
) -> crate::jobs::Result<()> {
    let mut jobs: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (id, schedule) in view.schedules(None, usize::MAX)? {
        Submit::parse(&view.schedule_job(&id)?)?;
        jobs.insert(job_key(&id));
        if let Some(plan) = &schedule.plan {
            plans.entry(plan.clone()).or_default().schedules += 1;
            if !plan_store::exists(view.rows, plan.as_bytes())? {
                wrong.push(format!("schedule {id} runs plan {plan}, which is not there"));
            }
        }
        let (course, last) = (&schedule.course, schedule.last.as_ref().map(|(tick, _)| *tick));
        let is_out_of_place = |next: Millis| {
            course.start_at.is_some_and(|start| next < start)
                || course.end_at.is_some_and(|end| next > end)
                || last.is_some_and(|last| next <= last)
        };
        if schedule.next_at.is_some_and(is_out_of_place) {
            wrong.push(format!("schedule {id} comes too early or too late: {schedule:?}"));
        }
    }
    for (key, _) in all(view.rows, Table::Schedules)? {
        if key.first() == Some(&0) && !jobs.contains(&key[..]) {
            wrong.push(format!("schedules has {} for no schedule", key.escape_ascii()));
        }
    }
    Ok(())
}

fn check_actions(
    view: &JobsView<'_>,
    mut counted: HashMap<Id, Counts>,
    wrong: &mut Vec<String>,
) -> crate::jobs::Result<()> {
    for (id, _) in all(view.rows, Table::Actions)? {
        let action = view.need_action(&id)?;
        let id = Id::stored(Table::Actions, &id)?;
        let jobs = counted.remove(&id).unwrap_or_default();
        // Jobs that were removed stay counted where they ended.
        let agrees = Status::ALL.into_iter().all(|status| match status.is_terminal() {
            true => action.counts.of(status) >= jobs.of(status),
            false => action.counts.of(status) == jobs.of(status),
        });
        let (unmade, made) = (action.unmade(), action.counts.total());
        if !agrees || action.jobs_kept != jobs.total() + unmade || made != action.expanded {
            wrong.push(format!("action {id} is {action:?}, of its jobs there are {jobs:?}"));
        }
    }
    wrong.extend(counted.keys().map(|id| format!("action {id} has jobs and no row")));
    Ok(())
}

/// Every transition has its event: each begins where the one before ended, and the last one is what the job, or the
/// action, is.
fn check_events(rows: &dyn Rows, jobs: &BTreeMap<Bytes, Job>, wrong: &mut Vec<String>) -> crate::jobs::Result<()> {
    let mut last: HashMap<(bool, Id), Event> = HashMap::new();
    let (mut earliest, mut latest, mut before) = (Millis::MAX, Millis(0), None);
    for (key, row) in all(rows, Table::Events)? {
        let event = Event::decode(&row)?;
        (earliest, latest) = (earliest.min(event.at), latest.max(event.at));
        let number = key.first_chunk().map(|number| u64::from_be_bytes(*number));
        if number.is_none() || before.is_some_and(|before: u64| number != Some(before + 1)) {
            wrong.push(format!("event {number:?} follows {before:?}"));
        }
        before = number;
        let subject = match &event.subject {
            Subject::Job { id, .. } => (true, id.clone()),
            Subject::Action(id) => (false, id.clone()),
        };
        let before = last.get(&subject);
        if !follows(before, &event) {
            wrong.push(format!("{event:?} does not follow {before:?}"));
        }
        last.insert(subject, event);
    }
    // Old events go in the order of their numbers, a slice at a time. Where the clock was set back in between, those of an
    // earlier time stand behind them, and may still be there.
    let may_be_gone = |at: Millis| at <= earliest || at.plus(KEPT_MS) <= latest;
    for job in jobs.values() {
        let changed = job.ended_at.unwrap_or(job.created_at);
        match last.get(&(true, job.id.clone())) {
            Some(event) if event.to == job.status && epoch(event) <= job.epoch => {}
            None if may_be_gone(changed) => {}
            found => wrong.push(format!("job {} is {}, its last event is {found:?}", job.id, job.status.name())),
        }
    }
    for (id, action) in (JobsView { rows, now: Millis(0) }).actions(None, usize::MAX)? {
        let status = action.status();
        match last.get(&(false, id.clone())) {
            Some(event) if event.to == status && event.queue == action.queue => {}
            None if may_be_gone(action.created_at) => {}
            found => wrong.push(format!("action {id} is {}, its last event is {found:?}", status.name())),
        }
    }
    Ok(())
}

fn epoch(event: &Event) -> u64 {
    match event.subject {
        Subject::Job { epoch, .. } => epoch,
        Subject::Action(_) => 0,
    }
}

/// Whether an event may come next after the one before of the same job or action.
pub(super) fn follows(before: Option<&Event>, event: &Event) -> bool {
    let chained = match (before, event.from) {
        (Some(before), Some(from)) => before.to == from && epoch(before) <= epoch(event),
        // The id of one that was removed may be used again.
        (Some(before), None) => before.to.is_terminal(),
        (None, _) => true,
    };
    chained
        && match event.subject {
            Subject::Job { .. } => may_follow(event.from, event.to),
            // An action runs, or has ended.
            Subject::Action(_) => match event.from {
                None => event.to == Status::Running,
                Some(from) => {
                    (from == Status::Running && event.to.is_terminal())
                        || (from.is_terminal() && event.to == Status::Running)
                }
            },
        }
}

/// A webhook stands at an event that is there or is the next one, and what it says of its tries fits together.
fn check_webhooks(view: &JobsView<'_>, wrong: &mut Vec<String>) -> crate::jobs::Result<()> {
    let (next, webhooks) = (view.next_event()?, view.webhooks()?);
    if webhooks.len() > MAX_WEBHOOKS {
        wrong.push(format!("there are {} webhooks", webhooks.len()));
    }
    for (id, webhook) in webhooks {
        let rules = [
            (webhook.cursor >= 1 && webhook.cursor <= next, "a place outside the feed"),
            ((webhook.tries > 0) == webhook.retry_at.is_some(), "tries and no retry, or a retry and no tries"),
            (webhook.tries < webhook.terms.max_attempts, "attempts used up and not given up"),
            (webhook.tries == 0 || webhook.cursor < next, "tries of an event that is still to come"),
            (webhook.delivered + webhook.given_up + webhook.passed_over < next, "more events than there were"),
        ];
        wrong.extend(
            rules.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("webhook {id} has {what}: {webhook:?}")),
        );
    }
    Ok(())
}

/// What holds within a record.
fn check_job(job: &Job, wrong: &mut Vec<String>) {
    let rules = [
        (job.lease.is_some() == (job.status == Status::Running), "a lease and no run, or a run and no lease"),
        (job.remove_at.is_some() == job.status.is_terminal(), "an end and no removal, or a removal and no end"),
        (!job.cancelling || job.status == Status::Running, "cancelled while nobody runs it"),
        (job.failures <= job.starts, "more failures than attempts"),
        (job.failures_before <= job.failures && job.losses_before <= job.losses, "counters below their baselines"),
        (
            job.status.is_terminal() || job.failures - job.failures_before < job.attempts,
            "attempts used up and not ended",
        ),
        (job.status.is_terminal() || job.losses - job.losses_before < job.max_losses, "losses used up and not ended"),
        (
            job.lease.as_ref().is_none_or(|lease| job.attempt_bound().is_none_or(|bound| lease.deadline <= bound)),
            "a lease that outlives its attempt",
        ),
    ];
    wrong.extend(
        rules.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("job {} has {what}: {job:?}", job.id)),
    );
}

/// What stands beside the records belongs to a job, and every body that a record names is there.
fn check_data(rows: &dyn Rows, jobs: &BTreeMap<Bytes, Job>, wrong: &mut Vec<String>) -> crate::jobs::Result<()> {
    let view = JobsView { rows, now: Millis(0) };
    for (key, _) in all(rows, Table::JobData)? {
        if let [EXPANSION, rest @ ..] = &key[..] {
            let action = tables::take_name(rest).map(|(name, _)| view.action(&name)).transpose()?.flatten();
            if action.is_none_or(|action| action.unmade() == 0) {
                wrong.push(format!("job_data has {} for no action", key.escape_ascii()));
            }
            continue;
        }
        let owner = tables::take_name(&key).map(|(name, _)| name);
        if !owner.is_some_and(|name| jobs.contains_key(&name[..])) {
            wrong.push(format!("job_data has {} for no job", key.escape_ascii()));
        }
    }
    for job in jobs.values() {
        view.result_json(job)?;
        view.job_json(job, crate::jobs::show::Detail::Whole)?;
        for part in Part::ALL {
            let is_there = rows.get(Table::JobData, &data_key(&job.id, &[part as u8]))?.is_some();
            if is_there != matches!(body_of(job, part), Some(Body::Stored(_))) {
                wrong.push(format!("job {} has a row of its {part:?} or not: {job:?}", job.id));
            }
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (totals, kept) = (view.output_totals(&job.id, stream)?, view.output(&job.id, stream)?.len() as u64);
            if totals.kept != kept || totals.kept > totals.written || (kept > 0 && !job.has_output) {
                wrong.push(format!("job {} has {kept} bytes of {stream:?}, known as {totals:?}: {job:?}", job.id));
            }
        }
    }
    Ok(())
}
