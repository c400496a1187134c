//! The built-in worker: claims Plan jobs over the wire and runs their programs.
//!
//! A slot ([`slot`]) is one connection and one job at a time: it claims, runs the tasks in the order that their plan
//! asks for ([`job`], [`task`], [`process`]) and sends output and outcome up while they run ([`report`]). One more connection carries the
//! heartbeats ([`heartbeat`]), which keep every lease and bring back what was cancelled. Built on the client and on
//! the pure parts of `jobs` (plans, templates); it knows no server, reads no flags and catches no signals: those who
//! run it hand in a [`Config`] and a [`Phase`].

mod config;
mod heartbeat;
mod job;
mod ledger;
mod link;
mod message;
mod process;
mod report;
mod sandbox;
mod slot;
mod spool;
mod task;
mod tools;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use config::Config;
pub use link::Error;
pub use sandbox::{HELPER, Limit, Sandbox};
pub use task::cannot_start;
pub use tools::on_path;

/// How long the last message may take: the server forgets a silent worker by itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Claim and run jobs.
    Work,
    /// Claim nothing more, finish what runs within [`Config::drain_grace`], then give the rest back.
    Drain,
    /// Stop what runs now and give it back.
    Stop,
}

/// Why a job's processes are stopped before they are done; a later reason stands above an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Halt {
    /// Another task of the job failed; said within the job only.
    Failed,
    /// Its cancellation was asked for, and is still to be reported.
    Cancelled,
    /// The worker goes: the job is given back.
    Leaving,
    /// It is no longer this worker's: nothing is reported.
    Stale,
}

/// The jobs that run, and how to stop each.
#[derive(Debug, Clone, Default)]
struct Running(Arc<Mutex<HashMap<String, Held>>>);

/// A job that runs.
#[derive(Debug)]
struct Held {
    epoch: u64,
    halt: watch::Sender<Option<Halt>>,
}

impl Running {
    /// Adds a job; the receiver hears when it must stop.
    fn enter(&self, job: &str, epoch: u64) -> watch::Receiver<Option<Halt>> {
        let (halt, receiver) = watch::channel(None);
        self.lock().insert(job.to_owned(), Held { epoch, halt });
        receiver
    }

    fn leave(&self, job: &str) {
        self.lock().remove(job);
    }

    /// Stops one job; a reason that stands above the one given before replaces it. False when this is no news.
    fn halt(&self, job: &str, halt: Halt) -> bool {
        let jobs = self.lock();
        let stop = |reason: &mut Option<Halt>| {
            let is_news = *reason < Some(halt);
            *reason = (*reason).max(Some(halt));
            is_news
        };
        jobs.get(job).is_some_and(|held| held.halt.send_if_modified(stop))
    }

    /// Every job and its epoch, as a heartbeat says it.
    fn held(&self) -> Vec<serde_json::Value> {
        let jobs = self.lock();
        jobs.iter().map(|(job, held)| json!({"job_id": job, "epoch": held.epoch})).collect()
    }

    fn halt_all(&self, halt: Halt) {
        let jobs: Vec<String> = self.lock().keys().cloned().collect();
        for job in jobs {
            self.halt(&job, halt);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs jobs until told to stop. Returns once no process of it is left and the server knows that it has gone.
///
/// # Errors
/// When the server cannot be reached at the start, or refuses the worker or its claims. Later losses of the
/// connection are waited out.
pub async fn run(config: Config, mut phase: watch::Receiver<Phase>) -> Result<(), Error> {
    let config = Arc::new(config);
    let running = Running::default();
    let mut heart = heartbeat::Heart::start(Arc::clone(&config), running.clone()).await?;
    tracing::info!(worker = config.worker_id, queues = config.queues.join(","), "ready");
    let mut slots = JoinSet::new();
    for _ in 0..config.concurrency {
        slots.spawn(slot::run(Arc::clone(&config), running.clone(), phase.clone(), heart.max_output()));
    }
    let beating = tokio::spawn(async move {
        heart.beat().await;
    });
    let outcome = tokio::select! {
        outcome = join_all(&mut slots) => outcome,
        () = wait_for(&mut phase, Phase::Drain) => drain(&config, &running, &mut slots, phase).await,
    };
    running.halt_all(Halt::Leaving);
    let _ = join_all(&mut slots).await;
    beating.abort();
    // When this is lost, the leases run out and the jobs go back anyway.
    let _ = tokio::time::timeout(FAREWELL, heartbeat::unregister(&config)).await;
    outcome
}

async fn drain(
    config: &Config,
    running: &Running,
    slots: &mut JoinSet<Result<(), Error>>,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), Error> {
    tracing::info!(jobs = running.lock().len(), "draining: no further claims");
    tokio::select! {
        outcome = join_all(slots) => return outcome,
        () = tokio::time::sleep(config.drain_grace) => {}
        () = wait_for(&mut phase, Phase::Stop) => {}
    }
    let left = running.lock().len();
    if left > 0 {
        tracing::warn!(jobs = left, "stopping jobs and giving them back");
    }
    running.halt_all(Halt::Leaving);
    join_all(slots).await
}

/// Waits until the worker is asked for `wanted` or more.
async fn wait_for(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // Who dropped the sender can no longer ask for anything: then the worker has nobody to work for.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Waits for all slots, or for the first that failed.
async fn join_all(slots: &mut JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(ended) = slots.join_next().await {
        match ended {
            Ok(outcome) => outcome?,
            Err(error) => tracing::error!(%error, "a slot of the worker ended early"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_job_can_still_be_given_up() {
        let running = Running::default();
        let halt = running.enter("job_1", 1);
        assert!(running.halt("job_1", Halt::Cancelled) && !running.halt("job_1", Halt::Cancelled));
        running.halt_all(Halt::Leaving);
        assert_eq!(*halt.borrow(), Some(Halt::Leaving));
        assert!(!running.halt("job_1", Halt::Cancelled), "no news");
        assert!(running.halt("job_1", Halt::Stale) && !running.halt("job_2", Halt::Stale));
        assert_eq!(*halt.borrow(), Some(Halt::Stale));
    }
}
