//! `agq serve`: flags, then environment, then defaults; lock, key, listen, run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;

use super::backup_times::BackupTimeArgs;
use super::client_limits::ClientLimitArgs;
use super::config::Config;
use super::duration::parse_ms;
use super::log::LogArgs;
use super::serve_tls::TlsArgs;
use super::size::parse_size;
use super::steering::Steering;
use crate::command::WebhookRules;
use crate::jobs::Settings;
use crate::server::{self, Notify, key, lock::Lock};
use crate::storage::{self, DurabilityMode};

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
    /// When an acknowledged write is on disk: always, interval[=ms] or none
    #[arg(long, env = "AGQ_DURABILITY", value_name = "MODE", default_value = "always", value_parser = parse_durability)]
    durability: DurabilityMode,
    /// Page cache of the store
    #[arg(long, env = "AGQ_CACHE_SIZE", value_name = "BYTES", default_value = "256MiB", value_parser = parse_size)]
    cache_size: u64,
    /// Log written between two checkpoints
    #[arg(long, env = "AGQ_CHECKPOINT_SIZE", value_name = "BYTES", default_value = "16MiB", value_parser = parse_checkpoint_size)]
    checkpoint_size: u64,
    /// Bytes that data.redb and its log may take on the disk; beyond them nothing that adds data is taken [default: no bound]
    #[arg(long, env = "AGQ_MAX_FILE_SIZE", value_name = "BYTES", value_parser = parse_max_file_size)]
    max_file_size: Option<u64>,
    /// Warn when less is left on the file system, or of --max-file-size; a quarter of what there is at most, 0 for never
    #[arg(long, env = "AGQ_DISK_WARNING", value_name = "BYTES", default_value = "1GiB", value_parser = parse_size)]
    disk_warning: u64,
    /// Milliseconds that a checkpoint should hold up commands at most
    #[arg(long, env = "AGQ_CHECKPOINT_STALL", value_name = "MS", default_value_t = 20)]
    checkpoint_stall: u64,
    /// Most seconds between two sweeps of expired keys
    #[arg(long, env = "AGQ_SWEEP_INTERVAL", value_name = "SECONDS", default_value_t = 30)]
    sweep_interval: u64,
    /// Seconds that a claimed job is its worker's unless the claim says otherwise
    #[arg(long, env = "AGQ_LEASE", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=43_200))]
    lease: u64,
    /// Seconds between two heartbeats of a worker
    #[arg(long, env = "AGQ_HEARTBEAT", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    heartbeat: u64,
    /// Seconds that a pending job waits to count as one priority higher; 0: never
    #[arg(long, env = "AGQ_AGEING", value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    ageing: u64,
    /// Output kept of each stream of a job; of more, head and tail are kept
    #[arg(long, env = "AGQ_MAX_OUTPUT", value_name = "BYTES", default_value = "16MiB", value_parser = parse_size)]
    max_output: u64,
    /// Seconds that a connection which claimed a job through a list may be silent before its lease runs out
    #[arg(long, env = "AGQ_LIST_CLAIM_SILENCE", value_name = "SECONDS", default_value_t = 600)]
    list_claim_silence: u64,
    /// Hosts that webhooks may be sent to: names, *.example.org for all below one, * for any, or none
    #[arg(long, env = "AGQ_WEBHOOK_HOSTS", value_name = "HOST", default_value = "*", value_delimiter = ',', value_parser = parse_host)]
    webhook_hosts: Vec<String>,
    /// Folder that backups are written into [default: <data-dir>/backups]
    #[arg(long, env = "AGQ_BACKUP_DIR", value_name = "DIR")]
    backup_dir: Option<PathBuf>,
    /// Bytes that a backup copies, or reads back, in a second
    #[arg(long, env = "AGQ_BACKUP_RATE", value_name = "BYTES", default_value = "64MiB", value_parser = parse_backup_rate)]
    backup_rate: u64,
    /// Longest time that a backup may take to copy: the store's file grows meanwhile
    #[arg(long, env = "AGQ_BACKUP_MAX_TIME", value_name = "TIME", default_value = "1h", value_parser = parse_time)]
    backup_max_time: u64,
    #[command(flatten)]
    backup_times: BackupTimeArgs,
    /// Backups that are kept, the newest; older ones of this store are removed
    #[arg(long, env = "AGQ_BACKUP_KEEP", value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    backup_keep: u64,
    /// Folder that keeps every record of the log, to restore any moment from a backup on [default: none]
    #[arg(long, env = "AGQ_ARCHIVE_DIR", value_name = "DIR")]
    archive_dir: Option<PathBuf>,
    /// Bytes of log that may wait for the archive when its disk is full or slow; what then, --archive-required says
    #[arg(long, env = "AGQ_ARCHIVE_MAX_LAG", value_name = "BYTES", default_value = "1GiB", value_parser = parse_size)]
    archive_max_lag: u64,
    /// Let writes wait rather than leave a gap in the archive
    #[arg(long, env = "AGQ_ARCHIVE_REQUIRED", requires = "archive_dir")]
    archive_required: bool,
    /// Start although the system's clock stands more than an hour behind the last time in the store
    #[arg(long, env = "AGQ_ACCEPT_CLOCK")]
    accept_clock: bool,
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
            ageing: other.ageing,
            client_limits: self.client_limits.with_changeable(&other.client_limits),
            heartbeat: other.heartbeat,
            lease: other.lease,
            list_claim_silence: other.list_claim_silence,
            log: LogArgs { format: self.log.format, ..other.log },
            max_output: other.max_output,
            sweep_interval: other.sweep_interval,
            tls: other.tls,
            webhook_hosts: other.webhook_hosts,
            ..self.clone()
        }
    }

    /// What the server is started with, or goes on with.
    ///
    /// # Errors
    /// When settings do not go together.
    pub(super) fn server_options(&self, dir: PathBuf, key: Option<Arc<str>>) -> anyhow::Result<server::Options> {
        if self.no_auth {
            check_local(&self.bind)?;
            if !self.tls.asks_for_certificates() {
                check_local(&self.tls_bind)?;
            }
        }
        check_max_file_size(self)?;
        let tls = self.tls.options(&self.tls_bind)?;
        Ok(server::Options { tls, ..server_options(self, dir, key) })
    }
}

