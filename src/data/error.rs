//! Why a data operation was refused, in Redis's words.

use crate::storage;

/// The result of a data operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a data operation was refused. `Display` is the whole text of Redis's error reply, its code included.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// A stored value or an argument is no 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// A counter would leave 64 bits.
    #[error("ERR increment or decrement would overflow")]
    CounterOverflow,
    /// A stored value or an argument is no number.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// A hash field is no integer.
    #[error("ERR hash value is not an integer")]
    HashValueNotAnInteger,
    /// A hash field is no number.
    #[error("ERR hash value is not a float")]
    HashValueNotAFloat,
    /// A sum is too large for a number.
    #[error("ERR increment would produce NaN or Infinity")]
    SumIsInfinite,
    /// An increment made a score that is no number.
    #[error("ERR resulting score is not a number (NaN)")]
    ScoreIsNan,
    /// A string would become too long.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// The version of a payload is too high, or its checksum is another.
    #[error("ERR DUMP payload version or checksum are wrong")]
    BadDumpFooter,
    /// A payload is no value.
    #[error("ERR Bad data format")]
    BadDump,
    /// The key that a command needs is not there.
    #[error("ERR no such key")]
    NoSuchKey,
    /// Storage refused or failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}
