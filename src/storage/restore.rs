//! Restoring a backup into an empty folder.
//!
//! The backup is copied under a temporary name, proven to be whole there, made a store of its own, and only then given
//! the store's name: cut short at any moment, it leaves an empty folder with a temporary file in it, or the store. A
//! store that was restored has a number of its own, since from here on its log says other things than that of the
//! store it was copied from.

use std::cell::RefCell;
use std::sync::Arc;

use redb::Database;

use crate::clock::Millis;
use crate::storage::backup::{Watch, copy_file, forget_manifest, verify};
use crate::storage::db::apply_rows;
use crate::storage::files::{Disk, DiskFile};
use crate::storage::meta::StoreMeta;
use crate::storage::recover::{DATA, RESTORING, begin, commit_durably, random};
use crate::storage::row_cache::RowCache;
use crate::storage::{Backup, Batch, Error, Result, plain_file};

/// Bytes of the cache of rows that the last changes read through.
const CACHE: usize = 1 << 20;
/// What a folder may have that a backup is restored into: what says how to serve it, backups themselves, and what an
/// attempt before left.
const ALLOWED: [&str; 6] = ["lock", "session.key", "agq.toml", "agq.sock", "backups", RESTORING];

/// What is to be restored.
pub struct Restore<'a> {
    /// The backup, or the file of a store that was closed.
    pub backup: &'a Arc<dyn DiskFile>,
    /// How messages name it.
    pub name: &'a str,
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub backup: Backup,
    /// The new store's number.
    pub store_id: u128,
    /// The last record of the old store's log that it holds.
    pub seq: u64,
    /// The time of the last batch that it holds.
    pub time: Millis,
}

/// Restores a backup into `target`, in which there may be no store. `finish` makes the last changes; where it fails,
/// nothing is restored.
///
/// # Errors
/// [`Error::Unrestorable`] when `target` is not empty, [`Error::Damaged`] when the backup is not whole.
pub fn restore(
    target: &dyn Disk,
    what: &Restore<'_>,
    finish: &mut dyn FnMut(&mut Batch<'_>) -> Result<()>,
    watch: &mut Watch,
) -> Result<Restored> {
    check_empty(target)?;
    let io = |source| Error::io(format!("writing {}", target.describe(RESTORING)), source);
    let file = target.create(RESTORING).map_err(io)?;
    copy_file(&**what.backup, what.name, &*file, &target.describe(RESTORING))?;
    let verified = verify(&file, what.name, watch)?;
    let backup = verified.backup(file.len().map_err(io)?);
    let database = plain_file::open(&file)?;
    let meta = change(&database, verified.meta, finish)?;
    database.close()?;
    file.sync_data().map_err(io)?;
    target.rename(RESTORING, DATA).map_err(io)?;
    target.sync_dir().map_err(io)?;
    Ok(Restored { backup, store_id: meta.store_id, seq: meta.seq, time: meta.time })
}

/// Makes the copy a store of its own, in one commit.
fn change(
    database: &Database,
    from: StoreMeta,
    finish: &mut dyn FnMut(&mut Batch<'_>) -> Result<()>,
) -> Result<StoreMeta> {
    let txn = begin(database)?;
    forget_manifest(&txn)?;
    let cache = RefCell::new(RowCache::new(CACHE, random()?));
    let mut batch = Batch::new(&txn, &cache);
    finish(&mut batch)?;
    let rows = batch.finish();
    apply_rows(&txn, &rows)?;
    let meta = StoreMeta {
        store_id: u128::from(random()?) << 64 | u128::from(random()?),
        run_id: 0,
        log_required: false,
        ..from
    };
    commit_durably(txn, &meta)?;
    Ok(meta)
}

/// # Errors
/// When there is anything that could be a store, or be lost.
fn check_empty(target: &dyn Disk) -> Result<()> {
    let names = target.list().map_err(|source| Error::io(format!("listing {}", target.describe("")), source))?;
    let there: Vec<&str> = names.iter().map(String::as_str).filter(|name| !ALLOWED.contains(name)).collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(Error::Unrestorable {
        found: format!("{} in {}", there.join(", "), target.describe("")),
        expected: "a folder without a store or anything else in it".to_owned(),
        help: "Choose another one with --data-dir, or move away what is there.".to_owned(),
    })
}
