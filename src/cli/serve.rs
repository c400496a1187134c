//! `agq serve`: flags, then environment, then defaults; lock, key, listen, run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;

use super::client_limits::ClientLimitArgs;
use super::config::Config;
use super::log::LogArgs;
use super::parameters;
use super::serve_backups::BackupArgs;
use super::serve_jobs::JobArgs;
use super::serve_store::StoreArgs;
use super::serve_tls::TlsArgs;
use super::steering::Steering;
use crate::command::FIXED_PARAMETERS;
use crate::server::{self, Notify, key, lock::Lock};

/// What is logged unless somebody chose it.
pub(super) const LOG: &str = "info";

/// A Unix socket's path has room for so many bytes, on macOS; Linux has four more.
const LONGEST_SOCKET_PATH: usize = 104;

/// The server's flags.
#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    /// Folder that holds the store [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// TCP address to listen on; may be given several times
    #[arg(long, env = "AGQ_BIND", value_name = "HOST:PORT", default_value = "127.0.0.1:6380", value_delimiter = ',')]
    bind: Vec<String>,
    /// TCP address to listen on with TLS; may be given several times
    #[arg(long, env = "AGQ_TLS_BIND", value_name = "HOST:PORT", value_delimiter = ',')]
    tls_bind: Vec<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Unix socket to listen on as well
    #[arg(long, env = "AGQ_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Key that clients must give with AUTH [default: made at the first start, kept in <data-dir>/session.key]
    #[arg(long, env = "AGQ_SESSION_KEY", value_name = "KEY", hide_env_values = true)]
    session_key: Option<String>,
    /// Ask for no key; only with loopback and Unix addresses
    #[arg(long, env = "AGQ_NO_AUTH", conflicts_with = "session_key")]
    no_auth: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    pub(super) jobs: JobArgs,
    #[command(flatten)]
    backups: BackupArgs,
    #[command(flatten)]
    client_limits: ClientLimitArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

impl ServeArgs {
    /// These settings with those of others that may change while the server runs.
    pub(super) fn with_changeable(&self, other: &ServeArgs) -> ServeArgs {
        let other = other.clone();
        ServeArgs {
            client_limits: self.client_limits.with_changeable(&other.client_limits),
            jobs: other.jobs,
            log: LogArgs { format: self.log.format, ..other.log },
            store: self.store.with_changeable(&other.store),
            tls: other.tls,
            ..self.clone()
        }
    }

    /// What the server is started with, or goes on with.
    ///
    /// # Errors
    /// When settings do not go together.
    pub(super) fn server_options(&self, dir: PathBuf, key: Option<Arc<str>>) -> anyhow::Result<server::Options> {
        if self.no_auth {
            if self.tls.reads_keys() {
                bail!(
                    "--no-auth lets everybody do everything, whatever key --tls-client-keys finds in a certificate: give \
                     one of the two"
                );
            }
            check_local(&self.bind)?;
            if !self.tls.asks_for_certificates() {
                check_local(&self.tls_bind)?;
            }
        }
        self.store.check()?;
        let tls = self.tls.options(&self.tls_bind)?;
        if self.bind.iter().chain(&self.tls_bind).all(String::is_empty) && self.socket.is_none() {
            bail!("there is no address to listen on: give --bind, --tls-bind or --socket");
        }
        Ok(server::Options { tls, ..self.options_without_tls(dir, key) })
    }

    fn options_without_tls(&self, dir: PathBuf, key: Option<Arc<str>>) -> server::Options {
        let (clients, client_parameters) = self.client_limits.limits();
        server::Options {
            parameters: self.parameters(&dir, client_parameters),
            backups: self.backups.options(&dir),
            compact_rate: self.store.compact_rate,
            storage: self.store.options(dir, self.backups.archive()),
            bind: self.bind.iter().filter(|address| !address.is_empty()).cloned().collect(),
            socket: self.socket.clone(),
            tls: None,
            key,
            clients,
            accept_clock: self.store.accept_clock,
            disk_warning: self.store.disk_warning,
            webhooks: self.jobs.webhooks(),
            sweep_interval_ms: self.store.sweep_interval.saturating_mul(1000),
            jobs: self.jobs.settings(),
            changeable: parameters::names(),
        }
    }

