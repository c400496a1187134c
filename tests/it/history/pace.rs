//! How far the clients of one life have come, and whether it is over.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// When not one call is answered for so long, none will be.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts answers, and tells when there were enough.
pub(super) struct Pace {
    progress: Mutex<Progress>,
    changed: Condvar,
    enough: u64,
    /// A server to kill at that very moment: what answers too early is caught only before it is done.
    victim: Option<Pid>,
}

#[derive(Default)]
struct Progress {
    answered: u64,
    is_over: bool,
}

impl Pace {
    pub(super) fn new(enough: u64, victim: Option<Pid>) -> Pace {
        Pace { progress: Mutex::default(), changed: Condvar::new(), enough, victim }
    }

    /// Counts an answer.
    pub(super) fn one(&self) {
        let mut progress = self.progress.lock().unwrap();
        progress.answered += 1;
        if progress.answered == self.enough
            && let Some(victim) = self.victim
        {
            progress.is_over = true;
            kill_process(victim, Signal::KILL).unwrap();
        }
        self.changed.notify_all();
    }

    /// Waits until so many calls were answered, or the life is over.
    pub(super) fn wait(&self, answered: u64) {
        let mut progress = self.progress.lock().unwrap();
        while progress.answered < answered && !progress.is_over {
            let before = progress.answered;
            let (now, timeout) = self.changed.wait_timeout(progress, PATIENCE).unwrap();
            progress = now;
            assert!(!timeout.timed_out() || progress.answered > before, "no call is answered any more");
        }
    }

    /// Waits until there were enough.
    pub(super) fn wait_for_enough(&self) {
        self.wait(self.enough);
    }

    /// Stays away for so long, unless the life is over before.
    pub(super) fn rest(&self, time: Duration) {
        let progress = self.progress.lock().unwrap();
        let _ = self.changed.wait_timeout_while(progress, time, |progress| !progress.is_over).unwrap();
    }

    /// Tells everybody that connections break from now on.
    pub(super) fn end(&self) {
        self.progress.lock().unwrap().is_over = true;
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.progress.lock().unwrap().is_over
    }
}
