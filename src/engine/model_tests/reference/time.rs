//! What happens by itself.

use super::*;

impl Model {
    /// The ids of the jobs that something is due for, in the order of its moments.
    pub(super) fn due<K: Ord>(&self, at: impl Fn(&Job) -> Option<(Millis, K)>) -> Vec<String> {
        let mut due: Vec<_> = self.jobs.iter().filter_map(|(id, job)| Some((at(job)?, id))).collect();
        due.retain(|((at, _), _)| *at <= self.now);
        due.sort();
        due.into_iter().map(|(_, id)| id.clone()).collect()
    }

    pub(super) fn told(&self) -> Vec<String> {
        let is_told = |job: &Job| job.has_dependents && job.status.is_terminal();
        self.due(|job| is_told(job).then(|| (job.ended_at.unwrap_or_default(), job.number)))
    }

    /// Leases have run out behind some that have their grace: they are looked for every quarter of a second.
    pub(crate) fn is_looked_for(&self) -> bool {
        self.now < self.grace_until && !self.lost().is_empty()
    }

    pub(super) fn lost(&self) -> Vec<String> {
        let has_grace = |lease: &Lease| self.now < self.grace_until && lease.claim <= self.grace_claims;
        let deadline =
            |job: &Job| job.lease.as_ref().filter(|lease| !has_grace(lease)).map(|lease| (lease.deadline, lease.claim));
        self.due(deadline)
    }

    pub(super) fn expired(&self) -> Vec<String> {
        let not_started = |job: &Job| matches!(job.status, Waiting | Scheduled | Pending);
        self.due(|job| Some((job.expires_at.filter(|_| not_started(job))?, job.number)))
    }

    /// What is due at its moment, once each: the way one turn of the server does it. Schedules follow, then
    /// [`Model::go_on_in_slices`].
    pub(crate) fn turn(&mut self) {
        for id in self.told() {
            self.tell(&id);
        }
        for id in self.due(|job| Some((job.run_at.filter(|_| job.status == Scheduled)?, job.place))) {
            self.become_due(&id);
        }
        for id in self.lost() {
            let job = &self.jobs[&id];
            let (conn, is_bounded) = (job.lease.as_ref().map_or(0, |lease| lease.conn), job.bound());
            if conn != 0 && is_bounded.is_none_or(|bound| bound > self.now) && self.holds(conn, &id) {
                self.lengthen(&id, LEASE_MS);
            } else {
                self.lose(&id);
            }
        }
        for status in [Completed, Failed, Cancelled] {
            let removed = self.due(|job| Some((job.remove_at.filter(|_| job.status == status)?, job.number)));
            for id in removed.iter().filter(|id| !self.jobs[*id].has_dependents).cloned().collect::<Vec<_>>() {
                self.remove(&id);
            }
        }
        for id in self.expired() {
            self.end(&id, Failed, Reason::Expired);
        }
        self.forget_workers();
        let now = self.now;
        self.repeats.retain(|_, (_, _, until)| *until > now);
    }

    /// A slice of all that is done in slices.
    pub(crate) fn go_on_in_slices(&mut self) {
        for action in std::mem::take(&mut self.bulks) {
            self.cancel_jobs_of(&action);
        }
        let mut unmade: Vec<_> = self.actions.iter().filter(|(_, action)| !action.unmade.is_empty()).collect();
        unmade.sort_by_key(|(_, action)| action.created);
        for id in unmade.into_iter().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.make(&id, CHUNK);
        }
    }

    /// True when a turn would change something.
    pub(crate) fn is_due(&self) -> bool {
        let gone = |status: Status| self.due(|job| Some((job.remove_at.filter(|_| job.status == status)?, 0)));
        !self.told().is_empty()
            || !self.due(|job| Some((job.run_at.filter(|_| job.status == Scheduled)?, 0))).is_empty()
            || !self.lost().is_empty()
            || [Completed, Failed, Cancelled].into_iter().any(|status| !gone(status).is_empty())
            || !self.expired().is_empty()
            || !self.bulks.is_empty()
            || self.actions.values().any(|action| !action.unmade.is_empty())
            || self.workers.values().any(|worker| worker.timer_at <= self.now)
            || self.repeats.values().any(|(_, _, until)| *until <= self.now)
            || !self.due_schedules().is_empty()
    }

    /// Those who wait for a job learn of its end.
    pub(super) fn tell(&mut self, id: &str) {
        let is_good = self.jobs[id].status == Completed;
        let mut waiting: Vec<_> = self.jobs.iter().filter(|(_, job)| job.after.contains(id)).collect();
        waiting.sort_by_key(|(_, job)| job.number);
        for job in waiting.into_iter().map(|(job, _)| job.clone()).collect::<Vec<_>>() {
            self.change(&job, |job| {
                job.after.remove(id);
            });
            let policy = self.jobs[&job].submission.as_ref().map(|submission| submission.policy);
            if !is_good && policy != Some(AfterPolicy::Continue) {
                self.end_after(&job);
            } else if self.jobs[&job].after.is_empty() {
                self.go_on(&job);
            }
        }
        if let Some(job) = self.jobs.get_mut(id) {
            job.has_dependents = false;
        }
    }

    pub(super) fn holds(&self, conn: u64, id: &str) -> bool {
        let Some(state) = self.conns.get(&conn) else { return false };
        let epoch = self.jobs[id].epoch;
        state.held.get(id).is_some_and(|held| held.0 == epoch) && self.now.since(state.heard) <= SILENCE_MS
    }

    pub(super) fn forget_workers(&mut self) {
        let mut due: Vec<_> = self.workers.iter().filter(|(_, worker)| worker.timer_at <= self.now).collect();
        due.sort_by_key(|(_, worker)| (worker.timer_at, worker.number));
        for id in due.into_iter().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let forgotten_at = self.workers[&id].forgotten_at();
            if forgotten_at <= self.now && self.jobs_of(&id).is_empty() {
                self.workers.remove(&id);
            } else if let Some(worker) = self.workers.get_mut(&id) {
                worker.timer_at = if forgotten_at > self.now { forgotten_at } else { self.now.plus(HEARTBEAT_MS) };
            }
        }
    }
}
