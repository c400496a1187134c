//! The record of a key: one row that says what stands under a name.
//!
//! `[kind u8][flags u8][deadline u64, if flag 1][body]`. Decoding is exact: an unknown kind or flag is `Corrupt`.

use bytes::Bytes;

use crate::clock::Millis;
use crate::storage::{Error, Result, Table};

/// The type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A string; the body is its bytes, or where its chunks stand.
    String = 1,
    /// A list.
    List = 2,
    /// A hash.
    Hash = 3,
    /// A sorted set.
    SortedSet = 4,
    /// A set.
    Set = 5,
}

impl Kind {
    /// The word that TYPE answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Hash => "hash",
            Kind::SortedSet => "zset",
            Kind::Set => "set",
        }
    }

    /// The kind of a number read from a row.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Kind> {
        [Kind::String, Kind::List, Kind::Hash, Kind::SortedSet, Kind::Set]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

const HAS_DEADLINE: u8 = 1;
const IN_BLOBS: u8 = 2;

/// What stands under a key's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The type.
    pub kind: Kind,
    /// When the key ceases to exist.
    pub deadline: Option<Millis>,
    /// A string whose bytes stand in the `blobs` table; the body is then its [`crate::data::strings`] header.
    pub in_blobs: bool,
    /// What the type keeps in the record.
    pub body: Bytes,
}

impl Record {
    /// A record without a deadline.
    #[must_use]
    pub fn new(kind: Kind, body: impl Into<Bytes>) -> Record {
        Record { kind, deadline: None, in_blobs: false, body: body.into() }
    }

    /// True when the key exists at `now`.
    #[must_use]
    pub fn is_live(&self, now: Millis) -> bool {
        self.deadline.is_none_or(|deadline| deadline > now)
    }

    /// The row.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(10 + self.body.len());
        let deadline = self.deadline.map_or(0, |_| HAS_DEADLINE);
        out.extend_from_slice(&[self.kind as u8, deadline | if self.in_blobs { IN_BLOBS } else { 0 }]);
        if let Some(deadline) = self.deadline {
            out.extend_from_slice(&deadline.0.to_be_bytes());
        }
        out.extend_from_slice(&self.body);
        out.into()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// `Corrupt` when it is not a record of this version.
    pub fn decode(row: &Bytes) -> Result<Record> {
        let (head, body) = Head::split(row)?;
        let Head { kind, deadline, in_blobs } = head;
        Ok(Record { kind, deadline, in_blobs, body: row.slice_ref(body) })
    }
}

/// What stands in front of a record's body; read from a row without copying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The type.
    pub kind: Kind,
    /// When the key ceases to exist.
    pub deadline: Option<Millis>,
    in_blobs: bool,
}

impl Head {
    /// True when the key exists at `now`.
    #[must_use]
    pub fn is_live(&self, now: Millis) -> bool {
        self.deadline.is_none_or(|deadline| deadline > now)
    }

    /// Reads the front of a row.
    ///
    /// # Errors
    /// `Corrupt` when it is not a record of this version.
    pub fn read(row: &[u8]) -> Result<Head> {
        Ok(Head::split(row)?.0)
    }

    fn split(row: &[u8]) -> Result<(Head, &[u8])> {
        let (&[kind, flags], rest) = row.split_first_chunk().ok_or_else(|| corrupt(row))?;
        let kind = Kind::from_number(kind).ok_or_else(|| corrupt(row))?;
        if flags & !(HAS_DEADLINE | IN_BLOBS) != 0 || (flags & IN_BLOBS != 0 && kind != Kind::String) {
            return Err(corrupt(row));
        }
        let (deadline, body) = if flags & HAS_DEADLINE == 0 {
            (None, rest)
        } else {
            let (deadline, body) = rest.split_first_chunk().ok_or_else(|| corrupt(row))?;
            (Some(Millis(u64::from_be_bytes(*deadline))), body)
        };
        Ok((Head { kind, deadline, in_blobs: flags & IN_BLOBS != 0 }, body))
    }
}

fn corrupt(row: &[u8]) -> Error {
    let head = &row[..row.len().min(16)];
    Error::corrupt(Table::Keys, format!("a record of {} bytes begins with {head:02x?}", row.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        for deadline in [None, Some(Millis(1_800_000_000_000))] {
            for (kind, in_blobs) in [(Kind::String, false), (Kind::String, true), (Kind::List, false)] {
                let record = Record { kind, deadline, in_blobs, body: Bytes::from_static(b"body") };
                assert_eq!(Record::decode(&record.encode()).unwrap(), record);
            }
        }
    }

    #[test]
    fn unknown_kinds_flags_and_short_rows_are_corrupt() {
        for row in [&[][..], &[1], &[0, 0], &[6, 0], &[1, 4], &[2, 2], &[1, 1, 0, 0]] {
            assert!(Record::decode(&Bytes::copy_from_slice(row)).is_err(), "{row:?}");
        }
    }
}
