//! Claims: which job is next, and for whom.

use super::reports::lease;
use super::*;
use crate::engine::model_tests::steps::PROGRESS;

impl Model {
    pub(super) fn room(&self, name: &str) -> u64 {
        let Some(queue) = self.queues.get(name) else { return 0 };
        if queue.paused {
            return 0;
        }
        let running = self.count(|job| job.terms.queue == name && job.status == Running);
        let places = queue.limits.concurrency.map_or(u64::MAX, |limit| limit.saturating_sub(running));
        places.min(queue.limits.rate.map_or(u64::MAX, |_| queue.parts(self.now) / RATE_MS))
    }

    /// The job that a claim takes next.
    pub(super) fn pick(&self, claim: &Claim, name: &'static str) -> Option<String> {
        let has_gpu = claim.list.is_none() && self.workers.get(&claim.worker).is_some_and(|worker| worker.has_gpu);
        let can = |lane: Lane| {
            (has_gpu || !lane.needs_gpu)
                && match claim.takes {
                    Takes::Everything => true,
                    Takes::Plans => lane.work <= Work::Plan,
                    Takes::Plain => lane.work == Work::Plain,
                }
        };
        if self.room(name) == 0 {
            return None;
        }
        let pending = |(_, job): &(&String, &Job)| job.terms.queue == name && job.status == Pending && can(job.lane());
        let keyless_turn = self.queues.get(name).map_or(0, |queue| queue.keyless_turn);
        let mut best: Option<(u64, &String)> = None;
        for descent in 0..=9 {
            let jobs = || self.jobs.iter().filter(pending).filter(|(_, job)| job.lane().descent == descent);
            let plain = jobs().filter(|(_, job)| job.terms.key.is_none()).min_by_key(|(_, job)| job.place);
            let turns =
                self.turns.iter().filter(|((of, lane, _), _)| *of == name && lane.descent == descent && can(*lane));
            let keyed = turns.min_by_key(|(_, turn)| **turn);
            let head = match (plain, keyed) {
                (Some(plain), Some((_, turn))) if keyless_turn < *turn => plain,
                (_, Some(((_, lane, key), _))) => {
                    let of_key = jobs().filter(|(_, job)| job.lane() == *lane && job.terms.key == Some(*key));
                    of_key.min_by_key(|(_, job)| job.place)?
                }
                (Some(plain), None) => plain,
                (None, None) => continue,
            };
            let since = head.1.run_at.map_or(head.1.created_at, |at| at.max(head.1.created_at));
            let rank = since.0 + u64::from(descent) * AGEING_MS;
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, head.0));
            }
        }
        best.map(|(_, id)| id.clone())
    }

    /// True when a claim would be given something.
    pub(crate) fn can_serve(&self, claim: &Claim) -> bool {
        claim.queues.iter().any(|queue| self.pick(claim, queue).is_some())
    }

    /// Claims that wait come upon jobs that are not to start any more: these end. Behind a queue that has a job for it a
    /// claim looks only once it has that job.
    pub(crate) fn end_overdue(&mut self) {
        for claim in self.parked.clone() {
            for queue in &claim.queues {
                let next = loop {
                    let next = self.pick(&claim, queue);
                    let Some(id) = next.as_ref().filter(|id| self.is_over(&self.jobs[*id])) else { break next };
                    self.hear(&claim.worker);
                    self.start(id, &claim);
                };
                if next.is_some() {
                    break;
                }
            }
        }
    }

    pub(super) fn is_over(&self, job: &Job) -> bool {
        job.expires_at.is_some_and(|at| at <= self.now) || self.is_called_off(job)
    }

    pub(super) fn is_called_off(&self, job: &Job) -> bool {
        let action = job.action.as_ref().and_then(|(action, _)| self.actions.get(action));
        action.is_some_and(|action| action.cancelling != Cancelling::No)
    }

    /// Gives jobs to a worker; each with its epoch.
    pub(crate) fn claim(&mut self, claim: &Claim) -> Vec<(String, u64)> {
        let mut claimed = Vec::new();
        for queue in &claim.queues {
            while claimed.len() < claim.count {
                let Some(id) = self.pick(claim, queue) else { break };
                self.hear(&claim.worker);
                claimed.extend(self.start(&id, claim));
            }
        }
        claimed
    }

    pub(super) fn start(&mut self, id: &str, claim: &Claim) -> Option<(String, u64)> {
        let job = self.jobs[id].clone();
        if job.expires_at.is_some_and(|at| at <= self.now) {
            self.end(id, Failed, Reason::Expired);
            return None;
        }
        if self.is_called_off(&job) {
            self.end(id, Cancelled, Reason::None);
            return None;
        }
        let (now, number) = (self.now, self.next());
        let is_list = claim.list.is_some();
        self.change(id, |job| {
            (job.status, job.reason, job.epoch, job.starts) = (Running, Reason::None, job.epoch + 1, job.starts + 1);
            (job.started_at, job.ended_at, job.worker) = (now, None, Some(claim.worker.clone()));
            // Only a plan whose tasks may run twice goes on from there.
            job.progress = job.progress.filter(|_| job.work == Work::Plan);
            let finished = job.progress.map_or(&[][..], |progress| PROGRESS[progress].1);
            job.output.retain(|(task, _)| finished.contains(task));
            if !is_list {
                job.abandons = 0;
            }
            let conn = if is_list { claim.conn } else { 0 };
            job.lease = Some(lease(job, now, claim.lease_ms, number, conn));
        });
        let epoch = self.jobs[id].epoch;
        if let (Some(multiplexed), Some(conn)) = (claim.list, self.conns.get_mut(&claim.conn)) {
            conn.held.insert(id.to_owned(), (epoch, multiplexed));
        }
        Some((id.to_owned(), epoch))
    }

    /// A connection sends something.
    pub(crate) fn heard(&mut self, conn: u64) {
        self.conns.entry(conn).or_default().heard = self.now;
    }

    /// A connection asks again while it holds what it never saw.
    pub(crate) fn abandon(&mut self, conn: u64) {
        let held = self.conns.entry(conn).or_default().held.clone();
        for (id, (epoch, _)) in held.iter().filter(|(_, (_, multiplexed))| *multiplexed) {
            if self.jobs.get(id).is_some_and(|job| job.status == Running && job.epoch == *epoch) {
                self.change(id, |job| job.abandons += 1);
                if self.jobs[id].abandons >= 3 {
                    self.change(id, |job| job.epoch += 1);
                    self.count_loss(id);
                } else {
                    self.give_back(id, None);
                }
            }
            self.conns.entry(conn).or_default().held.remove(id);
        }
    }
}
