//! Storage: rows that survive.
//!
//! [`db`] wraps redb, which is named nowhere outside this folder. [`batch`] is what the layers above write through,
//! [`tables`] holds the layout, [`log`] the commit log, [`write_behind`] the backend that redb writes its pages
//! through, [`recover`] the way from a crash back to a store. Nothing here knows RESP, sockets or the clock: times
//! come in as arguments.

mod allowance;
mod archive;
mod archiver;
mod backup;
pub mod batch;
#[cfg(test)]
mod batch_tests;
mod checkpoint;
mod compact;
mod compaction;
pub mod db;
mod discard;
mod error;
pub mod files;
mod free_pages;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod give_back;
#[cfg(test)]
pub(crate) mod injected;
mod log;
mod log_record;
mod log_segment;
mod log_sync;
mod meta;
mod options;
mod overlay;
mod plain_file;
mod recover;
mod restore;
mod room;
mod row_cache;
pub mod shadow;
mod signals;
pub mod sim;
pub mod sim_disk;
mod snapshot;
mod space;
#[cfg(test)]
mod space_tests;
mod store_file;
mod survey;
pub mod tables;
#[cfg(test)]
mod tests;
mod write_behind;

pub use allowance::{Allowance, Allowed, Reading, Share, Working};
pub use archive::{Behind, Range, archive_ranges, prune_archive};
pub use archiver::{ArchiveOptions, ArchiveStats};
pub use backup::{Backup, Phase, Progress, Source, Watch, copy_backup, is_unfinished, look_at, write_backup};
pub use batch::{Batch, Mark, Rows, Visit, WriteSet};
pub use checkpoint::Pace;
pub use compact::{Compacted, compact, compact_on};
pub use compaction::{CompactionPhase, CompactionProgress};
pub use db::{CompactionEnd, Db};
pub use discard::{Discarded, discard_log, discard_log_on};
pub use error::{Error, Result};
pub use files::FileSystem;
pub use log_sync::BegunSync;
pub use options::{Bound, COMPACT_SLICE, DurabilityMode, Options, Refusal, Stats};
pub use restore::{Replay, Restore, Restored, restore};
pub use snapshot::Snapshot;
pub use space::needed_beside_a_copy;
pub use store_file::check_is_new;
pub use survey::{Content, Segment, Survey, survey};
pub use tables::Table;
