//! What has to hold of all rows, whatever happened.

use crate::access;
use crate::data;
use crate::jobs;
use crate::storage::sim::ledger::Stop;
use crate::storage::{Error, Rows};

/// Checks the invariants of the job system, of the keys and of who may use them.
pub(super) fn check(rows: &dyn Rows) -> Result<(), Stop> {
    let mut wrong = jobs::check::check(rows).map_err(|error| match error {
        jobs::Error::Storage(error) => unreadable(error),
        refused => Stop::Broken(format!("the jobs cannot be read: {refused}")),
    })?;
    wrong.extend(data::check::check(rows).map_err(unreadable)?);
    wrong.extend(access::check(rows).map_err(unreadable)?);
    if wrong.is_empty() { Ok(()) } else { Err(Stop::Broken(format!("what has to hold does not: {wrong:#?}"))) }
}

/// A disk that fails breaks no promise; a row that means nothing does.
fn unreadable(error: Error) -> Stop {
    match error {
        Error::Corrupt { .. } => Stop::Broken(error.to_string()),
        failed => Stop::Failed(failed),
    }
}
