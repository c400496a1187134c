//! Backups: a snapshot written as one compact file, and the proof that a file is such a copy, whole.
//!
//! The rows are written in order, so that pages are full; beside them stands a *manifest*: how many rows each table has
//! and a checksum over them. It is made while the snapshot is read and compared with what is read back from the file.
//! Until all of that has succeeded the file has a temporary name. What runs meanwhile is told by a [`Watch`], which
//! may slow the work down or end it.

mod source;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use xxhash_rust::xxh3::Xxh3;

use crate::clock::Millis;
use crate::storage::db::definition;
use crate::storage::files::{Disk, DiskFile};
use crate::storage::meta::StoreMeta;
use crate::storage::store_file::{begin, commit_durably};
use crate::storage::{Error, Result, Table, plain_file};
pub use source::Source;

/// Table name → rows u64, checksum u64, little-endian.
const MANIFEST: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("backup");
/// Bytes of rows between two calls of the watch.
pub(super) const STEP: u64 = 64 << 10;
/// Bytes of a file that are copied at a time.
const BLOCK: usize = 1 << 20;
/// The end of the name of a file that is not whole yet.
const TEMPORARY: &str = ".tmp";

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A file is copied, byte by byte.
    Fetching,
    /// The snapshot's rows are written; the store's file grows while it lives.
    Copying,
    /// The file is read back.
    Verifying,
    /// Records of the archive are put on top of it.
    Replaying,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// What is done of the total: rows while rows are copied or verified, bytes while a file is fetched or records are
    /// replayed.
    pub done: u64,
    /// What there is to do in this phase.
    pub total: u64,
    /// Bytes done in this phase: of keys and values while it is rows that are read.
    pub bytes: u64,
}

/// Called every 64 KiB or so; a break ends the work with [`Error::Cancelled`].
pub type Watch<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// A file that is a whole store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The store it is a copy of.
    pub store_id: u128,
    /// The last record of that store's log that it holds.
    pub seq: u64,
    /// That record's time.
    pub time: Millis,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of keys and values in it.
    pub row_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// How long the snapshot lived.
    pub snapshot_lived: Duration,
}

/// Writes the snapshot of `source` into `disk` as the file `name`, synced and verified. No file of that name is there unless
/// this succeeds, whatever cuts it short. The snapshot is given back as soon as it was read, before its rows are synced.
///
/// # Errors
/// When a file cannot be written or does not read back as it was written; [`Error::Cancelled`] when `watch` ends it, or
/// [`Source::cancel`] was called.
pub fn write_backup(source: &Arc<Source>, disk: &dyn Disk, name: &str, watch: &mut Watch) -> Result<Backup> {
    let temporary = format!("{name}{TEMPORARY}");
    let written = write_temporary(source, disk, &temporary, watch);
    // Cancelled, redb reads no page any more, and calls that an error of the file.
    let written = written.map_err(|error| if source.is_cancelled() { Error::Cancelled } else { error });
    finish(disk, &temporary, name, written)
}

/// Copies a backup into `disk` as the file `name`, synced and verified; no file of that name is there unless this
/// succeeds. `from_name` is how messages name it.
///
/// # Errors
/// [`Error::Damaged`] when it is not whole, and when a file cannot be read or written.
pub fn copy_backup(
    from: &Arc<dyn DiskFile>,
    from_name: &str,
    disk: &dyn Disk,
    name: &str,
    watch: &mut Watch,
) -> Result<Backup> {
    let temporary = format!("{name}{TEMPORARY}");
    let io = |source| Error::io(format!("writing {}", disk.describe(name)), source);
    let mut copy = || -> Result<Backup> {
        let file = disk.create(&temporary).map_err(io)?;
        copy_file((&**from, from_name), (&*file, &disk.describe(&temporary)), watch)?;
        let verified = verify(&file, from_name, || Ok(()), watch)?;
        file.sync_data().map_err(io)?;
        Ok(verified.backup(file.len().map_err(io)?))
    };
    finish(disk, &temporary, name, copy())
}

