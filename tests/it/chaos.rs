//! The whole of it, with real processes: server and workers are killed over and over, and workers frozen for longer than
//! their leases, while jobs with side effects run.
//! Every job ends, none is lost, each completion is recorded once, no claim's work is done twice, and work is done again
//! only where a claim was lost.
//!
//! A job appends `<job id> <epoch>` to a file (one write with O_APPEND, which the kernel does under the file's lock).
//! `AGQ_CHAOS_SECONDS` is how long killing goes on at least, with two thousand jobs in each thirty, `AGQ_SEED` what is drawn
//! from. The machine's own timing takes part, so a seed repeats who is killed, not what they were doing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use agq_client::{Client, Reply};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::program::agq;
use crate::support::server::Server;

const WORKERS: usize = 3;
const SECONDS: u64 = 30;
/// Jobs in so long.
const JOBS: u64 = 2_000;
/// Submitted at once, so that a kill meets submits too.
const SUBMITTED: usize = 50;
/// A kill comes after so many transitions of jobs.
const TRANSITIONS: std::ops::Range<u64> = 10..120;
/// When no job has ended for so long, none will: something is lost.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a worker is stopped: longer than the leases.
const FROZEN: Duration = Duration::from_millis(2_500);
const LEASE: [&str; 4] = ["--lease", "2", "--heartbeat", "1"];

/// Does its work at once, then lives on for a moment, so that kills meet it between work and report.
const WORK: &str = r#"printf '%s %s\n' "$AGQ_JOB_ID" "$AGQ_EPOCH" >> "$1"; sleep 0.0$2"#;

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: '{text}' is not a whole number")))
}

struct World {
    dir: tempfile::TempDir,
    server: Option<Server>,
    workers: Vec<Child>,
    started: usize,
    kills: [u32; 2],
    /// A worker that is stopped, and since when; and how often one was.
    frozen: Option<(usize, Instant)>,
    freezes: u32,
    /// The number from which on events were not read yet, and those that were.
    next_event: u64,
    events: Vec<Value>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let server = Some(Server::agq_in(dir.path(), &LEASE));
        let mut world = World {
            dir,
            server,
            workers: Vec::new(),
            started: 0,
            kills: [0; 2],
            frozen: None,
            freezes: 0,
            next_event: 0,
            events: Vec::new(),
        };
        for _ in 0..WORKERS {
            let worker = world.start_worker();
            world.workers.push(worker);
        }
        world
    }

    fn start_worker(&mut self) -> Child {
        self.started += 1;
        let name = format!("chaos{}", self.started);
        let mut command = agq(self.dir.path(), &["worker", "--concurrency", "4", "--tools", "sh", "--name", &name]);
        command.env("AGQ_LOG", "error").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    async fn client(&self) -> Client {
        self.server.as_ref().unwrap().client().await
    }

    /// Stops a worker, or lets the one that is stopped go on once its leases have run out: it comes back late.
    fn freeze(&mut self, rng: &mut Rng) {
        match self.frozen {
            None if rng.u8(..4) == 0 => {
                let victim = rng.usize(..WORKERS);
                kill_process(Pid::from_child(&self.workers[victim]), Signal::STOP).unwrap();
                self.frozen = Some((victim, Instant::now()));
                self.freezes += 1;
            }
            Some((_, since)) if since.elapsed() > FROZEN => self.thaw(),
            _ => {}
        }
    }

    fn thaw(&mut self) {
        if let Some((worker, _)) = self.frozen.take() {
            kill_process(Pid::from_child(&self.workers[worker]), Signal::CONT).unwrap();
        }
    }

    /// Kills the server, two times in five, or a worker, and starts it again.
    fn kill(&mut self, rng: &mut Rng) {
        let victim = rng.usize(..WORKERS + 2);
        if victim >= WORKERS {
            self.kills[0] += 1;
            self.server.take().unwrap().kill();
            self.server = Some(Server::agq_in(self.dir.path(), &LEASE));
        } else {
            self.kills[1] += 1;
            self.frozen = self.frozen.filter(|(frozen, _)| *frozen != victim);
            self.workers[victim].kill().unwrap();
            self.workers[victim].wait().unwrap();
            self.workers[victim] = self.start_worker();
        }
    }

    /// Reads events until there are so many more, or none come for a second.
    async fn follow(&mut self, mut wanted: u64) {
        let mut client = self.client().await;
        while wanted > 0 {
            let command = ["EVENTS.READ", "FROM", &self.next_event.to_string(), "COUNT", "1000", "BLOCK", "1000"];
            let reply = client.call(&command).await.unwrap();
            let Some([Reply::Integer(next), Reply::Array(events)]) = reply.as_array() else { panic!("{reply:?}") };
            self.next_event = u64::try_from(*next).unwrap();
            if events.is_empty() {
                return;
            }
            wanted = wanted.saturating_sub(events.len() as u64);
            self.events
                .extend(events.iter().map(|event| serde_json::from_str::<Value>(event.as_str().unwrap()).unwrap()));
        }
    }

    /// How many jobs of the test have which status.
    async fn live(&self) -> i64 {
        let mut client = self.client().await;
        let stats = client.call(&["QUEUE.STATS"]).await.unwrap().into_map().unwrap();
        let of = |name: &str| {
            let found = stats.iter().find(|(found, _)| found.as_str() == Some(name));
            found.and_then(|(_, count)| count.as_int()).unwrap_or_else(|| panic!("no {name} in {stats:?}"))
        };
        ["waiting_jobs", "scheduled_jobs", "pending_jobs", "running_jobs"].into_iter().map(of).sum()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!(
                "after {:?} kills of server and workers; the files are in {}",
                self.kills,
                self.dir.path().display()
            );
        }
    }
}

