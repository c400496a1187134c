//! What workers report of the jobs they run, and what comes of leases.

use super::*;

impl Model {
    /// The job may be reported on: it runs at this epoch, or its lease ran out and nobody has claimed it since.
    pub(super) fn current(&mut self, id: &str, epoch: u64) -> Answer {
        let job = self.job(id)?;
        match (job.status, job.reason) {
            (Running, _) if job.epoch == epoch => Ok(()),
            (Pending, Reason::Lost) if job.epoch == epoch => {
                let (now, claim) = (self.now, self.next());
                self.change(id, |job| {
                    (job.status, job.reason) = (Running, Reason::None);
                    job.lease = Some(lease(job, now, LEASE_MS, claim, 0));
                });
                Ok(())
            }
            _ => Err(No::Stale(job.epoch)),
        }
    }

    pub(crate) fn complete(&mut self, id: &str, epoch: u64, result: &str) -> Answer {
        let job = self.job(id)?;
        if job.status == Completed && job.epoch == epoch {
            return if job.result.as_deref() == Some(result) { Ok(()) } else { Err(No::Stale(epoch)) };
        }
        self.current(id, epoch)?;
        self.change(id, |job| (job.result, job.error) = (Some(result.to_owned()), None));
        self.end(id, Completed, Reason::None);
        Ok(())
    }

    pub(crate) fn fail(&mut self, id: &str, epoch: u64, error: &str, dead: bool, wait: Option<u64>) -> Answer {
        let job = self.job(id)?;
        if matches!(job.status, Failed | Scheduled) && job.error.is_some() && job.epoch == epoch {
            return if job.error.as_deref() == Some(error) { Ok(()) } else { Err(No::Stale(epoch)) };
        }
        self.current(id, epoch)?;
        self.change(id, |job| (job.error, job.abandons) = (Some(error.to_owned()), 0));
        self.end_badly(id, if dead { Reason::Rejected } else { Reason::Exhausted }, wait);
        Ok(())
    }

    pub(super) fn end_badly(&mut self, id: &str, reason: Reason, wait: Option<u64>) {
        self.change(id, |job| job.failures += 1);
        let job = self.jobs[id].clone();
        let failures = job.failures - job.failures_before;
        if job.cancelling {
            return self.end(id, Cancelled, Reason::None);
        }
        if reason == Reason::Rejected || failures >= job.terms.attempts {
            return self.end(id, Failed, reason);
        }
        let now = self.now;
        let between = match (wait, job.terms.backoff) {
            (Some(ms), _) | (None, Backoff::Fixed(ms)) => (now.plus(ms), now.plus(ms)),
            (None, Backoff::Doubling) => {
                let middle = (1_000_u64 << (failures - 1).min(20)).min(3_600_000);
                (now.plus(middle / 2), now.plus(middle / 2 + middle))
            }
        };
        self.change(id, |job| {
            (job.status, job.reason, job.lease, job.ended_at) = (Scheduled, Reason::Retry, None, Some(now));
            (job.run_at, job.run_between) = (Some(between.0), Some(between));
        });
    }

    pub(crate) fn release(&mut self, id: &str, epoch: u64, delay: Option<u64>) -> Answer {
        self.current(id, epoch)?;
        self.change(id, |job| job.abandons = 0);
        self.give_back(id, delay);
        Ok(())
    }

    pub(super) fn give_back(&mut self, id: &str, delay: Option<u64>) {
        let now = self.now;
        let cancelling = self.jobs[id].cancelling;
        if cancelling {
            self.change(id, |job| job.epoch += 1);
            return self.end(id, Cancelled, Reason::None);
        }
        self.change(id, |job| {
            (job.status, job.reason, job.lease, job.epoch) = (Pending, Reason::None, None, job.epoch + 1);
            job.ended_at = Some(now);
            if let Some(ms) = delay {
                (job.status, job.reason, job.run_at) = (Scheduled, Reason::Snooze, Some(now.plus(ms)));
            }
        });
    }

    pub(crate) fn extend(&mut self, id: &str, epoch: u64, ms: u64) -> Answer {
        self.current(id, epoch)?;
        self.lengthen(id, ms);
        Ok(())
    }

    pub(super) fn lengthen(&mut self, id: &str, ms: u64) {
        let now = self.now;
        self.change(id, |job| {
            let bound = job.bound().map_or(now.plus(ms), |bound| bound.min(now.plus(ms)));
            if let Some(lease) = &mut job.lease {
                lease.deadline = lease.deadline.max(bound);
            }
        });
    }

    pub(crate) fn append(&mut self, id: &str, epoch: u64, task: u32, text: &'static str) -> Answer {
        self.current(id, epoch)?;
        self.change(id, |job| job.output.push((task, text)));
        Ok(())
    }

    pub(crate) fn progress(&mut self, id: &str, epoch: u64, progress: usize) -> Answer {
        self.current(id, epoch)?;
        self.change(id, |job| job.progress = Some(progress));
        Ok(())
    }

    /// Output, progress and, where there is a result, the end.
    pub(crate) fn update(
        &mut self,
        id: &str,
        epoch: u64,
        (text, progress): (&'static str, usize),
        result: Option<&str>,
    ) -> Answer {
        let job = self.job(id)?;
        if result.is_none() || job.status != Completed || job.epoch != epoch {
            self.append(id, epoch, 1, text)?;
            self.progress(id, epoch, progress)?;
        }
        result.map_or(Ok(()), |result| self.complete(id, epoch, result))
    }

    pub(super) fn lose(&mut self, id: &str) {
        self.change(id, |job| job.abandons = 0);
        let job = &self.jobs[id];
        if job.bound().is_some_and(|bound| bound <= self.now) {
            let error = format!("{{\"error\":\"the attempt took over {} ms\"}}", job.terms.timeout_ms.unwrap_or(0));
            self.change(id, |job| (job.error, job.epoch) = (Some(error), job.epoch + 1));
            return self.end_badly(id, Reason::Timeout, None);
        }
        self.count_loss(id);
    }

    pub(super) fn count_loss(&mut self, id: &str) {
        let now = self.now;
        self.change(id, |job| job.losses += 1);
        let job = &self.jobs[id];
        if job.cancelling {
            return self.end(id, Cancelled, Reason::None);
        }
        if job.losses - job.losses_before >= job.terms.max_losses {
            return self.end(id, Failed, Reason::Poison);
        }
        self.change(id, |job| {
            (job.status, job.reason, job.lease, job.ended_at) = (Pending, Reason::Lost, None, Some(now));
        });
    }
}

pub(super) fn lease(job: &Job, now: Millis, length_ms: u64, claim: u64, conn: u64) -> Lease {
    let deadline = job.bound().map_or(now.plus(length_ms), |bound| bound.min(now.plus(length_ms)));
    Lease { deadline, length_ms, claim, conn }
}
