//! The server's flags about backups and the archive.

use std::path::{Path, PathBuf};

use clap::Args;

use super::backup_times::BackupTimeArgs;
use super::duration::parse_ms;
use super::number::number;
use super::size::parse_size;
use crate::{server, storage};

/// Flags of `agq serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct BackupArgs {
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
    times: BackupTimeArgs,
    /// Backups that are kept, the newest; older ones of this store are removed
    #[arg(long, env = "AGQ_BACKUP_KEEP", value_name = "N", default_value_t = 7, value_parser = number("backups", 1..=100_000_u64))]
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
}

impl BackupArgs {
    /// Where backups are written, when, and how fast; `dir` is the data directory.
    pub(super) fn options(&self, dir: &Path) -> server::BackupOptions {
        server::BackupOptions {
            store: from_anywhere(dir),
            archive: self.archive_dir.as_deref().map(from_anywhere),
            dir: self.backup_dir.as_deref().map_or_else(|| dir.join("backups"), from_anywhere),
            rate: self.backup_rate,
            max_snapshot_ms: self.backup_max_time,
            when: self.times.when(),
            keep: usize::try_from(self.backup_keep).unwrap_or(usize::MAX),
        }
    }

    /// The archive, where there is to be one.
    pub(super) fn archive(&self) -> Option<storage::ArchiveOptions> {
        let dir = self.archive_dir.as_deref().map(from_anywhere)?;
        Some(storage::ArchiveOptions { dir, max_lag: self.archive_max_lag, required: self.archive_required })
    }

    /// What CONFIG GET shows; `dir` is the data directory.
    pub(super) fn parameters(&self, dir: &Path) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let backups = self.options(dir);
        let parameters = [
            ("backup-dir", backups.dir.display().to_string()),
            ("backup-rate", backups.rate.to_string()),
            ("backup-max-time", (backups.max_snapshot_ms / 1000).to_string()),
            ("backup-keep", backups.keep.to_string()),
            ("archive-dir", backups.archive.map_or(String::new(), |dir| dir.display().to_string())),
            ("archive-max-lag", self.archive_max_lag.to_string()),
            ("archive-required", if self.archive_required { "yes" } else { "no" }.to_owned()),
        ];
        parameters.into_iter().chain(self.times.parameters())
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

/// A folder that was asked for, as it is found from anywhere.
fn from_anywhere(asked: &Path) -> PathBuf {
    std::path::absolute(asked).unwrap_or_else(|_| asked.to_owned())
}
