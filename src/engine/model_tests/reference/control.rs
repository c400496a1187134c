//! What operators do to jobs and queues.

use super::*;

impl Model {
    pub(crate) fn cancel(&mut self, id: &str) -> Answer {
        let job = self.job(id)?.clone();
        match job.status {
            Completed | Failed => return Err(No::Refused),
            Cancelled => {}
            Running if job.lease.as_ref().is_none_or(|lease| lease.conn == 0) => {
                self.change(id, |job| job.cancelling = true);
            }
            Waiting | Scheduled | Pending | Running => {
                if job.status == Running {
                    self.change(id, |job| job.epoch += 1);
                }
                self.end(id, Cancelled, Reason::None);
            }
        }
        Ok(())
    }

    pub(crate) fn retry(&mut self, id: &str) -> Answer {
        let job = self.job(id)?.clone();
        let unique = job.submission.as_ref().and_then(|submission| submission.unique);
        let is_held = unique.is_some_and(|(key, _)| self.holder(key).is_some());
        if !matches!(job.status, Failed | Cancelled) || is_held {
            return Err(No::Refused);
        }
        let (now, place) = (self.now, self.next());
        let waits = job.action.as_ref().is_some_and(|(action, _)| !self.has_room(action));
        self.change(id, |job| {
            (job.status, job.reason) = if waits { (Waiting, Reason::MaxParallel) } else { (Pending, Reason::None) };
            (job.failures_before, job.losses_before, job.abandons) = (job.failures, job.losses, 0);
            (job.epoch, job.place, job.run_at) = (job.epoch + 1, place, Some(now));
            (job.ended_at, job.remove_at, job.expires_at) = (None, None, None);
        });
        Ok(())
    }

    pub(crate) fn promote(&mut self, id: &str) -> Answer {
        if self.job(id)?.status != Scheduled {
            return Err(No::Refused);
        }
        let now = self.now;
        self.become_due(id);
        self.change(id, |job| job.run_at = Some(now));
        Ok(())
    }

    pub(super) fn become_due(&mut self, id: &str) {
        let place = self.next();
        self.change(id, |job| (job.status, job.reason, job.place) = (Pending, Reason::None, place));
    }

    pub(crate) fn delete(&mut self, id: &str) -> Answer {
        let job = self.job(id)?;
        if !job.status.is_terminal() || job.has_dependents {
            return Err(No::Refused);
        }
        self.remove(id);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(job) = self.jobs.remove(id) else { return };
        let Some((name, _)) = job.action else { return };
        if let Some(action) = self.actions.get_mut(&name) {
            action.failed_and_gone += usize::from(job.status == Failed);
            action.cancelled_and_gone += usize::from(job.status == Cancelled);
        }
        if self.of_action(&name).next().is_none() && self.actions[&name].unmade.is_empty() {
            self.actions.remove(&name);
            self.bulks.retain(|bulk| *bulk != name);
        }
    }

    pub(crate) fn purge(&mut self, queue: &'static str) -> Answer {
        if !self.queues.contains_key(queue) {
            return Err(No::Refused);
        }
        for action in self.actions.values_mut() {
            if action.submission.terms.queue == queue && !action.unmade.is_empty() {
                action.cancelling =
                    if action.cancelling == Cancelling::No { Cancelling::Rest } else { action.cancelling };
            }
        }
        // A callback's job that comes of it stays.
        let last = self.last;
        for status in [Waiting, Scheduled, Pending] {
            let is_meant = |job: &Job| job.terms.queue == queue && job.status == status && job.number <= last;
            let of_queue = |(_, job): &(&String, &Job)| is_meant(job);
            for id in self.jobs.iter().filter(of_queue).map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                self.end(&id, Cancelled, Reason::None);
            }
        }
        Ok(())
    }

    pub(crate) fn delete_queue(&mut self, queue: &'static str) -> Answer {
        let of_queue = |job: &Job| job.terms.queue == queue;
        let awaits = |action: &Action| action.submission.terms.queue == queue && !action.unmade.is_empty();
        let is_live = self.count(|job| of_queue(job) && !job.status.is_terminal()) > 0;
        let is_live = is_live || self.actions.values().any(awaits);
        if !self.queues.contains_key(queue) || is_live {
            return Err(No::Refused);
        }
        let ids = self.jobs.iter().filter(|(_, job)| of_queue(job) && !job.has_dependents);
        for id in ids.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
        if self.count(of_queue) == 0 {
            self.queues.remove(queue);
        }
        Ok(())
    }

    pub(crate) fn limit(&mut self, name: &'static str, limits: Limits) {
        let now = self.now;
        if self.queues.get(name).map(|queue| queue.limits).unwrap_or_default() == limits {
            return;
        }
        let queue = self.queues.entry(name).or_default();
        let before = std::mem::replace(&mut queue.limits, limits);
        if before.rate != limits.rate {
            queue.bucket = (BURST * RATE_MS, now);
        }
        if before.of_key != limits.of_key {
            let keys: BTreeSet<_> = self.jobs.values().filter_map(|job| job.terms.key).collect();
            for key in keys {
                self.take_turns(name, key, None);
            }
        }
    }
}
