//! The server that `agq run` talks to: the one that was named, the one that holds the data directory, or, where none
//! does, an ordinary one in this process.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agq_client::{Client, ConnectOptions};
use anyhow::{Context as _, anyhow};
use tokio::sync::oneshot;

use crate::cli::config::Config;
use crate::cli::connect::{ServerArgs, Unreachable, connect};
use crate::cli::serve;
use crate::server;
use crate::server::lock::{self, Holder, Lock};

/// How long a server that starts or stops just now is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at what it does.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at who else is connected.
const LOOK_AT_CLIENTS: Duration = Duration::from_millis(200);

/// A connection to a server, and the server itself where it runs in this process.
pub(super) struct Attached {
    pub(super) client: Client,
    pub(super) options: ConnectOptions,
    pub(super) host: Option<Host>,
}

/// A server in this process.
pub(super) struct Host {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// Finds or starts the server.
///
/// # Errors
/// When none is reached and none can be started.
pub(super) async fn attach(args: &ServerArgs, config: &Config) -> anyhow::Result<Attached> {
    if args.server.is_some() {
        let (client, options) = args.connect().await?;
        return Ok(Attached { client, options, host: None });
    }
    let dir = args.data_dir()?;
    let until = Instant::now() + PATIENCE;
    loop {
        // Asked first, so that nothing is made where a server of another user holds it.
        if let Some(holder) = lock::holder(&dir)? {
            match attach_to(args, &dir, &holder).await {
                // It is starting, or on its way out: the lock will tell which.
                Err(error) if error.is::<Unreachable>() && Instant::now() < until => {}
                attached => return attached,
            }
        } else if let Ok(lock) = Lock::try_take(&dir)? {
            return start(args, &dir, lock, config).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn attach_to(args: &ServerArgs, dir: &Path, holder: &Holder) -> anyhow::Result<Attached> {
    let (client, options) = connect(args.options_of_holder(dir, holder)?, args.key.is_some()).await?;
    Ok(Attached { client, options, host: None })
}

/// Runs the ordinary server on a thread of this process, on a socket in the data directory.
async fn start(args: &ServerArgs, dir: &Path, mut lock: Lock, config: &Config) -> anyhow::Result<Attached> {
    let options = serve::embedded(dir, args.key.as_deref(), config)?;
    let key = options.key.as_deref().map(str::to_owned);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, listening) = oneshot::channel();
    let run = move || {
        let shutdown = async {
            // A sender that is gone means the same.
            let _ = stopped.await;
        };
        let announced = server::run(&options, server::Control::only(shutdown), |addresses| {
            let holder = Holder { process: std::process::id(), addresses: addresses.to_vec() };
            if let Err(error) = lock.announce(addresses) {
                tracing::warn!(%error, "others cannot find this server: its lock file cannot be written");
            }
            // The receiver waits until this comes, or is gone with the whole program.
            let _ = ready.send(holder);
        });
        drop(lock);
        announced
    };
    let thread = std::thread::Builder::new().name("agq-server".to_owned()).spawn(run)?;
    let host = Host { stop, thread };
    let Ok(holder) = listening.await else {
        host.stop().await?;
        return Err(anyhow!("the server stopped before it was ready"));
    };
    let options = ConnectOptions { key, ..args.options_of_holder(dir, &holder)? };
    let (client, options) = connect(options, true).await?;
    Ok(Attached { client, options, host: Some(host) })
}

impl Host {
    /// Waits until nobody is connected any more: other runs and commands that found this server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(super) async fn wait_for_others(&self, options: &ConnectOptions) -> anyhow::Result<()> {
        let mut client = Client::connect(options).await?;
        let mut told = false;
        loop {
            let others = connected(&mut client).await?.saturating_sub(1);
            if others == 0 {
                return Ok(());
            }
            if !told {
                eprintln!("agq: done; staying for {others} other connection(s) to this server (Ctrl-C ends it now)");
                told = true;
            }
            tokio::time::sleep(LOOK_AT_CLIENTS).await;
        }
    }

    /// Stops the server and waits until its store is closed.
    ///
    /// # Errors
    /// When the server failed.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let Host { stop, thread } = self;
        drop(stop);
        let ended = tokio::task::spawn_blocking(|| thread.join()).await?;
        ended.unwrap_or_else(|_| Err(anyhow!("the server's thread panicked")))
    }
}

async fn connected(client: &mut Client) -> anyhow::Result<u64> {
    let info = client.call(&["INFO", "clients"]).await?;
    let line = info.as_str().and_then(|text| text.lines().find_map(|line| line.strip_prefix("connected_clients:")));
    line.and_then(|count| count.trim().parse().ok()).context("the server does not say how many clients it has")
}