/// Gives what was written under a temporary name its own, or removes what is left of it.
fn finish(disk: &dyn Disk, temporary: &str, name: &str, written: Result<Backup>) -> Result<Backup> {
    if written.is_err() {
        // Where even this fails, the name is one that nobody takes for a backup; the next one removes it.
        let _ = disk.remove(temporary);
        return written;
    }
    let io = |source| Error::io(format!("naming {}", disk.describe(name)), source);
    disk.rename(temporary, name).map_err(io)?;
    disk.sync_dir().map_err(io)?;
    written
}

/// Copies a file's bytes, each file with its name in messages; they need a sync.
///
/// # Errors
/// When one cannot be read or the other not be written; [`Error::Cancelled`] when `watch` ends it.
pub(super) fn copy_file(
    (from, from_name): (&dyn DiskFile, &str),
    (to, to_name): (&dyn DiskFile, &str),
    watch: &mut Watch,
) -> Result<()> {
    let io = |source| Error::io(format!("copying {from_name} to {to_name}"), source);
    let total = from.len().map_err(io)?;
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        if watch(&Progress { phase: Phase::Fetching, done: at, total, bytes: at }).is_break() {
            return Err(Error::Cancelled);
        }
        let read = from.read_at(at, &mut block).map_err(io)?;
        to.write_at(at, &block[..read]).map_err(io)?;
        at += read as u64;
        if read < block.len() {
            return Ok(());
        }
    }
}

/// True for the name of a file that a backup was cut short in.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

fn write_temporary(source: &Arc<Source>, disk: &dyn Disk, name: &str, watch: &mut Watch) -> Result<Backup> {
    let io = |error| Error::io(format!("writing {}", disk.describe(name)), error);
    source.check()?;
    let file = disk.create(name).map_err(io)?;
    let (meta, manifest, snapshot_lived) = copy(source, &file, watch)?;
    file.sync_data().map_err(io)?;
    source.check()?;
    let asked = Arc::clone(source);
    let verified = verify(&file, &disk.describe(name), move || asked.check(), watch)?;
    if verified.manifest != Some(manifest) || verified.meta != meta {
        return Err(damaged(&disk.describe(name), "rows other than those that were written"));
    }
    Ok(Backup { snapshot_lived, ..verified.backup(file.len().map_err(io)?) })
}

/// Copies every row; the file is closed, and needs a sync. Tells how long the snapshot lived, too.
fn copy(source: &Source, file: &Arc<dyn DiskFile>, watch: &mut Watch) -> Result<(StoreMeta, Manifest, Duration)> {
    let database = plain_file::open(file)?;
    let txn = begin(&database)?;
    let snapshot = source.take()?;
    let read = copy_rows(snapshot.transaction(), &txn, watch);
    // Before anything else: what comes now waits for the disk.
    let lived = source.give_back(snapshot);
    let (meta, manifest) = read?;
    source.check()?;
    manifest.write(&txn)?;
    commit_durably(txn, &meta)?;
    source.check()?;
    database.close()?;
    Ok((meta, manifest, lived))
}

fn copy_rows(from: &ReadTransaction, to: &WriteTransaction, watch: &mut Watch) -> Result<(StoreMeta, Manifest)> {
    let meta = StoreMeta { log_required: false, ..StoreMeta::read_in(from)?.ok_or_else(no_meta)? };
    let manifest = Reader::new(from, Phase::Copying)?.read(watch, &mut |table, rows| {
        let mut open = to.open_table(definition(table))?;
        let mut cursor = open.upper_bound_mut(std::ops::Bound::<&[u8]>::Unbounded)?;
        rows(&mut |key, value| Ok(cursor.insert_before(key, value)?))?;
        Ok(cursor.close()?)
    })?;
    Ok((meta, manifest))
}

