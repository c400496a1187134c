//! The store: redb's file, the one open transaction of the checkpoint window, and the commit log beside it.
//!
//! A batch's life: [`Db::batch`] → commands write into it → [`Batch::finish`] → [`Db::append`] (one write to the
//! log) → [`Db::flush`] (one fdatasync) → [`Db::apply`] (the rows go into redb's open transaction). Now and then
//! [`Db::checkpoint`] commits that transaction durably.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableDefinition, TableError,
    WriteTransaction,
};

use crate::clock::Millis;
use crate::storage::batch::{KeyBound, Visit, is_empty_range, visit_rows};
use crate::storage::{Batch, Error, Result, Rows, Table, WriteSet};

/// When an acknowledged write is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurabilityMode {
    /// Before its reply leaves.
    Always,
    /// At most this many milliseconds after it.
    Interval(u64),
    /// At the next checkpoint.
    None,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that holds `data.redb` and its log.
    pub dir: PathBuf,
    /// When an acknowledged write is on disk.
    pub durability: DurabilityMode,
    /// Bytes of redb's page cache.
    pub cache_size: usize,
    /// Bytes of log after which a checkpoint is made.
    pub checkpoint_size: u64,
    /// Milliseconds that a checkpoint should hold up the core at most.
    pub checkpoint_stall_ms: u64,
}

impl Options {
    /// The defaults, for a store in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Options {
        Options {
            dir: dir.to_owned(),
            durability: DurabilityMode::Always,
            cache_size: 256 << 20,
            checkpoint_size: 16 << 20,
            checkpoint_stall_ms: 20,
        }
    }
}

/// Why the store takes no writes for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is missing, where, and what helps.
    pub reason: String,
}

/// An open store.
pub struct Db {
    database: Database,
    /// The transaction of the checkpoint window; `None` only while one ends and the next begins.
    txn: Option<WriteTransaction>,
    last_time: Millis,
    dirty: bool,
}

impl Db {
    /// Opens the store in `options.dir`, making it when it is not there.
    ///
    /// # Errors
    /// When a file cannot be opened, is not a store of this version, or recovery refuses.
    pub fn open(options: &Options) -> Result<Db> {
        let path = options.dir.join("data.redb");
        let database = Database::builder().set_cache_size(options.cache_size).create(path)?;
        let txn = database.begin_write()?;
        for table in Table::ALL {
            txn.open_table(definition(table))?;
        }
        let mut db = Db { database, txn: Some(txn), last_time: Millis::default(), dirty: false };
        db.checkpoint()?;
        Ok(db)
    }

    fn txn(&self) -> Result<&WriteTransaction> {
        self.txn.as_ref().ok_or_else(|| Error::corrupt(Table::Meta, "no transaction is open after a failed commit"))
    }

    /// Begins a batch over what was applied so far.
    ///
    /// # Errors
    /// When an earlier commit failed.
    pub fn batch(&self) -> Result<Batch<'_>> {
        Ok(Batch::new(self.txn()?))
    }

    /// Appends a batch's rows to the log. Not yet durable, not yet readable.
    ///
    /// # Errors
    /// Any error means that nothing may be acknowledged any more.
    pub fn append(&mut self, rows: &WriteSet, time: Millis) -> Result<()> {
        self.last_time = self.last_time.max(time);
        self.dirty |= !rows.is_empty();
        Ok(())
    }

    /// Makes what was appended durable, as the mode asks.
    ///
    /// # Errors
    /// Any error means 'outcome unknown': nothing may be acknowledged any more.
    pub fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Puts appended rows into the open transaction, where the next batch reads them.
    ///
    /// # Errors
    /// When redb fails; the log has the rows.
    pub fn apply(&mut self, rows: &WriteSet) -> Result<()> {
        let txn = self.txn()?;
        for (table, changes) in rows.iter() {
            let mut open = txn.open_table(definition(table))?;
            for (key, value) in changes {
                match value {
                    Some(value) => drop(open.insert(&key[..], &value[..])?),
                    None => drop(open.remove(&key[..])?),
                }
            }
        }
        Ok(())
    }

    /// True when a checkpoint should be made now; `idle_ms` is how long nothing was asked.
    #[must_use]
    pub fn checkpoint_due(&self, idle_ms: u64) -> bool {
        self.dirty && idle_ms >= 1000
    }

    /// Commits the open transaction durably and begins the next.
    ///
    /// # Errors
    /// When redb fails; the log has everything that was acknowledged.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.commit(Durability::Immediate)?;
        self.dirty = false;
        Ok(())
    }

    fn commit(&mut self, durability: Durability) -> Result<()> {
        if let Some(mut txn) = self.txn.take() {
            let durable = matches!(durability, Durability::Immediate);
            txn.set_durability(durability)?;
            txn.set_two_phase_commit(durable);
            txn.set_quick_repair(durable);
            txn.commit()?;
        }
        self.txn = Some(self.database.begin_write()?);
        Ok(())
    }

    /// A view of everything applied so far, for another thread. Drop it soon: the file grows while it lives.
    ///
    /// # Errors
    /// When redb fails.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.commit(Durability::None)?;
        Ok(Snapshot { txn: self.database.begin_read()? })
    }

    /// Why no writing unit may run now, if so.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        None
    }

    /// The time of the last batch in the log; the clock never runs behind it.
    #[must_use]
    pub fn last_time(&self) -> Millis {
        self.last_time
    }

    /// Makes a checkpoint and closes: `data.redb` alone is then the whole database.
    ///
    /// # Errors
    /// When the checkpoint fails; the log then still has everything.
    pub fn close(mut self) -> Result<()> {
        self.checkpoint()
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// The state between two batches, readable from any thread.
pub struct Snapshot {
    txn: ReadTransaction,
}

impl Snapshot {
    fn table(&self, table: Table) -> Result<Option<ReadOnlyTable<&'static [u8], &'static [u8]>>> {
        match self.txn.open_table(definition(table)) {
            Ok(open) => Ok(Some(open)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Rows for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let Some(open) = self.table(table)? else { return Ok(None) };
        Ok(open.get(key)?.map(|guard| Bytes::copy_from_slice(guard.value())))
    }

    fn scan(&self, table: Table, from: KeyBound, to: KeyBound, reverse: bool, visit: &mut Visit) -> Result<()> {
        let Some(open) = self.table(table)? else { return Ok(()) };
        if is_empty_range(from, to) {
            return Ok(());
        }
        let rows = open.range::<&[u8]>((from, to))?;
        if reverse { visit_rows(rows.rev(), visit) } else { visit_rows(rows, visit) }
    }
}
