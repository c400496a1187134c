//! Commands of the job system, chosen at random: what is submitted, claimed, reported and controlled.

use fastrand::Rng;

use super::data_words::{Words, words};
use super::deliveries::HOOKS;

/// What every life begins with.
pub(super) const PLANS: [&str; 2] = [
    r#"{"plan_id":"p","tasks":[{"task_number":1,"command":"echo","args":["x"]}]}"#,
    r#"{"plan_id":"e","idempotent_tasks":true,"tasks":[{"task_number":1,"command":"true"},{"task_number":2,"command":"true"}]}"#,
];

const WORK: [&str; 4] = [r#""kind":"k","payload":[1]"#, r#""plan_id":"p""#, r#""plan_id":"e""#, r#""kind":"k""#];
const TERMS: [&str; 12] = [
    r#""priority":5"#,
    r#""priority":9,"attempts":3,"retention_ms":0"#,
    r#""queue":"other","attempts":2"#,
    r#""key":"x","attempts":3,"backoff":{"type":"fixed","ms":0}"#,
    r#""key":"y","priority":3"#,
    r#""delay_ms":3000,"timeout_ms":20000"#,
    r#""retention_ms":40000,"max_losses":1"#,
    r#""unique_key":"u","on_conflict":"replace""#,
    r#""unique_key":"u","on_conflict":"return""#,
    r#""idempotency_key":"i""#,
    r#""expires_at":1800000090000"#,
    r#""requires":["gpu"],"attempts":2"#,
];
const ACTIONS: [&str; 4] = [
    r#""attempts":2"#,
    r#""max_parallel":2,"retention_ms":100000"#,
    r#""max_failures":1,"on_complete":{"plan_id":"p"}"#,
    r#""max_parallel":1,"delay_ms":3000,"on_success":{"plan_id":"p"},"on_failure":{"plan_id":"p"}"#,
];
const SCHEDULES: [&str; 3] = [
    r#"{"cron":"* * * * *","job":{"kind":"a","retention_ms":0}}"#,
    r#"{"cron":"*/10 * * * * *","misfire":"skip","overlap":"skip","job":{"plan_id":"p","queue":"other"}}"#,
    r#"{"cron":"0 */6 * * *","misfire":"all","job":{"kind":"a","unique_key":"v","on_conflict":"return"}}"#,
];
const PROGRESS: [&str; 3] = [
    "0.5",
    r#"{"tasks":[{"task_number":1,"exit_code":0,"stdout_bytes":3}]}"#,
    r#"{"tasks":[{"task_number":1,"exit_code":0},{"task_number":2,"exit_code":0}]}"#,
];

/// With this begin the names that a key and a job share.
pub(super) const PAIR: &str = "pair";

/// Chooses commands; jobs are among those that clients know.
pub(super) struct JobWords<'a> {
    pub(super) rng: &'a mut Rng,
    /// Jobs with the last epoch that somebody was told, and actions.
    pub(super) jobs: &'a [(String, u64)],
    pub(super) actions: &'a [String],
    /// The last number given to a job or an action: no id comes twice.
    pub(super) last_id: &'a mut u64,
}

fn command(name: &str, rest: &[&str]) -> Words {
    std::iter::once(name).chain(rest.iter().copied()).map(str::to_owned).collect()
}