/// What a file was found to be.
pub(super) struct Verified {
    pub(super) meta: StoreMeta,
    /// `None` for a store that was closed, which has none to compare with.
    manifest: Option<Manifest>,
    found: Manifest,
}

impl Verified {
    pub(super) fn backup(&self, file_bytes: u64) -> Backup {
        Backup {
            store_id: self.meta.store_id,
            seq: self.meta.seq,
            time: self.meta.time,
            rows: self.found.0.iter().map(|sum| sum.rows).sum(),
            row_bytes: self.found.0.iter().map(|sum| sum.bytes).sum(),
            file_bytes,
            snapshot_lived: Duration::ZERO,
        }
    }
}

/// Proves that a file is a whole store: every page's checksum, every row, and the manifest if there is one. redb may
/// write into the file. No page is read any more once `go_on` fails; `watch` hears of rows alone.
///
/// # Errors
/// [`Error::Damaged`] when it is not; what was found says how.
pub(super) fn verify(
    file: &Arc<dyn DiskFile>,
    name: &str,
    go_on: impl Fn() -> Result<()> + Send + Sync + 'static,
    watch: &mut Watch,
) -> Result<Verified> {
    // redb makes a database of an empty file.
    if file.is_empty().map_err(|source| Error::io(format!("reading {name}"), source))? {
        return Err(damaged(name, "an empty file"));
    }
    let database = plain_file::open_checked(file, go_on)
        .map_err(|error| damaged(name, format!("what redb cannot read: {error}")))?;
    let txn = database.begin_read()?;
    let meta = StoreMeta::read_in(&txn)?.ok_or_else(|| damaged(name, "a redb file that no agq has made"))?;
    if meta.log_required {
        return Err(damaged(
            name,
            "the file of a server that ran or crashed, which belongs to its log: start and stop a server on both",
        ));
    }
    let manifest = Manifest::read(&txn, name)?;
    let found = Reader::new(&txn, Phase::Verifying)?.read(watch, &mut |_, rows| rows(&mut |_, _| Ok(())))?;
    if let Some(manifest) = &manifest {
        for ((table, expected), found) in Table::ALL.iter().zip(&manifest.0).zip(&found.0) {
            if (expected.rows, expected.checksum) != (found.rows, found.checksum) {
                let what = format!(
                    "{} rows in table '{table}' where {} were written, or other ones",
                    found.rows, expected.rows
                );
                return Err(damaged(name, what));
            }
        }
    }
    drop(txn);
    database.close()?;
    let manifest = manifest.map(|_| found.clone());
    Ok(Verified { meta, manifest, found })
}

/// Looks at a backup or a closed store without changing it: which store's it is and how far it reaches. Nothing is
/// proven by it.
///
/// # Errors
/// When the file is not one.
pub fn look_at(file: &Arc<dyn DiskFile>, name: &str) -> Result<Backup> {
    let database = plain_file::open_read_only(file)?;
    let txn = database.begin_read()?;
    let meta = StoreMeta::read_in(&txn)?.ok_or_else(|| damaged(name, "a redb file that no agq has made"))?;
    let found = Manifest(vec![Sum::default(); Table::COUNT]);
    let file_bytes = file.len().map_err(|source| Error::io(format!("reading {name}"), source))?;
    Ok(Verified { meta, manifest: None, found }.backup(file_bytes))
}

fn damaged(name: &str, found: impl Into<String>) -> Error {
    Error::Damaged { name: name.to_owned(), found: found.into() }
}

fn no_meta() -> Error {
    Error::corrupt(Table::Meta, "a snapshot without the store's row")
}

/// Removes the manifest of a store that goes on from a backup: from now on it says nothing.
pub(super) fn forget_manifest(txn: &WriteTransaction) -> Result<()> {
    txn.delete_table(MANIFEST)?;
    Ok(())
}

