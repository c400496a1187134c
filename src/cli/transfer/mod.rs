//! `agq export` and `agq import`: a store as lines of JSON that say values, not AGQ's bytes (docs/export.md), and back into
//! a new store.

mod export;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod import;
mod line;

pub(super) use export::{ExportArgs, run as export};
#[cfg(any(test, feature = "fuzzing"))]
pub use fuzz::lines as fuzz_transfer;
pub(super) use import::{ImportArgs, run as import};
