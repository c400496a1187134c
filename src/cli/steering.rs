//! The signals that a server takes: SIGTERM and SIGINT stop it, after a drain if one is asked for; SIGHUP has it read its
//! settings again.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::config::{self, Config};
use super::reload::{Reread, Values, compare};
use super::serve::ServeArgs;
use crate::server::{Notify, Order, Reload};

/// What runs, and how to change it.
pub(super) struct Steering {
    words: Vec<OsString>,
    args: ServeArgs,
    values: Values,
    dir: PathBuf,
    key: Option<Arc<str>>,
    notify: Notify,
    orders: UnboundedSender<Order>,
    /// A signal has begun a drain: the next one ends it.
    drains: bool,
}

impl Steering {
    /// Steers a server that is started with `args`, which came from this process's command line and from `config`.
    ///
    /// # Errors
    /// When the command line makes no sense.
    pub(super) fn begin(
        args: &ServeArgs,
        config: &Config,
        dir: PathBuf,
        key: Option<Arc<str>>,
        notify: Notify,
    ) -> anyhow::Result<(Steering, UnboundedReceiver<Order>)> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let (_, values) = config.serve_settings(&words)?;
        let (orders, receiver) = unbounded_channel();
        Ok((Steering { words, args: args.clone(), values, dir, key, notify, orders, drains: false }, receiver))
    }

    /// Resolves at SIGTERM or SIGINT, at the second of them where the first begins a drain; until then each SIGHUP is a reload. Signals are caught from the first poll on.
    pub(super) async fn run(mut self) {
        let caught = |kind| signal(kind).inspect_err(|error| tracing::error!(%error, "cannot catch signals")).ok();
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [Some(mut term), Some(mut int), Some(mut hang_up)] = kinds.map(caught) else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = term.recv() => if self.stops_at("SIGTERM") { return },
                _ = int.recv() => if self.stops_at("SIGINT") { return },
                _ = hang_up.recv() => {
                    self.notify.reloading();
                    match self.reload().await {
                        Ok(()) => self.notify.ready("serving; the settings were read again"),
                        Err(error) => {
                            tracing::error!("SIGHUP: nothing was changed: {error:#}");
                            self.notify.ready("serving; the settings make no sense, nothing was changed");
                        }
                    }
                }
            }
        }
    }

    /// True when a signal stops the server at once; else it begins a drain.
    fn stops_at(&mut self, signal: &str) -> bool {
        if let Some(time) = self.args.jobs.drain_time()
            && !self.drains
            && self.orders.send(Order::Drain(time)).is_ok()
        {
            self.drains = true;
            let seconds = time.as_secs();
            tracing::info!(
                "{signal}: draining for {seconds} s at most; no job is granted any more, and one more signal stops at once"
            );
            return false;
        }
        tracing::info!("{signal}: stopping");
        true
    }

    /// Reads the settings again and puts into force what may change.
    async fn reload(&mut self) -> anyhow::Result<()> {
        let words = self.words.clone();
        // A file on a slow disk must not hold up the server.
        let read = tokio::task::spawn_blocking(move || config::read_again(&words));
        let (cli, values) = read.await.context("reading the settings")??;
        let Reread { args, values, changed, waiting } = compare(&self.args, &self.values, &cli.serve, &values);
        let (outcome, told) = oneshot::channel();
        let options = args.server_options(self.dir.clone(), self.key.clone())?;
        self.orders.send(Order::Reload(Box::new(Reload { options, outcome }))).ok().context("the server stops")?;
        told.await.context("the server stops")??;
        super::log::set(args.log.filter.as_deref(), "info")?;
        (self.args, self.values) = (args, values);
        for setting in waiting {
            tracing::warn!(setting, "SIGHUP: this setting was changed and needs a restart");
        }
        tracing::info!(changed = changed.join(" "), "SIGHUP: the settings and the files of TLS were read again");
        Ok(())
    }
}
