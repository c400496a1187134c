//! Names of jobs, queues, workers, actions: what is allowed, and how new ones are made.

use std::fmt;
use std::ops::Deref;

use crate::clock::Millis;
use crate::jobs::error::{Error, Result, shown};
use crate::storage::{self, Table};

/// The most bytes of an id.
const MAX_ID_BYTES: usize = 128;

/// The name of a job, queue, worker or action: `[A-Za-z0-9_-]{1,128}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// Checks a client's words; `field` names them in the error.
    ///
    /// # Errors
    /// When they are no id.
    pub fn parse(field: &str, text: &[u8]) -> Result<Id> {
        Id::sound(text).ok_or_else(|| {
            Error::refused(format!(
                "{field} must be 1 to {MAX_ID_BYTES} letters, digits, '_' or '-', not '{}'",
                shown(text)
            ))
        })
    }

    /// The id that these bytes are; `None` when they are none.
    #[must_use]
    pub fn sound(text: &[u8]) -> Option<Id> {
        let is_sound = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if text.is_empty() || text.len() > MAX_ID_BYTES || !text.iter().all(is_sound) {
            return None;
        }
        String::from_utf8(text.to_vec()).ok().map(Id)
    }

    /// An id read from a row.
    pub(super) fn stored(table: Table, text: &[u8]) -> storage::Result<Id> {
        Id::sound(text).ok_or_else(|| storage::Error::corrupt(table, format!("'{}' is no id", shown(text))))
    }

    /// A new id: the prefix and a UUID of version 7, which ascends with the time and, within a millisecond, with `n`.
    #[must_use]
    pub fn generate(prefix: &str, now: Millis, n: u64, random: &mut fastrand::Rng) -> Id {
        let mut noise = [0; 10];
        random.fill(&mut noise[2..]);
        noise[..2].copy_from_slice(&(n as u16 & 0x0fff).to_be_bytes());
        let uuid = uuid::Builder::from_unix_timestamp_millis(now.0, &noise).into_uuid();
        Id(format!("{prefix}{}", uuid.simple()))
    }
}

impl Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_and_the_error_names_them() {
        assert_eq!(&*Id::parse("queue", b"ready-2_X").unwrap(), "ready-2_X");
        for bad in [&b""[..], b"a b", b"a.b", b"\xff", &[b'a'; 129]] {
            assert!(Id::sound(bad).is_none());
        }
        let error = Id::parse("queue", b"a b").unwrap_err().to_string();
        assert_eq!(error, "ERR queue must be 1 to 128 letters, digits, '_' or '-', not 'a b'");
    }

    #[test]
    fn new_ids_ascend() {
        let mut random = fastrand::Rng::with_seed(1);
        let ids: Vec<Id> = [(1_800_000_000_000, 1), (1_800_000_000_000, 2), (1_800_000_000_001, 0)]
            .map(|(now, n)| Id::generate("job_", Millis(now), n, &mut random))
            .into();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.starts_with("job_") && id.len() == 36));
    }
}
