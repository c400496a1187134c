//! Every counter is the size of what it counts: those of queues and their lanes, of plans, of actions, and of the keys
//! that take turns in a queue.

use std::ops::Bound;

use crate::data::check::Findings;
use crate::jobs::actions::Action;
use crate::jobs::check::index::Index;
use crate::jobs::check::turns::Turn;
use crate::jobs::check::{each, each_between};
use crate::jobs::job::{Job, Status};
use crate::jobs::lanes::Lanes;
use crate::jobs::plan_store::{self, Usage};
use crate::jobs::queue::Queue;
use crate::jobs::rows::turn_key;
use crate::jobs::schedules::{JOB, Schedule};
use crate::jobs::tenants::{Share, Tenant};
use crate::jobs::{Counts, Id, JobsView, Result, job_row};
use crate::storage::{Table, tables};

/// Who counts jobs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Counter {
    Queue(Id),
    Plan(Id),
    Action(Id),
    /// A key of a queue.
    Tenant(Id, String),
}

/// What was counted for one of them.
#[derive(Debug, Default)]
struct Counted {
    counts: Counts,
    /// Of a queue.
    lanes: Lanes,
    /// Of a plan.
    usage: Usage,
    /// Of a key.
    tenant: Tenant,
}

type Counters = Turn<Counter, Counted>;

/// Checks all counters, so many in a turn.
pub(super) fn check(view: &JobsView<'_>, at_once: usize, index: &mut Index, found: &mut Findings) -> Result<()> {
    let mut turn = Some(Counters::first(at_once));
    while let Some(mut counters) = turn {
        let totals = count(view, &mut counters)?;
        if counters.is_first() && view.totals()? != totals {
            found.note(format_args!("all queues count {:?}, there are {totals:?}", view.totals()?));
        }
        check_queues(view, &mut counters, found)?;
        check_plans(view, &mut counters, found)?;
        check_actions(view, &mut counters, found)?;
        check_tenants(view, &mut counters, index, found)?;
        for (counter, counted) in counters.rest() {
            match counter {
                Counter::Queue(name) => found.note(format_args!("queue {name} has jobs and no row")),
                Counter::Plan(id) => {
                    let (none, usage) = (Usage::default(), counted.usage);
                    found.note(format_args!("plan {id} counts {none:?}, there are {usage:?}"));
                }
                Counter::Action(id) => found.note(format_args!("action {id} has jobs and no row")),
                Counter::Tenant(queue, key) => {
                    let what = format_args!("key '{key}' of queue {queue} has no row, its jobs make it");
                    found.note(format_args!("{what} {:?}", counted.tenant));
                }
            }
        }
        turn = counters.next();
    }
    Ok(())
}

/// Counts what there is for the counters of a turn; all jobs, by status.
fn count(view: &JobsView<'_>, counters: &mut Counters) -> Result<Counts> {
    let mut totals = Counts::default();
    each(view.rows, Table::Jobs, &mut |id, row| {
        let job = job_row::decode(Id::stored(Table::Jobs, id)?, &row)?;
        totals.shift(None, Some(job.status))?;
        count_job(counters, &job)
    })?;
    each(view.rows, Table::Actions, &mut |_, row| {
        let action = Action::decode(&row)?;
        action.callbacks.iter().try_for_each(|callback| {
            counters.with(Counter::Plan(callback.plan.clone()), |counted| {
                counted.usage.jobs += 1;
                counted.usage.open += u64::from(action.live() > 0);
                Ok(())
            })
        })
    })?;
    let schedules = (Bound::Included(&[JOB + 1][..]), Bound::Unbounded);
    each_between(view.rows, Table::Schedules, schedules, &mut |_, row| match Schedule::decode(&row)?.plan {
        Some(plan) => counters.with(Counter::Plan(plan), |counted| {
            counted.usage.schedules += 1;
            Ok(())
        }),
        None => Ok(()),
    })?;
    Ok(totals)
}

fn count_job(counters: &mut Counters, job: &Job) -> Result<()> {
    counters.with(Counter::Queue(job.queue.clone()), |counted| {
        counted.counts.shift(None, Some(job.status))?;
        if job.status == Status::Pending { counted.lanes.shift(job, 1) } else { Ok(()) }
    })?;
    if let Some(plan) = job.plan() {
        counters.with(Counter::Plan(plan.clone()), |counted| {
            counted.usage.jobs += 1;
            counted.usage.open += u64::from(!job.status.is_terminal());
            Result::Ok(())
        })?;
    }
    if let Some((action, _)) = &job.action {
        counters.with(Counter::Action(action.clone()), |counted| counted.counts.shift(None, Some(job.status)))?;
    }
    match &job.key {
        Some(key) if matches!(job.status, Status::Pending | Status::Running) => {
            let counter = Counter::Tenant(job.queue.clone(), key.clone());
            Ok(counters.with(counter, |counted| counted.tenant.shift(job, 1))?)
        }
        _ => Ok(()),
    }
}

