//! A job's large bodies: inline in the record while they are short, else in a row of `job_data` of their own, so that
//! a claim does not rewrite a megabyte.

use bytes::Bytes;

use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Body, Job};
use crate::jobs::rows::data_key;
use crate::jobs::{Id, Jobs, JobsView, MAX_BODY_BYTES};
use crate::storage::{self, Table};

/// The longest body that stands in the record.
const INLINE_BYTES: usize = 512;

/// Which body; the numbers are part of the key format, and smaller than those of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    Input = 1,
    Meta = 2,
    Result = 3,
    Error = 4,
    After = 5,
    Progress = 6,
}

impl Part {
    pub(super) const ALL: [Part; 6] = [Part::Input, Part::Meta, Part::Result, Part::Error, Part::After, Part::Progress];
}

/// A body of a job.
pub(super) fn body_of(job: &Job, part: Part) -> Option<&Body> {
    let body = match part {
        Part::Input => &job.input,
        Part::Meta => &job.meta,
        Part::Result => &job.result,
        Part::Error => &job.error,
        Part::After => &job.after,
        Part::Progress => &job.progress,
    };
    body.as_ref()
}

fn slot(job: &mut Job, part: Part) -> &mut Option<Body> {
    match part {
        Part::Input => &mut job.input,
        Part::Meta => &mut job.meta,
        Part::Result => &mut job.result,
        Part::Error => &mut job.error,
        Part::After => &mut job.after,
        Part::Progress => &mut job.progress,
    }
}

/// Checks the length of a body; `field` names it in the error.
pub(super) fn check_length(field: &str, bytes: usize) -> Result<()> {
    if bytes <= MAX_BODY_BYTES {
        return Ok(());
    }
    Err(Error::refused(format!("{field} has {bytes} bytes, at most {MAX_BODY_BYTES} are taken")))
}

impl JobsView<'_> {
    /// The bytes of a body.
    pub(super) fn body(&self, id: &Id, part: Part, body: &Body) -> storage::Result<Bytes> {
        let length = match body {
            Body::Inline(bytes) => return Ok(bytes.clone()),
            Body::Stored(length) => *length,
        };
        let row = self.rows.get(Table::JobData, &data_key(id, &[part as u8]))?;
        row.filter(|row| row.len() as u64 == length).ok_or_else(|| {
            storage::Error::corrupt(Table::JobData, format!("job {id} has no {part:?} of {length} bytes"))
        })
    }
}

impl Jobs<'_, '_> {
    /// Gives a job a body in place of the one it has.
    pub(super) fn set_body(&mut self, job: &mut Job, part: Part, bytes: Option<&[u8]>) -> storage::Result<()> {
        let key = data_key(&job.id, &[part as u8]);
        let new = bytes.map(|bytes| match bytes.len() {
            0..=INLINE_BYTES => Body::Inline(Bytes::copy_from_slice(bytes)),
            length => Body::Stored(length as u64),
        });
        let old = std::mem::replace(slot(job, part), new);
        match (slot(job, part), bytes) {
            (Some(Body::Stored(_)), Some(bytes)) => self.batch.put(Table::JobData, key, Bytes::copy_from_slice(bytes)),
            _ if matches!(old, Some(Body::Stored(_))) => self.batch.remove(Table::JobData, key),
            _ => Ok(()),
        }
    }
}
