//! What can go wrong between a client and its server. Each text says the whole reason, so that no
//! error has a source that would say it twice.

use crate::Address;
use agq_resp::ReplyError;
use std::io;

/// Why a command has no reply, or which error the reply is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server was not reached, or refused the greeting.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where the server was looked for.
        address: Address,
        /// What happened there.
        reason: Box<Error>,
    },
    /// The operating system reports that the connection does not work.
    #[error("{0}")]
    Io(io::Error),
    /// There can be no TLS with what the options say.
    #[error("{0}")]
    Tls(agq_tls::Error),
    /// The server closed the connection. Whether it ran what was sent last is not known.
    #[error("the server closed the connection")]
    Closed,
    /// The server says what is not the Redis protocol, or more than the client takes.
    #[error("the server does not speak the Redis protocol: {0}")]
    Protocol(ReplyError),
    /// The server's own error, its code first, such as `WRONGTYPE Operation against ...`.
    #[error("{0}")]
    Server(String),
    /// The server did not answer within [`ConnectOptions::timeout`](crate::ConnectOptions).
    /// Whether it runs what was sent last is not known.
    #[error("no answer from the server in time")]
    Timeout,
    /// An earlier call ended without its reply, for it timed out or was dropped, or requests that
    /// were sent were not received. The next reply would be taken for the wrong one: receive what
    /// is missing, or connect anew.
    #[error("{0} earlier requests on this connection have no reply yet: open another connection")]
    Unanswered(usize),
    /// A request without even a command's name, to which no server answers.
    #[error("a request needs at least the name of a command")]
    EmptyRequest,
}

impl Error {
    /// The code of a server's error, its first word: `ERR`, `NOAUTH`, `WRONGTYPE`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Server(text) => text.split(' ').next(),
            Error::Connect { reason, .. } => reason.code(),
            _ => None,
        }
    }
}

impl Error {
    /// What kept TLS from being spoken, if that is what went wrong.
    pub fn tls(&self) -> Option<&agq_tls::Error> {
        match self {
            Error::Tls(error) => Some(error),
            Error::Connect { reason, .. } => reason.tls(),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io(error)
    }
}

impl From<agq_tls::Error> for Error {
    fn from(error: agq_tls::Error) -> Self {
        Error::Tls(error)
    }
}

impl From<ReplyError> for Error {
    fn from(error: ReplyError) -> Self {
        Error::Protocol(error)
    }
}
