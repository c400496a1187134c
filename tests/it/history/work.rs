//! Clients that submit jobs, and workers that claim them and report.

use fastrand::Rng;
use serde_json::Value;

use super::client::{Broken, Client, Link};
use super::record::{Answer, Call, Outcome};

/// The queues of the jobs.
pub(super) const QUEUES: [&str; 2] = ["q0", "q1"];
/// The shortest lease there is, so that some run out.
pub(super) const LEASE_MS: u64 = 1_000;

/// How many jobs a submitter is ahead of the last that it has seen end.
const AHEAD: u64 = 40;

/// A client that submits jobs, and cancels, pauses and looks now and then.
pub(super) struct Submitter {
    pub(super) name: usize,
    submitted: u64,
    /// Definitions that were sent and not acknowledged: they are sent again, as one does.
    open: Vec<String>,
    /// A queue that it has paused.
    paused: Option<&'static str>,
    rng: Rng,
}

impl Submitter {
    pub(super) fn new(name: usize, rng: Rng) -> Submitter {
        Submitter { name, submitted: 0, open: Vec::new(), paused: None, rng }
    }

    /// Works until the server is gone.
    pub(super) fn work(&mut self, link: &Link<'_>) {
        while let Some(mut client) = link.connect() {
            while self.step(&mut client).is_ok() {}
        }
    }

