//! The rows of one batch, before they are in the log.
//!
//! A batch is an overlay: reads see its rows first and redb's open transaction beneath them; writes go into the
//! overlay only. So redb never holds a row that the log does not, a row that many commands touch is written once,
//! and what failed or panicked is taken back by undoing its entries: no transaction is ever aborted.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::storage::log::Log;
use crate::storage::log_record::most_bytes;
use crate::storage::row_cache::RowCache;
use crate::storage::space::Space;
use crate::storage::{Allowance, Error, Result, Table};

/// Rows one command may write.
pub const MAX_ROWS: usize = 1_000_000;
/// Bytes of keys and values one command may write.
pub const MAX_BYTES: usize = 256 << 20;

/// A bound of a key range.
pub type KeyBound<'a> = Bound<&'a [u8]>;
/// What a scan calls for each row, in order.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Rows that can be read: an open batch, or a snapshot on another thread.
pub trait Rows {
    /// The value of a row.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>>;

    /// Visits the rows between two bounds in ascending order (`reverse`: descending) until the visitor breaks.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan(&self, table: Table, from: KeyBound, to: KeyBound, reverse: bool, visit: &mut Visit) -> Result<()>;

    /// Counts bytes that a command collects for its reply.
    ///
    /// # Errors
    /// [`Error::ReplyTooLarge`] when they are more than it may.
    fn collect(&self, bytes: usize) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// Counts bytes that a command collects to work on, and does not answer.
    ///
    /// # Errors
    /// [`Error::WorkTooLarge`] when they are more than it may.
    fn collect_work(&self, bytes: usize) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// The first row between two bounds (`reverse`: the last).
    ///
    /// # Errors
    /// When the store cannot be read.
    fn first(&self, table: Table, from: KeyBound, to: KeyBound, reverse: bool) -> Result<Option<(Bytes, Bytes)>> {
        let mut found = None;
        self.scan(table, from, to, reverse, &mut |key, value| {
            found = Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

/// What looks at the key and the value of a row, and may fail.
pub type TryVisit<'a, E> = dyn FnMut(&[u8], &[u8]) -> std::result::Result<(), E> + 'a;

/// Visits the rows between two bounds in ascending order until the visitor fails.
///
/// # Errors
/// The visitor's, or that the store cannot be read.
pub fn try_scan<E: From<Error>>(
    rows: &dyn Rows,
    table: Table,
    (from, to): (KeyBound<'_>, KeyBound<'_>),
    visit: &mut TryVisit<'_, E>,
) -> std::result::Result<(), E> {
    let mut visited = Ok(());
    rows.scan(table, from, to, false, &mut |key, value| {
        visited = visit(key, value);
        if visited.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    visited
}

/// The rows of a table that a batch changed: `None` is a removal.
pub type TableChanges = BTreeMap<Bytes, Option<Bytes>>;

/// Everything a batch changed, one entry a row, ordered by table and key.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WriteSet {
    tables: [TableChanges; Table::COUNT],
}

impl WriteSet {
    /// True when nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(BTreeMap::is_empty)
    }

    /// How many rows were changed.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tables.iter().map(BTreeMap::len).sum()
    }

    /// The changes of every table that has some.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &TableChanges)> {
        Table::ALL.into_iter().zip(&self.tables).filter(|(_, changes)| !changes.is_empty())
    }

    /// Records one change, over an earlier one of the same row.
    pub fn insert(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        self.tables[table as usize].insert(key, value);
    }

    /// What this set says of a row: `None` nothing, `Some(None)` removed.
    #[must_use]
    pub fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.tables[table as usize].get(key)
    }
}

/// What a write replaced, to be put back when its command fails. The row's key stands behind those before it in one buffer:
/// most commands succeed, and a key each would be an allocation for nothing.
struct Undo {
    table: Table,
    key_start: usize,
    /// What this batch said of the row before; `None`: nothing.
    previous: Option<Option<Bytes>>,
}

/// A place in a batch to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    undo: usize,
    rows: usize,
    bytes: usize,
}

type OpenTable<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

