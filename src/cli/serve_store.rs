//! The server's flags about its store: when it is durable, and how much it takes.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::number::any_number;
use super::size::parse_size;
use crate::server;
use crate::storage::{self, DurabilityMode};

/// Flags of `agq serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct StoreArgs {
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
    pub(super) disk_warning: u64,
    /// Milliseconds that a checkpoint should hold up commands at most
    #[arg(long, env = "AGQ_CHECKPOINT_STALL", value_name = "MS", default_value_t = 20, value_parser = any_number("milliseconds"))]
    checkpoint_stall: u64,
    /// Most seconds between two sweeps of expired keys
    #[arg(long, env = "AGQ_SWEEP_INTERVAL", value_name = "SECONDS", default_value_t = 30, value_parser = any_number("seconds"))]
    pub(super) sweep_interval: u64,
    /// Bytes of rows that a compaction copies in a second
    #[arg(long, env = "AGQ_COMPACT_RATE", value_name = "BYTES", default_value = "64MiB", value_parser = parse_compact_rate)]
    pub(super) compact_rate: u64,
    /// Start although the system's clock stands more than an hour behind the last time in the store
    #[arg(long, env = "AGQ_ACCEPT_CLOCK")]
    pub(super) accept_clock: bool,
}

impl StoreArgs {
    /// These settings with those of others that may change while the server runs.
    pub(super) fn with_changeable(&self, other: &StoreArgs) -> StoreArgs {
        StoreArgs { sweep_interval: other.sweep_interval, ..self.clone() }
    }

    /// Refuses a bound that the log alone would fill.
    ///
    /// # Errors
    /// When `--max-file-size` and `--checkpoint-size` do not go together.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if let Some(max) = self.max_file_size
            && max / 4 < self.checkpoint_size
        {
            let checkpoint = self.checkpoint_size;
            bail!(
                "--max-file-size of {max} bytes with --checkpoint-size of {checkpoint} leaves no room for data: the log takes \
                 up to twice the latter; give four times as much, {} bytes, or a smaller --checkpoint-size",
                checkpoint * 4
            );
        }
        Ok(())
    }

    /// How the store is opened.
    pub(super) fn options(&self, dir: PathBuf, archive: Option<storage::ArchiveOptions>) -> storage::Options {
        storage::Options {
            dir,
            durability: self.durability,
            cache_size: usize::try_from(self.cache_size).unwrap_or(usize::MAX),
            checkpoint_size: self.checkpoint_size,
            checkpoint_stall_ms: self.checkpoint_stall,
            archive,
            max_file_size: self.max_file_size,
            on_repair: Some(server::log_repair),
            compact_slice: storage::COMPACT_SLICE,
        }
    }

    /// What CONFIG GET shows, under Redis's names where it has them.
    pub(super) fn parameters(&self) -> [(&'static str, String); 9] {
        let (appendfsync, durability) = match self.durability {
            DurabilityMode::Always => ("always", "always".to_owned()),
            DurabilityMode::Interval(ms) => ("everysec", format!("interval={ms}")),
            DurabilityMode::None => ("no", "none".to_owned()),
        };
        [
            ("appendfsync", appendfsync.to_owned()),
            ("durability", durability),
            ("cache-size", self.cache_size.to_string()),
            ("checkpoint-size", self.checkpoint_size.to_string()),
            ("checkpoint-stall", self.checkpoint_stall.to_string()),
            ("max-file-size", self.max_file_size.unwrap_or(0).to_string()),
            ("disk-warning", self.disk_warning.to_string()),
            ("compact-rate", self.compact_rate.to_string()),
            ("sweep-interval", self.sweep_interval.to_string()),
        ]
    }
}

/// The log's bytes between two checkpoints.
const CHECKPOINT_SIZES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// A compaction that is slower than this would have the disk keep two files for days.
const LEAST_COMPACT_RATE: u64 = 64 << 10;

fn parse_compact_rate(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        rate @ LEAST_COMPACT_RATE.. => Ok(rate),
        _ => Err("expected 64KiB or more: the disk has to have room for two files meanwhile".to_owned()),
    }
}

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
}
