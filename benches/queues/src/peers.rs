//! AGQ and others, in turns.

use std::path::Path;

use crate::load::{Done, Work, dispatch, median, work};
use crate::queue::Queue;
use crate::server::{Server, is_installed};
use crate::{Options, agq, beanstalk, postgres, rabbit, redis};

/// What is measured of each: rates, and a latency.
const MEASURED: [&str; 4] = ["submit /s", "claim + complete /s", "cycle /s", "dispatch, median µs"];

/// One round of one of them: the figures in the order of [`MEASURED`].
type Figures = [f64; 4];

/// A queue that may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Agq,
    Redis,
    Beanstalk,
    Postgres,
    Rabbit,
}

impl Peer {
    const ALL: [Peer; 5] = [Peer::Agq, Peer::Redis, Peer::Beanstalk, Peer::Postgres, Peer::Rabbit];

    fn name(self) -> &'static str {
        match self {
            Peer::Agq => "AGQ",
            Peer::Redis => "Redis, LPUSH BLMOVE LREM",
            Peer::Beanstalk => "beanstalkd -f 0",
            Peer::Postgres => "PostgreSQL, SKIP LOCKED",
            Peer::Rabbit => "RabbitMQ, confirms and acks",
        }
    }

    fn is_there(self, options: &Options) -> bool {
        match self {
            Peer::Agq => options.agq.is_file(),
            Peer::Redis => is_installed("redis-server"),
            Peer::Beanstalk => is_installed("beanstalkd"),
            Peer::Postgres => postgres::program("postgres").is_some(),
            Peer::Rabbit => rabbit::is_installed(),
        }
    }

    /// Rates on one server, the latency on another: nothing is left in its queue.
    async fn measure(self, options: &Options, folder: &Path) -> anyhow::Result<Figures> {
        let server = self.start(options, folder, "rates")?;
        let [submitted, worked, cycled] = match self {
            Peer::Agq => rates(options, async |number| agq::Agq::connect(&server, number).await).await?,
            Peer::Redis => rates(options, async |number| redis::Redis::connect(&server, number).await).await?,
            Peer::Beanstalk => rates(options, async |_| beanstalk::Beanstalk::connect(&server).await).await?,
            Peer::Postgres => rates(options, async |number| postgres::Postgres::connect(&server, number).await).await?,
            Peer::Rabbit => rates(options, async |_| rabbit::Rabbit::connect(&server).await).await?,
        };
        drop(server);
        let server = self.start(options, folder, "dispatch")?;
        let dispatched = match self {
            Peer::Agq => wait(options, async |number| agq::Agq::connect(&server, number).await).await?,
            Peer::Redis => wait(options, async |number| redis::Redis::connect(&server, number).await).await?,
            Peer::Beanstalk => wait(options, async |_| beanstalk::Beanstalk::connect(&server).await).await?,
            Peer::Postgres => wait(options, async |number| postgres::Postgres::connect(&server, number).await).await?,
            Peer::Rabbit => wait(options, async |_| rabbit::Rabbit::connect(&server).await).await?,
        };
        Ok([submitted, worked, cycled, dispatched])
    }

    fn start(self, options: &Options, folder: &Path, name: &str) -> anyhow::Result<Server> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        match self {
            Peer::Agq => agq::start(&options.agq, &folder),
            Peer::Redis => redis::start(&folder),
            Peer::Beanstalk => beanstalk::start(&folder),
            Peer::Postgres => postgres::start(&folder),
            Peer::Rabbit => rabbit::start(&folder),
        }
    }
}

/// Rates: what is submitted first is worked off then.
async fn rates<Q: Queue + 'static>(
    options: &Options,
    connect: impl AsyncFn(usize) -> anyhow::Result<Q>,
) -> anyhow::Result<[f64; 3]> {
    let mut connections = Vec::new();
    for number in 0..options.connections {
        connections.push(connect(number).await?);
    }
    let (submitted, connections) = work(connections, options.time(), Work::Submit).await?;
    let (worked, connections) = work_off(connections, options, submitted.count).await?;
    let (cycled, _) = work(connections, options.time(), Work::Cycle).await?;
    Ok([submitted.rate(), worked.rate(), cycled.rate()])
}

/// How long a worker that waits gets its job after the submit, in microseconds.
async fn wait<Q: Queue + 'static>(
    options: &Options,
    connect: impl AsyncFn(usize) -> anyhow::Result<Q>,
) -> anyhow::Result<f64> {
    let (submitter, worker) = (connect(0).await?, connect(1).await?);
    Ok(dispatch(submitter, vec![worker], options.time()).await?.median_us())
}

/// Works for the time, or until almost all that waits is done: each connection may hold a job that it was sent early.
async fn work_off<Q: Queue + 'static>(
    connections: Vec<Q>,
    options: &Options,
    waiting: usize,
) -> anyhow::Result<(Done, Vec<Q>)> {
    let left = std::rc::Rc::new(std::cell::Cell::new(waiting.saturating_sub(connections.len())));
    let (began, time) = (std::time::Instant::now(), options.time());
    let mut tasks = tokio::task::JoinSet::new();
    for mut queue in connections {
        let left = left.clone();
        tasks.spawn_local(async move {
            let mut count = 0;
            while began.elapsed() < time && left.get() > 0 {
                left.set(left.get() - 1);
                let held = queue.claim().await?;
                queue.complete(held).await?;
                count += 1;
            }
            anyhow::Ok((count, queue))
        });
    }
    let (mut done, mut connections) = (Done::default(), Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (count, queue) = ended??;
        done.count += count;
        connections.push(queue);
    }
    done.seconds = began.elapsed().as_secs_f64();
    Ok((done, connections))
}

/// Measures all that are installed and prints the tables.
pub(crate) async fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let (there, missing): (Vec<Peer>, Vec<Peer>) = Peer::ALL.into_iter().partition(|peer| peer.is_there(options));
    for peer in missing {
        eprintln!("{} is not installed: left out", peer.name());
    }
    let mut figures: Vec<(Peer, Vec<Figures>)> = there.iter().map(|peer| (*peer, Vec::new())).collect();
    for round in 0..options.rounds {
        for turn in 0..figures.len() {
            // The order changes from round to round.
            let place = (turn + round) % figures.len();
            let (peer, rounds) = &mut figures[place];
            let own = folder.join(format!("{peer:?}-{round}"));
            std::fs::create_dir_all(&own)?;
            let measured = peer.measure(options, &own).await?;
            eprintln!("round {}: {}: {measured:.0?}", round + 1, peer.name());
            rounds.push(measured);
            std::fs::remove_dir_all(&own)?;
        }
    }
    let of = |peer: Peer, at: usize| {
        let rounds = figures.iter().find(|(found, _)| *found == peer).map(|(_, rounds)| rounds);
        rounds.map(|rounds| median(rounds.iter().map(|figures| figures[at]).collect()))
    };
    println!("| queue | {} |", MEASURED.join(" | "));
    println!("| --- |{}", " ---: |".repeat(MEASURED.len()));
    for peer in &there {
        let cells: Vec<String> = (0..MEASURED.len())
            .map(|at| {
                let (own, other) = (of(Peer::Agq, at), of(*peer, at).unwrap_or(f64::NAN));
                let ratio = own.filter(|_| *peer != Peer::Agq).map(|own| format!(" ({:.2})", own / other));
                format!("{other:.0}{}", ratio.unwrap_or_default())
            })
            .collect();
        println!("| {} | {} |", peer.name(), cells.join(" | "));
    }
    Ok(())
}