/// The log's bytes between two checkpoints.
const CHECKPOINT_SIZES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

fn parse_durability(text: &str) -> Result<DurabilityMode, String> {
    match text.split_once('=') {
        None if text == "always" => Ok(DurabilityMode::Always),
        None if text == "interval" => Ok(DurabilityMode::Interval(1000)),
        None if text == "none" => Ok(DurabilityMode::None),
        Some(("interval", ms)) => match ms.parse() {
            Ok(ms @ 1..=3_600_000) => Ok(DurabilityMode::Interval(ms)),
            _ => Err(format!("the interval '{ms}' is not a number of milliseconds from 1 to 3600000")),
        },
        _ => Err("expected always, interval, interval=<ms> or none".to_owned()),
    }
}

/// A backup that is slower than this would hold its snapshot for days.
const LEAST_BACKUP_RATE: u64 = 64 << 10;

fn parse_backup_rate(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        rate @ LEAST_BACKUP_RATE.. => Ok(rate),
        _ => Err("expected 64KiB or more: the store's file grows for as long as a backup copies".to_owned()),
    }
}

/// Reads a length of time of a minute or more; as milliseconds.
pub(super) fn parse_time(text: &str) -> Result<u64, String> {
    match parse_ms(text)? {
        ms @ 60_000.. => Ok(ms),
        _ => Err("expected a minute or more, such as 90s, 30m, 6h or 1d".to_owned()),
    }
}

fn parse_checkpoint_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        size if CHECKPOINT_SIZES.contains(&size) => Ok(size),
        _ => Err("expected 64KiB to 1GiB: the log holds twice as much, and a start after a crash reads it".to_owned()),
    }
}

