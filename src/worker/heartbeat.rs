//! The worker's own connection: it registers, keeps every lease alive, and hears what was cancelled or lost.

use std::sync::Arc;
use std::time::Duration;

use agq_client::Reply;
use serde::Deserialize;
use serde_json::json;

use super::config::Config;
use super::link::{self, Error, Link, checked, text};
use super::{Halt, Running};

/// A pause when the server tells what is known already.
const OLD_NEWS: Duration = Duration::from_millis(500);

/// What WORKER.REGISTER answers.
#[derive(Debug, Deserialize)]
struct Registered {
    heartbeat_ms: u64,
    lease_ms: u64,
    /// Bytes that are kept of each of a job's outputs.
    max_output: u64,
}

/// What WORKER.HEARTBEAT answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct News {
    cancel: Vec<String>,
    stale: Vec<String>,
}

/// The worker's heartbeat.
pub(super) struct Heart {
    config: Arc<Config>,
    running: Running,
    link: Link,
    interval: Duration,
    max_output: u64,
}

impl Heart {
    /// Registers the worker.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses it.
    pub(super) async fn start(config: Arc<Config>, running: Running) -> Result<Heart, Error> {
        let link = Link::new(config.connect.clone());
        let mut heart = Heart { config, running, link, interval: Duration::ZERO, max_output: u64::MAX };
        heart.register().await?;
        Ok(heart)
    }

    /// Bytes that the server keeps of each of a job's outputs.
    pub(super) fn max_output(&self) -> u64 {
        self.max_output
    }

    /// Beats for as long as it is polled.
    pub(super) async fn beat(&mut self) {
        let mut pause = link::first_pause();
        loop {
            match self.listen().await {
                Ok(()) => {
                    pause = link::first_pause();
                    continue;
                }
                Err(error) => tracing::warn!(%error, "a heartbeat failed"),
            }
            link::rest(&mut pause).await;
            // After a restart the server may not know this worker, or know it as dead.
            if let Err(error) = self.register().await {
                tracing::warn!(%error, "cannot register");
            }
        }
    }

    async fn register(&mut self) -> Result<(), Error> {
        let config = &self.config;
        let worker = json!({
            "worker_id": config.worker_id,
            "tools": config.tools,
            "tags": config.tags,
            "slots": config.concurrency,
            "heartbeat_ms": config.heartbeat.map(|interval| interval.as_millis()),
        });
        let reply = call(&mut self.link, &["WORKER.REGISTER", &worker.to_string()], Duration::ZERO).await?;
        let answer = text(&reply, "WORKER.REGISTER")?;
        let registered: Registered = serde_json::from_str(answer)
            .map_err(|_| Error::Answer { command: "WORKER.REGISTER", answer: answer.to_owned() })?;
        let lease_ms = config.lease.map_or(registered.lease_ms, |lease| lease.as_millis() as u64);
        self.max_output = registered.max_output;
        self.interval = Duration::from_millis(registered.heartbeat_ms.min(lease_ms / 3).max(1));
        Ok(())
    }

    /// One heartbeat; it returns when there is something to tell, or when the next is due.
    async fn listen(&mut self) -> Result<(), Error> {
        let block = self.interval.as_millis().to_string();
        let id = self.config.worker_id.as_str();
        let held = json!({"jobs": self.running.held()}).to_string();
        let command = ["WORKER.HEARTBEAT", id, &held, "BLOCK", &block];
        let reply = call(&mut self.link, &command, self.interval).await?;
        let answer = text(&reply, "WORKER.HEARTBEAT")?;
        let news: News = serde_json::from_str(answer)
            .map_err(|_| Error::Answer { command: "WORKER.HEARTBEAT", answer: answer.to_owned() })?;
        let cancelled = news.cancel.iter().filter(|job| self.running.halt(job, Halt::Cancelled)).count();
        let stale = news.stale.iter().filter(|job| self.running.halt(job, Halt::Stale)).count();
        let is_old = cancelled + stale == 0 && !(news.cancel.is_empty() && news.stale.is_empty());
        if is_old {
            // What a job's processes do until they have ended is told again and again.
            tokio::time::sleep(OLD_NEWS.min(self.interval)).await;
        }
        Ok(())
    }
}

/// Says that the worker goes; what it still holds goes back without a loss.
///
/// # Errors
/// When the server is not reached.
pub(super) async fn unregister(config: &Config) -> Result<(), Error> {
    let mut link = Link::new(config.connect.clone());
    call(&mut link, &["WORKER.UNREGISTER", &config.worker_id], Duration::ZERO).await.map(drop)
}

async fn call(link: &mut Link, command: &[&str], block: Duration) -> Result<Reply, Error> {
    let mut replies = link.try_pipeline(&[command.to_vec()], block).await?;
    checked(replies.pop().ok_or(agq_client::Error::Closed)?)
}
