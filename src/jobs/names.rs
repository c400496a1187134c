//! Domain names that are ordinary keys already: `plan:<id>` and its like are views over the domain tables, so what
//! would be hidden behind a new view is never made.

use crate::data::View;
use crate::jobs::error::{Error, Result};

/// The suffixes of `job:<id>` that are views.
pub const JOB_PARTS: [&str; 5] = ["metadata", "status", "worker", "stdout", "stderr"];

/// Checks that none of these names is an ordinary key of database 0, which `view` reads.
///
/// # Errors
/// When one is.
pub fn check_free(view: &View<'_>, names: &[String]) -> Result<()> {
    for name in names {
        if view.record(name.as_bytes())?.is_some() {
            return Err(Error::refused(format!(
                "'{name}' is an ordinary key already: delete or rename it, or choose another id"
            )));
        }
    }
    Ok(())
}

/// The names that a job's id takes.
#[must_use]
pub fn of_job(id: &str) -> Vec<String> {
    let parts = JOB_PARTS.iter().map(|part| format!("job:{id}:{part}"));
    std::iter::once(format!("job:{id}")).chain(parts).collect()
}

/// The name that a plan's id takes.
#[must_use]
pub fn of_plan(id: &str) -> Vec<String> {
    vec![format!("plan:{id}")]
}

/// The names that a worker's id takes and that could be ordinary keys; `:tools` and `:tags` are never.
#[must_use]
pub fn of_worker(id: &str) -> Vec<String> {
    vec![format!("worker:{id}:metadata"), format!("worker:{id}:alive")]
}

/// The name that a queue takes.
#[must_use]
pub fn of_queue(name: &str) -> Vec<String> {
    vec![format!("queue:{name}")]
}