/// The rows of one batch over redb's open transaction.
pub struct Batch<'txn> {
    txn: &'txn WriteTransaction,
    open: [OnceCell<OpenTable<'txn>>; Table::COUNT],
    cache: &'txn RefCell<RowCache>,
    changes: WriteSet,
    /// What each write replaced, newest last; empty between units.
    undo: Vec<Undo>,
    undo_keys: Vec<u8>,
    /// Rows and bytes written so far, repeated writes of a row counted each time.
    rows: usize,
    bytes: usize,
    /// Where the running unit began; its cap counts from here.
    unit: Mark,
    /// Where what is written has to find room; `None` for rows that are on their way into a file that nobody serves.
    places: Option<(&'txn Log, &'txn Space)>,
    /// Bytes of a record that the log can take without becoming longer.
    log_ready: u64,
    /// Bytes that may be added.
    room: u64,
    /// What runs adds data: it must find room.
    adds: bool,
    /// Something found none.
    lacked_room: bool,
    /// What the command that runs may collect.
    allowance: Allowance,
    /// Rows looked at, for tests of what commands cost.
    #[cfg(test)]
    pub(crate) looks: std::cell::Cell<u64>,
}

impl<'txn> Batch<'txn> {
    pub(super) fn new(
        txn: &'txn WriteTransaction,
        cache: &'txn RefCell<RowCache>,
        places: Option<(&'txn Log, &'txn Space)>,
    ) -> Self {
        Batch {
            places,
            log_ready: places.map_or(u64::MAX, |(log, _)| log.ready()),
            room: places.map_or(u64::MAX, |(_, space)| space.room()),
            adds: false,
            lacked_room: false,
            allowance: Allowance::default(),
            txn,
            open: [const { OnceCell::new() }; Table::COUNT],
            cache,
            changes: WriteSet::default(),
            undo: Vec::new(),
            undo_keys: Vec::new(),
            rows: 0,
            bytes: 0,
            unit: Mark { undo: 0, rows: 0, bytes: 0 },
            #[cfg(test)]
            looks: std::cell::Cell::new(0),
        }
    }

    fn table(&self, table: Table) -> Result<&OpenTable<'txn>> {
        let cell = &self.open[table as usize];
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let definition: TableDefinition<&'static [u8], &'static [u8]> = TableDefinition::new(table.name());
        let open = self.txn.open_table(definition)?;
        Ok(cell.get_or_init(|| open))
    }

    /// Writes a row.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the unit that began at the last [`Batch::release`] passes its cap.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<()> {
        self.change(table, key.into(), Some(value.into()))
    }

    /// Removes a row; that it is not there is no error.
    ///
    /// # Errors
    /// [`Error::TooLarge`], as [`Batch::put`].
    pub fn remove(&mut self, table: Table, key: impl Into<Bytes>) -> Result<()> {
        self.change(table, key.into(), None)
    }

    fn change(&mut self, table: Table, key: Bytes, value: Option<Bytes>) -> Result<()> {
        self.rows += 1;
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        let key_start = self.undo_keys.len();
        self.undo_keys.extend_from_slice(&key);
        let previous = self.changes.tables[table as usize].insert(key, value);
        self.undo.push(Undo { table, key_start, previous });
        if self.rows - self.unit.rows > MAX_ROWS || self.bytes - self.unit.bytes > MAX_BYTES {
            return Err(Error::TooLarge { max_rows: MAX_ROWS, max_bytes: MAX_BYTES });
        }
        let Some((log, space)) = self.places else { return Ok(()) };
        let written = self.bytes as u64;
        if self.adds && written > self.room {
            let needed = written - self.unit.bytes as u64;
            let room = self.room.saturating_sub(self.unit.bytes as u64);
            self.lacked_room = true;
            return Err(Error::NoRoom { needed, room, refusal: space.refusal() });
        }
        // Before the row counts: a record that is appended finds its place, even on a full disk.
        let record = most_bytes(self.rows, self.bytes);
        if record > self.log_ready {
            self.log_ready = log.reserve(record).inspect_err(|_| self.lacked_room = true)?;
        }
        Ok(())
    }

    /// Says whether what runs next adds data, and has to be refused where there is no room for that.
    pub fn set_adds(&mut self, adds: bool) {
        self.adds = adds;
    }

    /// Whether something was refused for want of room since this was asked last.
    pub fn take_lacked_room(&mut self) -> bool {
        std::mem::take(&mut self.lacked_room)
    }

    /// What the command that runs may collect for its reply.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// A place to go back to with [`Batch::rollback`].
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { undo: self.undo.len(), rows: self.rows, bytes: self.bytes }
    }

    /// Takes back everything written since `mark`.
    pub fn rollback(&mut self, mark: Mark) {
        while self.undo.len() > mark.undo {
            let Some(Undo { table, key_start, previous }) = self.undo.pop() else { break };
            let (changes, key) = (&mut self.changes.tables[table as usize], &self.undo_keys[key_start..]);
            match (previous, changes.get_mut(key)) {
                (Some(before), Some(entry)) => *entry = before,
                // What was written is there until it is taken back.
                (Some(_), None) => debug_assert!(false, "a row of {table:?} is not there to be taken back"),
                (None, _) => drop(changes.remove(key)),
            }
            self.undo_keys.truncate(key_start);
        }
        self.rows = mark.rows;
        self.bytes = mark.bytes;
    }

    /// Keeps everything written so far: marks taken before are void, and the cap of a unit begins anew.
    pub fn release(&mut self) {
        self.undo.clear();
        self.undo_keys.clear();
        self.unit = self.mark();
    }

    /// True when a row of `table` was written in this batch.
    #[must_use]
    pub fn has_changed(&self, table: Table) -> bool {
        !self.changes.tables[table as usize].is_empty()
    }

    /// Rows written so far.
    #[must_use]
    pub fn rows_written(&self) -> usize {
        self.rows
    }

    /// Bytes of keys and values written so far.
    #[must_use]
    pub fn bytes_written(&self) -> usize {
        self.bytes
    }

    /// Ends the batch: what it changed.
    #[must_use]
    pub fn finish(self) -> WriteSet {
        self.changes
    }
}