/// The least `--max-file-size`: below it the log and the reserve leave no room for data.
const LEAST_FILE_SIZE: u64 = 64 << 20;

fn parse_max_file_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        size if size >= LEAST_FILE_SIZE => Ok(size),
        _ => Err("expected 64MiB or more: the log and a reserve are part of it".to_owned()),
    }
}

/// Refuses a bound that the log alone would fill.
fn check_max_file_size(args: &ServeArgs) -> anyhow::Result<()> {
    if let Some(max) = args.max_file_size
        && max / 4 < args.checkpoint_size
    {
        let checkpoint = args.checkpoint_size;
        bail!(
            "--max-file-size of {max} bytes with --checkpoint-size of {checkpoint} leaves no room for data: the log takes up \
             to twice the latter; give four times as much, {} bytes, or a smaller --checkpoint-size",
            checkpoint * 4
        );
    }
    Ok(())
}

/// Reads the name of a host that webhooks may be sent to.
fn parse_host(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if text == "*" || !name.is_empty() && name.bytes().all(is_name) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("expected the name of a host without a port, such as hooks.example.org or *.example.org, or *, or none"
        .to_owned())
}

/// The hosts that webhooks may be sent to; for `none` alone there are none.
fn webhook_hosts(names: &[String]) -> Arc<[String]> {
    if names == ["none"] { Arc::default() } else { names.into() }
}

