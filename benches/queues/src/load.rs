//! Load: connections that each do one thing after the other, and what came of it.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::queue::Queue;

/// What is done again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Submit,
    /// Claims a job that waits, and completes it.
    Claim,
    /// Submits, claims and completes: what is claimed may be another's.
    Cycle,
}

/// What connections did in a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    pub(crate) count: usize,
    pub(crate) seconds: f64,
    /// How long each took, ascending.
    pub(crate) times: Vec<Duration>,
}

impl Done {
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// The time that half of them stayed within, in microseconds.
    pub(crate) fn median_us(&self) -> f64 {
        self.times.get(self.times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

/// Lets every connection do something again and again, until the time is over.
pub(crate) async fn repeat<C: 'static, F>(
    connections: Vec<C>,
    time: Duration,
    step: F,
) -> anyhow::Result<(Done, Vec<C>)>
where
    F: AsyncFn(&mut C) -> anyhow::Result<()> + Copy + 'static,
{
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        tasks.spawn_local(async move {
            let mut times = Vec::new();
            while began.elapsed() < time {
                let before = Instant::now();
                step(&mut connection).await?;
                times.push(before.elapsed());
            }
            anyhow::Ok((times, connection))
        });
    }
    let (mut done, mut connections) = (Done::default(), Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (times, connection) = ended??;
        done.times.extend(times);
        connections.push(connection);
    }
    done.seconds = began.elapsed().as_secs_f64();
    done.count = done.times.len();
    done.times.sort_unstable();
    Ok((done, connections))
}

/// Lets every connection work on a queue.
pub(crate) async fn work<Q: Queue + 'static>(
    connections: Vec<Q>,
    time: Duration,
    work: Work,
) -> anyhow::Result<(Done, Vec<Q>)> {
    match work {
        Work::Submit => repeat(connections, time, async |queue: &mut Q| queue.submit().await).await,
        Work::Claim => {
            repeat(connections, time, async |queue: &mut Q| {
                let held = queue.claim().await?;
                queue.complete(held).await
            })
            .await
        }
        Work::Cycle => {
            repeat(connections, time, async |queue: &mut Q| {
                queue.submit().await?;
                let held = queue.claim().await?;
                queue.complete(held).await
            })
            .await
        }
    }
}

/// How long it takes from a submit to the claim of a worker that waits for it, one job after the other.
pub(crate) async fn dispatch<Q: Queue + 'static>(
    mut submitter: Q,
    workers: Vec<Q>,
    time: Duration,
) -> anyhow::Result<Done> {
    let (claimed, mut claims) = mpsc::unbounded_channel();
    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        let (claimed, ended) = (claimed.clone(), ended.clone());
        tasks.spawn_local(async move {
            loop {
                let held = worker.claim().await?;
                claimed.send(Instant::now())?;
                worker.complete(held).await?;
                ended.send(())?;
            }
            #[expect(unreachable_code, reason = "says what the task fails with")]
            anyhow::Ok(())
        });
    }
    // Every worker is to wait before the first job comes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (began, mut done) = (Instant::now(), Done::default());
    while began.elapsed() < time {
        let before = Instant::now();
        submitter.submit().await?;
        tokio::select! {
            at = claims.recv() => done.times.extend(at.map(|at| at.saturating_duration_since(before))),
            Some(failed) = tasks.join_next() => failed??,
        }
        ends.recv().await;
    }
    done.seconds = began.elapsed().as_secs_f64();
    done.count = done.times.len();
    done.times.sort_unstable();
    Ok(done)
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
