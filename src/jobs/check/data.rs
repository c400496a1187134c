//! What stands beside the records belongs to a job, and every body that a record names is there.

use crate::data::check::Findings;
use crate::jobs::body::{Part, body_of};
use crate::jobs::check::each;
use crate::jobs::job::{Body, Job};
use crate::jobs::rows::{EXPANSION, data_key};
use crate::jobs::show::Detail;
use crate::jobs::{JobsView, Result, Stream};
use crate::storage::{Table, tables};

/// What a job's record says of its bodies and its output is so, and all of it can be shown.
pub(super) fn check_job(view: &JobsView<'_>, job: &Job, found: &mut Findings) -> Result<()> {
    view.result_json(job)?;
    view.job_json(job, Detail::Whole)?;
    for part in Part::ALL {
        let is_there = view.rows.get(Table::JobData, &data_key(&job.id, &[part as u8]))?.is_some();
        if is_there != matches!(body_of(job, part), Some(Body::Stored(_))) {
            found.note(format_args!("job {} has a row of its {part:?} or not: {job:?}", job.id));
        }
    }
    for stream in [Stream::Stdout, Stream::Stderr] {
        let (totals, kept) = (view.output_totals(&job.id, stream)?, view.output(&job.id, stream)?.len() as u64);
        if totals.kept != kept || totals.kept > totals.written || (kept > 0 && !job.has_output) {
            let what = format_args!("job {} has {kept} bytes of {stream:?}, known as {totals:?}: {job:?}", job.id);
            found.note(what);
        }
    }
    Ok(())
}

/// Every row beside the records has its job, or its action. Those of one owner follow each other, so each is looked up once.
pub(super) fn check_owners(view: &JobsView<'_>, found: &mut Findings) -> Result<()> {
    let mut last: Option<(bool, Vec<u8>, bool)> = None;
    each(view.rows, Table::JobData, &mut |key, _| {
        let (is_expansion, rest) = match key {
            [EXPANSION, rest @ ..] => (true, rest),
            _ => (false, key),
        };
        let Some((name, _)) = tables::take_name(rest) else {
            found.note(format_args!("job_data has {} for no job", key.escape_ascii()));
            return Ok(());
        };
        let is_owned = match &last {
            Some((was_expansion, owner, is_owned)) if *was_expansion == is_expansion && *owner == name => *is_owned,
            _ if is_expansion => view.action(&name)?.is_some_and(|action| action.unmade() > 0),
            _ => view.rows.get(Table::Jobs, &name)?.is_some(),
        };
        if !is_owned {
            let whom = if is_expansion { "action" } else { "job" };
            found.note(format_args!("job_data has {} for no {whom}", key.escape_ascii()));
        }
        last = Some((is_expansion, name, is_owned));
        Ok(())
    })
}
