//! Why a job operation was refused, in the words that the client reads.

use crate::{data, storage};

/// The result of a job operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a job operation was refused. `Display` is the whole text of the error reply, its code first.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is not sound, or may not be done now. The text names the field, the value and what was expected.
    #[error("ERR {0}")]
    Refused(String),
    /// There is no such thing.
    #[error("ERR {what} not found: {id}")]
    NotFound {
        /// `Job`, `Plan`, `Action`, `Schedule` or `Worker`.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// A report came with an epoch that is no longer, or not yet, the job's.
    #[error("STALE job {job} is at epoch {epoch}")]
    Stale {
        /// The job.
        job: String,
        /// The job's epoch now.
        epoch: u64,
    },
    /// An ordinary key was in the way, or could not be read.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// Storage refused or failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Error {
    /// A refusal with this text; `ERR` is put in front of it.
    pub fn refused(text: impl Into<String>) -> Error {
        Error::Refused(text.into())
    }

    /// There is no `what` of this id.
    #[must_use]
    pub fn not_found(what: &'static str, id: &[u8]) -> Error {
        Error::NotFound { what, id: shown(id) }
    }

    /// The same refusal, with where in a request of several things it was met.
    #[must_use]
    pub fn at(self, place: &str) -> Error {
        match self {
            Error::Refused(text) => Error::Refused(format!("{place}: {text}")),
            Error::NotFound { what, id } => Error::Refused(format!("{place}: {what} not found: {id}")),
            other => other,
        }
    }
}

/// A client's bytes as an error repeats them: printable, and not too many.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 128;
    let text = String::from_utf8_lossy(bytes);
    let mut out: String = text.chars().take(MOST).flat_map(printable).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_whole_reply() {
        assert_eq!(Error::refused("no").to_string(), "ERR no");
        assert_eq!(Error::not_found("Job", b"job_1").to_string(), "ERR Job not found: job_1");
        assert_eq!(Error::not_found("Plan", b"p").at("jobs[1]").to_string(), "ERR jobs[1]: Plan not found: p");
        let stale = Error::Stale { job: "job_1".into(), epoch: 7 };
        assert_eq!(stale.to_string(), "STALE job job_1 is at epoch 7");
    }

    #[test]
    fn what_is_repeated_is_short_and_printable() {
        assert_eq!(shown(b"a\r\nb"), "a\\r\\nb");
        assert_eq!(shown(&[b'x'; 200]).chars().count(), 129);
    }
}
