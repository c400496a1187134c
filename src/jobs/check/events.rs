//! Every transition has its event: each begins where the one before ended, and the last one is what the job, or the
//! action, is.

use std::ops::Bound;

use crate::clock::Millis;
use crate::data::check::{Findings, MOST_TOLD};
use crate::jobs::actions::Action;
use crate::jobs::check::turns::Turn;
use crate::jobs::check::{each, each_between};
use crate::jobs::events::{Event, KEPT_MS, Subject};
use crate::jobs::job::Status;
use crate::jobs::state::may_follow;
use crate::jobs::{Id, JobsView, Result, job_row};
use crate::storage::Table;

/// An action or, `true`, a job.
type Name = (bool, Id);

/// The last event of a job or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Last {
    to: Status,
    /// 0 for an action.
    epoch: u64,
    /// Of an action's jobs.
    queue: Option<Id>,
}

/// What is known of a job or an action from its events.
#[derive(Debug, Default)]
struct Chain {
    last: Option<Last>,
    /// Events that do not follow the one before.
    broken: u64,
}

/// When the first and the last of all events were.
struct Span {
    earliest: Millis,
    latest: Millis,
}

impl Span {
    /// Old events go in the order of their numbers, a slice at a time. Where the clock was set back in between, those of an
    /// earlier time stand behind them, and may still be there.
    fn may_be_gone(&self, at: Millis) -> bool {
        at <= self.earliest || at.plus(KEPT_MS) <= self.latest
    }
}

/// Checks the events of all jobs and actions, of so many in a turn.
pub(super) fn check(view: &JobsView<'_>, at_once: usize, found: &mut Findings) -> Result<()> {
    let mut turn = Some(Turn::<Name, Chain>::first(at_once));
    while let Some(mut chains) = turn {
        let span = follow(view, &mut chains, found)?;
        check_jobs(view, &mut chains, &span, found)?;
        check_actions(view, &mut chains, &span, found)?;
        turn = chains.next();
    }
    Ok(())
}

/// Goes through the feed, and notes how each chain of a turn ends.
fn follow(view: &JobsView<'_>, chains: &mut Turn<Name, Chain>, found: &mut Findings) -> Result<Span> {
    let (mut span, mut before) = (Span { earliest: Millis::MAX, latest: Millis(0) }, None);
    // A chain whose turn this turns out not to be is told of in its own.
    let mut told: Vec<(Name, String)> = Vec::new();
    each(view.rows, Table::Events, &mut |key, row| {
        let event = Event::decode(&row)?;
        span = Span { earliest: span.earliest.min(event.at), latest: span.latest.max(event.at) };
        let number = key.first_chunk().map(|number| u64::from_be_bytes(*number));
        if chains.is_first() && (number.is_none() || before.is_some_and(|before: u64| number != Some(before + 1))) {
            found.note(format_args!("event {number:?} follows {before:?}"));
        }
        before = number;
        let name = match &event.subject {
            Subject::Job { id, .. } => (true, id.clone()),
            Subject::Action(id) => (false, id.clone()),
        };
        chains.with(name.clone(), |chain| {
            if !follows(chain.last.as_ref(), &event) {
                chain.broken += 1;
                if told.len() < MOST_TOLD {
                    told.push((name, format!("{event:?} does not follow {:?}", chain.last)));
                }
            }
            chain.last = Some(Last::of(event));
            Result::Ok(())
        })
    })?;
    told.retain(|(name, _)| chains.covers(name));
    let broken: u64 = chains.kept().map(|chain| chain.broken).sum();
    told.iter().for_each(|(_, what)| found.note(format_args!("{what}")));
    found.note_more(broken - told.len() as u64);
    Ok(span)
}

impl Last {
    fn of(event: Event) -> Last {
        let (epoch, queue) = match event.subject {
            Subject::Job { epoch, .. } => (epoch, None),
            Subject::Action(_) => (0, Some(event.queue)),
        };
        Last { to: event.to, epoch, queue }
    }
}

fn check_jobs(view: &JobsView<'_>, chains: &mut Turn<Name, Chain>, span: &Span, found: &mut Findings) -> Result<()> {
    let (first, end) = chains.bounds();
    let (first, end) = (first.cloned(), end.cloned());
    let from = match &first {
        Some((true, id)) => Bound::Included(id.as_bytes()),
        _ => Bound::Unbounded,
    };
    let to = match &end {
        Some((true, id)) => Bound::Excluded(id.as_bytes()),
        // The turn ends among the actions, which come first.
        Some((false, _)) => return Ok(()),
        None => Bound::Unbounded,
    };
    each_between(view.rows, Table::Jobs, (from, to), &mut |id, row| {
        let job = job_row::decode(Id::stored(Table::Jobs, id)?, &row)?;
        let changed = job.ended_at.unwrap_or(job.created_at);
        match chains.take(&(true, job.id.clone())).and_then(|chain| chain.last) {
            Some(last) if last.to == job.status && last.epoch <= job.epoch => {}
            None if span.may_be_gone(changed) => {}
            last => found.note(format_args!("job {} is {}, its last event is {last:?}", job.id, job.status.name())),
        }
        Ok(())
    })
}

fn check_actions(view: &JobsView<'_>, chains: &mut Turn<Name, Chain>, span: &Span, found: &mut Findings) -> Result<()> {
    each(view.rows, Table::Actions, &mut |id, row| {
        let name = (false, Id::stored(Table::Actions, id)?);
        if !chains.covers(&name) {
            return Ok(());
        }
        let action = Action::decode(&row)?;
        let status = action.status();
        match chains.take(&name).and_then(|chain| chain.last) {
            Some(last) if last.to == status && last.queue.as_ref() == Some(&action.queue) => {}
            None if span.may_be_gone(action.created_at) => {}
            last => found.note(format_args!("action {} is {}, its last event is {last:?}", name.1, status.name())),
        }
        Ok(())
    })
}

fn epoch(event: &Event) -> u64 {
    match event.subject {
        Subject::Job { epoch, .. } => epoch,
        Subject::Action(_) => 0,
    }
}

/// Whether an event may come next after the one before of the same job or action.
fn follows(before: Option<&Last>, event: &Event) -> bool {
    let chained = match (before, event.from) {
        (Some(before), Some(from)) => before.to == from && before.epoch <= epoch(event),
        // The id of one that was removed may be used again.
        (Some(before), None) => before.to.is_terminal(),
        (None, _) => true,
    };
    chained && may_be(event)
}

/// Whether there is such a transition.
pub(in crate::jobs) fn may_be(event: &Event) -> bool {
    match event.subject {
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
