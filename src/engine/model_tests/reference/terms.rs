//! What is submitted.

use crate::clock::Millis;
use crate::jobs::job::AfterPolicy;

/// What a job runs: of a kind, of a plan that every worker can run, of one with variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    Plain,
    Plan,
    Kind,
}

/// How a failed job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backoff {
    Doubling,
    Fixed(u64),
}

/// What jobs and actions are submitted with alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) queue: &'static str,
    pub(crate) priority: u8,
    pub(crate) key: Option<&'static str>,
    pub(crate) needs_gpu: bool,
    pub(crate) attempts: u32,
    pub(crate) max_losses: u32,
    pub(crate) delay_ms: u64,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) expires_at: Option<Millis>,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) backoff: Backoff,
}

/// What happens when another job holds the unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    Reject,
    Return,
    Replace,
}

/// A job that is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Submission {
    pub(crate) id: String,
    pub(crate) work: Work,
    pub(crate) terms: Terms,
    pub(crate) unique: Option<(&'static str, Conflict)>,
    pub(crate) idempotency: Option<&'static str>,
    pub(crate) after: Vec<String>,
    pub(crate) policy: AfterPolicy,
}

/// When an action's callback runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    Complete,
    Success,
    Failure,
}

/// An action that is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionSubmission {
    pub(crate) id: String,
    pub(crate) inputs: usize,
    pub(crate) terms: Terms,
    pub(crate) max_parallel: Option<usize>,
    pub(crate) max_failures: Option<usize>,
    pub(crate) callbacks: Vec<Occasion>,
}

impl Terms {
    /// What a plan's job has that says nothing.
    pub(crate) fn plain() -> Terms {
        Terms {
            queue: "ready",
            priority: 5,
            key: None,
            needs_gpu: false,
            attempts: 1,
            max_losses: 3,
            delay_ms: 0,
            timeout_ms: None,
            expires_at: None,
            retention_ms: None,
            backoff: Backoff::Doubling,
        }
    }
}
