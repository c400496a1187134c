//! A slot: one connection and one job at a time. It claims, runs, reports, and claims again.

use std::sync::Arc;
use std::time::Duration;

use agq_client::Reply;
use tokio::sync::{mpsc, watch};

use super::config::Config;
use super::job::{self, Claim};
use super::link::{self, Error, Link, checked};
use super::report::Reporter;
use super::{Phase, Running};

/// How long one claim waits for a job.
const BLOCK: Duration = Duration::from_secs(30);
/// Messages, pieces of output for the most part, between a program and its report: with 32 KiB each, half a megabyte.
const MESSAGES: usize = 16;

/// Works until the worker drains.
///
/// # Errors
/// When the server refuses the claims for good, or answers what is no claim.
pub(super) async fn run(
    config: Arc<Config>,
    running: Running,
    mut phase: watch::Receiver<Phase>,
    max_output: u64,
) -> Result<(), Error> {
    let mut link = Link::new(config.connect.clone());
    let command = claim_command(&config);
    let mut pause = link::first_pause();
    loop {
        let reply = tokio::select! {
            biased;
            // A claim that is granted at this moment goes back when the worker unregisters.
            () = super::wait_for(&mut phase, Phase::Drain) => return Ok(()),
            reply = link.call(&command, BLOCK) => reply,
        };
        match checked(reply) {
            Ok(reply) => {
                pause = link::first_pause();
                for claim in claims(&reply)? {
                    work(&config, &running, &mut link, &claim, max_output).await;
                }
            }
            // A request that is wrong stays wrong; anything else (a full disk, too many clients) may pass.
            Err(Error::Client(error)) if error.code() != Some("ERR") => {
                tracing::error!(%error, "the server hands out no jobs now");
                link::rest(&mut pause).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn claim_command(config: &Config) -> Vec<String> {
    let mut command = vec!["JOB.CLAIM".to_owned(), config.worker_id.clone()];
    if let Some(lease) = config.lease {
        command.extend(["LEASE".to_owned(), lease.as_millis().to_string()]);
    }
    // Jobs of a kind are for workers that know it.
    command.extend(["PLANS", "BLOCK"].map(str::to_owned));
    command.extend([BLOCK.as_millis().to_string(), "QUEUES".to_owned()]);
    command.extend(config.queues.iter().cloned());
    command
}

/// The jobs of a reply: none when the wait was in vain.
fn claims(reply: &Reply) -> Result<Vec<Claim>, Error> {
    let claims = reply.as_array().unwrap_or_default();
    claims.iter().map(|claim| Claim::parse(link::text(claim, "JOB.CLAIM")?)).collect()
}

/// Runs one job and reports it.
async fn work(config: &Config, running: &Running, link: &mut Link, claim: &Claim, max_output: u64) {
    tracing::info!(job = claim.job_id, epoch = claim.epoch, "running");
    let halt = running.enter(&claim.job_id, claim.epoch);
    let (report, messages) = mpsc::channel(MESSAGES);
    let mut reporter = Reporter::new(link, claim, running, halt.clone(), max_output);
    let (outcome, ()) = tokio::join!(job::run(config, claim, report, halt), reporter.stream(messages));
    let (exit_code, error) = (outcome.exit_code(), outcome.error());
    tracing::info!(job = claim.job_id, status = outcome.status(), exit_code, error, "ended");
    reporter.finish(outcome).await;
    running.leave(&claim.job_id);
}
