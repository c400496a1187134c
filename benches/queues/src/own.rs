//! AGQ's jobs as ratios to its own SET, in the same run.

use std::path::Path;
use std::time::{Duration, Instant};

use agq_client::Client;

use crate::Options;
use crate::agq::{self, Agq};
use crate::load::{Done, Work, dispatch, median, repeat, work};
use crate::queue::Queue as _;
use crate::server::Server;

/// Jobs that are submitted, and claimed, at once.
const BATCH: usize = 100;
/// Workers that wait while dispatch is measured.
const WORKERS: [usize; 3] = [1, 16, 64];
/// Jobs of the short queue.
const SHORT: usize = 1_000;
/// Jobs that are submitted at once to fill a queue.
const FILL: usize = 1_000;
/// Claims that are timed in a queue of a size.
const TIMED: usize = 500;

/// What is measured in a round; rates a second, times in microseconds.
struct Figures {
    set: Done,
    lone_set: Done,
    rates: Vec<(&'static str, f64)>,
    dispatches: Vec<(usize, f64)>,
}

/// Measures and prints the tables.
pub(crate) async fn run(options: &Options, folder: &Path, waiting: usize) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let own = folder.join(round.to_string());
        std::fs::create_dir_all(&own)?;
        let server = agq::start(&options.agq, &own)?;
        rounds.push(measure(options, &server).await?);
        drop(server);
        std::fs::remove_dir_all(&own)?;
    }
    print(options, &rounds);
    let own = folder.join("waiting");
    std::fs::create_dir_all(&own)?;
    let server = agq::start(&options.agq, &own)?;
    claims(options, &server, waiting).await
}

async fn measure(options: &Options, server: &Server) -> anyhow::Result<Figures> {
    let (time, count) = (options.time(), options.connections);
    let clients = connect_all(server, count).await?;
    let (set, _) = repeat(clients, time, async |(client, n): &mut (Client, u64)| set_one(client, n).await).await?;
    let clients = connect_all(server, 1).await?;
    let (lone_set, _) = repeat(clients, time, async |(client, n): &mut (Client, u64)| set_one(client, n).await).await?;
    let mut rates = Vec::new();
    let workers = Agq::connect_all(server, count).await?;
    let (submitted, workers) = work(workers, time, Work::Submit).await?;
    rates.push(("submit", submitted.rate()));
    // What the submits left is enough for the time: a claim and its completion cost more.
    let (worked, workers) = work(workers, time, Work::Claim).await?;
    rates.push(("claim + complete", worked.rate()));
    let (cycled, workers) = work(workers, time, Work::Cycle).await?;
    rates.push(("cycle: submit, claim, complete", cycled.rate()));
    let (batched, mut workers) = repeat(workers, time, async |worker: &mut Agq| {
        worker.submit_many(BATCH).await?;
        worker.work_many(BATCH).await.map(drop)
    })
    .await?;
    rates.push((
        "cycle by the hundred: MSUBMIT, COUNT 100, 100 completions in one write",
        batched.rate() * BATCH as f64,
    ));
    drain(&mut workers[0], server).await?;
    drop(workers);
    let mut dispatches = Vec::new();
    for count in WORKERS {
        let mut workers = Agq::connect_all(server, count + 1).await?;
        let submitter = workers.remove(0);
        dispatches.push((count, dispatch(submitter, workers, time).await?.median_us()));
    }
    Ok(Figures { set, lone_set, rates, dispatches })
}

async fn connect_all(server: &Server, count: usize) -> anyhow::Result<Vec<(Client, u64)>> {
    let mut clients = Vec::new();
    for n in 0..count {
        clients.push((agq::connect(server).await?, n as u64));
    }
    Ok(clients)
}

/// Sets one of a hundred thousand keys.
async fn set_one(client: &mut Client, n: &mut u64) -> anyhow::Result<()> {
    *n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    client.call(&["SET", &format!("key:{}", (*n >> 33) % 100_000), crate::queue::PAYLOAD]).await?;
    Ok(())
}

