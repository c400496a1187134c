//! Strings: small ones inline in the record, larger ones in chunks of the `blobs` table.
//!
//! A blob's record body is `[id u64][length u64]`; chunk `n` stands under `(id, n u32)` and has
//! [`CHUNK_BYTES`] at most. What is not there up to the length is zero bytes: a string that SETBIT makes half a gigabyte
//! long has one chunk.

use std::ops::{Bound, ControlFlow};

use bytes::{Bytes, BytesMut};

use crate::data::check::{Checked, rows_under};
use crate::data::extended::Extended;
use crate::data::notices::Classes;
use crate::data::{Edit, Error, Kind, Record, Result, View, keys};
use crate::storage::{self, Rows, Table};

/// A string up to this length stands in its record.
pub const INLINE_BYTES: usize = 16 << 10;
/// Length of a chunk of a larger one.
pub const CHUNK_BYTES: usize = 32 << 10;
/// The longest string, as in Redis (`proto-max-bulk-len`).
pub const MAX_BYTES: usize = 512 << 20;

pub(super) fn blob_header(record: &Record) -> storage::Result<([u8; 8], u64)> {
    let (id, length) = record
        .body
        .split_first_chunk::<8>()
        .ok_or_else(|| storage::Error::corrupt(Table::Keys, "a blob record without an id"))?;
    let length = length
        .try_into()
        .map_err(|_| storage::Error::corrupt(Table::Keys, "a blob record without a length of 8 bytes"))?;
    Ok((*id, u64::from_be_bytes(length)))
}

pub(super) fn blob_body(id: &[u8; 8], length: u64) -> Bytes {
    [&id[..], &length.to_be_bytes()].concat().into()
}

fn chunk_key(id: &[u8; 8], chunk: u32) -> Vec<u8> {
    [&id[..], &chunk.to_be_bytes()].concat()
}

