//! SIGTERM and SIGINT for the client commands.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a process to end, caught from the moment this is made.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(super) fn catch() -> anyhow::Result<Signals> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Signals { term: catch(SignalKind::terminate())?, int: catch(SignalKind::interrupt())? })
    }

    /// The next one's name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