impl JobWords<'_> {
    fn one<'b>(&mut self, of: &[&'b str]) -> &'b str {
        of[self.rng.usize(..of.len())]
    }

    fn id(&mut self, prefix: &str) -> String {
        *self.last_id += 1;
        format!("{prefix}{}", self.last_id)
    }

    fn job(&mut self) -> (String, u64) {
        // More often one of the last: it may still run.
        let most = if self.rng.bool() { self.jobs.len().min(6) } else { self.jobs.len() };
        if most == 0 {
            return ("none".to_owned(), 1);
        }
        self.jobs[self.jobs.len() - 1 - self.rng.usize(..most)].clone()
    }

    fn action(&mut self) -> String {
        let count = self.actions.len();
        if count == 0 { "none".to_owned() } else { self.actions[self.rng.usize(..count)].clone() }
    }

    fn queue(&mut self) -> &'static str {
        if self.rng.u8(..3) == 0 { "other" } else { "ready" }
    }

    fn submission(&mut self) -> String {
        let (id, work, terms) = (self.id("j"), self.one(&WORK), self.one(&TERMS));
        let after = match self.rng.u8(..12) {
            0 => format!(r#","after":["{}"],"after_policy":"continue""#, self.job().0),
            1 => format!(r#","after":["{}"]"#, self.job().0),
            _ => String::new(),
        };
        format!(r#"{{"job_id":"{id}",{work},{terms}{after}}}"#)
    }

    /// What those say that submit and control.
    pub(super) fn control(&mut self) -> Words {
        match self.rng.u8(..60) {
            0..22 => command("JOB.SUBMIT", &[&self.submission()]),
            22..25 => command("JOB.MSUBMIT", &[&self.submission(), &self.submission()]),
            25..30 => {
                let (id, terms, inputs) = (self.id("a"), self.one(&ACTIONS), 1 + self.rng.usize(..15));
                let inputs = vec!["{}"; inputs].join(",");
                let json = format!(r#"{{"action_id":"{id}","plan_id":"p","inputs":[{inputs}],{terms}}}"#);
                command("ACTION.SUBMIT", &[&json])
            }
            30..34 => command("JOB.CANCEL", &[&self.job().0]),
            34..37 => command("JOB.RETRY", &[&self.job().0]),
            37 => words("JOB.RETRY WHERE QUEUE ready STATUS failed"),
            38 => command("JOB.PROMOTE", &[&self.job().0]),
            39 => command("JOB.DELETE", &[&self.job().0]),
            40 => command("ACTION.CANCEL", &[&self.action()]),
            41 => command("ACTION.RETRY", &[&self.action(), "CANCELLED"]),
            42 => command("QUEUE.PURGE", &["other"]),
            43 => command("QUEUE.DELETE", &["other"]),
            44 => command("QUEUE.PAUSE", &[self.queue()]),
            45..48 => command("QUEUE.RESUME", &[self.queue()]),
            48 | 49 => {
                let bounds = ["0", "1", "3"].map(|_| self.rng.u8(..4).to_string());
                let limits = ["CONCURRENCY", &bounds[0], "KEY-CONCURRENCY", &bounds[1]];
                let rate = ["RATE", "2", "PER", "10000", "BURST", "2"];
                let rate = if bounds[2] == "1" { &rate[..] } else { &["RATE", "0"] };
                command("QUEUE.LIMIT", &[&["ready"], &limits[..], rate].concat())
            }
            50..53 => command("SCHEDULE.PUT", &[self.one(&["s", "t"]), self.one(&SCHEDULES)]),
            53 => command(self.one(&["SCHEDULE.PAUSE", "SCHEDULE.RESUME"]), &["s"]),
            54 => command("SCHEDULE.DELETE", &[self.one(&["s", "t"])]),
            55 => {
                let hook = &HOOKS[self.rng.usize(..HOOKS.len())];
                command("WEBHOOK.PUT", &[hook.webhook, &hook.json()])
            }
            56 => match self.rng.u8(..4) {
                0 => command("WEBHOOK.DELETE", &[self.one(&["h", "i"])]),
                1 => words("WEBHOOK.PAUSE i"),
                _ => words("WEBHOOK.RESUME i"),
            },
            57 => command("PLAN.SUBMIT", &[self.one(&PLANS)]),
            _ => command("JOB.GET", &[&self.job().0]),
        }
    }

    /// A transaction that makes a key and a job of one name; what else it does may be refused.
    pub(super) fn key_and_job(&mut self) -> Vec<Words> {
        let name = self.id(PAIR);
        let json = format!(r#"{{"job_id":"{name}",{},"queue":"pairs"}}"#, self.one(&WORK));
        let mut commands = vec![command("SET", &[&name, "v"]), command("JOB.SUBMIT", &[&json]), self.control()];
        self.rng.shuffle(&mut commands);
        commands
    }

    /// What a worker with leases says; its claim may wait.
    pub(super) fn worker(&mut self, name: &str) -> Words {
        let (job, epoch) = self.job();
        let epoch = epoch.to_string();
        match self.rng.u8(..40) {
            0..12 => {
                let (count, lease) = (1 + self.rng.u8(..3), if self.rng.bool() { 1_000 } else { 30_000 });
                let block = if self.rng.bool() { "BLOCK 5000 " } else { "" };
                words(&format!("JOB.CLAIM {name} COUNT {count} LEASE {lease} {block}QUEUES ready other"))
            }
            12..20 => command("JOB.COMPLETE", &[&job, &epoch, r#"{"ok":true}"#]),
            20..24 => {
                let how: &[&str] = match self.rng.u8(..3) {
                    0 => &["DEAD"],
                    1 => &["RETRY-IN", "10"],
                    _ => &[],
                };
                command("JOB.FAIL", &[&[&job[..], &epoch, r#"{"error":"no"}"#], how].concat())
            }
            24 | 25 => command("JOB.RELEASE", &[&job, &epoch]),
            26 | 27 => command("JOB.EXTEND", &[&job, &epoch, "60000"]),
            28..31 => command("JOB.APPEND", &[&job, &epoch, "stdout", "TASK", "1", "some output"]),
            31..33 => command("JOB.PROGRESS", &[&job, &epoch, self.one(&PROGRESS)]),
            33..35 => {
                let end = if self.rng.bool() { r#","status":"completed""# } else { "" };
                let json = format!(r#"{{"epoch":{epoch},"stdout":"x","task":1,"progress":0.5{end}}}"#);
                command("JOB.UPDATE", &[&job, &json])
            }
            35..38 => {
                let json = format!(r#"{{"jobs":[{{"job_id":"{job}","epoch":{epoch}}}]}}"#);
                command("WORKER.HEARTBEAT", &[name, &json])
            }
            38 => command("WORKER.UNREGISTER", &[name]),
            _ => command("WORKER.REGISTER", &[&format!(r#"{{"worker_id":"{name}","tags":["gpu"]}}"#)]),
        }
    }

    /// What a worker says that only knows lists.
    pub(super) fn list_worker(&mut self) -> Words {
        let job = self.job().0;
        match self.rng.u8(..8) {
            0..3 => words("RPOPLPUSH queue:ready queue:processing"),
            3 | 4 => words("BRPOPLPUSH queue:ready queue:processing 5"),
            5 | 6 => command("SET", &[&format!("job:{job}:status"), self.one(&["completed", "failed"])]),
            _ => words("LLEN queue:ready"),
        }
    }
}
