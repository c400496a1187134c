//! The server: sockets on one side, the engine and the store on the other.
//!
//! Everything runs on the core thread's current-thread runtime: a listener and one task per connection
//! ([`connection`]) hand units to the core loop ([`core`]) through an [`inbox::Inbox`] and wait for their replies.

mod backup_times;
mod backups;
mod compactions;
mod connection;
mod core;
mod descriptors;
mod disk;
mod drain;
mod ended;
mod gather;
mod inbox;
pub mod key;
mod limits;
mod listen;
pub mod lock;
mod mailbox;
mod memory;
mod notify;
#[cfg(test)]
mod panic_tests;
mod panics;
mod process;
mod rate;
mod reload;
mod rules;
mod throttle;
mod tls;
mod warnings;
mod webhooks;
mod wire;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::LocalOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::command::{Config, NotSet, System, WebhookRules};
use crate::engine::Engine;
use crate::jobs::Settings;
use crate::storage::{self, Db};
use crate::wall_clock::WallClock;
pub use backup_times::When;
pub use backups::BackupOptions;
pub use disk::log_repair;
use inbox::Inbox;
use listen::Listener;
use reload::Changes;
use rules::Rules;

pub use limits::{ClientLimits, OutputLimit};

pub use descriptors::{connections_allowed, raise_limit, warn_of_little_room};
pub use notify::Notify;
pub use panics::text as panic_text;
pub use tls::TlsOptions;

/// How long a shutdown waits for clients to take their last replies.
const DRAIN: Duration = Duration::from_secs(5);
/// And for the thread of a backup that was given up to remove its file; where the disk is slow, the file is left.
const TIDY: Duration = Duration::from_secs(1);

/// What an operator chooses.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store.
    pub storage: storage::Options,
    /// TCP addresses to listen on.
    pub bind: Vec<String>,
    /// Listening with TLS.
    pub tls: Option<TlsOptions>,
    /// A Unix socket to listen on.
    pub socket: Option<PathBuf>,
    /// The session key; `None` asks for none.
    pub key: Option<Arc<str>>,
    /// How much clients may take.
    pub clients: ClientLimits,
    /// Most milliseconds between two sweeps of expired keys.
    pub sweep_interval_ms: u64,
    /// Leases, heartbeats, output.
    pub jobs: Settings,
    /// Go on from the system's clock even when it stands far behind the store's.
    pub accept_clock: bool,
    /// Names and values that CONFIG GET shows.
    pub parameters: Vec<(String, String)>,
    /// Those of them that CONFIG SET may change, through [`Control::changes`].
    pub changeable: Vec<&'static str>,
    /// Where and when backups are written.
    pub backups: BackupOptions,
    /// Bytes of rows that a compaction copies in a second.
    pub compact_rate: u64,
    /// Where webhooks may be sent.
    pub webhooks: WebhookRules,
    /// With less room left than so many bytes, a warning is logged; 0: never.
    pub disk_warning: u64,
}

/// Settings that are to hold from now on, and who waits to hear of it. Of the options those count that may change while
/// the server runs: the files of TLS, `max_clients`, `sweep_interval_ms`, `jobs`, `webhooks`, `parameters`.
pub struct Reload {
    /// The options, all of them.
    pub options: Options,
    /// The files of TLS are read again, too.
    pub reads_files: bool,
    /// Told when they hold, or why nothing was changed.
    pub outcome: oneshot::Sender<anyhow::Result<()>>,
}

/// What a running server is asked from outside.
pub enum Order {
    /// To go on with other settings.
    Reload(Box<Reload>),
    /// To drain, for so long at most: no job is granted any more, and the server stops when none runs.
    Drain(Duration),
}

/// A change of settings that CONFIG SET asks for, and who waits to hear of it.
pub struct AskedChange {
    /// Names of parameters among [`Options::changeable`], each once, and the values that they are to have.
    pub pairs: Vec<(String, String)>,
    /// Told when all of them hold, or why nothing was changed.
    pub outcome: oneshot::Sender<Result<(), NotSet>>,
}

/// How a running server is steered from outside.
pub struct Control<S> {
    /// The server stops when it resolves.
    pub shutdown: S,
    /// What else it is asked.
    pub orders: UnboundedReceiver<Order>,
    /// Takes the changes of settings that CONFIG SET asks for, and brings each as a [`Reload`].
    pub changes: UnboundedSender<AskedChange>,
    /// The service manager.
    pub notify: Notify,
}

