//! The record of a job: everything about one run but its large bodies and its output, which stand in `job_data`.

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::Id;

/// Where a job stands in its life; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// A condition is not met yet.
    Waiting = 0,
    /// It becomes pending at its due time.
    Scheduled = 1,
    /// It can be claimed.
    Pending = 2,
    /// A worker holds its lease.
    Running = 3,
    /// Done.
    Completed = 4,
    /// Its last attempt failed: the dead-letter set.
    Failed = 5,
    /// Cancelled.
    Cancelled = 6,
}

impl Status {
    /// Every status, in the order of its number.
    pub const ALL: [Status; 7] = [
        Status::Waiting,
        Status::Scheduled,
        Status::Pending,
        Status::Running,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
    ];

    /// The word that clients read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Scheduled => "scheduled",
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// The status of a word.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// True when nothing but a replay leads out of it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Cancelled)
    }
}

/// Why a job has its status; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Nothing to add.
    None = 0,
    /// Waits for other jobs.
    After = 1,
    /// Waits for a place among its action's running jobs.
    MaxParallel = 2,
    /// Its action is still being expanded.
    Expanding = 3,
    /// Was submitted with a delay.
    Delay = 4,
    /// Failed and runs again.
    Retry = 5,
    /// Was released with a delay.
    Snooze = 6,
    /// Every attempt failed.
    Exhausted = 7,
    /// Too many leases ran out.
    Poison = 8,
    /// The last attempt took too long.
    Timeout = 9,
    /// The worker gave it up for good.
    Rejected = 10,
    /// Did not start in time.
    Expired = 11,
    /// A job it came after ended badly.
    Dependency = 12,
    /// Its lease ran out; until another worker claims it, the one that lost it may go on.
    Lost = 13,
}

impl Reason {
    pub(super) const ALL: [Reason; 14] = [
        Reason::None,
        Reason::After,
        Reason::MaxParallel,
        Reason::Expanding,
        Reason::Delay,
        Reason::Retry,
        Reason::Snooze,
        Reason::Exhausted,
        Reason::Poison,
        Reason::Timeout,
        Reason::Rejected,
        Reason::Expired,
        Reason::Dependency,
        Reason::Lost,
    ];

    pub(super) fn from_number(number: u8) -> Option<Reason> {
        Reason::ALL.get(usize::from(number)).copied()
    }

    /// The word that clients read; `None` when there is nothing to say.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let name = match self {
            Reason::None => return None,
            Reason::After => "after",
            Reason::MaxParallel => "max_parallel",
            Reason::Expanding => "expanding",
            Reason::Delay => "delay",
            Reason::Retry => "retry",
            Reason::Snooze => "snooze",
            Reason::Exhausted => "exhausted",
            Reason::Poison => "poison",
            Reason::Timeout => "timeout",
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::Dependency => "dependency",
            Reason::Lost => "lost",
        };
        Some(name)
    }
}

/// What a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A Plan, with the job's input.
    Plan(Id),
    /// What workers of this kind know, with the job's payload.
    Kind(String),
}

/// Bytes that a client gave, returned as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Short enough to stand in the record.
    Inline(Bytes),
    /// So many bytes in a row of `job_data`.
    Stored(u64),
}

/// How long a failed job waits before it runs again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Backoff {
    /// `min(1 s · 2^(n−1), 1 h)` ± 50 %.
    #[default]
    Default,
    /// `min(base · 2^(n−1), max)` ± 50 %.
    Exponential {
        /// After the first failure.
        base_ms: u64,
        /// At most.
        max_ms: u64,
    },
    /// Always the same.
    Fixed(u64),
    /// So much more after each failure.
    Linear {
        /// A step.
        step_ms: u64,
        /// At most.
        max_ms: u64,
    },
    /// One after the other; the last stays.
    List(Vec<u64>),
}

/// What happens to a job when one that it comes after ends badly; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum AfterPolicy {
    /// It is cancelled.
    #[default]
    Cancel = 0,
    /// It runs all the same.
    Continue = 1,
    /// It fails.
    Fail = 2,
}

/// The first half of the SHA-256 of all that a client asked for.
pub type Digest = [u8; 16];

/// A worker's hold on a running job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// When it runs out.
    pub deadline: Millis,
    /// How long an extension lasts.
    pub length_ms: u64,
    /// The order of claims, never reused.
    pub claim: u64,
    /// The connection that claimed it through a list command and keeps it alive; 0 for JOB.CLAIM.
    pub list_connection: u64,
}

