//! What one command may collect in memory for its reply.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::storage::batch::{KeyBound, Visit};
use crate::storage::{Error, Result, Rows, Table};

/// What each text takes beside its bytes, about.
const TEXT_BYTES: usize = 64;

/// Bytes that the command which runs may still collect.
#[derive(Debug)]
pub struct Allowance {
    most: Cell<usize>,
    left: Cell<usize>,
    refused: Cell<bool>,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance::new(usize::MAX, usize::MAX)
    }
}

impl Allowance {
    /// `left` bytes of the `most` that a reply may take.
    #[must_use]
    pub fn new(most: usize, left: usize) -> Allowance {
        Allowance { most: Cell::new(most), left: Cell::new(left), refused: Cell::new(false) }
    }

    /// The same for the next command.
    pub fn renew(&self, most: usize, left: usize) {
        self.most.set(most);
        self.left.set(left);
        self.refused.set(false);
    }

    /// Leaves no more than so many bytes.
    pub fn narrow(&self, left: usize) {
        self.left.set(self.left.get().min(left));
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.get()
    }

    /// True when something was refused since the allowance was renewed.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.refused.get()
    }

    /// What a reply that takes too much is refused with.
    #[must_use]
    pub fn refusal(&self) -> Error {
        Error::ReplyTooLarge { most: self.most.get() }
    }

    /// Counts a text that is collected.
    pub(super) fn collect(&self, bytes: usize) -> Result<()> {
        match self.left.get().checked_sub(bytes.saturating_add(TEXT_BYTES)) {
            Some(left) => self.left.set(left),
            None => {
                self.refused.set(true);
                return Err(self.refusal());
            }
        }
        Ok(())
    }
}

/// What one of several replies that are read at the same time has collected; it counts among all until it is dropped.
#[derive(Debug)]
pub struct Share {
    most: usize,
    own: Cell<usize>,
    all: Arc<AtomicUsize>,
}

impl Share {
    /// A share of `all`, which may become `most` bytes.
    #[must_use]
    pub fn new(most: usize, all: &Arc<AtomicUsize>) -> Share {
        Share { most, own: Cell::new(0), all: Arc::clone(all) }
    }

    fn collect(&self, bytes: usize) -> Result<()> {
        let bytes = bytes.saturating_add(TEXT_BYTES);
        let room = |all: usize| all.checked_add(bytes).filter(|all| *all <= self.most);
        match self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(_) => self.own.set(self.own.get() + bytes),
            Err(_) => return Err(Error::RepliesTooLarge { most: self.most }),
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own.get(), Ordering::Relaxed);
    }
}

/// Rows of which a command may collect so much.
pub struct Allowed<'a> {
    /// The rows.
    pub rows: &'a dyn Rows,
    /// What may be collected of them for one reply.
    pub allowance: Allowance,
    /// What may be collected for all that are read now.
    pub share: &'a Share,
}

impl Rows for Allowed<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.rows.get(table, key)
    }

    fn scan(&self, table: Table, from: KeyBound, to: KeyBound, reverse: bool, visit: &mut Visit) -> Result<()> {
        self.rows.scan(table, from, to, reverse, visit)
    }

    fn collect(&self, bytes: usize) -> Result<()> {
        self.allowance.collect(bytes)?;
        self.share.collect(bytes)
    }
}
