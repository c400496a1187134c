//! What waits to be written to a connection, where it stands, and what it holds.

use std::task::Waker;
use std::time::Instant;

use bytes::BytesMut;

use crate::command::Held;
use crate::engine::Finished;

/// What waits to be written to a connection, and where it stands.
#[derive(Default)]
pub(super) struct Mailbox {
    pub(super) stage: Stage,
    /// Bytes that it did not ask for just now: messages, and replies before a command that waits.
    pub(super) pushed: BytesMut,
    /// Bytes that its task is writing.
    pub(super) writing: usize,
    /// Since when more than the soft limit of messages wait.
    pub(super) behind_since: Option<Instant>,
    /// Bytes of what it sent, until that is answered.
    pub(super) sent: usize,
    /// Bytes that the engine keeps for it.
    pub(super) kept: usize,
    /// What of all this is counted among the bytes that all connections hold.
    pub(super) counted: usize,
    /// The same of one that was ended for what all hold, until it is gone.
    pub(super) ending: usize,
    /// It is one of the server to itself, which is no client.
    pub(super) is_own: bool,
    /// It is to end at once.
    pub(super) killed: bool,
    /// Its task, while that waits for any of this.
    pub(super) task: Option<Waker>,
}

/// Where a connection stands.
#[derive(Default)]
pub(super) enum Stage {
    /// Nothing of it runs and nothing is to be written.
    #[default]
    Idle,
    /// A unit of it runs.
    Running,
    /// The replies are there to be taken.
    Finished(Finished),
    /// The replies are being written.
    Writing,
}

impl Mailbox {
    pub(super) fn take_pushed(&mut self) -> BytesMut {
        self.writing = self.pushed.len();
        std::mem::take(&mut self.pushed)
    }

    /// Bytes that wait to be written, or are.
    pub(super) fn waiting(&self) -> usize {
        let finished = if let Stage::Finished(finished) = &self.stage { finished.out.len() } else { 0 };
        self.pushed.len() + self.writing + finished
    }

    /// What it holds beside what the engine keeps for it.
    pub(super) fn held_apart(&self) -> Held {
        let finished = if let Stage::Finished(finished) = &self.stage { finished.out.len() } else { 0 };
        let parts = [self.pushed.len(), self.writing, finished].into_iter().filter(|bytes| *bytes > 0).count();
        Held { sent: self.sent, waiting: self.waiting(), parts }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        if self.is_own || self.killed { 0 } else { self.sent + self.kept + self.waiting() }
    }

    pub(super) fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}
