//! Cancelling a job.

use crate::jobs::Jobs;
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Job, Reason, Status};

impl Jobs<'_, '_> {
    /// Cancels a job: at once, or, when a worker runs it, by telling the worker; a completion that comes first still
    /// wins. A worker of the list contract cannot be told: its job is cancelled at once and its report refused.
    /// Cancelling twice changes nothing.
    ///
    /// # Errors
    /// When the job has ended otherwise.
    pub fn cancel(&mut self, id: &[u8]) -> Result<Job> {
        let old = self.view().need_job(id)?;
        let mut job = old.clone();
        match job.status {
            Status::Waiting | Status::Scheduled | Status::Pending => {}
            Status::Running if job.lease.as_ref().is_some_and(|lease| lease.list_connection != 0) => {
                job.epoch = self.next_epoch(job.epoch)?;
            }
            Status::Running => {
                if !job.cancelling {
                    job.cancelling = true;
                    self.write(Some(&old), &job)?;
                }
                return Ok(job);
            }
            Status::Cancelled => return Ok(job),
            Status::Completed | Status::Failed => {
                let status = job.status.name();
                return Err(Error::refused(format!("Job {} is {status} already: it cannot be cancelled", job.id)));
            }
        }
        job.reason = Reason::None;
        self.end(&old, job, Status::Cancelled)
    }

    /// A job's latest start is over.
    pub(super) fn expire(&mut self, old: Job) -> Result<Job> {
        let job = Job { reason: Reason::Expired, ..old.clone() };
        self.end(&old, job, Status::Failed)
    }
}