fn check_queues(view: &JobsView<'_>, counters: &mut Counters, found: &mut Findings) -> Result<()> {
    let queues = (Bound::Excluded(&b""[..]), Bound::Unbounded);
    each_between(view.rows, Table::Queues, queues, &mut |name, row| {
        let counter = Counter::Queue(Id::stored(Table::Queues, name)?);
        if !counters.covers(&counter) {
            return Ok(());
        }
        let (queue, Counted { counts, lanes, .. }) =
            (Queue::decode(&row)?, counters.take(&counter).unwrap_or_default());
        if queue.counts != counts || queue.lanes != lanes {
            let name = name.escape_ascii();
            found.note(format_args!("queue {name} counts {queue:?}, there are {counts:?} in {lanes:?}"));
        }
        Ok(())
    })
}

fn check_plans(view: &JobsView<'_>, counters: &mut Counters, found: &mut Findings) -> Result<()> {
    let usages = (Bound::Included(&[plan_store::USAGE][..]), Bound::Excluded(&[plan_store::USAGE + 1][..]));
    each_between(view.rows, Table::Plans, usages, &mut |key, _| {
        let id = Id::stored(Table::Plans, &key[1..])?;
        let counter = Counter::Plan(id.clone());
        if !counters.covers(&counter) {
            return Ok(());
        }
        let usage = plan_store::usage(view.rows, &id)?;
        let counted = counters.take(&counter).unwrap_or_default().usage;
        if usage != counted {
            found.note(format_args!("plan {id} counts {usage:?}, there are {counted:?}"));
        }
        Ok(())
    })
}

fn check_actions(view: &JobsView<'_>, counters: &mut Counters, found: &mut Findings) -> Result<()> {
    each(view.rows, Table::Actions, &mut |id, row| {
        let id = Id::stored(Table::Actions, id)?;
        let counter = Counter::Action(id.clone());
        if !counters.covers(&counter) {
            return Ok(());
        }
        let (action, jobs) = (Action::decode(&row)?, counters.take(&counter).unwrap_or_default().counts);
        // Jobs that were removed stay counted where they ended.
        let agrees = Status::ALL.into_iter().all(|status| match status.is_terminal() {
            true => action.counts.of(status) >= jobs.of(status),
            false => action.counts.of(status) == jobs.of(status),
        });
        let (unmade, made) = (action.unmade(), action.counts.total());
        if !agrees || action.jobs_kept != jobs.total() + unmade || made != action.expanded {
            found.note(format_args!("action {id} is {action:?}, of its jobs there are {jobs:?}"));
        }
        Ok(())
    })
}

/// What keys have in queues, and their turns.
fn check_tenants(view: &JobsView<'_>, counters: &mut Counters, index: &mut Index, found: &mut Findings) -> Result<()> {
    let tenants = (Bound::Included(&b"k"[..]), Bound::Excluded(&b"l"[..]));
    each_between(view.rows, Table::JobIndex, tenants, &mut |row_key, row| {
        let superfluous = || format!("job_index has {} for no key of a queue", row_key.escape_ascii());
        let name = tables::take_name(&row_key[1..])
            .and_then(|(queue, key)| Some((Id::sound(&queue)?, std::str::from_utf8(key).ok()?.to_owned())));
        let Some((queue, key)) = name else {
            if counters.is_first() {
                index.count(Table::JobIndex, row_key);
                found.note(format_args!("{}", superfluous()));
            }
            return Ok(());
        };
        let counter = Counter::Tenant(queue.clone(), key.clone());
        if !counters.covers(&counter) {
            return Ok(());
        }
        index.count(Table::JobIndex, row_key);
        let Some(counted) = counters.take(&counter) else {
            found.note(format_args!("{}", superfluous()));
            return Ok(());
        };
        let (tenant, counted) = (Tenant::decode(&row)?, counted.tenant);
        let shares = tenant.shares.iter().map(|share| Share { turn: 0, ..*share }).collect();
        let bare = Tenant { running: tenant.running, shares };
        let limit = view.queue(queue.as_bytes())?.and_then(|queue| queue.limits.key_concurrency);
        let stands_aside = limit.is_some_and(|limit| counted.running >= limit);
        let is_misplaced = tenant.shares.iter().any(|share| (share.turn == 0) != stands_aside);
        if bare != counted || is_misplaced || tenant.encode() != row {
            found.note(format_args!("key '{key}' of queue {queue} is {tenant:?}, its jobs make it {counted:?}"));
        }
        for share in tenant.shares.iter().filter(|share| share.turn != 0) {
            let turn = turn_key(&queue, share.lane, share.turn);
            index.expect(view, Table::JobIndex, &turn, key.as_bytes(), found)?;
        }
        Ok(())
    })
}
