//! Removing what has been kept long enough.

use crate::jobs::Jobs;
use crate::jobs::error::Result;
use crate::jobs::job::Job;

impl Jobs<'_, '_> {
    /// Removes a terminal job, or up to `limit` of the rows beside it: then the rest goes in a later slice. Returns
    /// how many rows went.
    pub(super) fn remove_job(&mut self, job: &Job, limit: usize) -> Result<usize> {
        let removed = self.remove_data(&job.id, &[], limit)?;
        if removed < limit {
            self.erase(job)?;
        }
        Ok(removed + 1)
    }
}