/// Submits the jobs `from..from + SUBMITTED`. After a kill nobody knows whether they are there: the same again is the
/// same jobs.
async fn submit(world: &World, file: &Path, from: usize, jobs: usize, rng: &mut Rng) -> Vec<String> {
    let ids: Vec<String> = (from..(from + SUBMITTED).min(jobs)).map(|n| format!("chaos-{n}")).collect();
    let mut words = vec!["JOB.MSUBMIT".to_owned()];
    for id in &ids {
        let args = json!(["-c", WORK, "sh", file, rng.u8(1..=9).to_string()]);
        let plan =
            json!({"allow_shell_characters": true, "tasks": [{"task_number": 1, "command": "sh", "args": args}]});
        words.push(json!({"job_id": id, "plan": plan, "max_losses": 1_000_000}).to_string());
    }
    let mut client = world.client().await;
    client.call(&words).await.unwrap();
    // Sent once more, as one does whose answer got lost.
    client.call(&words).await.unwrap();
    ids
}

#[test]
fn jobs_with_side_effects_outlive_kills_of_server_and_workers() {
    let seed = number_of("AGQ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = number_of("AGQ_CHAOS_SECONDS").unwrap_or(SECONDS);
    let (jobs, killing) = (usize::try_from(JOBS * seconds / SECONDS).unwrap(), Duration::from_secs(seconds));
    eprintln!("AGQ_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut world, mut rng, began) = (World::new(), Rng::with_seed(seed), Instant::now());
    let file = world.dir.path().join("done.txt");
    let mut ids = Vec::new();
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        // New jobs come as long as killing goes on, evenly, so that there is always something to lose.
        let share = began.elapsed().as_secs_f64() / killing.as_secs_f64();
        while ids.len() < jobs && (ids.len() as f64) < jobs as f64 * share + SUBMITTED as f64 {
            ids.extend(runtime.block_on(submit(&world, &file, ids.len(), jobs, &mut rng)));
        }
        runtime.block_on(world.follow(rng.u64(TRANSITIONS)));
        if began.elapsed() < killing || ids.len() < jobs {
            world.freeze(&mut rng);
            world.kill(&mut rng);
            continue;
        }
        world.thaw();
        let live = runtime.block_on(world.live());
        if live == 0 {
            break;
        }
        if live < least {
            (least, since) = (live, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "{live} jobs do not end");
    }
    runtime.block_on(world.follow(u64::MAX));
    assert_eq!(ids.len(), jobs);
    let done = std::fs::read_to_string(&file).unwrap();
    let tally = check(&ids, &world.events, &done);
    println!("AGQ_SEED={seed}: {:?} kills of server and workers, {} freezes, {tally:?}", world.kills, world.freezes);
    let was_tried = world.freezes > 0 && world.kills.iter().all(|kills| *kills > 0);
    assert!(was_tried && tally.lost > 0, "nothing was put to the test: {tally:?}");
}

/// What there was to see.
#[derive(Debug, Default)]
struct Tally {
    claims: usize,
    /// Claims that ended without a report.
    lost: usize,
    /// Work that was done again.
    again: usize,
}

/// Holds what was done against what the feed says.
fn check(ids: &[String], events: &[Value], done: &str) -> Tally {
    let mut tally = Tally::default();
    let mut lines: HashMap<&str, HashSet<u64>> = HashMap::new();
    for line in done.lines() {
        let (job, epoch) = line.split_once(' ').unwrap_or_else(|| panic!("half a line: '{line}'"));
        let is_new = lines.entry(job).or_default().insert(epoch.parse().unwrap());
        assert!(is_new, "{job} was worked twice in the claim of epoch {epoch}");
    }
    let mut of_job: BTreeMap<&str, Vec<(&str, &str, u64)>> = BTreeMap::new();
    for event in events {
        let Some(job) = event["job_id"].as_str() else { continue };
        let (from, to) = (event["from"].as_str().unwrap_or("-"), event["to"].as_str().unwrap());
        of_job.entry(job).or_default().push((from, to, event["epoch"].as_u64().unwrap()));
    }
    for id in ids {
        let way = of_job.get(&**id).unwrap_or_else(|| panic!("{id} is lost: no event of it"));
        let count = |wanted: fn(&(&str, &str, u64)) -> bool| way.iter().filter(|event| wanted(event)).count();
        assert_eq!(count(|(from, ..)| *from == "-"), 1, "{id} was submitted: {way:?}");
        assert_eq!(count(|(_, to, _)| *to == "completed"), 1, "{id} was completed: {way:?}");
        assert_eq!(way.last().unwrap().1, "completed", "{id}: {way:?}");
        let claimed: HashSet<u64> =
            way.iter().filter(|(_, to, _)| *to == "running").map(|(.., epoch)| *epoch).collect();
        let worked = lines.get(&**id).unwrap_or_else(|| panic!("{id} is completed and was never worked: {way:?}"));
        assert!(worked.is_subset(&claimed), "{id} was worked at {worked:?} and claimed at {claimed:?}");
        assert!(worked.contains(&way.last().unwrap().2), "{id} was completed by a claim that did not work it: {way:?}");
        let lost = count(|(from, to, _)| *from == "running" && *to != "completed");
        assert!(worked.len() <= 1 + lost, "{id} was worked {} times and lost {lost}: {way:?}", worked.len());
        tally.claims += claimed.len();
        tally.lost += lost;
        tally.again += worked.len() - 1;
    }
    tally
}
