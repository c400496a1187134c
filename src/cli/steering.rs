//! What steers a server that runs: SIGTERM and SIGINT stop it, after a drain if one is asked for; SIGHUP has it read its
//! settings again, and CONFIG SET changes some of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::config::{self, Config};
use super::parameters;
use super::reload::{Reread, Values, compare};
use super::serve::{LOG, ServeArgs};
use crate::command::NotSet;
use crate::server::{AskedChange, Notify, Order, Reload};

/// What runs, and how to change it.
pub(super) struct Steering {
    words: Vec<OsString>,
    args: ServeArgs,
    values: Values,
    dir: PathBuf,
    key: Option<Arc<str>>,
    notify: Notify,
    orders: UnboundedSender<Order>,
    changes: UnboundedReceiver<AskedChange>,
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
    ) -> anyhow::Result<(Steering, UnboundedReceiver<Order>, UnboundedSender<AskedChange>)> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let (_, values) = config.serve_settings(&words)?;
        let (orders, receiver) = unbounded_channel();
        let (asking, changes) = unbounded_channel();
        let steering = Steering { words, args: args.clone(), values, dir, key, notify, orders, changes, drains: false };
        Ok((steering, receiver, asking))
    }

    /// Resolves at SIGTERM or SIGINT, at the second of them where the first begins a drain; until then each SIGHUP is a
    /// reload, and each CONFIG SET of a setting one of that. Signals are caught from the first poll on.
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
                Some(AskedChange { pairs, outcome }) = self.changes.recv() => {
                    // Whoever asked may be gone.
                    let _ = outcome.send(self.change(&pairs).await);
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
        self.put_into_force(args, values, true).await?;
        for setting in waiting {
            tracing::warn!(setting, "SIGHUP: this setting was changed and needs a restart");
        }
        tracing::info!(changed = changed.join(" "), "SIGHUP: the settings and the files of TLS were read again");
        Ok(())
    }

    /// Puts into force what CONFIG SET asks for: all of it, or nothing.
    async fn change(&mut self, pairs: &[(String, String)]) -> Result<(), NotSet> {
        let Reread { args, values, changed, .. } = parameters::with(&self.args, &self.values, pairs)?;
        let reads_files = pairs.iter().any(|(name, _)| parameters::is_of_tls(name));
        self.put_into_force(args, values, reads_files).await.map_err(|error| parameters::blame(pairs, &error))?;
        tracing::info!(changed = changed.join(" "), "CONFIG SET: the settings were changed");
        Ok(())
    }

    /// Goes on with other settings: all of them, or, with an error, none. The files of TLS are read again where that is
    /// asked for: who sets a lease is not concerned by a certificate that is being renewed.
    async fn put_into_force(&mut self, args: ServeArgs, values: Values, reads_files: bool) -> anyhow::Result<()> {
        let log = args.log.filter.as_deref();
        super::log::check(log, LOG)?;
        let (outcome, told) = oneshot::channel();
        let options = args.server_options(self.dir.clone(), self.key.clone())?;
        let reload = Order::Reload(Box::new(Reload { options, reads_files, outcome }));
        self.orders.send(reload).ok().context("the server stops")?;
        told.await.context("the server stops")??;
        super::log::set(log, LOG)?;
        (self.args, self.values) = (args, values);
        Ok(())
    }
}