/// Starts the server and runs it until it is told to stop.
pub(super) fn run(args: &ServeArgs, config: &Config) -> anyhow::Result<()> {
    super::log::start(&args.log, "info");
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
    let (steering, control) = Steering::begin(args, config, dir, key, notify.clone())?;
    let shutdown = steering.run();
    server::run(&options, server::Control { shutdown, reloads: control, notify }, move |addresses| {
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

fn server_options(args: &ServeArgs, dir: PathBuf, key: Option<Arc<str>>) -> server::Options {
    let durability = match args.durability {
        DurabilityMode::Always => "always".to_owned(),
        DurabilityMode::Interval(ms) => format!("interval={ms}"),
        DurabilityMode::None => "none".to_owned(),
    };
    let appendfsync = match args.durability {
        DurabilityMode::Always => "always",
        DurabilityMode::Interval(_) => "everysec",
        DurabilityMode::None => "no",
    };
    let archive_dir = args.archive_dir.as_deref().map(from_anywhere);
    let backups = server::BackupOptions {
        archive: archive_dir.clone(),
        dir: args.backup_dir.as_deref().map_or_else(|| dir.join("backups"), from_anywhere),
        rate: args.backup_rate,
        max_snapshot_ms: args.backup_max_time,
        when: args.backup_times.when(),
        keep: usize::try_from(args.backup_keep).unwrap_or(usize::MAX),
    };
    let archive = archive_dir.clone().map(|dir| storage::ArchiveOptions {
        dir,
        max_lag: args.archive_max_lag,
        required: args.archive_required,
    });
    let (clients, client_parameters) = args.client_limits.limits();
    let parameters = [
        ("appendonly", "yes".to_owned()),
        ("appendfsync", appendfsync.to_owned()),
        ("save", String::new()),
        ("databases", "16".to_owned()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("dir", dir.display().to_string()),
        ("durability", durability),
        ("cache-size", args.cache_size.to_string()),
        ("checkpoint-size", args.checkpoint_size.to_string()),
        ("checkpoint-stall", args.checkpoint_stall.to_string()),
        ("max-file-size", args.max_file_size.unwrap_or(0).to_string()),
        ("disk-warning", args.disk_warning.to_string()),
        ("sweep-interval", args.sweep_interval.to_string()),
        ("lease", args.lease.to_string()),
        ("heartbeat", args.heartbeat.to_string()),
        ("ageing", args.ageing.to_string()),
        ("max-output", args.max_output.to_string()),
        ("list-claim-silence", args.list_claim_silence.to_string()),
        ("backup-dir", backups.dir.display().to_string()),
        ("backup-rate", backups.rate.to_string()),
        ("backup-max-time", (backups.max_snapshot_ms / 1000).to_string()),
        ("backup-keep", backups.keep.to_string()),
        ("archive-dir", archive_dir.as_ref().map_or(String::new(), |dir| dir.display().to_string())),
        ("archive-max-lag", args.archive_max_lag.to_string()),
        ("archive-required", if args.archive_required { "yes" } else { "no" }.to_owned()),
        ("webhook-hosts", args.webhook_hosts.join(",")),
    ];
    let parameters = parameters.into_iter().chain(args.backup_times.parameters());
    let parameters = parameters.chain(args.tls.parameters(&args.tls_bind));
    server::Options {
        storage: storage::Options {
            dir,
            durability: args.durability,
            cache_size: usize::try_from(args.cache_size).unwrap_or(usize::MAX),
            checkpoint_size: args.checkpoint_size,
            checkpoint_stall_ms: args.checkpoint_stall,
            archive,
            max_file_size: args.max_file_size,
            on_repair: Some(server::log_repair),
        },
        backups,
        bind: args.bind.iter().filter(|address| !address.is_empty()).cloned().collect(),
        socket: args.socket.clone(),
        tls: None,
        key,
        clients,
        accept_clock: args.accept_clock,
        disk_warning: args.disk_warning,
        webhooks: WebhookRules { hosts: webhook_hosts(&args.webhook_hosts), no_https: agq_tls::refusal() },
        sweep_interval_ms: args.sweep_interval.saturating_mul(1000),
        jobs: Settings {
            lease_ms: args.lease * 1000,
            heartbeat_ms: args.heartbeat * 1000,
            ageing_ms: args.ageing * 1000,
            max_output: args.max_output,
            list_claim_silence_ms: args.list_claim_silence.saturating_mul(1000),
            ..Settings::default()
        },
        parameters: parameters
            .into_iter()
            .chain(client_parameters)
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// A folder that was asked for, as it is found from anywhere.
fn from_anywhere(asked: &Path) -> PathBuf {
    std::path::absolute(asked).unwrap_or_else(|_| asked.to_owned())
}

/// The options of a server inside another command: what the environment, the file and the defaults say, on a socket in
/// the data directory instead of the network.
pub(super) fn embedded(dir: &Path, key: Option<&str>, config: &Config) -> anyhow::Result<server::Options> {
    let mut args = config.serve_alone()?.serve;
    check_max_file_size(&args)?;
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
    Ok(server_options(&args, dir.to_owned(), key))
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
    fn a_checkpoint_size_is_bounded() {
        assert_eq!(parse_checkpoint_size("64KiB"), Ok(64 << 10));
        assert!(parse_checkpoint_size("65535").is_err() && parse_checkpoint_size("2GiB").is_err());
    }

    #[test]
    fn durability_modes() {
        assert_eq!(parse_durability("interval=50"), Ok(DurabilityMode::Interval(50)));
        assert_eq!(parse_durability("none"), Ok(DurabilityMode::None));
        assert!(parse_durability("interval=0").is_err() && parse_durability("sometimes").is_err());
    }

    #[test]
    fn hosts_of_webhooks_are_names() {
        assert_eq!(parse_host("*.Example.org").as_deref(), Ok("*.example.org"));
        assert!(parse_host("*").is_ok() && parse_host("::1").is_ok() && parse_host("10.0.0.1").is_ok());
        for wrong in ["", "*.", "http://a", "a/b", "a*"] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
        assert!(webhook_hosts(&["none".to_owned()]).is_empty());
        assert_eq!(webhook_hosts(&["*".to_owned()]).len(), 1);
    }

    #[test]
    fn no_auth_is_for_local_addresses() {
        assert!(check_local(&["127.0.0.1:1".into(), "[::1]:1".into(), "localhost:1".into()]).is_ok());
        assert!(check_local(&[String::new()]).is_ok());
        assert!(check_local(&["0.0.0.0:6380".into()]).is_err());
        assert!(check_local(&["example.org:6380".into()]).is_err());
    }
}
