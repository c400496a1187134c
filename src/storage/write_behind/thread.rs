//! The thread that applies the queue, for as long as the store is open.

use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use super::{RETRY, RUN, WriteBehind};
use crate::storage::{Error, Result};

impl WriteBehind {
    /// The thread's life.
    fn run(&self) {
        loop {
            let mut state = self.state();
            while !state.is_due() && !state.end && self.signals.stopped().is_none() {
                state.idle = true;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle = false;
            }
            if state.held.is_some() && !state.end {
                state = self.work.wait_timeout(state, RETRY).unwrap_or_else(PoisonError::into_inner).0;
            }
            if self.signals.stopped().is_some() || state.end && (state.queue.is_empty() || state.held.is_some()) {
                drop(state);
                self.progress.notify_all();
                return;
            }
            drop(state);
            self.apply_run(RUN);
        }
    }
}

/// The thread that applies the queue; when this is dropped it ends, after what is queued unless the store has stopped.
#[derive(Debug)]
pub(in crate::storage) struct WriteBehindThread {
    shared: Arc<WriteBehind>,
    handle: Option<JoinHandle<()>>,
}

impl WriteBehindThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(in crate::storage) fn start(shared: Arc<WriteBehind>) -> Result<WriteBehindThread> {
        let run = Arc::clone(&shared);
        let handle = thread::Builder::new()
            .name("agq-pages".to_owned())
            .spawn(move || {
                run.signals.guard("agq-pages", || run.run());
                run.progress.notify_all();
            })
            .map_err(|source| Error::io("starting the thread that writes pages", source))?;
        Ok(WriteBehindThread { shared, handle: Some(handle) })
    }
}

impl Drop for WriteBehindThread {
    fn drop(&mut self) {
        self.shared.state().end = true;
        self.shared.work.notify_one();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has been printed; there is nobody left to tell.
            let _ = handle.join();
        }
    }
}
