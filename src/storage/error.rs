//! What can go wrong with storage, and how bad it is.

use crate::storage::Table;

/// The result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A storage failure.
///
/// All but [`Error::TooLarge`] mean that the store can no longer be trusted to acknowledge anything: the server
/// stops and the log has what was promised.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused or failed a file operation.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to which file.
        what: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Bytes that were read do not mean anything this version writes.
    #[error("corrupt row in table '{table}': {what}")]
    Corrupt {
        /// The table the row stands in.
        table: Table,
        /// What was found and what was expected.
        what: String,
    },
    /// redb reported a failure.
    #[error("the store failed: {0}")]
    Engine(#[from] redb::Error),
    /// One command wrote more than a write set may hold. The command alone fails; nothing of it is kept.
    #[error(
        "the command would write more than {max_rows} rows or {max_bytes} bytes in one step: split it into smaller ones"
    )]
    TooLarge {
        /// Rows one command may write.
        max_rows: usize,
        /// Bytes of keys and values one command may write.
        max_bytes: usize,
    },
}

impl Error {
    /// A [`Error::Corrupt`] for `table`.
    pub fn corrupt(table: Table, what: impl Into<String>) -> Error {
        Error::Corrupt { table, what: what.into() }
    }

    /// True when only the command that met it fails, and the store is sound.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::TooLarge { .. })
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::Engine(error.into())
            }
        })*
    };
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError
);