    /// What CONFIG GET shows; `dir` is the data directory.
    fn parameters(&self, dir: &Path, of_clients: Vec<(&'static str, String)>) -> Vec<(String, String)> {
        let fixed = FIXED_PARAMETERS.map(|(name, value)| (name, value.to_owned()));
        let all = fixed.into_iter().chain([("dir", dir.display().to_string())]).chain(self.store.parameters());
        let all = all.chain(self.jobs.parameters()).chain(self.backups.parameters(dir));
        let log = self.log.filter.as_deref().unwrap_or(LOG).to_owned();
        let all = all.chain(self.tls.parameters(&self.tls_bind)).chain(of_clients).chain([("log", log)]);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Starts the server and runs it until it is told to stop.
pub(super) fn run(args: &ServeArgs, config: &Config) -> anyhow::Result<()> {
    super::log::start(&args.log, LOG);
    let dir = data_dir(args.data_dir.as_ref())?;
    server::raise_limit();
    // What is wrong with the settings is said before anything is made.
    args.server_options(dir.clone(), None)?;
    let notify = Notify::from_environment().context("cannot reach the service manager that NOTIFY_SOCKET names")?;
    let mut lock = Lock::take(&dir)?;
    let key = match (&args.session_key, args.no_auth) {
        (_, true) => None,
        (Some(key), _) if key.is_empty() => bail!("the session key is empty: give one, or use --no-auth"),
        (Some(key), _) => Some(Arc::from(key.as_str())),
        (None, _) => Some(key::load_or_make(&dir)?),
    };
    let options = args.server_options(dir.clone(), key.clone())?;
    server::warn_of_little_room(args.client_limits.max_clients, options.clients.max_clients);
    let shown = dir.clone();
    let (steering, orders, changes) = Steering::begin(args, config, dir, key, notify.clone())?;
    let shutdown = steering.run();
    server::run(&options, server::Control { shutdown, orders, changes, notify }, move |addresses| {
        if let Err(error) = lock.announce(addresses) {
            tracing::warn!(%error, "cannot write the addresses into the lock file");
        }
        // Held for as long as the process lives.
        std::mem::forget(lock);
        tracing::info!(data_dir = %shown.display(), addresses = addresses.join(" "), "ready");
    })?;
    tracing::info!("stopped; data.redb is complete by itself");
    Ok(())
}

/// The options of a server inside another command: what the environment, the file and the defaults say, on a socket in
/// the data directory instead of the network.
pub(super) fn embedded(dir: &Path, key: Option<&str>, config: &Config) -> anyhow::Result<server::Options> {
    let mut args = config.serve_alone()?.serve;
    args.store.check()?;
    let socket = dir.join("agq.sock");
    if socket.as_os_str().len() < LONGEST_SOCKET_PATH {
        args.bind = Vec::new();
        args.socket = Some(socket);
    } else {
        args.bind = vec!["127.0.0.1:0".to_owned()];
        args.socket = None;
    }
    let key = match (key.or(args.session_key.as_deref()), args.no_auth) {
        (_, true) => None,
        (Some(key), _) => Some(Arc::from(key)),
        (None, _) => Some(key::load_or_make(dir)?),
    };
    Ok(args.options_without_tls(dir.to_owned(), key))
}

/// The data directory that was asked for, or `~/.agq`.
pub(super) fn data_dir(asked: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(dir) = asked {
        return std::path::absolute(dir).with_context(|| format!("the data directory '{}'", dir.display()));
    }
    match std::env::home_dir() {
        Some(home) if !home.as_os_str().is_empty() => Ok(home.join(".agq")),
        _ => bail!("there is no home directory: choose a data directory with --data-dir"),
    }
}

/// Refuses to serve strangers without a key.
fn check_local(addresses: &[String]) -> anyhow::Result<()> {
    for address in addresses {
        if address.is_empty() {
            continue;
        }
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !local {
            bail!("--no-auth with '{address}' would let anybody in: use a loopback address, or a session key");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_nobody_could_reach_is_refused() {
        let options = |words: &[&str]| {
            let words: Vec<_> = ["agq"].iter().chain(words).map(std::ffi::OsString::from).collect();
            let (cli, _) = Config::default().serve_settings(&words).unwrap();
            cli.serve.server_options(PathBuf::from("/nowhere"), None).map(drop).map_err(|error| error.to_string())
        };
        assert!(options(&["--bind", ""]).unwrap_err().starts_with("there is no address to listen on: give --bind"));
        assert_eq!(options(&["--bind", "", "--socket", "agq.sock"]), Ok(()));
        assert_eq!(options(&["--bind", "127.0.0.1:1"]), Ok(()));
    }

    #[test]
    fn no_auth_is_for_local_addresses() {
        assert!(check_local(&["127.0.0.1:1".into(), "[::1]:1".into(), "localhost:1".into()]).is_ok());
        assert!(check_local(&[String::new()]).is_ok());
        assert!(check_local(&["0.0.0.0:6380".into()]).is_err());
        assert!(check_local(&["example.org:6380".into()]).is_err());
    }
}