    fn step(&mut self, client: &mut Client<'_>) -> Result<(), Broken> {
        if let Some(queue) = self.paused {
            client.call(Call::one(&format!("QUEUE.PEEK {queue} 3")))?;
            client.call(Call::one(&format!("QUEUE.RESUME {queue}")))?;
            self.paused = None;
        }
        if self.open.is_empty() {
            for _ in 0..self.rng.usize(1..=4) {
                let definition = self.definition();
                self.open.push(definition);
            }
        }
        let submits = self.open.iter().map(|definition| Call::one(&format!("JOB.SUBMIT {definition}"))).collect();
        let outcomes = client.calls(submits)?;
        let was_refused = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)));
        if !was_refused {
            self.open.clear();
        }
        // It does not run far ahead of the workers.
        if let Some(earlier) = self.submitted.checked_sub(AHEAD).filter(|earlier| *earlier > 0) {
            client.call(Call::one(&format!("JOB.WAIT {} 20", self.id(earlier))))?;
        }
        match self.rng.u8(..40) {
            0 => {
                let queue = QUEUES[self.rng.usize(..QUEUES.len())];
                self.paused = Some(queue);
                client.call(Call::one(&format!("QUEUE.PAUSE {queue}"))).map(drop)
            }
            1..4 => {
                let number = self.rng.u64(1..=self.submitted);
                let id = self.id(number);
                client.call(Call::one(&format!("JOB.CANCEL {id}"))).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn id(&self, number: u64) -> String {
        format!("j{}-{number}", self.name)
    }

    fn definition(&mut self) -> String {
        self.submitted += 1;
        let (id, queue) = (self.id(self.submitted), QUEUES[self.rng.usize(..QUEUES.len())]);
        let more = match self.rng.u8(..8) {
            0 => r#","priority":7"#,
            1..3 => r#","key":"a""#,
            3 => r#","key":"b""#,
            4 => r#","delay_ms":30"#,
            _ => "",
        };
        let attempts = self.rng.u8(1..=3);
        format!(r#"{{"job_id":"{id}","kind":"k","queue":"{queue}","attempts":{attempts},"max_losses":1000000{more}}}"#)
    }
}

/// A claim that a worker holds.
#[derive(Debug, Clone)]
struct Held {
    job: String,
    epoch: u64,
}

/// A worker. Most jobs it completes at once, others fail, are given back, forgotten, or reported when it is too late.
pub(super) struct Worker {
    pub(super) name: usize,
    held: Vec<Held>,
    /// Claims that it does not hold any more, and the step in which it reports on them all the same.
    late: Vec<(u64, Held)>,
    steps: u64,
    /// A report that was sent and not answered: it is sent again.
    open: Option<String>,
    reports: u64,
    rng: Rng,
}

impl Worker {
    pub(super) fn new(name: usize, rng: Rng) -> Worker {
        Worker { name, held: Vec::new(), late: Vec::new(), steps: 0, open: None, reports: 0, rng }
    }

    /// Works until the server is gone.
    pub(super) fn work(&mut self, link: &Link<'_>) {
        while let Some(mut client) = link.connect() {
            while self.step(&mut client).is_ok() {}
        }
    }

    fn step(&mut self, client: &mut Client<'_>) -> Result<(), Broken> {
        if let Some(report) = self.open.take() {
            self.report(client, report)?;
        }
        let (count, wait) = (self.rng.u8(1..=3), if self.rng.bool() { "BLOCK 20 " } else { "" });
        let queues = if self.rng.bool() { QUEUES.join(" ") } else { QUEUES[self.rng.usize(..QUEUES.len())].to_owned() };
        let claim = format!("JOB.CLAIM w{} COUNT {count} LEASE {LEASE_MS} {wait}QUEUES {queues}", self.name);
        if let Outcome::Answered(given) = client.call(Call::one(&claim))? {
            self.held.extend(grants(&given).into_iter().map(|(job, epoch)| Held { job, epoch }));
        }
        for held in std::mem::take(&mut self.held) {
            self.treat(client, held)?;
        }
        self.steps += 1;
        let steps = self.steps;
        while let Some(place) = self.late.iter().position(|(due, _)| *due <= steps) {
            let Held { job, epoch } = self.late.swap_remove(place).1;
            self.report(client, format!(r#"JOB.COMPLETE {job} {epoch} {{"by":"w{}-too-late"}}"#, self.name))?;
        }
        if self.rng.u8(..10) == 0 {
            client.call(Call::one(&format!("WORKER.HEARTBEAT w{}", self.name)))?;
        }
        Ok(())
    }

    fn treat(&mut self, client: &mut Client<'_>, held: Held) -> Result<(), Broken> {
        let Held { job, epoch } = &held;
        self.reports += 1;
        let mark = format!("w{}-{}", self.name, self.reports);
        let complete = format!(r#"JOB.COMPLETE {job} {epoch} {{"by":"{mark}"}}"#);
        match self.rng.u8(..40) {
            0..26 => self.report(client, complete),
            // Reported twice, as one does who is not sure.
            26..28 => {
                self.report(client, complete.clone())?;
                self.report(client, complete)
            }
            // Two ends of one claim: the second is too late.
            28 => {
                self.report(client, complete)?;
                self.report(client, format!(r#"JOB.FAIL {job} {epoch} {{"by":"{mark}-late"}}"#))
            }
            29..32 => {
                self.late.push((self.steps + self.rng.u64(1..40), held.clone()));
                self.report(client, format!(r#"JOB.FAIL {job} {epoch} {{"by":"{mark}"}} RETRY-IN 20"#))
            }
            32 => self.report(client, format!(r#"JOB.FAIL {job} {epoch} {{"by":"{mark}"}} DEAD"#)),
            33..35 => {
                self.late.push((self.steps + self.rng.u64(1..40), held.clone()));
                self.report(client, format!("JOB.RELEASE {job} {epoch}"))
            }
            35 => {
                self.held.push(held.clone());
                self.report(client, format!("JOB.EXTEND {job} {epoch} 1500"))
            }
            36..39 => {
                self.held.push(held);
                Ok(())
            }
            // Forgotten: the lease runs out.
            _ => Ok(()),
        }
    }

    fn report(&mut self, client: &mut Client<'_>, report: String) -> Result<(), Broken> {
        self.open = Some(report.clone());
        let outcome = client.call(Call::one(&report))?;
        if !matches!(outcome, Outcome::Refused(_)) {
            self.open = None;
        }
        Ok(())
    }
}

/// The jobs and epochs that a claim was given.
pub(super) fn grants(answer: &Answer) -> Vec<(String, u64)> {
    let grant = |text: &str| {
        let grant: Value = serde_json::from_str(text).ok()?;
        Some((grant["job_id"].as_str()?.to_owned(), grant["epoch"].as_u64()?))
    };
    answer.texts().map(|text| grant(text).unwrap_or_else(|| panic!("'{text}' is no claimed job"))).collect()
}

/// Works all jobs to their ends.
pub(super) fn drain(client: &mut Client<'_>) {
    let call = |client: &mut Client<'_>, command: &str| match client.call(Call::one(command)) {
        Ok(Outcome::Answered(answer)) => answer,
        end => panic!("'{command}' of a server that is left alone ends with {end:?}"),
    };
    QUEUES.iter().for_each(|queue| drop(call(client, &format!("QUEUE.RESUME {queue}"))));
    loop {
        let claim = format!("JOB.CLAIM drain COUNT 100 LEASE {LEASE_MS} BLOCK 200 QUEUES {}", QUEUES.join(" "));
        let claimed = grants(&call(client, &claim));
        let complete =
            |(job, epoch): &(String, u64)| Call::one(&format!(r#"JOB.COMPLETE {job} {epoch} {{"by":"drain-{job}"}}"#));
        client.calls(claimed.iter().map(complete).collect()).expect("a server that is left alone answers");
        if claimed.is_empty() && live_jobs(client) == 0 {
            return;
        }
    }
}

/// How many jobs of the queues have not ended.
fn live_jobs(client: &mut Client<'_>) -> u64 {
    let listed = client.aside("QUEUE.LIST").expect("a server that is left alone answers");
    let queues = listed.texts().map(|text| serde_json::from_str::<Value>(text).unwrap());
    let live = |queue: Value| {
        ["pending", "scheduled", "running", "waiting"].iter().map(|name| queue[*name].as_u64().unwrap()).sum::<u64>()
    };
    queues.filter(|queue| QUEUES.contains(&queue["queue"].as_str().unwrap())).map(live).sum()
}
