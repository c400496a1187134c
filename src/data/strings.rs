//! Strings: small ones inline in the record, larger ones in chunks of the `blobs` table.
//!
//! A blob's record body is `[id u64][length u64]`; chunk `n` stands under `(id, n u32)` and is
//! [`CHUNK_BYTES`] long, the last one shorter.

use std::ops::{Bound, ControlFlow};

use bytes::{Bytes, BytesMut};

use crate::data::{Edit, Error, Kind, Record, Result, View, keys};
use crate::storage::{self, Rows, Table};

/// A string up to this length stands in its record.
pub const INLINE_BYTES: usize = 16 << 10;
/// Length of a chunk of a larger one.
pub const CHUNK_BYTES: usize = 32 << 10;
/// The longest string, as in Redis (`proto-max-bulk-len`).
pub const MAX_BYTES: usize = 512 << 20;

fn blob_header(record: &Record) -> storage::Result<([u8; 8], u64)> {
    let (id, length) = record
        .body
        .split_first_chunk::<8>()
        .ok_or_else(|| storage::Error::corrupt(Table::Keys, "a blob record without an id"))?;
    let length = length
        .try_into()
        .map_err(|_| storage::Error::corrupt(Table::Keys, "a blob record without a length of 8 bytes"))?;
    Ok((*id, u64::from_be_bytes(length)))
}

fn blob_body(id: &[u8; 8], length: u64) -> Bytes {
    [&id[..], &length.to_be_bytes()].concat().into()
}

fn chunk_key(id: &[u8; 8], chunk: u32) -> Vec<u8> {
    [&id[..], &chunk.to_be_bytes()].concat()
}

impl View<'_> {
    /// The value of a string key.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn get(&self, name: &[u8]) -> Result<Option<Bytes>> {
        let record = self.record_of(name, Kind::String)?;
        record.map(|record| self.string_of(&record)).transpose()
    }

    /// The value of a string record.
    ///
    /// # Errors
    /// When the store fails, or chunks are missing.
    pub fn string_of(&self, record: &Record) -> Result<Bytes> {
        if !record.in_blobs {
            return Ok(record.body.clone());
        }
        let (id, length) = blob_header(record)?;
        let mut value = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0).min(MAX_BYTES));
        let end = chunk_key(&id, u32::MAX);
        self.rows.scan(Table::Blobs, Bound::Included(&id), Bound::Included(&end), false, &mut |_, chunk| {
            value.extend_from_slice(chunk);
            ControlFlow::Continue(())
        })?;
        if value.len() as u64 != length {
            let what = format!("a blob has {} bytes, its record says {length}", value.len());
            return Err(storage::Error::corrupt(Table::Blobs, what).into());
        }
        Ok(value.freeze())
    }

    /// The length of a string key, 0 when it does not exist.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn string_len(&self, name: &[u8]) -> Result<u64> {
        match self.record_of(name, Kind::String)? {
            None => Ok(0),
            Some(record) if record.in_blobs => Ok(blob_header(&record)?.1),
            Some(record) => Ok(record.body.len() as u64),
        }
    }
}

impl Edit<'_, '_> {
    /// Writes a string in place of `old` (of any type), with `deadline`.
    ///
    /// # Errors
    /// [`Error::StringTooLong`] past [`MAX_BYTES`].
    pub fn set_string(
        &mut self,
        name: &[u8],
        old: Option<&Record>,
        value: Bytes,
        deadline: Option<crate::clock::Millis>,
    ) -> Result<()> {
        if value.len() > MAX_BYTES {
            return Err(Error::StringTooLong);
        }
        let mut record = Record { kind: Kind::String, deadline, in_blobs: false, body: value };
        if record.body.len() > INLINE_BYTES {
            let id = keys::next_id(self.batch)?.to_be_bytes();
            let value = std::mem::take(&mut record.body);
            self.put_chunks(&id, 0, &value)?;
            record.in_blobs = true;
            record.body = blob_body(&id, value.len() as u64);
        }
        self.replace(name, old, &record)
    }

    fn put_chunks(&mut self, id: &[u8; 8], first: u32, value: &Bytes) -> Result<()> {
        for (chunk, part) in (first..).zip(value.chunks(CHUNK_BYTES)) {
            self.batch.put(Table::Blobs, chunk_key(id, chunk), value.slice_ref(part))?;
        }
        Ok(())
    }

    /// Appends to a string, making it when the key does not exist; answers its length. Of a large string only the last
    /// chunk is written again.
    ///
    /// # Errors
    /// [`Error::WrongType`]; [`Error::StringTooLong`] past [`MAX_BYTES`].
    pub fn append_string(&mut self, name: &[u8], suffix: Bytes) -> Result<u64> {
        let Some(old) = self.record_of(name, Kind::String)? else {
            let length = suffix.len() as u64;
            self.set_string(name, None, suffix, None)?;
            return Ok(length);
        };
        let old_length = if old.in_blobs { blob_header(&old)?.1 } else { old.body.len() as u64 };
        let length = old_length + suffix.len() as u64;
        if length > MAX_BYTES as u64 {
            return Err(Error::StringTooLong);
        }
        if suffix.is_empty() {
            return Ok(length);
        }
        if !old.in_blobs {
            let value = [&old.body[..], &suffix].concat();
            self.set_string(name, Some(&old), value.into(), old.deadline)?;
            return Ok(length);
        }
        let (id, _) = blob_header(&old)?;
        let whole = u32::try_from(old_length / CHUNK_BYTES as u64).map_err(|_| Error::StringTooLong)?;
        let partial = self.batch.get(Table::Blobs, &chunk_key(&id, whole))?.unwrap_or_default();
        self.put_chunks(&id, whole, &[&partial[..], &suffix].concat().into())?;
        let record = Record { body: blob_body(&id, length), ..old.clone() };
        self.store(name, Some(&old), &record)?;
        Ok(length)
    }

    /// Adds to the integer that a string spells, 0 when the key does not exist; keeps the deadline.
    ///
    /// # Errors
    /// [`Error::WrongType`], [`Error::NotAnInteger`], [`Error::CounterOverflow`].
    pub fn add_to_string(&mut self, name: &[u8], change: i64) -> Result<i64> {
        let old = self.record_of(name, Kind::String)?;
        let number = match &old {
            None => 0,
            Some(record) if record.in_blobs => return Err(Error::NotAnInteger),
            Some(record) => parse_integer(&record.body).ok_or(Error::NotAnInteger)?,
        };
        let number = number.checked_add(change).ok_or(Error::CounterOverflow)?;
        let deadline = old.as_ref().and_then(|record| record.deadline);
        self.set_string(name, old.as_ref(), number.to_string().into(), deadline)?;
        Ok(number)
    }
}

/// Reads a canonical 64-bit integer as Redis does: no sign `+`, no spaces, no leading zeros.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        assert_eq!(parse_integer(b"0"), Some(0));
        assert_eq!(parse_integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_integer(b"9223372036854775807"), Some(i64::MAX));
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "9223372036854775808", "1.0", "a"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }
}
