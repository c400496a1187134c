//! Names among a command's arguments: ordinary keys, and in database 0 the views of jobs, plans, workers and queues, which
//! count as what they show.

use crate::access::{Access, Role};
use crate::command::grants::{Asked, Verdict, found};
use crate::command::views::{JobPart, Name, WorkerPart, has_prefix};
use crate::command::{Flags, Halt};
use crate::jobs::Id;

impl Asked<'_> {
    /// Checks the keys among the arguments: the first, and all others.
    pub(super) fn keys(&self, first: Access, others: Access) -> Verdict {
        if self.command.counted_keys(self.request).is_none() {
            // The command will refuse the number; should it ever read one that the table does not, it has all keys.
            return self.all_keys();
        }
        for (place, name) in self.command.key_names(self.request).enumerate() {
            self.name(name, if place == 0 { first } else { others }, place)?;
        }
        Ok(())
    }

    fn name(&self, name: &[u8], access: Access, place: usize) -> Verdict {
        let is_ordinary = self.session.database != 0 || !has_prefix(name);
        if !is_ordinary {
            if let Some(view) = found(Name::resolve(&self.view, name))?.flatten() {
                return self.view_of(&view, name, place);
            }
            if self.is_nothing_yet(name, place)? {
                return Ok(());
            }
        }
        if self.key.scopes.may_use(access, name) {
            return Ok(());
        }
        Err(self.denied_on("the key", name, access.role()))
    }

    /// True for the name of a queue that is still to come, where a command of the list contract may look at it or wait
    /// there. It is asked about again when it is served.
    fn is_nothing_yet(&self, name: &[u8], place: usize) -> Result<bool, Halt> {
        let Some(Name::Queue(queue)) = Name::parse(name) else { return Ok(self.is_late_report(name)) };
        let has = |role| self.key.scopes.has(role, queue.as_bytes());
        let may = match self.command.name {
            "RPOP" | "BRPOP" => has(Role::Work),
            "RPOPLPUSH" | "LMOVE" | "BRPOPLPUSH" | "BLMOVE" => place == 0 && has(Role::Work),
            _ => self.command.flags.has(Flags::READONLY) && (has(Role::Read) || has(Role::Work)),
        };
        Ok(may && self.view.record(name)?.is_none())
    }

    /// True for a report on a job that is gone, of a connection that claimed through lists: the command says so, and
    /// stores nothing.
    fn is_late_report(&self, name: &[u8]) -> bool {
        let is_report =
            matches!(Name::parse(name), Some(Name::Job(_, JobPart::Stdout | JobPart::Stderr | JobPart::Status)));
        let is_free = || matches!(self.view.record(name), Ok(None));
        self.command.name == "SET" && self.session.jobs.claims && is_report && is_free()
    }

    /// Checks the use of a view; all others than these are for administrators, whom the view refuses.
    fn view_of(&self, view: &Name, name: &[u8], place: usize) -> Verdict {
        if self.command.flags.has(Flags::READONLY) || self.command.name == "WATCH" {
            return self.read_view(view);
        }
        match (self.command.name, view, place) {
            ("RPOP" | "BRPOP", Name::Queue(queue), _)
            | ("RPOPLPUSH" | "LMOVE" | "BRPOPLPUSH" | "BLMOVE", Name::Queue(queue), 0) => {
                self.queue(Role::Work, queue.as_bytes())?;
                let worker = found(self.session.jobs.worker(self.session.id))?;
                worker.map_or(Ok(()), |worker| self.worker(&worker))
            }
            ("RPOPLPUSH" | "LMOVE" | "BRPOPLPUSH" | "BLMOVE", Name::Processing, 1) => self.some(&[Role::Work]),
            ("RPOPLPUSH" | "LMOVE" | "BRPOPLPUSH" | "BLMOVE", Name::Queue(queue), 1) => {
                self.queue(Role::Submit, queue.as_bytes())
            }
            ("LPUSH" | "RPUSH", Name::Queue(queue), _) => {
                self.queue(Role::Work, queue.as_bytes())?;
                self.request.iter().skip(2).try_for_each(|job| self.own_job(job))
            }
            ("LREM", Name::Processing, _) => {
                self.some(&[Role::Work])?;
                self.own_job(self.request.get(3).unwrap_or_default())
            }
            ("SET", Name::Job(id, JobPart::Stdout | JobPart::Stderr | JobPart::Status), _) => {
                self.own_job(id.as_bytes())
            }
            ("SET", Name::Worker(id, WorkerPart::Tools | WorkerPart::Tags), _) => {
                self.some(&[Role::Work])?;
                self.worker(id)
            }
            _ => Err(self.denied(&format!(" on '{}'", crate::jobs::error::shown(name)), "ADMIN")),
        }
    }

    fn read_view(&self, view: &Name) -> Verdict {
        match view {
            Name::Job(id, _) => self.read_job(id.as_bytes()),
            Name::Plan(_) => self.some(&[Role::Submit, Role::Read]),
            Name::Worker(id, _) => self.see_worker(id),
            Name::Queue(queue) if self.key.scopes.has(Role::Work, queue.as_bytes()) => Ok(()),
            Name::Queue(queue) => self.queue(Role::Read, queue.as_bytes()),
            Name::Processing | Name::Scheduled => self.every(Role::Read),
        }
    }

    fn see_worker(&self, id: &Id) -> Verdict {
        let worker = found(self.jobs().worker(id.as_bytes()))?.flatten();
        if worker.is_some_and(|worker| worker.access_key.as_ref() == Some(&self.key.name)) {
            return Ok(());
        }
        self.every(Role::Read)
    }
}
