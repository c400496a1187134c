//! Workers: who they are, and what they hear of their jobs.

use super::*;

impl Model {
    pub(crate) fn register(&mut self, id: &str, has_gpu: bool) {
        let number = self.next();
        let now = self.now;
        let fresh = || {
            let mut worker = Worker { number, has_gpu: false, last_seen: now, timer_at: Millis(0) };
            worker.timer_at = worker.forgotten_at();
            worker
        };
        let worker = self.workers.entry(id.to_owned()).or_insert_with(fresh);
        worker.last_seen = now;
        worker.has_gpu |= has_gpu;
    }

    pub(crate) fn hear(&mut self, id: &str) {
        match self.workers.get_mut(id) {
            Some(worker) if self.now.since(worker.last_seen) >= 1_000 => worker.last_seen = self.now,
            Some(_) => {}
            None => self.register(id, false),
        }
    }

    pub(super) fn jobs_of(&self, worker: &str) -> Vec<String> {
        let runs = |job: &Job| job.status == Running && job.worker.as_deref() == Some(worker);
        let mut jobs: Vec<_> = self.jobs.iter().filter(|(_, job)| runs(job)).collect();
        jobs.sort_by_key(|(_, job)| job.lease.as_ref().map(|lease| lease.claim));
        jobs.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// Answers which jobs are to be stopped, and which are not the worker's any more.
    pub(crate) fn heartbeat(
        &mut self,
        worker: &str,
        held: Option<&[(String, u64)]>,
    ) -> Answer<(Vec<String>, Vec<String>)> {
        let now = self.now;
        self.workers.get_mut(worker).ok_or(No::Refused)?.last_seen = now;
        let (mut cancel, mut stale) = (Vec::new(), Vec::new());
        for (id, epoch) in held.unwrap_or_default() {
            match self.jobs.get(id) {
                Some(job) if job.status == Running && job.epoch == *epoch => {}
                Some(job) if job.worker.as_deref() == Some(worker) => {
                    if self.extend(id, *epoch, 0).is_err() {
                        stale.push(id.clone());
                    }
                }
                _ => stale.push(id.clone()),
            }
        }
        for id in self.jobs_of(worker) {
            let job = &self.jobs[&id];
            if job.cancelling {
                cancel.push(id.clone());
            }
            if held.is_none_or(|held| held.contains(&(id.clone(), job.epoch))) {
                let length = job.lease.as_ref().map_or(LEASE_MS, |lease| lease.length_ms);
                self.lengthen(&id, length);
            }
        }
        Ok((cancel, stale))
    }

    pub(crate) fn unregister(&mut self, worker: &str) -> Answer<usize> {
        if !self.workers.contains_key(worker) {
            return Err(No::Refused);
        }
        let jobs = self.jobs_of(worker);
        for id in &jobs {
            self.change(id, |job| job.abandons = 0);
            self.give_back(id, None);
        }
        self.workers.remove(worker);
        Ok(jobs.len())
    }
}
