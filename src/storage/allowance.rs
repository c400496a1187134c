//! What one command may collect in memory: for its reply, and to work on.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::storage::batch::{KeyBound, Visit};
use crate::storage::{Error, Result, Rows, Table};

/// What each text takes beside its bytes, about.
const TEXT_BYTES: usize = 64;

/// Bytes that a command may collect to work on, where a reply may not take more. What one command may write fits.
const WORK_BYTES: usize = 1 << 30;

/// A command that collects more than this on the core thread may leave it.
const CORE_BYTES: usize = 16 << 20;

fn work_bytes(most: usize) -> usize {
    most.max(WORK_BYTES)
}

/// Bytes that the command which runs may still collect.
#[derive(Debug)]
pub struct Allowance {
    most: Cell<usize>,
    left: Cell<usize>,
    work: Cell<usize>,
    more_elsewhere: Cell<bool>,
    should_leave: Cell<bool>,
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
        let work = Cell::new(work_bytes(most));
        let (most, left) = (Cell::new(most), Cell::new(left));
        Allowance { most, left, work, more_elsewhere: Cell::default(), should_leave: Cell::default() }
    }

    /// The same for the next command.
    pub fn renew(&self, most: usize, left: usize) {
        self.most.set(most);
        self.left.set(left);
        self.work.set(work_bytes(most));
        self.more_elsewhere.set(false);
        self.should_leave.set(false);
    }

    /// Leaves no more than a command should collect on the core thread, where it may go on elsewhere.
    pub fn narrow(&self) {
        self.more_elsewhere.set(self.left.get() > CORE_BYTES);
        self.left.set(self.left.get().min(CORE_BYTES));
        self.work.set(self.work.get().min(CORE_BYTES));
    }

    /// True when something was refused since the allowance was narrowed that may not be elsewhere.
    #[must_use]
    pub fn should_leave(&self) -> bool {
        self.should_leave.get()
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
                self.should_leave.set(self.more_elsewhere.get());
                return Err(self.refusal());
            }
        }
        Ok(())
    }

    /// Counts a text that is collected, and not answered.
    pub(super) fn collect_work(&self, bytes: usize) -> Result<()> {
        match self.work.get().checked_sub(bytes.saturating_add(TEXT_BYTES)) {
            Some(left) => self.work.set(left),
            None => {
                self.should_leave.set(true);
                return Err(Error::WorkTooLarge { most: work_bytes(self.most.get()) });
            }
        }
        Ok(())
    }
}

/// Rows of which a command collects what it does not answer.
pub struct Working<'a>(pub &'a dyn Rows);

impl Rows for Working<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, from: KeyBound, to: KeyBound, reverse: bool, visit: &mut Visit) -> Result<()> {
        self.0.scan(table, from, to, reverse, visit)
    }

    fn collect(&self, bytes: usize) -> Result<()> {
        self.0.collect_work(bytes)
    }

    fn collect_work(&self, bytes: usize) -> Result<()> {
        self.0.collect_work(bytes)
    }
}

/// What all replies that are read at the same time have collected.
#[derive(Debug, Default)]
pub struct Reading {
    replies: AtomicUsize,
    work: AtomicUsize,
}

/// What one of several replies that are read at the same time has collected; it counts among all until it is dropped.
#[derive(Debug)]
pub struct Share {
    most: usize,
    replies: Cell<usize>,
    work: Cell<usize>,
    all: Arc<Reading>,
}

impl Share {
    /// A share of `all`, of which replies may become `most` bytes.
    #[must_use]
    pub fn new(most: usize, all: &Arc<Reading>) -> Share {
        Share { most, replies: Cell::new(0), work: Cell::new(0), all: Arc::clone(all) }
    }

    fn collect(&self, bytes: usize) -> Result<()> {
        let refusal = Error::RepliesTooLarge { most: self.most };
        add(&self.replies, &self.all.replies, bytes, self.most).ok_or(refusal)
    }

    fn collect_work(&self, bytes: usize) -> Result<()> {
        let most = work_bytes(self.most);
        add(&self.work, &self.all.work, bytes, most).ok_or(Error::WorkTooLarge { most })
    }
}

/// Adds a text to what one has and to what all have, unless that is then more than `most`.
fn add(own: &Cell<usize>, all: &AtomicUsize, bytes: usize, most: usize) -> Option<()> {
    let bytes = bytes.saturating_add(TEXT_BYTES);
    let room = |all: usize| all.checked_add(bytes).filter(|all| *all <= most);
    all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
    own.set(own.get() + bytes);
    Some(())
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.replies.fetch_sub(self.replies.get(), Ordering::Relaxed);
        self.all.work.fetch_sub(self.work.get(), Ordering::Relaxed);
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

    fn collect_work(&self, bytes: usize) -> Result<()> {
        self.allowance.collect_work(bytes)?;
        self.share.collect_work(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_has_a_bound_of_its_own_that_large_reads_share() {
        let allowance = Allowance::new(100, 50);
        assert!(matches!(allowance.collect_work(WORK_BYTES), Err(Error::WorkTooLarge { most: WORK_BYTES })));
        allowance.collect_work(1000).unwrap();
        assert!(matches!(allowance.collect(50), Err(Error::ReplyTooLarge { most: 100 })));
        let all = Arc::default();
        let [first, second] = [Share::new(100, &all), Share::new(100, &all)];
        first.collect_work(WORK_BYTES / 2).unwrap();
        assert!(matches!(second.collect_work(WORK_BYTES / 2), Err(Error::WorkTooLarge { most: WORK_BYTES })));
        second.collect(10).unwrap();
        drop(first);
        second.collect_work(WORK_BYTES / 2).unwrap();
    }
}
