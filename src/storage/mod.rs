//! Storage: rows that survive.
//!
//! [`db`] wraps redb, which is named nowhere outside this folder. [`batch`] is what the layers above write through,
//! [`tables`] holds the layout, [`log`] the commit log, [`write_behind`] the backend that redb writes its pages
//! through. Nothing here knows RESP, sockets or the clock: times come in as arguments.

pub mod batch;
pub mod db;
mod error;
pub mod tables;

pub use batch::{Batch, Mark, Rows, Visit, WriteSet};
pub use db::{Db, DurabilityMode, Options, Refusal, Snapshot};
pub use error::{Error, Result};
pub use tables::Table;
