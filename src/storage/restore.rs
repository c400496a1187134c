//! Restoring a backup into an empty folder.
//!
//! The backup is copied under a temporary name, proven to be whole there, made a store of its own, and only then given
//! the store's name: cut short at any moment, it leaves an empty folder with a temporary file in it, or the store. A
//! store that was restored has a number of its own, since from here on its log says other things than that of the
//! store it was copied from.

use std::cell::RefCell;
use std::sync::Arc;

use redb::WriteTransaction;

use crate::clock::Millis;
use crate::storage::archive::{Archive, Reached};
use crate::storage::backup::{Phase, Progress, STEP, Watch, copy_file, forget_manifest, verify};
use crate::storage::db::apply_rows;
use crate::storage::files::{Disk, DiskFile};
use crate::storage::meta::StoreMeta;
use crate::storage::row_cache::RowCache;
use crate::storage::store_file::{DATA, RESTORING, begin, commit_durably, random};
use crate::storage::{Backup, Batch, Error, Result, WriteSet, plain_file};

/// Bytes of records that are merged before they are put into the file.
const WINDOW: usize = 16 << 20;
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
    /// Records to be put on top of it.
    pub replay: Option<Replay<'a>>,
}

/// What is to be put on top of a backup.
#[derive(Clone, Copy)]
pub struct Replay<'a> {
    /// The archive with the records.
    pub archive: &'a dyn Disk,
    /// The moment to restore: every batch up to the last that has, and none before which has, a later time.
    /// [`Millis::MAX`] for all there are.
    pub to: Millis,
    /// Where a record is missing or damaged, be content with those before it.
    pub stop_at_gap: bool,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub backup: Backup,
    /// The new store's number.
    pub store_id: u128,
    /// The last record of the old store's log that it holds.
    pub seq: u64,
    /// The time of the last batch that it holds.
    pub time: Millis,
    /// Records that were replayed.
    pub replayed: u64,
    /// What is missing in the archive where the replay ended, if it ended there.
    pub gap: Option<String>,
    /// What was left out at the archive's end since it was not whole yet, if the replay came there.
    pub unfinished: Option<String>,
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
    let restored = restore_temporary(target, what, finish, watch);
    if restored.is_err() {
        // Where even this fails, a start is refused until somebody has looked.
        let _ = target.remove(RESTORING);
        return restored;
    }
    let io = |source| Error::io(format!("naming {}", target.describe(DATA)), source);
    target.rename(RESTORING, DATA).map_err(io)?;
    target.sync_dir().map_err(io)?;
    restored
}

fn restore_temporary(
    target: &dyn Disk,
    what: &Restore<'_>,
    finish: &mut dyn FnMut(&mut Batch<'_>) -> Result<()>,
    watch: &mut Watch,
) -> Result<Restored> {
    let io = |source| Error::io(format!("writing {}", target.describe(RESTORING)), source);
    let file = target.create(RESTORING).map_err(io)?;
    // From here on, whatever happens, nobody takes this folder for one that nothing is restored into.
    target.sync_dir().map_err(io)?;
    copy_file((&**what.backup, what.name), (&*file, &target.describe(RESTORING)), watch)?;
    let verified = verify(&file, what.name, || Ok(()), watch)?;
    let backup = verified.backup(file.len().map_err(io)?);
    let database = plain_file::open(&file)?;
    let txn = begin(&database)?;
    forget_manifest(&txn)?;
    let reached = match &what.replay {
        None => Reached { seq: backup.seq, time: None, gap: None, unfinished: None },
        Some(replay) => put_records(&txn, &backup, replay, watch)?,
    };
    let cache = RefCell::new(RowCache::new(CACHE, random()?));
    let mut batch = Batch::new(&txn, &cache, None);
    finish(&mut batch)?;
    let rows = batch.finish();
    apply_rows(&txn, &rows)?;
    let meta = StoreMeta {
        store_id: u128::from(random()?) << 64 | u128::from(random()?),
        run_id: 0,
        seq: reached.seq,
        time: reached.time.unwrap_or(backup.time),
        log_required: false,
        ..verified.meta
    };
    commit_durably(txn, &meta)?;
    database.close()?;
    file.sync_data().map_err(io)?;
    let (store_id, replayed) = (meta.store_id, meta.seq - backup.seq);
    let Reached { gap, unfinished, .. } = reached;
    Ok(Restored { backup, store_id, seq: meta.seq, time: meta.time, replayed, gap, unfinished })
}

/// Puts the records after the backup's into the transaction.
fn put_records(txn: &WriteTransaction, backup: &Backup, replay: &Replay<'_>, watch: &mut Watch) -> Result<Reached> {
    if backup.time > replay.to {
        return Err(Error::Unrestorable {
            found: format!("a backup of {}, which is later than that moment", show(backup.time)),
            expected: format!("one of {} or earlier", show(replay.to)),
            help: "Use an older backup: records can be put on top of one, but not taken away.".to_owned(),
        });
    }
    let archive = Archive::of_store(replay.archive, backup.store_id)?;
    if archive.len() == 0 && archive.headless_from(0, u64::MAX).is_none() {
        return Err(Error::Unrestorable {
            found: format!("no record of the store {:032x} in {}", backup.store_id, replay.archive.describe("")),
            expected: "the archive of the store that the backup is of".to_owned(),
            help: "Give the folder that --archive-dir named when the store ran.".to_owned(),
        });
    }
    let mut rows = WriteSet::default();
    let (mut pending, mut watched) = (0, None::<u64>);
    let total = archive.bytes_from(backup.seq + 1)?;
    let reached = archive.replay(backup.seq, replay.to, &mut |piece, record, done| {
        if watched.is_none_or(|watched| done >= watched + STEP) {
            watched = Some(done);
            if watch(&Progress { phase: Phase::Replaying, done, total, bytes: done }).is_break() {
                return Err(Error::Cancelled);
            }
        }
        piece.decode_into(&mut rows, record)?;
        pending += piece.record_bytes(record);
        if pending >= WINDOW {
            apply_rows(txn, &std::mem::take(&mut rows))?;
            pending = 0;
        }
        Ok(())
    })?;
    apply_rows(txn, &rows)?;
    match &reached.gap {
        Some(gap) if !replay.stop_at_gap => Err(Error::Unrestorable {
            found: gap.clone(),
            expected: match replay.to {
                Millis::MAX => "every record without a gap".to_owned(),
                to => format!("every record up to {} without a gap", show(to)),
            },
            help: format!(
                "The latest moment that can be reached from this backup is {}: restore that, or give --stop-at-gap; a \
                 later backup may reach further.",
                show(reached.time.unwrap_or(backup.time))
            ),
        }),
        _ => Ok(reached),
    }
}

/// A time in messages.
fn show(time: Millis) -> String {
    format!("Unix time {}.{:03}", time.0 / 1000, time.0 % 1000)
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
