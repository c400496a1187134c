//! How a store is opened, and what it tells about itself.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::storage::files::FileSystem;
use crate::storage::{ArchiveOptions, ArchiveStats};

/// When an acknowledged write is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurabilityMode {
    /// Before its reply leaves.
    Always,
    /// At most this many milliseconds after it.
    Interval(u64),
    /// At the next checkpoint.
    None,
}

/// Bytes of rows that a compaction copies at a time unless it is told otherwise.
pub const COMPACT_SLICE: u64 = 8 << 20;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that holds `data.redb` and its log.
    pub dir: PathBuf,
    /// When an acknowledged write is on disk.
    pub durability: DurabilityMode,
    /// Bytes of redb's page cache.
    pub cache_size: usize,
    /// Bytes of log after which a checkpoint is made.
    pub checkpoint_size: u64,
    /// Milliseconds that a checkpoint should hold up the core at most.
    pub checkpoint_stall_ms: u64,
    /// Bytes that `data.redb` and its log may take on the disk; `None`: as many as there are.
    pub max_file_size: Option<u64>,
    /// Called while the whole of `data.redb` has to be read before it can be opened, with the part that is done, 0 to 1.
    pub on_repair: Option<fn(f64)>,
    /// Where the log is kept for good, if it is.
    pub archive: Option<ArchiveOptions>,
    /// Bytes of rows that a compaction copies at a time, with one view of the store.
    pub compact_slice: u64,
}

impl Options {
    /// The defaults, for a store in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Options {
        Options {
            dir: dir.to_owned(),
            durability: DurabilityMode::Always,
            cache_size: 256 << 20,
            checkpoint_size: 16 << 20,
            checkpoint_stall_ms: 20,
            max_file_size: None,
            on_repair: None,
            archive: None,
            compact_slice: COMPACT_SLICE,
        }
    }
}

/// Why the store takes no data for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What bounds it.
    pub bound: Bound,
    /// What is missing, where, and what helps.
    pub reason: String,
    /// Nothing may be changed at all: the reserve for what frees space is used up too.
    pub everything: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What bounds the size of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The file system that it is on, a quota, or a limit of the process.
    Disk,
    /// `--max-file-size`.
    MaxFileSize,
}

/// The store's figures, for INFO and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Length of `data.redb`; it may be sparse.
    pub file_bytes: u64,
    /// Bytes that `data.redb` and its log take on the disk.
    pub allocated_bytes: u64,
    /// Bytes that they may take, if that is bounded.
    pub max_file_size: Option<u64>,
    /// What their file system has, where that is known.
    pub file_system: Option<FileSystem>,
    /// Length of both log segments.
    pub log_bytes: u64,
    /// Rows applied since the last checkpoint.
    pub window_rows: u64,
    /// Rows after which the next one is made, by what the last ones cost.
    pub window_rows_allowed: u64,
    /// Checkpoints made since the start.
    pub checkpoints: u64,
    /// True while one is on its way to the disk.
    pub checkpoint_draining: bool,
    /// Microseconds that the last checkpoint held up the core.
    pub last_stall_us: u64,
    /// The last record in the log.
    pub seq: u64,
    /// The last record known to be on the disk.
    pub synced_seq: u64,
    /// The last record that a checkpoint covers.
    pub checkpoint_seq: u64,
    /// How often the store has been opened.
    pub generation: u64,
    /// The store's own number, drawn when it was made.
    pub store_id: u128,
    /// Records replayed at the start.
    pub replayed: u64,
    /// True when the start had to walk the whole file.
    pub repaired: bool,
    /// The archive's figures, where there is one.
    pub archive: Option<ArchiveStats>,
}
