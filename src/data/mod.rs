//! Redis's data types over rows: typed functions, no RESP, no clock.
//!
//! A [`View`] reads one database as of one moment; an [`Edit`] changes it within the open batch. One row of the
//! `keys` table answers for a key's type, deadline and small body; the elements of collections stand in tables of
//! their own under the id that the record names, so that RENAME and DEL touch one row.

pub mod check;
pub mod dump;
mod elements;
mod error;
pub mod extended;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod gather;
pub mod glob;
pub mod hashes;
pub mod keys;
pub mod keyspaces;
pub mod lists;
pub mod notices;
pub mod ranks;
pub mod record;
pub mod sets;
pub mod strings;
pub mod subsequence;
pub mod transfer;
pub mod trash;
pub mod zsets;

use bytes::Bytes;

use crate::clock::Millis;
use crate::storage::{Batch, Rows, Working};

pub use error::{Error, Result};
pub use record::{Kind, Record};

/// A number that stands for a database's present content; FLUSHDB gives the database a new one.
pub type Keyspace = u32;

/// A thing that was changed, or that a parked command waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Touch {
    /// An ordinary key.
    Key(Keyspace, Bytes),
    /// A database got other content at once. Nothing waits for this by itself: whatever waits for a key of the
    /// keyspace is tried again.
    Keyspace(Keyspace),
    /// A job queue got work, or may give out work again.
    Queue(Bytes),
    /// A job changed.
    Job(Bytes),
    /// There is something to tell a worker.
    Worker(Bytes),
    /// An event was written.
    Events,
    /// A webhook was changed.
    Webhooks,
    /// The end of the server was taken back.
    Shutdown,
    /// What became of a change of the server's settings is known, of that with this number.
    Settings(u64),
}

/// What the commands of a batch changed, collected for those who wait. It collects nothing while nobody does.
#[derive(Debug, Default)]
pub struct Touched {
    /// Somebody waits for something.
    pub wanted: bool,
    /// What was changed since it was last emptied, oldest first.
    pub things: Vec<Touch>,
    /// Which notices are asked for.
    pub classes: notices::Classes,
    /// Those since it was last emptied, oldest first.
    pub notices: Vec<notices::Notice>,
    /// How many keys were found expired since the start.
    pub expired: u64,
}

impl Touched {
    /// Notes a change; `thing` is made only when somebody waits.
    pub fn add(&mut self, thing: impl FnOnce() -> Touch) {
        if self.wanted {
            self.things.push(thing());
        }
    }
}

/// One database as of one moment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The rows to read.
    pub rows: &'a dyn Rows,
    /// Which keyspace is meant.
    pub keyspace: Keyspace,
    /// Keys whose deadline is not after this moment do not exist.
    pub now: Millis,
}

impl View<'_> {
    /// Reads what is not answered: what it collects does not count as a reply.
    pub fn working<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        read(&View { rows: &Working(self.rows), ..*self })
    }

    /// Counts texts that were read as work, and are answered.
    ///
    /// # Errors
    /// [`ReplyTooLarge`](crate::storage::Error::ReplyTooLarge) when they are more than a reply may take.
    pub fn answers<'t>(&self, texts: impl IntoIterator<Item = &'t Bytes>) -> Result<()> {
        Ok(texts.into_iter().try_for_each(|text| self.rows.collect(text.len()))?)
    }
}

/// One database, to be changed within the open batch.
pub struct Edit<'a, 'txn> {
    /// The open batch.
    pub batch: &'a mut Batch<'txn>,
    /// Which keyspace is meant.
    pub keyspace: Keyspace,
    /// The batch's time.
    pub now: Millis,
    /// What was changed, for parked commands.
    pub touched: &'a mut Touched,
}

impl Edit<'_, '_> {
    /// The same database, to be read.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { rows: self.batch, keyspace: self.keyspace, now: self.now }
    }

    /// Notes that a key changed.
    pub fn touch(&mut self, name: &[u8]) {
        let keyspace = self.keyspace;
        self.touched.add(|| Touch::Key(keyspace, Bytes::copy_from_slice(name)));
    }
}
