//! Tells the service manager how far a drain has come. The engine drains; it knows no service manager.

use std::time::Duration;

use crate::clock::Millis;
use crate::command::{Drain, Server, Shutdown};
use crate::server::notify::Notify;

/// What the service manager was told last.
pub(super) struct DrainWatch {
    told: Option<(Drain, u64)>,
    notify: Notify,
}

impl DrainWatch {
    pub(super) fn new(notify: &Notify) -> DrainWatch {
        DrainWatch { told: None, notify: notify.clone() }
    }

    /// Looks after a batch, and tells what has changed.
    pub(super) fn note(&mut self, server: &Server, now: Millis) {
        let drain = server.shutdown.drain().map(|drain| (drain, server.facts.drain_waits_for));
        if drain == self.told {
            return;
        }
        self.told = drain;
        match drain {
            Some((drain, running)) => {
                let left = drain.deadline.map(|deadline| Duration::from_millis(deadline.since(now)));
                // One that a client began can be taken back, and 'stopping' cannot.
                self.notify.draining(running, left.filter(|_| drain.by_signal));
            }
            None if server.shutdown == Shutdown::No => self.notify.ready("serving; the drain was taken back"),
            None => {}
        }
    }
}
