//! Random lives of planners and workers of the list contract: whatever they do, and in whatever order, every job
//! stands in exactly one list, every count is the length of its list, and the plan knows who uses it.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{Bench, with_engine};
use super::{ConnId, Input};

const WATCHER: ConnId = 99;
const WORKERS: std::ops::RangeInclusive<ConnId> = 1..=4;
const QUEUES: [&str; 2] = ["ready", "other"];

struct Life<'a, 'b> {
    bench: &'a mut Bench<'b>,
    random: fastrand::Rng,
    parked: BTreeSet<ConnId>,
    jobs: Vec<String>,
    /// What pops answered, for the story of a failure.
    story: Vec<String>,
}

impl Life<'_, '_> {
    /// Sends a command; the reply, if it came at once.
    fn send(&mut self, conn: ConnId, command: &str) -> Option<String> {
        self.bench.send(conn, &[command]);
        self.parked.insert(conn);
        let reply = self.settle().remove(&conn);
        self.story.push(format!("{conn}> {command} → {}", reply.as_deref().unwrap_or("parked")));
        reply
    }

    /// Takes what finished, parked pops of others among it.
    fn settle(&mut self) -> BTreeMap<ConnId, String> {
        let finished: BTreeMap<ConnId, String> = self.bench.finished().into_iter().collect();
        for (conn, reply) in &finished {
            self.parked.remove(conn);
            if *conn != WATCHER {
                self.story.push(format!("   {conn} gets {reply}"));
            }
        }
        finished
    }

    fn one_of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.random.usize(..choices.len())]
    }

    fn some_job(&mut self) -> String {
        if self.jobs.is_empty() { "none".to_owned() } else { self.jobs[self.random.usize(..self.jobs.len())].clone() }
    }

    fn submit(&mut self) {
        let id = format!("j{}", self.jobs.len());
        let queue = self.one_of(&QUEUES);
        let work =
            self.one_of(&[r#""plan_id":"p""#, r#""plan_id":"p""#, r#""plan_id":"p","attempts":2"#, r#""kind":"k""#]);
        let when = self.one_of(&["", "", r#","delay_ms":3000"#, r#","timeout_ms":20000"#]);
        let command = format!(r#"JOB.SUBMIT {{"job_id":"{id}","queue":"{queue}",{work}{when}}}"#);
        self.send(5, &command);
        self.jobs.push(id);
    }

    fn step(&mut self) {
        let conn = self.random.u64(WORKERS);
        if self.random.u8(..100) < 15 {
            return self.pass_time();
        }
        if self.parked.contains(&conn) {
            match self.random.u8(..3) {
                0 => self.bench.take(Input::Interrupt(conn)),
                1 => self.reopen(conn),
                _ => self.submit(),
            }
            self.settle();
            return;
        }
        let (queue, job) = (self.one_of(&QUEUES), self.some_job());
        let command = match self.random.u8(..16) {
            0..=2 => return self.submit(),
            3..=5 => format!("BRPOPLPUSH queue:{queue} queue:processing 2"),
            6 => format!("RPOPLPUSH queue:{queue} queue:processing"),
            7 => "BRPOP queue:ready queue:other 2".to_owned(),
            8 => format!("LPUSH queue:{queue} {job}"),
            9 | 10 => format!("SET job:{job}:status {}", self.one_of(&["completed", "failed"])),
            11 => format!("SET job:{job}:stdout text"),
            12 => format!("LREM queue:processing 1 {job}"),
            13 => format!("JOB.CANCEL {job}"),
            14 => "RPOPLPUSH queue:ready queue:other".to_owned(),
            _ if self.random.bool() => return self.reopen(conn),
            _ => format!("PING w{}", conn % 2),
        };
        self.send(conn, &command);
    }

    fn reopen(&mut self, conn: ConnId) {
        self.story.push(format!("{conn} closes"));
        self.bench.take(Input::Close(conn));
        self.parked.remove(&conn);
        self.bench.open(conn);
    }

    fn pass_time(&mut self) {
        let ms = self.random.u64(1..25_000);
        self.bench.now = self.bench.now.plus(ms);
        self.story.push(format!("{ms} ms pass"));
        for _ in 0..3 {
            self.bench.engine.tick(&mut self.bench.batch, self.bench.now, true).unwrap();
        }
        self.settle();
    }

    fn list(&mut self, command: &str) -> Vec<String> {
        self.bench.send(WATCHER, &[command]);
        let reply = self.settle().remove(&WATCHER).unwrap();
        reply.split('|').skip(1).filter(|part| !part.is_empty() && !part.starts_with('$')).map(str::to_owned).collect()
    }

    fn number(&mut self, command: &str) -> usize {
        self.bench.send(WATCHER, &[command]);
        let reply = self.settle().remove(&WATCHER).unwrap();
        reply.trim_matches([':', '|']).parse().unwrap()
    }

    fn status(&mut self, job: &str) -> String {
        self.list(&format!("GET job:{job}:status")).pop().unwrap()
    }

    fn check(&mut self) {
        let mut places: BTreeMap<String, &str> = BTreeMap::new();
        let lists = [
            ("LRANGE queue:ready 0 -1", "LLEN queue:ready", "pending"),
            ("LRANGE queue:other 0 -1", "LLEN queue:other", "pending"),
            ("LRANGE queue:processing 0 -1", "LLEN queue:processing", "running"),
            ("ZRANGE queue:scheduled 0 -1", "ZCARD queue:scheduled", "scheduled"),
        ];
        for (range, length, status) in lists {
            let ids = self.list(range);
            assert_eq!(ids.len(), self.number(length), "{length}");
            for id in ids {
                assert_eq!(places.insert(id.clone(), status), None, "{id} stands twice");
            }
        }
        let mut open = 0;
        for job in self.jobs.clone() {
            let status = self.status(&job);
            let is_open = !["completed", "failed", "cancelled"].contains(&status.as_str());
            assert_eq!(places.get(&job).copied(), is_open.then_some(status.as_str()), "{job}");
            let uses_plan = !self.list(&format!("GET job:{job}")).concat().contains(r#""kind":"k""#);
            open += u64::from(is_open && uses_plan);
        }
        assert_eq!(crate::jobs::check::check(&self.bench.batch).unwrap(), Vec::<String>::new());
        assert_eq!(crate::jobs::plan_store::usage(&self.bench.batch, "p").unwrap().open, open, "the plan's open jobs");
    }
}

fn live(seed: u64) {
    with_engine(|bench| {
        WORKERS.chain([5, WATCHER]).for_each(|conn| bench.open(conn));
        let random = fastrand::Rng::with_seed(seed);
        let mut life = Life { bench, random, parked: BTreeSet::new(), jobs: Vec::new(), story: Vec::new() };
        life.send(5, r#"PLAN.SUBMIT {"plan_id":"p","tasks":[{"task_number":1,"command":"true"}]}"#);
        // A queue is one from its first submit on; before, its name could become an ordinary list's.
        for queue in QUEUES {
            let id = format!("j{}", life.jobs.len());
            life.send(5, &format!(r#"JOB.SUBMIT {{"job_id":"{id}","queue":"{queue}","plan_id":"p"}}"#));
            life.jobs.push(id);
        }
        for _ in 0..120 {
            life.step();
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life.check()));
            assert!(checked.is_ok(), "seed {seed}:\n{}", life.story.join("\n"));
        }
    });
}

#[test]
fn whatever_workers_do_every_job_stands_in_one_place() {
    (0..12).for_each(live);
}