/// One run of a Plan or of a kind of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name: the row's key.
    pub id: Id,
    /// Where it stands.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// Its worker is to stop: a failure or a lost lease makes it cancelled.
    pub cancelling: bool,
    /// Some output was stored.
    pub has_output: bool,
    /// Workers that know nothing but commands and arguments can run it: list claims may take it.
    pub is_plain: bool,
    /// Other jobs wait for its end.
    pub has_dependents: bool,
    /// The order of creation, never reused.
    pub number: u64,
    /// Its place in the queue.
    pub place: u64,
    /// The queue.
    pub queue: Id,
    /// What it runs.
    pub work: Work,
    /// 0 to 9, 9 first.
    pub priority: u8,
    /// How often it may run to a bad end.
    pub attempts: u32,
    /// How many leases may run out.
    pub max_losses: u32,
    /// Attempts begun.
    pub starts: u32,
    /// Attempts that failed; never decreases.
    pub failures: u32,
    /// Leases that ran out; never decreases.
    pub losses: u32,
    /// What `failures` was at the last replay.
    pub failures_before: u32,
    /// What `losses` was at the last replay.
    pub losses_before: u32,
    /// How often in a row a list claim of it was abandoned.
    pub abandons: u32,
    /// The fencing token: incarnation · 2^32 + n.
    pub epoch: u64,
    /// When it was submitted.
    pub created_at: Millis,
    /// When it is or was due.
    pub run_at: Option<Millis>,
    /// When the last attempt began.
    pub started_at: Option<Millis>,
    /// When the last attempt, or the job, ended.
    pub ended_at: Option<Millis>,
    /// When a terminal job is removed.
    pub remove_at: Option<Millis>,
    /// How long it is kept when it has ended; the default of its end when absent.
    pub retention_ms: Option<u64>,
    /// The bound of one attempt.
    pub timeout_ms: Option<u64>,
    /// The latest start.
    pub expires_at: Option<Millis>,
    /// How it waits after a failure.
    pub backoff: Backoff,
    /// The hold of its worker while it runs.
    pub lease: Option<Lease>,
    /// Who runs it, or ran it last.
    pub worker: Option<Id>,
    /// The access key that its last claim was made with; `None` for who may do everything.
    pub claimed_with: Option<Id>,
    /// The action it belongs to, and its place there.
    pub action: Option<(Id, u64)>,
    /// Fairness group: a tenant.
    pub key: Option<String>,
    /// Held while it is not terminal.
    pub unique_key: Option<String>,
    /// Words to find it by.
    pub labels: Vec<String>,
    /// Capabilities it needs of a worker.
    pub requires: Vec<String>,
    /// The ids of the jobs that it comes after, as JSON.
    pub after: Option<Body>,
    /// How many of them have not ended yet.
    pub after_left: u32,
    /// What their bad end means.
    pub after_policy: AfterPolicy,
    /// The input of a Plan job, the payload of another.
    pub input: Option<Body>,
    /// What it was submitted with, where the submitter chose its id: the same id again is the same job only with it.
    pub submission: Option<Digest>,
    /// What the submitter wants to remember.
    pub meta: Option<Body>,
    /// What a completed job gave.
    pub result: Option<Body>,
    /// What the last failure said.
    pub error: Option<Body>,
    /// What the worker last said of its progress.
    pub progress: Option<Body>,
}

impl Job {
    /// A fresh pending job with the defaults of its kind of work.
    #[must_use]
    pub fn new(id: Id, number: u64, queue: Id, work: Work, now: Millis) -> Job {
        let attempts = if matches!(work, Work::Plan(_)) { 1 } else { 5 };
        Job {
            id,
            status: Status::Pending,
            reason: Reason::None,
            cancelling: false,
            has_output: false,
            is_plain: false,
            has_dependents: false,
            number,
            place: number,
            queue,
            work,
            priority: 5,
            attempts,
            max_losses: 3,
            starts: 0,
            failures: 0,
            losses: 0,
            failures_before: 0,
            losses_before: 0,
            abandons: 0,
            epoch: 0,
            created_at: now,
            run_at: None,
            started_at: None,
            ended_at: None,
            remove_at: None,
            retention_ms: None,
            timeout_ms: None,
            expires_at: None,
            backoff: Backoff::Default,
            lease: None,
            worker: None,
            claimed_with: None,
            action: None,
            key: None,
            unique_key: None,
            labels: Vec::new(),
            requires: Vec::new(),
            after: None,
            after_left: 0,
            after_policy: AfterPolicy::Cancel,
            input: None,
            submission: None,
            meta: None,
            result: None,
            error: None,
            progress: None,
        }
    }

    /// The latest moment the running attempt may last to.
    #[must_use]
    pub fn attempt_bound(&self) -> Option<Millis> {
        Some(self.started_at?.plus(self.timeout_ms?))
    }

    /// Since when it waits to be claimed, while it is pending.
    #[must_use]
    pub fn pending_since(&self) -> Millis {
        self.run_at.map_or(self.created_at, |due| due.max(self.created_at))
    }

    /// The plan it runs.
    #[must_use]
    pub fn plan(&self) -> Option<&Id> {
        match &self.work {
            Work::Plan(id) => Some(id),
            Work::Kind(_) => None,
        }
    }
}
