//! The server: sockets on one side, the engine and the store on the other.
//!
//! Everything runs on the core thread's current-thread runtime: a listener and one task per connection
//! ([`connection`]) hand units to the core loop ([`core`]) through an [`inbox::Inbox`] and wait for their replies.

mod connection;
mod core;
mod disk;
mod inbox;
pub mod key;
mod listen;
pub mod lock;
mod memory;
mod process;
mod webhooks;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::LocalOptions;
use tokio::signal::unix::{SignalKind, signal};

use crate::command::{Config, System, WebhookRules};
use crate::engine::Engine;
use crate::jobs::Settings;
use crate::storage::{self, Db};
use crate::wall_clock::WallClock;
pub use disk::log_repair;
use inbox::Inbox;
use listen::Listener;

/// How long a shutdown waits for clients to take their last replies.
const DRAIN: Duration = Duration::from_secs(5);

/// What an operator chooses.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store.
    pub storage: storage::Options,
    /// TCP addresses to listen on.
    pub bind: Vec<String>,
    /// A Unix socket to listen on.
    pub socket: Option<PathBuf>,
    /// The session key; `None` asks for none.
    pub key: Option<Arc<str>>,
    /// Connections open at a time.
    pub max_clients: usize,
    /// Most milliseconds between two sweeps of expired keys.
    pub sweep_interval_ms: u64,
    /// Leases, heartbeats, output.
    pub jobs: Settings,
    /// Go on from the system's clock even when it stands far behind the store's.
    pub accept_clock: bool,
    /// Names and values that CONFIG GET shows.
    pub parameters: Vec<(String, String)>,
    /// Where webhooks may be sent.
    pub webhooks: WebhookRules,
    /// With less room left than so many bytes, a warning is logged; 0: never.
    pub disk_warning: u64,
}

/// Why nothing can be sent to `https` addresses from this machine; `None` where it can.
#[must_use]
pub fn https_refusal() -> Option<&'static str> {
    webhooks::https_refusal()
}

/// Runs the server until `shutdown` resolves or a client asks for it. `ready` is called with the addresses once
/// connections are accepted.
///
/// # Errors
/// When an address cannot be bound, the store cannot be opened, or it fails while running.
pub fn run(
    options: &Options,
    shutdown: impl Future<Output = ()> + 'static,
    ready: impl FnOnce(&[String]),
) -> anyhow::Result<()> {
    memory::keep_freed();
    // A file that reaches the limit of the process is a full disk; the signal that comes with it would end the process.
    let limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let _caught = signal(limit).context("cannot catch the signal of a file size limit")?;
        serve(options, shutdown, ready).await
    })
}

async fn serve(
    options: &Options,
    shutdown: impl Future<Output = ()> + 'static,
    ready: impl FnOnce(&[String]),
) -> anyhow::Result<()> {
    let mut db = Db::open(&options.storage)
        .with_context(|| format!("cannot open the store in {}", options.storage.dir.display()))?;
    let clock = match WallClock::start(db.last_time()) {
        Err(behind) if options.accept_clock => {
            tracing::warn!(%behind, "going on from the system's clock");
            db.set_time(behind.wall);
            WallClock::start(behind.wall)?
        }
        started => started?,
    };
    let config = Config {
        key: options.key.clone(),
        parameters: options.parameters.clone(),
        sweep_interval_ms: options.sweep_interval_ms,
        jobs: options.jobs,
        webhooks: options.webhooks.clone(),
        system: System { nanos: process::nanos, secret: |bytes| getrandom::fill(bytes).is_ok() },
    };
    let core = core::Core::new(db, config, clock, disk::DiskWatch::new(options.disk_warning))?;
    let inbox = Inbox::default();
    let mut addresses = Vec::new();
    let limits = Rc::new(listen::Limits { max_clients: options.max_clients, asks_key: options.key.is_some() });
    for address in &options.bind {
        let listener = Listener::tcp(address).await.with_context(|| format!("cannot listen on {address}"))?;
        addresses.push(listener.address());
        tokio::task::spawn_local(listener.run(inbox.clone(), limits.clone()));
    }
    if let Some(path) = &options.socket {
        let listener = Listener::unix(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        addresses.push(listener.address());
        tokio::task::spawn_local(listener.run(inbox.clone(), limits.clone()));
    }
    ready(&addresses);
    let stop = inbox.clone();
    tokio::task::spawn_local(async move {
        shutdown.await;
        stop.stop();
    });
    let core = core.run(&inbox).await;
    if tokio::time::timeout(DRAIN, inbox.drained()).await.is_err() {
        tracing::warn!(connections = inbox.connections(), "clients did not take their last replies in time");
    }
    if let Some(path) = &options.socket {
        let _ = std::fs::remove_file(path);
    }
    core.close();
    Ok(())
}

/// An engine over a fresh batch of the store, whose rows are made durable.
fn start_engine(db: &mut Db, config: Config, now: crate::clock::Millis) -> anyhow::Result<Engine> {
    let seed = random_seed()?;
    let mut batch = db.batch()?;
    let engine = Engine::new(&mut batch, config, seed, now)?;
    let rows = batch.finish();
    if !rows.is_empty() {
        db.append(&rows, now)?;
        db.flush()?;
        db.apply(&rows)?;
    }
    Ok(engine)
}

fn random_seed() -> anyhow::Result<u64> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the system gave no random bytes: {error}"))?;
    Ok(u64::from_le_bytes(seed))
}
