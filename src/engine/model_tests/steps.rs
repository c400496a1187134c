//! What may happen next, and the words in which it is asked for.

use proptest::prelude::*;

use crate::clock::Millis;
use crate::engine::model_tests::reference::{
    ActionSubmission, Backoff, Conflict, Limits, Occasion, Submission, Terms, Work,
    schedules::Definition,
    webhooks::{Hook, Taken},
};
use crate::jobs::job::AfterPolicy;
use crate::jobs::schedules::{Misfire, Overlap};

/// The moment at which every life begins.
pub(super) const START: Millis = Millis(1_800_000_000_000);
/// Connections of workers with leases: those of `w0`, `w1` and `w2`.
pub(super) const LEASED: [u64; 3] = [10, 11, 12];
/// Connections of workers that only know lists: those of `l0` and `l1`.
pub(super) const LISTED: [u64; 2] = [20, 21];
/// The server's own connection, which delivers to webhooks.
pub(super) const DELIVERER: u64 = 30;
/// The connection of everybody else.
pub(super) const CONTROL: u64 = 1;

/// What one of them asks for; numbers choose among what there is.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Submit { work: Work, terms: Terms, unique: Option<Conflict>, idempotent: bool },
    SubmitAgain(usize),
    SubmitAfter { first: usize, second: usize, policy: AfterPolicy },
    SubmitMany(Vec<(Work, Terms)>),
    SubmitAction { inputs: usize, terms: Terms, parallel: Option<usize>, failures: Option<usize>, calls: u8 },
    Claim { worker: usize, count: usize, lease_ms: u64, block: bool, plans: bool },
    ClaimList { worker: usize, block: bool },
    ReportList { worker: usize, job: usize, completed: bool },
    Complete(usize, bool),
    Fail { job: usize, dead: bool, wait: bool, late: bool },
    Release { job: usize, delay: bool },
    Extend(usize),
    Append(usize, u32),
    Progress(usize, usize),
    Update { job: usize, progress: usize, completed: bool },
    Cancel(usize),
    Retry(usize),
    RetryAll { cancelled: bool },
    Promote(usize),
    Delete(usize),
    CancelAction(usize),
    RetryAction { action: usize, cancelled: bool },
    Purge(bool),
    DeleteQueue(bool),
    Pause(bool),
    Limit(Limits),
    Heartbeat { worker: usize, jobs: Option<usize> },
    Unregister(usize),
    Disconnect(usize),
    PutSchedule { name: &'static str, definition: Box<Definition> },
    PauseSchedule(&'static str, bool),
    DeleteSchedule(&'static str),
    PutWebhook(&'static str, Hook),
    PauseWebhook(&'static str, bool),
    DeleteWebhook(&'static str),
    Deliver([Taken; 2]),
}

/// How the server's life ends, and when in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// Before anything of the batch is written.
    Before { power: bool },
    /// Its record is written and not synced.
    Written { power: bool },
    /// It is synced, and nobody was told.
    Synced { power: bool },
    /// The power goes at this I/O from now on, if the batch and a checkpoint after it have as many.
    AtIo(u64),
    /// The next sync fails.
    SyncFails,
}

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Commands of one batch, and how it is cut short.
    Batch(Vec<Deed>, Option<Cut>),
    /// So much time passes.
    Pass(u64),
    /// The clock is set forwards by so much.
    SetForward(u64),
    Checkpoint,
    /// The server stops and starts.
    Restart,
}

fn terms() -> impl Strategy<Value = Terms> {
    let work = (
        prop_oneof![6 => Just("ready"), 1 => Just("other")],
        prop_oneof![4 => Just(5_u8), 1 => Just(9), 1 => Just(3)],
        prop_oneof![3 => Just(None), 1 => Just(Some("x")), 1 => Just(Some("y"))],
        prop::bool::weighted(0.15),
        1..4_u32,
        1..4_u32,
    );
    let times = (
        prop_oneof![6 => Just(0_u64), 1 => Just(2_000), 1 => Just(40_000)],
        prop_oneof![3 => Just(None), 1 => Just(Some(20_000_u64))],
        prop_oneof![5 => Just(None), 1 => Just(Some(START.plus(90_000)))],
        prop_oneof![3 => Just(None), 1 => Just(Some(0_u64)), 1 => Just(Some(50_000))],
        prop_oneof![2 => Just(Backoff::Doubling), 1 => Just(Backoff::Fixed(0)), 1 => Just(Backoff::Fixed(5_000))],
    );
    (work, times).prop_map(|((queue, priority, key, needs_gpu, attempts, max_losses), times)| {
        let (delay_ms, timeout_ms, expires_at, retention_ms, backoff) = times;
        Terms {
            queue,
            priority,
            key,
            needs_gpu,
            attempts,
            max_losses,
            delay_ms,
            timeout_ms,
            expires_at,
            retention_ms,
            backoff,
        }
    })
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![3 => Just(Work::Kind), 2 => Just(Work::Plain), 1 => Just(Work::Plan)]
}

fn policy() -> impl Strategy<Value = AfterPolicy> {
    prop_oneof![Just(AfterPolicy::Cancel), Just(AfterPolicy::Continue), Just(AfterPolicy::Fail)]
}

fn conflict() -> impl Strategy<Value = Option<Conflict>> {
    prop_oneof![
        9 => Just(None),
        1 => Just(Some(Conflict::Reject)),
        1 => Just(Some(Conflict::Return)),
        2 => Just(Some(Conflict::Replace)),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let bound = |to| prop_oneof![Just(None), (1..to).prop_map(Some)];
    (bound(4_u64), bound(3), bound(3)).prop_map(|(concurrency, of_key, rate)| Limits { concurrency, of_key, rate })
}

fn deed() -> impl Strategy<Value = Deed> {
    let job = || 0..40_usize;
    let flag = any::<bool>;
    let bound = || prop_oneof![2 => Just(None), 1 => (0..4_usize).prop_map(Some)];
    let submits = prop_oneof![
        6 => (work(), terms(), conflict(), prop::bool::weighted(0.1))
            .prop_map(|(work, terms, unique, idempotent)| Deed::Submit { work, terms, unique, idempotent }),
        1 => job().prop_map(Deed::SubmitAgain),
        2 => (job(), job(), policy()).prop_map(|(first, second, policy)| Deed::SubmitAfter { first, second, policy }),
        1 => prop::collection::vec((work(), terms()), 1..4).prop_map(Deed::SubmitMany),
        3 => (1..16_usize, terms(), bound(), bound(), 0..8_u8).prop_map(|(inputs, terms, parallel, failures, calls)| {
            let parallel = parallel.map(|most| most + 1);
            Deed::SubmitAction { inputs, terms, parallel, failures, calls }
        }),
    ];
    let claims = prop_oneof![
        5 => (0..3_usize, 1..4_usize, prop_oneof![Just(1_000_u64), Just(30_000)], flag(), flag())
            .prop_map(|(worker, count, lease_ms, block, plans)| Deed::Claim { worker, count, lease_ms, block, plans }),
        2 => (0..2_usize, flag()).prop_map(|(worker, block)| Deed::ClaimList { worker, block }),
    ];
    let reports = prop_oneof![
        2 => (0..2_usize, 0..4_usize, flag()).prop_map(|(worker, job, completed)| Deed::ReportList { worker, job, completed }),
        4 => (job(), prop::bool::weighted(0.1)).prop_map(|(job, late)| Deed::Complete(job, late)),
        4 => (job(), prop::bool::weighted(0.2), flag(), prop::bool::weighted(0.1))
            .prop_map(|(job, dead, wait, late)| Deed::Fail { job, dead, wait, late }),
        2 => (job(), flag()).prop_map(|(job, delay)| Deed::Release { job, delay }),
        1 => job().prop_map(Deed::Extend),
        2 => (job(), 1..3_u32).prop_map(|(job, task)| Deed::Append(job, task)),
        2 => (job(), 0..PROGRESS.len()).prop_map(|(job, progress)| Deed::Progress(job, progress)),
        1 => (job(), 0..PROGRESS.len(), prop::bool::weighted(0.3))
            .prop_map(|(job, progress, completed)| Deed::Update { job, progress, completed }),
        1 => (0..3_usize, prop_oneof![Just(None), (0..40_usize).prop_map(Some)])
            .prop_map(|(worker, jobs)| Deed::Heartbeat { worker, jobs }),
        1 => (0..3_usize).prop_map(Deed::Unregister),
        1 => (0..5_usize).prop_map(Deed::Disconnect),
    ];
    let control = prop_oneof![
        2 => job().prop_map(Deed::Cancel),
        2 => job().prop_map(Deed::Retry),
        1 => flag().prop_map(|cancelled| Deed::RetryAll { cancelled }),
        1 => job().prop_map(Deed::Promote),
        1 => job().prop_map(Deed::Delete),
        1 => (0..4_usize).prop_map(Deed::CancelAction),
        1 => (0..4_usize, flag()).prop_map(|(action, cancelled)| Deed::RetryAction { action, cancelled }),
        1 => flag().prop_map(Deed::Purge),
        1 => flag().prop_map(Deed::DeleteQueue),
        1 => flag().prop_map(Deed::Pause),
        1 => limits().prop_map(Deed::Limit),
    ];
    prop_oneof![4 => submits, 4 => claims, 6 => reports, 3 => control, 1 => schedules(), 2 => webhooks()]
}

fn schedules() -> impl Strategy<Value = Deed> {
    let name = || prop_oneof![Just("s"), Just("t")];
    let overlap = prop_oneof![Just(Overlap::Allow), Just(Overlap::Skip)];
    // Of those that are made up for all there are not too many after a week.
    let course = prop_oneof![
        2 => Just((120_000, Misfire::Once)),
        2 => Just((120_000, Misfire::Skip)),
        1 => Just((6 * 3_600_000, Misfire::All)),
    ];
    let definition = (course, overlap, work(), terms(), conflict());
    let definition = definition.prop_map(|((period_ms, misfire), overlap, work, terms, unique)| {
        let terms = Terms { delay_ms: 0, expires_at: None, ..terms };
        let unique = unique.map(|conflict| ("u", conflict));
        let (id, after, policy) = (String::new(), Vec::new(), AfterPolicy::Cancel);
        let submission = Submission { id, work, terms, unique, idempotency: None, after, policy };
        Definition { period_ms, misfire, overlap, submission }
    });
    prop_oneof![
        4 => (name(), definition).prop_map(|(name, definition)| {
            Deed::PutSchedule { name, definition: Box::new(definition) }
        }),
        1 => (name(), any::<bool>()).prop_map(|(name, paused)| Deed::PauseSchedule(name, paused)),
        1 => name().prop_map(Deed::DeleteSchedule),
    ]
}

fn webhooks() -> impl Strategy<Value = Deed> {
    let name = || prop_oneof![Just("h"), Just("i")];
    let kinds = prop_oneof![
        2 => Just(&["job.", "action."][..]),
        2 => Just(&["job.completed", "job.failed", "job.cancelled", "action."][..]),
        1 => Just(&["action."][..]),
    ];
    let queue = prop_oneof![3 => Just(None), 1 => Just(Some("other"))];
    let backoff = prop_oneof![Just(0_u64), Just(700), Just(20_000)];
    let hook = (kinds, queue, 1..4_u32, backoff).prop_map(|(kinds, queue, attempts, backoff_ms)| Hook {
        kinds,
        queue,
        attempts,
        backoff_ms,
    });
    let taken =
        || prop_oneof![8 => Just(Taken::Ok), 6 => Just(Taken::Failed), 1 => Just(Taken::Gone), 1 => Just(Taken::Late)];
    prop_oneof![
        3 => (name(), hook).prop_map(|(name, hook)| Deed::PutWebhook(name, hook)),
        1 => (name(), prop::bool::weighted(0.3)).prop_map(|(name, paused)| Deed::PauseWebhook(name, paused)),
        1 => name().prop_map(Deed::DeleteWebhook),
        8 => (taken(), taken()).prop_map(|(one, other)| Deed::Deliver([one, other])),
    ]
}

fn cut() -> impl Strategy<Value = Option<Cut>> {
    let power = any::<bool>;
    prop_oneof![
        20 => Just(None),
        1 => power().prop_map(|power| Some(Cut::Before { power })),
        1 => power().prop_map(|power| Some(Cut::Written { power })),
        1 => power().prop_map(|power| Some(Cut::Synced { power })),
        1 => (0..12_u64).prop_map(|io| Some(Cut::AtIo(io))),
        1 => Just(Some(Cut::SyncFails)),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (prop::collection::vec(deed(), 1..4), cut()).prop_map(|(deeds, cut)| Step::Batch(deeds, cut)),
        3 => prop_oneof![4 => Just(1_u64), 6 => 500..40_000_u64, 1 => Just(8 * 86_400_000)].prop_map(Step::Pass),
        1 => (10_001..100_000_u64).prop_map(Step::SetForward),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
    ]
}

/// What workers say of their progress, and the tasks that they so say are finished.
pub(super) const PROGRESS: [(&str, &[u32]); 4] = [
    ("0.5", &[]),
    (r#"{"tasks":[{"task_number":1,"exit_code":0,"stdout_bytes":3}]}"#, &[1]),
    (r#"{"tasks":[{"task_number":2,"exit_code":0},{"task_number":1,"exit_code":1}]}"#, &[2]),
    (r#"{"tasks":[{"task_number":1,"exit_code":0},{"task_number":2,"exit_code":0}]}"#, &[1, 2]),
];

/// The plans of a life: one that every worker can run, and one with a variable, whose tasks may run twice.
pub(super) const PLANS: [&str; 2] = [
    r#"{"plan_id":"p","tasks":[{"task_number":1,"command":"echo","args":["x"]}]}"#,
    r#"{"plan_id":"e","idempotent_tasks":true,"tasks":[{"task_number":1,"command":"env","args":[],"env":{"A":"b"}},
        {"task_number":2,"command":"true"}]}"#,
];

impl Terms {
    fn json(&self) -> String {
        let mut json = format!(
            r#""queue":"{}","priority":{},"attempts":{},"max_losses":{}"#,
            self.queue, self.priority, self.attempts, self.max_losses
        );
        let mut add = |text: String| json += &text;
        self.key.iter().for_each(|key| add(format!(r#","key":"{key}""#)));
        self.timeout_ms.iter().for_each(|ms| add(format!(r#","timeout_ms":{ms}"#)));
        self.expires_at.iter().for_each(|at| add(format!(r#","expires_at":{}"#, at.0)));
        self.retention_ms.iter().for_each(|ms| add(format!(r#","retention_ms":{ms}"#)));
        if self.needs_gpu {
            add(r#","requires":["gpu"]"#.to_owned());
        }
        if self.delay_ms > 0 {
            add(format!(r#","delay_ms":{}"#, self.delay_ms));
        }
        if let Backoff::Fixed(ms) = self.backoff {
            add(format!(r#","backoff":{{"type":"fixed","ms":{ms}}}"#));
        }
        json
    }
}

impl Submission {
    pub(super) fn json(&self) -> String {
        let work = match self.work {
            Work::Kind => r#""kind":"k","payload":[1]"#,
            Work::Plain => r#""plan_id":"p""#,
            Work::Plan => r#""plan_id":"e""#,
        };
        let mut json = format!(r#"{{"job_id":"{}",{work},{}"#, self.id, self.terms.json());
        if let Some((key, conflict)) = self.unique {
            let conflict = format!("{conflict:?}").to_lowercase();
            json += &format!(r#","unique_key":"{key}","on_conflict":"{conflict}""#);
        }
        self.idempotency.iter().for_each(|key| json += &format!(r#","idempotency_key":"{key}""#));
        if !self.after.is_empty() {
            let policy = format!("{:?}", self.policy).to_lowercase();
            json += &format!(r#","after":["{}"],"after_policy":"{policy}""#, self.after.join("\",\""));
        }
        json + "}"
    }
}

impl ActionSubmission {
    pub(super) fn json(&self) -> String {
        let inputs = vec!["{}"; self.inputs].join(",");
        let mut json =
            format!(r#"{{"action_id":"{}","plan_id":"p","inputs":[{inputs}],{}"#, self.id, self.terms.json());
        self.max_parallel.iter().for_each(|most| json += &format!(r#","max_parallel":{most}"#));
        self.max_failures.iter().for_each(|most| json += &format!(r#","max_failures":{most}"#));
        for occasion in &self.callbacks {
            let word = format!("{occasion:?}").to_lowercase();
            json += &format!(r#","on_{word}":{{"plan_id":"p"}}"#);
        }
        json + "}"
    }
}

impl Definition {
    pub(super) fn json(&self) -> String {
        let cron = if self.period_ms == 120_000 { "*/2 * * * *" } else { "0 */6 * * *" };
        let (misfire, overlap) = (self.misfire.name(), self.overlap.name());
        let job = self.submission.json().replacen(r#""job_id":"","#, "", 1);
        format!(r#"{{"cron":"{cron}","misfire":"{misfire}","overlap":"{overlap}","job":{job}}}"#)
    }
}

impl Hook {
    pub(super) fn json(&self) -> String {
        let Hook { kinds, queue, attempts, backoff_ms } = self;
        let all = |kind: &&str| format!("\"{kind}{}\"", if kind.ends_with('.') { "*" } else { "" });
        let kinds = kinds.iter().map(all).collect::<Vec<_>>().join(",");
        let queue = queue.map(|queue| format!(r#","queue":"{queue}""#)).unwrap_or_default();
        let backoff = format!(r#""backoff":{{"type":"fixed","ms":{backoff_ms}}}"#);
        format!(r#"{{"url":"http://localhost/","events":[{kinds}],"max_attempts":{attempts},{backoff}{queue}}}"#)
    }
}

/// The callbacks whose bits are set.
pub(super) fn callbacks(bits: u8) -> Vec<Occasion> {
    let all = [Occasion::Complete, Occasion::Success, Occasion::Failure];
    all.into_iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, occasion)| occasion).collect()
}
