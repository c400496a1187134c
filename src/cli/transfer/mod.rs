//! `agq export` and `agq import`: the keys of a store as lines of JSON that say values, not AGQ's bytes
//! (docs/export.md), and back into a new store.

mod export;
mod import;
mod line;

pub(super) use export::{ExportArgs, run as export};
pub(super) use import::{ImportArgs, run as import};
