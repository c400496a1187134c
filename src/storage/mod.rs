//! Storage: rows that survive.
//!
//! [`db`] wraps redb, which is named nowhere outside this folder. [`batch`] is what the layers above write through,
//! [`tables`] holds the layout, [`log`] the commit log, [`write_behind`] the backend that redb writes its pages
//! through, [`recover`] the way from a crash back to a store. Nothing here knows RESP, sockets or the clock: times
//! come in as arguments.

pub mod batch;
#[cfg(test)]
mod batch_tests;
mod checkpoint;
pub mod db;
mod discard;
mod error;
pub mod files;
mod log;
mod log_record;
mod log_segment;
mod log_sync;
mod meta;
mod options;
mod overlay;
mod recover;
mod room;
mod row_cache;
mod signals;
pub mod sim;
pub mod sim_disk;
mod snapshot;
mod space;
#[cfg(test)]
mod space_tests;
pub mod tables;
#[cfg(test)]
mod tests;
mod write_behind;

pub use batch::{Batch, Mark, Rows, Visit, WriteSet};
pub use checkpoint::Pace;
pub use db::Db;
pub use discard::{Discarded, discard_log, discard_log_on};
pub use error::{Error, Result};
pub use files::FileSystem;
pub use options::{Bound, DurabilityMode, Options, Refusal, Stats};
pub use snapshot::Snapshot;
pub use tables::Table;
