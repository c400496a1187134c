//! What the fuzz target of exports does ([`crate::fuzzing`]).

use std::path::Path;
use std::sync::Arc;

use super::import::Store;
use super::line::{FORMAT, Header, read};
use crate::data;
use crate::jobs;
use crate::storage::files::Disk;
use crate::storage::shadow::ShadowDisk;
use crate::storage::{Batch, Db, Options};

thread_local! {
    /// An empty store in memory: no input's rows are ever put into it.
    static EMPTY: Db = empty();
}

fn empty() -> Db {
    let folder = Path::new("/nowhere");
    let disk: Arc<dyn Disk> = Arc::new(ShadowDisk::of_folder(folder));
    match Db::open_stepped(&disk, &Options::new(folder)) {
        Ok(db) => db,
        Err(error) => panic!("a store in memory: {error}"),
    }
}

/// The lines of an export between the first and the last: they are refused, or make a store in which everything holds
/// but what its events say, and that can be exported.
pub fn lines(data: &[u8]) {
    EMPTY.with(|db| match db.batch() {
        Ok(mut batch) => {
            if import(&mut batch, data).is_ok() {
                check(&batch);
            }
        }
        Err(error) => panic!("a batch: {error}"),
    });
}

fn import(batch: &mut Batch<'_>, data: &[u8]) -> anyhow::Result<()> {
    let header = Header { agq_export: FORMAT, version: String::new(), time: 1_800_000_000_000 };
    let mut store = Store::new(&header, fastrand::Rng::with_seed(1));
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        store.take(batch, read(line)?)?;
        batch.release();
    }
    while !store.finish(batch)? {
        batch.release();
    }
    Ok(())
}

fn check(batch: &Batch<'_>) {
    match (data::check::check(batch), jobs::check::check(batch)) {
        (Ok(data), Ok(jobs)) => {
            assert!(data.is_empty(), "{data:?}");
            // That each event follows the one before of its job is not looked at while they come.
            let wrong: Vec<&String> = jobs.iter().filter(|found| !found.to_lowercase().contains("event")).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
        }
        failed => panic!("a row that cannot be read: {failed:?}"),
    }
    if let Err(error) = jobs::transfer::export(batch, &mut |_, _| Ok(())) {
        panic!("what was imported cannot be exported: {error}");
    }
}
