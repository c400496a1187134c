//! What the threads of one store tell each other: that it has stopped for good, and that the core should look again.
//!
//! A store that met an error it cannot undo *stops*: every layer asks [`Signals::check`] before it touches a file, so
//! that nothing, redb's destructor included, can make anything durable afterwards.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::storage::{Error, Result};

type Wake = Box<dyn Fn() + Send + Sync>;

/// Shared by the log, the write-behind backend and the core.
#[derive(Default)]
pub(super) struct Signals {
    stopped: OnceLock<String>,
    wake: OnceLock<Wake>,
}

impl Signals {
    /// Stops the store for good; the first reason counts.
    pub(super) fn stop(&self, reason: impl Into<String>) {
        let _ = self.stopped.set(reason.into());
        self.wake();
    }

    /// Why the store has stopped, if it has.
    pub(super) fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
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
        if let Some(wake) = self.wake.get() {
            wake();
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