/// A table's rows, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    bytes: u64,
    checksum: u64,
}

/// Every table's, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Manifest(Vec<Sum>);

impl Manifest {
    fn write(&self, txn: &WriteTransaction) -> Result<()> {
        let mut open = txn.open_table(MANIFEST)?;
        for (table, sum) in Table::ALL.iter().zip(&self.0) {
            let value = [sum.rows.to_le_bytes(), sum.checksum.to_le_bytes()].concat();
            open.insert(table.name().as_bytes(), &value[..])?;
        }
        Ok(())
    }

    /// The manifest, if there is one; bytes of rows are not in it.
    fn read(txn: &ReadTransaction, name: &str) -> Result<Option<Manifest>> {
        let open = match txn.open_table(MANIFEST) {
            Ok(open) => open,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut sums = Vec::new();
        for table in Table::ALL {
            let row = open.get(table.name().as_bytes())?;
            let row = row.as_ref().and_then(|row| Some((row.value().first_chunk()?, row.value().last_chunk()?)));
            let (rows, checksum) = row.ok_or_else(|| damaged(name, format!("no count of the rows of '{table}'")))?;
            sums.push(Sum { rows: u64::from_le_bytes(*rows), checksum: u64::from_le_bytes(*checksum), bytes: 0 });
        }
        Ok(Some(Manifest(sums)))
    }
}

type Row<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;
type Rows<'a> = dyn FnMut(&mut Row<'_>) -> Result<()> + 'a;

/// Reads every row of a store in order, and counts.
struct Reader<'a> {
    txn: &'a ReadTransaction,
    progress: Progress,
}

impl<'a> Reader<'a> {
    fn new(txn: &'a ReadTransaction, phase: Phase) -> Result<Reader<'a>> {
        use redb::ReadableTableMetadata as _;
        let mut total = 0;
        for table in Table::ALL {
            if let Some(open) = open_table(txn, table)? {
                total += open.len()?;
            }
        }
        Ok(Reader { txn, progress: Progress { phase, done: 0, total, bytes: 0 } })
    }

    /// Calls `each` with every table and a function that hands out its rows.
    fn read(
        &mut self,
        watch: &mut Watch,
        each: &mut dyn FnMut(Table, &mut Rows<'_>) -> Result<()>,
    ) -> Result<Manifest> {
        let mut sums = Vec::new();
        for table in Table::ALL {
            let mut sum = Sum::default();
            if let Some(open) = open_table(self.txn, table)? {
                each(table, &mut |row| {
                    sum = self.read_table(&open, watch, row)?;
                    Ok(())
                })?;
            }
            sums.push(sum);
        }
        Ok(Manifest(sums))
    }

    fn read_table(&mut self, open: &ReadOnlyTable, watch: &mut Watch, row: &mut Row<'_>) -> Result<Sum> {
        let (mut sum, mut hash, mut unwatched) = (Sum::default(), Xxh3::new(), STEP);
        for found in open.iter()? {
            if unwatched >= STEP {
                unwatched = 0;
                if watch(&self.progress).is_break() {
                    return Err(Error::Cancelled);
                }
            }
            let (key, value) = found?;
            let (key, value) = (key.value(), value.value());
            for part in [key, value] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            row(key, value)?;
            let bytes = (key.len() + value.len()) as u64;
            (sum.rows, sum.bytes, unwatched) = (sum.rows + 1, sum.bytes + bytes, unwatched + bytes);
            (self.progress.done, self.progress.bytes) = (self.progress.done + 1, self.progress.bytes + bytes);
        }
        sum.checksum = hash.digest();
        Ok(sum)
    }
}

type ReadOnlyTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A table, where the file has it.
pub(super) fn open_table(txn: &ReadTransaction, table: Table) -> Result<Option<ReadOnlyTable>> {
    match txn.open_table(definition(table)) {
        Ok(open) => Ok(Some(open)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