/// Works off what waits.
async fn drain(worker: &mut Agq, server: &Server) -> anyhow::Result<()> {
    let mut client = agq::connect(server).await?;
    loop {
        let reply = client.call(&["QUEUE.STATS"]).await?;
        let first = reply.as_array().and_then(|stats| stats.get(1)?.as_int());
        match first {
            Some(0) => return Ok(()),
            _ => worker.work_many(1_000).await?,
        };
    }
}

fn print(options: &Options, rounds: &[Figures]) {
    let of = |figure: &dyn Fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
    let set = of(&|round| round.set.rate());
    println!("| {} connections, one at a time | /s | ratio to SET |", options.connections);
    println!("| --- | ---: | ---: |");
    println!("| SET | {set:.0} | 1 |");
    for (at, (name, _)) in rounds[0].rates.iter().enumerate() {
        let ratio = of(&|round| round.rates[at].1 / round.set.rate());
        println!("| {name} | {:.0} | {ratio:.2} |", of(&|round| round.rates[at].1));
    }
    println!("\n| one job at a time | median µs | ratio to a lone SET |");
    println!("| --- | ---: | ---: |");
    println!("| SET, alone | {:.0} | 1 |", of(&|round| round.lone_set.median_us()));
    for (at, (workers, _)) in rounds[0].dispatches.iter().enumerate() {
        let ratio = of(&|round| round.dispatches[at].1 / round.lone_set.median_us());
        let micros = of(&|round| round.dispatches[at].1);
        println!("| submit to the claim of one of {workers} that wait | {micros:.0} | {ratio:.2} |");
    }
}

/// What a claim and its completion cost when few jobs wait, and when many do.
async fn claims(options: &Options, server: &Server, waiting: usize) -> anyhow::Result<()> {
    let mut worker = Agq::connect(server, 0).await?;
    let mut short = Vec::new();
    fill(&mut worker, SHORT).await?;
    time_claims(&mut worker, &mut short).await?;
    let began = Instant::now();
    fill(&mut worker, waiting).await?;
    let filled = began.elapsed().as_secs_f64();
    // What filling left to do in the background is not what is measured.
    tokio::time::sleep(options.time()).await;
    let (mut long, mut short_again) = (Vec::new(), Vec::new());
    time_claims(&mut worker, &mut long).await?;
    // The same again on a queue of its own, so that both are measured on the large store too.
    for _ in 0..SHORT {
        worker.submit_to("short").await?;
    }
    time_claims_of(&mut worker, "short", &mut short_again).await?;
    println!("\n| a claim and its completion, of | median µs | ratio |");
    println!("| --- | ---: | ---: |");
    let of = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let (short, long, again) = (of(&mut short), of(&mut long), of(&mut short_again));
    println!("| {SHORT} that wait | {short:.0} | 1 |");
    println!("| {waiting} that wait | {long:.0} | {:.2} |", long / short);
    println!("| {SHORT} that wait, beside these | {again:.0} | {:.2} |", again / short);
    println!("\nFilled with {waiting} jobs in {filled:.0} s; resident set then {} MiB.", resident_mib(server)?);
    Ok(())
}

async fn fill(worker: &mut Agq, jobs: usize) -> anyhow::Result<()> {
    for _ in 0..jobs.div_ceil(FILL) {
        worker.submit_many(FILL).await?;
    }
    Ok(())
}

async fn time_claims(worker: &mut Agq, times: &mut Vec<Duration>) -> anyhow::Result<()> {
    time_claims_of(worker, "ready", times).await
}

async fn time_claims_of(worker: &mut Agq, queue: &str, times: &mut Vec<Duration>) -> anyhow::Result<()> {
    for _ in 0..TIMED {
        let before = Instant::now();
        let held = worker.claim_from(queue).await?;
        worker.complete(held).await?;
        times.push(before.elapsed());
    }
    Ok(())
}

fn resident_mib(server: &Server) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024)
}
