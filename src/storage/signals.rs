//! What the threads of one store tell each other: that it has stopped for good, and that the core should look again.
//!
//! A store that met an error it cannot undo *stops*: every layer asks [`Signals::check`] before it touches a file, so
//! that nothing, redb's destructor included, can make anything durable afterwards.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::storage::{Error, Result};

type Wake = Box<dyn Fn() + Send + Sync>;

/// Shared by the log, the write-behind backend and the core. A file that may be given up alone has signals of its own,
/// which are a *part* of the store's: it stops with the store, and the store with it unless it was given up before.
#[derive(Default)]
pub(super) struct Signals {
    stopped: OnceLock<String>,
    wake: OnceLock<Wake>,
    whole: OnceLock<Arc<Signals>>,
}

impl Signals {
    /// Signals that are a part of others.
    pub(super) fn part_of(whole: &Arc<Signals>) -> Signals {
        Signals { whole: OnceLock::from(Arc::clone(whole)), ..Signals::default() }
    }

    /// Makes these a part of others, once: had they stopped already, the others stop now.
    pub(super) fn join(&self, whole: &Arc<Signals>) {
        let _ = self.whole.set(Arc::clone(whole));
        if let Some(reason) = self.stopped.get() {
            whole.stop(reason.clone());
        }
    }

    /// Stops the store for good; the first reason counts.
    pub(super) fn stop(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.stopped.set(reason.clone()).is_ok()
            && let Some(whole) = self.whole.get()
        {
            whole.stop(reason);
        }
        self.wake();
    }

    /// Stops this part alone, for good: what fails in it from now on is nobody's concern.
    pub(super) fn give_up(&self, reason: impl Into<String>) {
        let _ = self.stopped.set(reason.into());
    }

    /// Why the store has stopped, if it has.
    pub(super) fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str).or_else(|| self.whole.get()?.stopped())
    }

    /// An error when the store has stopped.
    pub(super) fn check(&self) -> Result<()> {
        match self.stopped() {
            None => Ok(()),
            Some(reason) => Err(Error::Stopped { reason: reason.to_owned() }),
        }
    }

    /// As [`Signals::check`], for the backend, which speaks in I/O errors.
    pub(super) fn check_io(&self) -> std::io::Result<()> {
        match self.stopped() {
            None => Ok(()),
            Some(reason) => Err(std::io::Error::other(format!("the store has stopped: {reason}"))),
        }
    }

    /// Runs a thread's life; the store stops when it panics.
    pub(super) fn guard(&self, thread: &str, life: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(life)).is_err() {
            self.stop(format!("the thread {thread} panicked"));
        }
    }

    /// Sets what [`Signals::wake`] calls; the first one counts.
    pub(super) fn on_wake(&self, wake: Wake) {
        let _ = self.wake.set(wake);
    }

    /// Tells the core that a checkpoint has drained, or that the store has stopped.
    pub(super) fn wake(&self) {
        match (self.whole.get(), self.wake.get()) {
            (Some(whole), _) => whole.wake(),
            (None, Some(wake)) => wake(),
            (None, None) => {}
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

/// Stops the store when it is dropped, so that what is dropped after it writes nothing.
#[derive(Debug)]
pub(super) struct StopOnDrop(Option<Arc<Signals>>);

impl StopOnDrop {
    pub(super) fn new(signals: &Arc<Signals>) -> StopOnDrop {
        StopOnDrop(Some(Arc::clone(signals)))
    }

    /// All went well: drop nothing, stop nothing.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(signals) = &self.0 {
            signals.stop("it was given up before it was whole");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_whole_and_the_whole_with_it() {
        let whole = Arc::new(Signals::default());
        let part = Signals::part_of(&whole);
        let other = Signals::part_of(&whole);
        part.stop("a page was not written");
        assert_eq!([&part, &other, &*whole].map(Signals::stopped), [Some("a page was not written"); 3]);
    }

    #[test]
    fn a_part_that_was_given_up_stops_nobody() {
        let whole = Arc::new(Signals::default());
        let part = Signals::part_of(&whole);
        part.give_up("its file was replaced");
        part.stop("a page was not written");
        assert_eq!((part.stopped(), whole.stopped()), (Some("its file was replaced"), None));
    }

    #[test]
    fn what_had_stopped_before_it_became_a_part_stops_the_whole() {
        let whole = Arc::new(Signals::default());
        let part = Signals::default();
        part.stop("a page was not written");
        part.join(&whole);
        assert_eq!(whole.stopped(), Some("a page was not written"));
    }
}
