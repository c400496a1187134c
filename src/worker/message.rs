//! What the run of a job says to its report.

use bytes::Bytes;

use crate::jobs::checkpoint::TaskResult;

/// Which of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A piece of output.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) task: u32,
    pub(super) stream: Stream,
    pub(super) bytes: Bytes,
}

/// Something to report.
#[derive(Debug)]
pub(super) enum Message {
    /// A program wrote something.
    Output(Chunk),
    /// Tasks that an earlier attempt finished: what they wrote stands in front.
    Kept(Vec<TaskResult>),
    /// A task is done that a further attempt need not run again; it comes behind its output.
    Finished(TaskResult),
}