/// Checks a string against its record.
pub(super) fn check(checked: &mut Checked<'_>, record: &Record) -> storage::Result<()> {
    let inline = if record.in_blobs { 0 } else { record.body.len() };
    if inline > INLINE_BYTES {
        checked.wrong(Table::Keys, format_args!("has {inline} bytes in its record, {INLINE_BYTES} at most"));
    }
    if !record.in_blobs {
        return Ok(());
    }
    let (id, length) = blob_header(record)?;
    if length <= INLINE_BYTES as u64 || length > MAX_BYTES as u64 {
        let what = format_args!("is {length} bytes long outside its record, {INLINE_BYTES} to {MAX_BYTES} expected");
        checked.wrong(Table::Keys, what);
    }
    rows_under(checked.rows, Table::Blobs, &id, &mut |key, chunk| {
        let begins = chunk_begins(&[&id, key].concat());
        let end = begins.map(|begins| begins + chunk.len() as u64);
        if chunk.is_empty() || chunk.len() > CHUNK_BYTES || end.is_none_or(|end| end > length) {
            let (key, bytes) = (key.escape_ascii(), chunk.len());
            checked.wrong(Table::Blobs, format_args!("has {bytes} bytes in its chunk {key}, of {length} in all"));
        }
        Ok(())
    })
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
    /// When the store fails.
    pub fn string_of(&self, record: &Record) -> Result<Bytes> {
        if !record.in_blobs {
            return Ok(record.body.clone());
        }
        self.string_part(record, 0, blob_header(record)?.1)
    }

    /// The length of a string key, 0 when it does not exist.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn string_len(&self, name: &[u8]) -> Result<u64> {
        self.record_of(name, Kind::String)?.map_or(Ok(0), |record| View::string_record_len(&record))
    }

    /// The length of a string record.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn string_record_len(record: &Record) -> Result<u64> {
        if record.in_blobs { Ok(blob_header(record)?.1) } else { Ok(record.body.len() as u64) }
    }

    /// The bytes `start..end` of a string record, within its length. Of a large one only their chunks are read.
    ///
    /// # Errors
    /// When the store fails.
    pub fn string_part(&self, record: &Record, start: u64, end: u64) -> Result<Bytes> {
        debug_assert!(start <= end && end <= View::string_record_len(record).unwrap_or(0), "{start}..{end}");
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        if !record.in_blobs {
            return Ok(record.body.slice(place(start)..place(end)));
        }
        let (id, _) = blob_header(record)?;
        let mut part = BytesMut::with_capacity(place(end - start));
        let (from, to) = (chunk_key(&id, chunk_of(start)), chunk_key(&id, chunk_of(end.saturating_sub(1))));
        let mut failed = None;
        self.rows.scan(Table::Blobs, Bound::Included(&from), Bound::Included(&to), false, &mut |key, chunk| {
            let Some(begins) = chunk_begins(key).filter(|_| chunk.len() <= CHUNK_BYTES) else {
                let what = format!("a chunk of {} bytes under a key of {}", chunk.len(), key.len());
                failed = Some(storage::Error::corrupt(Table::Blobs, what));
                return ControlFlow::Break(());
            };
            let (from, to) = (begins.max(start), (begins + chunk.len() as u64).min(end));
            if from < to {
                part.resize(place(from - start), 0);
                part.extend_from_slice(&chunk[place(from - begins)..place(to - begins)]);
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        part.resize(place(end - start), 0);
        Ok(part.freeze())
    }
}

/// The chunk that holds this byte; strings are far shorter than what a chunk's number can tell.
fn chunk_of(at: u64) -> u32 {
    u32::try_from(at / CHUNK_BYTES as u64).unwrap_or(u32::MAX)
}

/// The byte that a chunk's row begins with.
pub(super) fn chunk_begins(key: &[u8]) -> Option<u64> {
    let chunk = key.get(8..)?.try_into().ok()?;
    Some(u64::from(u32::from_be_bytes(chunk)) * CHUNK_BYTES as u64)
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
        self.write_chunks(&id, old_length, &suffix)?;
        let record = Record { body: blob_body(&id, length), ..old.clone() };
        self.store(name, Some(&old), &record)?;
        Ok(length)
    }

    /// Writes over a string from `offset` on, making it longer, with zero bytes in a gap; answers its length. An empty
    /// `part` changes nothing. Of a large string only the chunks that change are written again.
    ///
    /// # Errors
    /// [`Error::WrongType`]; [`Error::StringTooLong`] past [`MAX_BYTES`].
    pub fn write_string_part(&mut self, name: &[u8], offset: u64, part: &Bytes) -> Result<u64> {
        let old = self.record_of(name, Kind::String)?;
        let old_length = old.as_ref().map_or(Ok(0), View::string_record_len)?;
        if part.is_empty() {
            return Ok(old_length);
        }
        let end = offset.saturating_add(part.len() as u64);
        if end > MAX_BYTES as u64 {
            return Err(Error::StringTooLong);
        }
        let length = old_length.max(end);
        match &old {
            Some(old) if old.in_blobs => {
                let (id, _) = blob_header(old)?;
                self.write_chunks(&id, offset, part)?;
                let record = Record { body: blob_body(&id, length), ..old.clone() };
                self.store(name, Some(old), &record)?;
            }
            _ if length > INLINE_BYTES as u64 => {
                let id = keys::next_id(self.batch)?.to_be_bytes();
                if let Some(old) = &old {
                    self.put_chunks(&id, 0, &old.body)?;
                }
                self.write_chunks(&id, offset, part)?;
                let deadline = old.as_ref().and_then(|record| record.deadline);
                let record = Record { kind: Kind::String, deadline, in_blobs: true, body: blob_body(&id, length) };
                self.replace(name, old.as_ref(), &record)?;
            }
            _ => {
                let mut value = old.as_ref().map_or_else(Vec::new, |record| record.body.to_vec());
                // Checked above: it fits into memory as it fits into a string.
                let (offset, end) = (offset as usize, end as usize);
                value.resize(value.len().max(end), 0);
                value[offset..end].copy_from_slice(part);
                let deadline = old.as_ref().and_then(|record| record.deadline);
                self.set_string(name, old.as_ref(), value.into(), deadline)?;
            }
        }
        Ok(length)
    }

    /// Writes `part`, which is not empty, at `offset` of a blob.
    fn write_chunks(&mut self, id: &[u8; 8], offset: u64, part: &Bytes) -> Result<()> {
        let end = offset + part.len() as u64;
        for chunk in chunk_of(offset)..=chunk_of(end - 1) {
            let begins = u64::from(chunk) * CHUNK_BYTES as u64;
            let key = chunk_key(id, chunk);
            let mut bytes = self.batch.get(Table::Blobs, &key)?.unwrap_or_default().to_vec();
            let wanted = (end - begins).min(CHUNK_BYTES as u64) as usize;
            bytes.resize(bytes.len().max(wanted), 0);
            let (from, to) = (offset.max(begins), end.min(begins + CHUNK_BYTES as u64));
            let source = (from - offset) as usize..(to - offset) as usize;
            bytes[(from - begins) as usize..(to - begins) as usize].copy_from_slice(&part[source]);
            self.batch.put(Table::Blobs, key, bytes)?;
        }
        Ok(())
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
        self.notice(Classes::STRING, "incrby", name);
        Ok(number)
    }
}

impl Edit<'_, '_> {
    /// Adds to the number that a string spells, 0 when the key does not exist; keeps the deadline. Returns the sum.
    ///
    /// # Errors
    /// [`Error::WrongType`], [`Error::NotAFloat`], [`Error::SumIsInfinite`].
    pub fn add_float_to_string(&mut self, name: &[u8], change: &[u8]) -> Result<Bytes> {
        let old = self.record_of(name, Kind::String)?;
        let text = match &old {
            None => Bytes::from_static(b"0"),
            Some(record) if record.in_blobs => return Err(Error::NotAFloat),
            Some(record) => record.body.clone(),
        };
        let sum = Bytes::from(Extended::sum(&text, change, || Error::NotAFloat)?);
        let deadline = old.as_ref().and_then(|record| record.deadline);
        self.set_string(name, old.as_ref(), sum.clone(), deadline)?;
        self.notice(Classes::STRING, "incrbyfloat", name);
        Ok(sum)
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
