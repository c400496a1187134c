//! What can be wrong with the bytes a peer sent. Either error ends the connection: after it, where
//! the next frame starts is anybody's guess.

use crate::Reply;
use bytes::Bytes;

/// Why a request cannot be read. The text is that of Redis 7.0, word for word, without the `ERR `
/// code that stands in front of it on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The count after `*` is not a number, or is more than the limit.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The length after `$` is not a number, is negative, or is more than the limit.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An argument does not start with `$` but with this byte.
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// An inline command without an end of line within the limit.
    #[error("Protocol error: too big inline request")]
    TooBigInlineRequest,
    /// An inline command with a quote that is not closed, or closed in the middle of a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A `*` without an end of line within the limit.
    #[error("Protocol error: too big mbulk count string")]
    TooBigCountString,
    /// A `$` without an end of line within the limit.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCountString,
    /// More than 10 arguments before AUTH.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// An argument of more than 16384 bytes before AUTH.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The arguments together are more than [`Limits::max_frame_bytes`](crate::Limits). Redis has
    /// no words for this: it closes the connection.
    #[error("Protocol error: too big request")]
    TooBigRequest,
}

impl ProtocolError {
    /// The reply Redis sends before it closes the connection. It differs from the text in one
    /// case: an unexpected byte beyond ASCII goes out as that byte.
    pub fn to_reply(self) -> Reply {
        let mut text = Vec::from("ERR ");
        match self {
            ProtocolError::ExpectedBulk(byte) => {
                text.extend_from_slice(b"Protocol error: expected '$', got '");
                text.extend_from_slice(&[byte, b'\'']);
            }
            other => text.extend_from_slice(other.to_string().as_bytes()),
        }
        Reply::Error(Bytes::from(text))
    }
}

/// Line ends become spaces, as in every error that Redis sends.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        other => char::from(other),
    }
}

/// Why a reply cannot be read: the peer does not speak RESP, or says more than the limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The first byte of a value names no type.
    #[error("a reply starts with byte {:?}, which names no RESP type: is the peer a Redis-like server?", char::from(*.0))]
    UnknownType(u8),
    /// The length of a string or of an aggregate is not a number, or is negative.
    #[error("the length of a '{}' value is not a number from 0 up", char::from(*.0))]
    InvalidLength(u8),
    /// The text of an integer, double, boolean, big number or null is not one.
    #[error("the text of a '{}' value is not of that type", char::from(*.0))]
    InvalidValue(u8),
    /// A line or a string does not end with CR LF.
    #[error("a '{}' value does not end with CR LF", char::from(*.0))]
    MissingLineEnd(u8),
    /// A line is longer than [`ReplyLimits::max_line_bytes`](crate::ReplyLimits).
    #[error("a '{}' value is a line of more than {limit} bytes", char::from(*.kind))]
    LineTooLong {
        /// The first byte of the value.
        kind: u8,
        /// The limit in bytes.
        limit: usize,
    },
    /// A string is longer than [`ReplyLimits::max_bulk_bytes`](crate::ReplyLimits).
    #[error("a string of {length} bytes is more than the limit of {limit}")]
    BulkTooLong {
        /// The announced length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// One reply holds more values than [`ReplyLimits::max_elements`](crate::ReplyLimits).
    #[error("a reply of more than {limit} values")]
    TooManyElements {
        /// The limit in values, nested ones included.
        limit: usize,
    },
    /// One reply is longer than [`ReplyLimits::max_reply_bytes`](crate::ReplyLimits).
    #[error("a reply of more than {limit} bytes")]
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
    /// Aggregates stand in each other deeper than [`ReplyLimits::max_depth`](crate::ReplyLimits).
    #[error("a reply is nested more than {limit} deep")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
    },
}
