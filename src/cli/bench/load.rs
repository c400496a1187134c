//! Many connections on one thread, each with one pipeline on its way at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agq_client::{ConnectOptions, ReadHalf, WriteHalf};
use agq_resp::encode_request;
use anyhow::{Context as _, bail};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::histogram::Histogram;
use super::scan::Scanner;
use super::workload::Workload;

/// A gap without a single reply counts as a stall from here on.
const STALL: Duration = Duration::from_millis(1);

/// How much load, and until when.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) clients: usize,
    pub(super) pipeline: usize,
    /// Requests in all; `u64::MAX` when `seconds` decides.
    pub(super) requests: u64,
    pub(super) duration: Option<Duration>,
    /// Numbers in the requests are below this …
    pub(super) keyspace: u64,
    /// … and come in order instead of at random.
    pub(super) in_order: bool,
}

/// What a run measured.
pub(super) struct Outcome {
    pub(super) latency: Histogram,
    pub(super) stalls: Histogram,
    pub(super) elapsed: Duration,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

/// What all connections of a run share.
struct Shared {
    plan: Plan,
    load: Workload,
    start: Instant,
    remaining: AtomicU64,
    next_in_order: AtomicU64,
    /// Nanoseconds after `start` at which the last reply came.
    last_reply_ns: AtomicU64,
    stalls: Mutex<Histogram>,
    failed: AtomicBool,
}

impl Shared {
    /// Takes the next requests off the plan: how many, 0 at its end.
    fn take(&self) -> u64 {
        let over = self.plan.duration.is_some_and(|duration| self.start.elapsed() >= duration);
        if over || self.failed.load(Ordering::Relaxed) {
            return 0;
        }
        let remaining = self.remaining.load(Ordering::Relaxed);
        let taken = remaining.min(self.plan.pipeline as u64);
        self.remaining.store(remaining - taken, Ordering::Relaxed);
        taken
    }

    /// A reply came: how long was there none, from any connection?
    fn replied(&self, now_ns: u64) {
        let gap = now_ns.saturating_sub(self.last_reply_ns.swap(now_ns, Ordering::Relaxed));
        if gap >= STALL.as_nanos() as u64 {
            self.stalls.lock().unwrap_or_else(PoisonError::into_inner).record(gap, 1);
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn number(&self, random: &mut fastrand::Rng) -> u64 {
        if self.plan.in_order {
            return self.next_in_order.fetch_add(1, Ordering::Relaxed) % self.plan.keyspace;
        }
        random.u64(0..self.plan.keyspace)
    }
}

/// What one connection measured.
struct Share {
    latency: Histogram,
    errors: u64,
    first_error: Option<String>,
}

type Halves = (ReadHalf, WriteHalf);

/// Puts the load on the server and measures.
///
/// # Errors
/// When a connection cannot be made, breaks, or the server answers what is no reply.
pub(super) async fn run(options: &ConnectOptions, plan: &Plan, load: Workload) -> anyhow::Result<Outcome> {
    let mut connections = Vec::with_capacity(plan.clients);
    for _ in 0..plan.clients {
        connections.push(connect(options).await?);
    }
    let shared = Arc::new(Shared {
        plan: plan.clone(),
        load,
        start: Instant::now(),
        remaining: AtomicU64::new(plan.requests),
        next_in_order: AtomicU64::new(0),
        last_reply_ns: AtomicU64::new(0),
        stalls: Mutex::new(Histogram::new()),
        failed: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    for (seed, halves) in connections.into_iter().enumerate() {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let share = drive(&shared, halves, fastrand::Rng::with_seed(seed as u64)).await;
            if share.is_err() {
                shared.failed.store(true, Ordering::Relaxed);
            }
            share
        });
    }
    let mut outcome = Outcome {
        latency: Histogram::new(),
        stalls: Histogram::new(),
        elapsed: Duration::ZERO,
        errors: 0,
        first_error: None,
    };
    while let Some(share) = tasks.join_next().await {
        let share = share??;
        outcome.latency.add(&share.latency);
        outcome.errors += share.errors;
        outcome.first_error = outcome.first_error.or(share.first_error);
    }
    outcome.elapsed = Duration::from_nanos(shared.last_reply_ns.load(Ordering::Relaxed));
    outcome.stalls.add(&shared.stalls.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(outcome)
}

/// One connection: a pipeline out, its replies in, again.
async fn drive(shared: &Shared, (mut reader, mut writer): Halves, mut random: fastrand::Rng) -> anyhow::Result<Share> {
    let mut share = Share { latency: Histogram::new(), errors: 0, first_error: None };
    let mut scanner = Scanner::default();
    let mut output = Vec::new();
    let mut input = vec![0; 64 << 10];
    loop {
        let count = shared.take();
        if count == 0 {
            share.errors = scanner.errors;
            share.first_error = scanner.first_error.take();
            return Ok(share);
        }
        output.clear();
        for _ in 0..count {
            shared.load.append(&mut output, || shared.number(&mut random));
        }
        let sent_ns = shared.now_ns();
        // Both at once, so that a pipeline may be longer than the buffers between the two sides.
        let write = async {
            writer.write_all(&output).await.context("cannot write a request")?;
            writer.flush().await.context("cannot write a request")
        };
        let read = async {
            let mut missing = count;
            while missing > 0 {
                let size = reader.read(&mut input).await.context("cannot read a reply")?;
                if size == 0 {
                    bail!("the server closed a connection");
                }
                let done = scanner.feed(&input[..size]).context("the server does not speak the Redis protocol")?;
                if done == 0 {
                    continue;
                }
                let now_ns = shared.now_ns();
                shared.replied(now_ns);
                share.latency.record(now_ns - sent_ns, done);
                missing = missing.checked_sub(done).context("the server sent more replies than there were requests")?;
            }
            Ok(())
        };
        let (written, ()) = tokio::try_join!(write, read)?;
        let () = written;
    }
}

async fn connect(options: &ConnectOptions) -> anyhow::Result<Halves> {
    let refused = || format!("cannot connect to {}", options.address);
    let (mut reader, mut writer) = agq_client::dial(options).await.with_context(refused)?;
    let Some(key) = &options.key else { return Ok((reader, writer)) };
    let mut request = BytesMut::new();
    encode_request(&["AUTH", key], &mut request);
    writer.write_all(&request).await.with_context(refused)?;
    writer.flush().await.with_context(refused)?;
    let mut scanner = Scanner::default();
    let mut input = [0; 512];
    loop {
        let size = reader.read(&mut input).await.with_context(refused)?;
        match scanner.feed(&input[..size]) {
            Some(0) if size > 0 => {}
            Some(1) => break,
            _ => bail!("{}: it did not answer AUTH", refused()),
        }
    }
    match scanner.first_error {
        Some(error) => bail!("{}: {error}", refused()),
        None => Ok((reader, writer)),
    }
}
