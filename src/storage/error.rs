//! What can go wrong with storage, and how bad it is.

use crate::storage::log::is_full;
use crate::storage::{Refusal, Table};

/// The result of a storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A storage failure.
///
/// All but those of which [`Error::is_refusal`] is true mean that the store can no longer be trusted to acknowledge
/// anything: the server stops and the log has what was promised.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused or failed a file operation.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done, and to which file.
        what: String,
        /// The operating system's reason; part of the message, and so not its `source` too.
        cause: std::io::Error,
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
    Engine(redb::Error),
    /// The store was found in a state that must not be opened, or not without being told to.
    #[error("cannot open the store: found {found}; expected {expected}. {help}")]
    Refused {
        /// What was found, and in which file.
        found: String,
        /// What an intact store has there.
        expected: String,
        /// What to do.
        help: String,
    },
    /// A file that was to be a whole copy of a store is not one.
    #[error("{name} is not a whole copy of a store: found {found}. Use another backup")]
    Damaged {
        /// The file.
        name: String,
        /// What was found in it.
        found: String,
    },
    /// What was asked to be restored cannot be.
    #[error("cannot restore: found {found}; expected {expected}. {help}")]
    Unrestorable {
        /// What was found, and where.
        found: String,
        /// What is needed.
        expected: String,
        /// What to do.
        help: String,
    },
    /// Whoever watched the work ended it.
    #[error("it was cancelled")]
    Cancelled,
    /// The store stopped after an earlier failure and does nothing any more.
    #[error("the store has stopped: {reason}")]
    Stopped {
        /// The failure that stopped it.
        reason: String,
    },
    /// There is no room on the disk. A batch was taken back whole, a checkpoint not begun; the store is sound.
    #[error("no space for more in {file}: {cause}")]
    Full {
        /// The file that cannot grow.
        file: String,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// There is less room left than one command would take. The command alone fails; nothing of it is kept.
    #[error(
        "{refusal} (the command would add {needed} bytes at least, and {room} may be added now: pages take up to twice what \
         is put into them)"
    )]
    NoRoom {
        /// Bytes that it had written when it was stopped.
        needed: u64,
        /// Bytes that it might have added.
        room: u64,
        /// Where how much is missing.
        refusal: Refusal,
    },
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
    /// One command would collect more for its reply than a reply may take. The command alone fails; nothing of it is kept.
    #[error(
        "a reply, that of EXEC as a whole, may take {most} bytes: --max-client-memory and --replies-limit allow no more. Ask \
         for less at a time"
    )]
    ReplyTooLarge {
        /// Bytes that a reply may take.
        most: usize,
    },
    /// Large replies that are read at the same time would take more together than one may. The command alone fails.
    #[error(
        "large replies that are read at the same time may take {most} bytes together: --max-client-memory and \
         --replies-limit allow no more. Ask again in a moment, or for less"
    )]
    RepliesTooLarge {
        /// Bytes that they may take.
        most: usize,
    },
    /// One command would collect more to work on than it may, or all reads of the same time together. It alone fails.
    #[error(
        "a command, and all large reads at the same time together, may take {most} bytes for what they sort, combine or \
         store: 1 GiB, or --max-client-memory where that is more. Name fewer or smaller keys, or ask again in a moment"
    )]
    WorkTooLarge {
        /// Bytes that it may take.
        most: usize,
    },
}

impl Error {
    /// A [`Error::Corrupt`] for `table`.
    pub fn corrupt(table: Table, what: impl Into<String>) -> Error {
        Error::Corrupt { table, what: what.into() }
    }

    /// An [`Error::Io`] that says what was being done.
    pub(super) fn io(what: impl Into<String>, source: std::io::Error) -> Error {
        Error::Io { what: what.into(), cause: source }
    }

    /// True when there is no room on the disk, or in a quota, for what was to be written.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Full { .. } | Error::NoRoom { .. } => true,
            Error::Io { cause, .. } | Error::Engine(redb::Error::Io(cause)) => {
                // What redb's backend failed with comes back in redb's error.
                let inner = cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
                is_full(cause) || inner.is_some_and(Error::is_no_space)
            }
            _ => false,
        }
    }

    /// True when only the command or batch that met it fails, and the store is sound.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Error::TooLarge { .. }
                | Error::ReplyTooLarge { .. }
                | Error::RepliesTooLarge { .. }
                | Error::WorkTooLarge { .. }
                | Error::Full { .. }
                | Error::NoRoom { .. }
        )
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
    redb::Error,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError,
    redb::CursorError
);
