//! Proves the invariants of the job system over all rows: tests call it after every step, and it can be run on a file.
//!
//! It reads everything, trusts no counter, and says in words what does not hold. It runs in bounded memory on any number
//! of jobs: rows are streamed, what follows from one record is looked up ([`index`], [`data`]), and what is gathered from
//! many, counts and the ends of chains of events, is taken in turns of so many names ([`turns`]).

mod counts;
mod data;
pub(super) mod events;
mod index;
mod records;
mod turns;

use std::ops::Bound;

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::check::Findings;
use crate::jobs::{Id, JobsView, Result, job_row};
use crate::storage::batch::{KeyBound, try_scan};
use crate::storage::{Rows, Table};

/// What does not hold; nothing when all is well. Past a thousand findings the last sentence says how many more there are.
///
/// # Errors
/// When the store cannot be read, or a row cannot.
pub fn check(rows: &dyn Rows) -> Result<Vec<String>> {
    check_in_turns(rows, turns::AT_ONCE)
}

/// The same with so many names in a turn, one at least.
pub(super) fn check_in_turns(rows: &dyn Rows, names_at_once: usize) -> Result<Vec<String>> {
    let view = JobsView { rows, now: Millis(0) };
    let mut found = Findings::default();
    let mut index = index::Index::default();
    each(rows, Table::Jobs, &mut |id, row| {
        let job = job_row::decode(Id::stored(Table::Jobs, id)?, &row)?;
        records::check_job(&job, &mut found);
        index.check_job(&view, &job, &mut found)?;
        data::check_job(&view, &job, &mut found)
    })?;
    index.check_others(&view, &mut found)?;
    counts::check(&view, names_at_once, &mut index, &mut found)?;
    index.check_nothing_else(&view, &mut found)?;
    records::check_schedules(&view, &mut found)?;
    records::check_webhooks(&view, &mut found)?;
    events::check(&view, names_at_once, &mut found)?;
    data::check_owners(&view, &mut found)?;
    Ok(found.told())
}

/// What looks at a row: its key and its value.
type VisitRow<'a> = dyn FnMut(&[u8], Bytes) -> Result<()> + 'a;

/// Visits all rows of a table in order, until one cannot be read.
fn each(rows: &dyn Rows, table: Table, visit: &mut VisitRow<'_>) -> Result<()> {
    each_between(rows, table, (Bound::Unbounded, Bound::Unbounded), visit)
}

/// The same between two bounds.
fn each_between(
    rows: &dyn Rows,
    table: Table,
    between: (KeyBound<'_>, KeyBound<'_>),
    visit: &mut VisitRow<'_>,
) -> Result<()> {
    try_scan(rows, table, between, &mut |key, value| visit(key, Bytes::copy_from_slice(value)))
}
