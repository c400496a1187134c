//! The snapshot that a backup is made of, shared by the thread that writes the backup and whoever may end it.

use std::mem::replace;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::storage::{Error, Result, Snapshot};

/// A snapshot on loan: the store cannot be closed before it is given back.
pub struct Source {
    state: Mutex<State>,
    cancelled: AtomicBool,
    since: Instant,
    on_release: Box<dyn Fn() + Send + Sync>,
}

enum State {
    /// Nothing has been read of it.
    Waiting(Snapshot),
    Reading,
    Released,
}

impl Source {
    /// `on_release` is called when the snapshot was read and is given back.
    pub fn new(snapshot: Snapshot, on_release: impl Fn() + Send + Sync + 'static) -> Arc<Source> {
        Arc::new(Source {
            state: Mutex::new(State::Waiting(snapshot)),
            cancelled: AtomicBool::new(false),
            since: Instant::now(),
            on_release: Box::new(on_release),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the backup. A snapshot of which nothing has been read is given back at once.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        let mut state = self.state();
        if matches!(*state, State::Waiting(_)) {
            *state = State::Released;
        }
    }

    /// True once it is to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// True while the snapshot lives.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !matches!(*self.state(), State::Released)
    }

    /// # Errors
    /// [`Error::Cancelled`] once the backup is to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// The snapshot, to be read.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when it was given back already.
    pub(super) fn take(&self) -> Result<Snapshot> {
        let mut state = self.state();
        match replace(&mut *state, State::Reading) {
            State::Waiting(snapshot) => Ok(snapshot),
            other => {
                *state = other;
                Err(Error::Cancelled)
            }
        }
    }

    /// Ends the snapshot's life: how long that was.
    pub(super) fn give_back(&self, snapshot: Snapshot) -> Duration {
        drop(snapshot);
        *self.state() = State::Released;
        (self.on_release)();
        self.since.elapsed()
    }
}
