//! `agq compact`: makes the file of a store as small as what is in it. It works on the files, with no server.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output;
use super::serve::data_dir;
use super::store::{self, Progress};
use crate::storage;

#[derive(Debug, Clone, Args)]
pub(super) struct CompactArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder of the store [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Compacts a store.
pub(super) fn run(args: &CompactArgs) -> anyhow::Result<()> {
    let dir = data_dir(args.data_dir.as_ref())?;
    let _lock = store::lock(&dir)?;
    let done = {
        let progress = Progress::new();
        progress.begin("copied");
        storage::compact(&storage::Options::new(&dir), &mut || progress.step())?
    };
    if args.json {
        return output::json(&json!({"bytes_before": done.before, "bytes_after": done.after, "rows": done.rows}));
    }
    let (before, after) = (store::size(done.before), store::size(done.after));
    output::line(format_args!("data.redb had {before} and has {after} now; {} rows were copied", done.rows))
}