impl<S> Control<S> {
    /// No other orders, and no service manager.
    pub fn only(shutdown: S) -> Control<S> {
        let (changes, orders) = (unbounded_channel().0, unbounded_channel().1);
        Control { shutdown, orders, changes, notify: Notify::default() }
    }
}

/// Runs the server until `control.shutdown` resolves or a client asks for it. `ready` is called with the addresses once
/// connections are accepted.
///
/// # Errors
/// When an address cannot be bound, the store cannot be opened, or it fails while running.
pub fn run(
    options: &Options,
    control: Control<impl Future<Output = ()> + 'static>,
    ready: impl FnOnce(&[String]),
) -> anyhow::Result<()> {
    memory::keep_freed();
    // A file that reaches the limit of the process is a full disk; the signal that comes with it would end the process.
    let limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let served = runtime.block_on(async {
        let _caught = signal(limit).context("cannot catch the signal of a file size limit")?;
        serve(options, control, ready).await
    });
    runtime.shutdown_timeout(TIDY);
    served
}

async fn serve(
    options: &Options,
    control: Control<impl Future<Output = ()> + 'static>,
    ready: impl FnOnce(&[String]),
) -> anyhow::Result<()> {
    let Control { shutdown, orders, changes, notify } = control;
    let opened = notify.patiently("opening the store", || Db::open(&options.storage));
    let mut db = opened.map_err(|error| {
        let dir = options.storage.dir.display();
        let is_full = error.is_no_space();
        let help = if is_full { ". Make room there and start again: nothing acknowledged is lost" } else { "" };
        anyhow::anyhow!("cannot open the store in {dir}: {error}{help}")
    })?;
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
    let archive_max_lag = options.storage.archive.as_ref().map_or(0, |archive| archive.max_lag);
    let watches = (disk::DiskWatch::new(options.disk_warning), warnings::Watch::new(archive_max_lag));
    let changes = Changes::new(options.changeable.clone(), changes);
    let core = core::Core::new(db, config, clock, watches, options, changes, &notify)?;
    let clients = &options.clients;
    let inbox = Inbox::new(inbox::Limits {
        replies: clients.replies,
        messages: clients.messages,
        max_memory: clients.max_memory,
    });
    let stop = inbox.clone();
    tokio::task::spawn_local(panics::task_or_exit("the wait for signals", async move {
        shutdown.await;
        stop.stop();
    }));
    // Signals are caught before anybody is told that the server is ready.
    tokio::task::yield_now().await;
    let mut addresses = Vec::new();
    let rules = Rc::new(Rules::new(clients.clone(), options.key.is_some()));
    for address in &options.bind {
        let listener = Listener::tcp(address).await.with_context(|| format!("cannot listen on {address}"))?;
        addresses.push(listener.address());
        listen_on(listener, &inbox, &rules);
    }
    if let Some(path) = &options.socket {
        let listener = Listener::unix(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        addresses.push(listener.address());
        listen_on(listener, &inbox, &rules);
    }
    let tls = match &options.tls {
        Some(tls) => Some(tls::Tls::start(tls, &inbox, &rules).await?),
        None => None,
    };
    addresses.extend(tls.iter().flat_map(|tls| tls.addresses.clone()));
    ready(&addresses);
    notify.ready(&format!("serving on {}", addresses.join(" ")));
    let core = tokio::select! {
        core = panics::task_or_exit("the core loop", core.run(&inbox, &rules)) => core,
        never = panics::task_or_exit("the reading of settings", reload::serve(orders, &inbox, &rules, tls.as_ref())) => match never {},
    };
    let drained = async {
        inbox.drained().await;
        if let Some(tls) = tls {
            tls.end().await;
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(connections = inbox.connections(), "clients did not take their last replies in time");
    }
    if let Some(path) = &options.socket {
        let _ = std::fs::remove_file(path);
    }
    core.close();
    Ok(())
}

/// Accepts connections on a task of its own.
fn listen_on(listener: Listener, inbox: &Inbox, rules: &Rc<Rules>) {
    tokio::task::spawn_local(panics::task_or_exit("a listener", listener.run(inbox.clone(), Rc::clone(rules))));
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