impl Rows for Batch<'_> {
    fn collect(&self, bytes: usize) -> Result<()> {
        self.allowance.collect(bytes)
    }

    fn collect_work(&self, bytes: usize) -> Result<()> {
        self.allowance.collect_work(bytes)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        #[cfg(test)]
        self.looks.update(|looks| looks + 1);
        if let Some(entry) = self.changes.get(table, key) {
            return Ok(entry.clone());
        }
        if let Some(row) = self.cache.borrow_mut().get(table, key) {
            return Ok(row);
        }
        let row = self.table(table)?.get(key)?.map(|guard| Bytes::copy_from_slice(guard.value()));
        self.cache.borrow_mut().insert(table, key, row.as_deref());
        Ok(row)
    }

    fn scan(&self, table: Table, from: KeyBound, to: KeyBound, reverse: bool, visit: &mut Visit) -> Result<()> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let stored = self.table(table)?.range::<&[u8]>((from, to))?;
        let changed = self.changes.tables[table as usize].range::<[u8], _>((from, to));
        #[cfg(test)]
        let visit: &mut Visit = &mut |key: &[u8], value: &[u8]| {
            self.looks.update(|looks| looks + 1);
            visit(key, value)
        };
        if reverse {
            merge(stored.rev(), changed.rev(), |a, b| a > b, visit)
        } else {
            merge(stored, changed, |a, b| a < b, visit)
        }
    }
}

type Guard<'a> = redb::AccessGuard<'a, &'static [u8]>;

/// Visits two ordered streams as one; where both have a key, the changed one counts.
fn merge<'a, 'b>(
    mut stored: impl Iterator<Item = std::result::Result<(Guard<'a>, Guard<'a>), redb::StorageError>>,
    mut changed: impl Iterator<Item = (&'b Bytes, &'b Option<Bytes>)>,
    before: impl Fn(&[u8], &[u8]) -> bool,
    visit: &mut Visit,
) -> Result<()> {
    let mut next_stored = stored.next().transpose()?;
    let mut next_changed = changed.next();
    loop {
        let stored_is_first = match (&next_stored, next_changed) {
            (None, None) => return Ok(()),
            (Some((key, _)), Some((changed_key, _))) => before(key.value(), changed_key),
            (found, _) => found.is_some(),
        };
        if stored_is_first && let Some((key, value)) = &next_stored {
            if visit(key.value(), value.value()).is_break() {
                return Ok(());
            }
            next_stored = stored.next().transpose()?;
        } else if let Some((changed_key, entry)) = next_changed {
            if entry.as_ref().is_some_and(|value| visit(changed_key, value).is_break()) {
                return Ok(());
            }
            if next_stored.as_ref().is_some_and(|(key, _)| key.value() == &changed_key[..]) {
                next_stored = stored.next().transpose()?;
            }
            next_changed = changed.next();
        }
    }
}

/// True when no key can lie between the bounds; ordered collections panic on some of those.
pub(super) fn is_empty_range(from: KeyBound, to: KeyBound) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        _ => false,
    }
}

/// Visits stored rows until the visitor breaks.
pub(super) fn visit_rows<'a>(
    rows: impl Iterator<Item = std::result::Result<(Guard<'a>, Guard<'a>), redb::StorageError>>,
    visit: &mut Visit,
) -> Result<()> {
    for row in rows {
        let (key, value) = row?;
        if visit(key.value(), value.value()).is_break() {
            break;
        }
    }
    Ok(())
}
