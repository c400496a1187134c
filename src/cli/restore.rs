//! `agq restore`: makes a backup a store again, in an empty data directory. It works on the files, with no server: it
//! holds the data directory's lock as a server would.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::output;
use super::serve::data_dir;
use crate::clock::Millis;
use crate::jobs;
use crate::server::lock::Lock;
use crate::storage::files::{RealDisk, open_read_only};
use crate::storage::{self, Batch, Error, Restore, Restored, Table};

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup, or the data.redb of a store that was stopped
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Empty folder to restore into [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Restores.
pub(super) fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let dir = data_dir(args.data_dir.as_ref())?;
    let name = args.backup.display().to_string();
    let backup = open_read_only(&args.backup).with_context(|| format!("cannot read the backup {name}"))?;
    let _lock = Lock::take(&dir)?;
    let disk = RealDisk::open(&dir).with_context(|| format!("cannot use the data directory {}", dir.display()))?;
    let mut stale = 0;
    let mut finish = |batch: &mut Batch<'_>| finish(batch, &mut stale);
    let what = Restore { backup: &backup, name: &name };
    let restored = storage::restore(&disk, &what, &mut finish, &mut |_| ControlFlow::Continue(()))?;
    if args.json {
        return output::json(&json!({
            "data_dir": dir,
            "store_id": format!("{:032x}", restored.store_id),
            "rows": restored.backup.rows,
            "last_record": restored.seq,
            "time": time(restored.time),
            "claims_ended": stale,
        }));
    }
    output::write(report(&dir.display().to_string(), &restored, stale))
}

/// The last changes before the store has its name: old claims count no more, and the jobs' invariants hold.
fn finish(batch: &mut Batch<'_>, stale: &mut u64) -> storage::Result<()> {
    let wrong = |what: String| Error::corrupt(Table::Jobs, what);
    let found = jobs::check::check(batch).map_err(|error| wrong(error.to_string()))?;
    if let Some(first) = found.first() {
        return Err(wrong(format!("{first} ({} such findings)", found.len())));
    }
    jobs::begin_incarnation(batch)?;
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    *stale = jobs::refuse_old_claims(batch, Millis(now)).map_err(|error| wrong(error.to_string()))?;
    Ok(())
}

fn report(dir: &str, restored: &Restored, stale: u64) -> String {
    let time = time(restored.time);
    let mut text = format!(
        "restored  {} rows into {dir}\n\
         state     of {time}, record {} of the store {:032x}\n\
         store     {:032x}: a store of its own from here on\n",
        restored.backup.rows, restored.seq, restored.backup.store_id, restored.store_id
    );
    if stale > 0 {
        text.push_str(&format!(
            "claims    {stale} of that time count no more: their jobs go to other workers once the leases are over\n"
        ));
    }
    text
}

/// A time as a person reads it, in UTC; never, for a store without a batch.
pub(super) fn time(time: Millis) -> String {
    let at = i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.filter(|_| time.0 > 0).map_or_else(|| "never".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}
