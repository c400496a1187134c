//! The bytes of one log record: a header and a write set, under one checksum.
//!
//! ```text
//!  0  checksum     u64   xxh3 of everything after it, seeded with the cycle and the offset
//!  8  mark         u32   a cheap test whether a record of this cycle may begin here
//! 12  body length  u32
//! 16  sequence     u64
//! 24  synced_seq   u64   the last record known to be on disk when this one was written
//! 32  time         u64   milliseconds since the Unix epoch
//! 40  body               per row: table u8, key length, value length + 1 (0: removed), key, value
//!     padding            zeros, to the next 8-byte bound
//! ```
//!
//! Integers are little-endian, lengths in the body LEB128. The seed holds the store, the run and the cycle's salt, so
//! a record of another store, run or cycle never verifies, and neither does one that stands at another place.

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::clock::Millis;
use crate::storage::{Error, Result, Table, WriteSet};

/// Bytes of a record's header.
pub(super) const HEADER: usize = 40;
/// Records begin on such bounds.
pub(super) const ALIGN: usize = 8;

/// What the checksums of one cycle of one segment are seeded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CycleSeed(u64);

impl CycleSeed {
    pub(super) fn new(store_id: u128, run_id: u64, salt: u64) -> CycleSeed {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&store_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&run_id.to_le_bytes());
        bytes[24..].copy_from_slice(&salt.to_le_bytes());
        CycleSeed(xxh3_64(&bytes))
    }

    /// The seed of the record at `offset`: splitmix64, which sends different offsets to different seeds.
    fn at(self, offset: u64) -> u64 {
        let mut z = self.0.wrapping_add(offset.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The header's fields but the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) seq: u64,
    pub(super) synced_seq: u64,
    pub(super) time: Millis,
}

/// Puts `rows` into `buffer`, behind room for the header, padded. `buffer` keeps its capacity from record to record.
///
/// # Errors
/// When the record would be longer than its length field can say.
pub(super) fn encode(buffer: &mut Vec<u8>, rows: &WriteSet) -> Result<()> {
    buffer.clear();
    buffer.resize(HEADER, 0);
    for (table, changes) in rows.iter() {
        for (key, value) in changes {
            buffer.push(table as u8);
            put_len(buffer, key.len() as u64);
            put_len(buffer, value.as_ref().map_or(0, |value| value.len() as u64 + 1));
            buffer.extend_from_slice(key);
            if let Some(value) = value {
                buffer.extend_from_slice(value);
            }
        }
    }
    let body = u32::try_from(buffer.len() - HEADER)
        .map_err(|_| Error::TooLarge { max_rows: super::batch::MAX_ROWS, max_bytes: super::batch::MAX_BYTES })?;
    buffer[12..16].copy_from_slice(&body.to_le_bytes());
    buffer.resize(buffer.len().next_multiple_of(ALIGN), 0);
    Ok(())
}

/// The most bytes that a record of `rows` rows with `bytes` bytes of keys and values has.
pub(super) fn most_bytes(rows: usize, bytes: usize) -> u64 {
    // A table, and two lengths of five bytes at most.
    const ROW: u64 = 11;
    (HEADER + ALIGN + bytes) as u64 + ROW * rows as u64
}

/// Completes the header of what [`encode`] put into `record`, for the place where it will stand.
pub(super) fn seal(record: &mut [u8], cycle: CycleSeed, offset: u64, head: &RecordHead) {
    let seed = cycle.at(offset);
    record[8..12].copy_from_slice(&mark(seed).to_le_bytes());
    record[16..24].copy_from_slice(&head.seq.to_le_bytes());
    record[24..32].copy_from_slice(&head.synced_seq.to_le_bytes());
    record[32..40].copy_from_slice(&head.time.0.to_le_bytes());
    let checksum = xxh3_64_with_seed(&record[8..], seed);
    record[..8].copy_from_slice(&checksum.to_le_bytes());
}

fn mark(seed: u64) -> u32 {
    // Never zero, so that zeroed space never looks like the beginning of a record.
    (seed >> 32) as u32 | 1
}

/// The record at `offset` of `segment`, and the offset after it; `None` when none verifies there.
pub(super) fn verify(segment: &[u8], cycle: CycleSeed, offset: usize) -> Option<(RecordHead, usize)> {
    let rest = segment.get(offset..)?;
    let head = verify_at(rest, cycle, offset as u64)?;
    Some((head, offset + record_len(rest)))
}

/// Bytes of the record with which `record` begins, by what its header says; its padding is included.
pub(super) fn record_len(record: &[u8]) -> usize {
    record.first_chunk().map_or(0, |header| (HEADER + u32_at(header, 12) as usize).next_multiple_of(ALIGN))
}

/// The record with which `rest` begins, read from `offset`; `None` when none verifies there.
pub(super) fn verify_at(rest: &[u8], cycle: CycleSeed, offset: u64) -> Option<RecordHead> {
    let header: &[u8; HEADER] = rest.first_chunk()?;
    let seed = cycle.at(offset);
    if u32_at(header, 8) != mark(seed) {
        return None;
    }
    let record = rest.get(..record_len(rest))?;
    if xxh3_64_with_seed(record.get(8..)?, seed) != u64_at(header, 0) {
        return None;
    }
    Some(RecordHead { seq: u64_at(header, 16), synced_seq: u64_at(header, 24), time: Millis(u64_at(header, 32)) })
}

/// Adds the rows of a verified record at `offset` of `segment` to `rows`, sharing its bytes.
///
/// # Errors
/// When the body is not one this version writes.
pub(super) fn decode_into(rows: &mut WriteSet, segment: &Bytes, offset: usize) -> Result<()> {
    let malformed =
        || Error::corrupt(Table::Meta, format!("a log record at offset {offset} verifies but does not decode"));
    let header = segment.get(offset..).and_then(|rest| rest.first_chunk::<HEADER>()).ok_or_else(malformed)?;
    let start = offset + HEADER;
    let end = start + u32_at(header, 12) as usize;
    let mut rest = segment.get(start..end).ok_or_else(malformed)?;
    while let Some((&table, after)) = rest.split_first() {
        rest = after;
        let table = Table::from_number(table).ok_or_else(malformed)?;
        let key = take_len(&mut rest).ok_or_else(malformed)?;
        let value = take_len(&mut rest).ok_or_else(malformed)?;
        let (key, after) = rest.split_at_checked(key).ok_or_else(malformed)?;
        let (body, after) = after.split_at_checked(value.saturating_sub(1)).ok_or_else(malformed)?;
        rest = after;
        rows.insert(table, segment.slice_ref(key), (value > 0).then(|| segment.slice_ref(body)));
    }
    Ok(())
}

fn put_len(out: &mut Vec<u8>, mut len: u64) {
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

fn take_len(bytes: &mut &[u8]) -> Option<usize> {
    let mut len = 0u64;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        len |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(len).ok();
        }
    }
    None
}

fn u32_at(header: &[u8; HEADER], at: usize) -> u32 {
    header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(header: &[u8; HEADER], at: usize) -> u64 {
    header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: RecordHead = RecordHead { seq: 12, synced_seq: 11, time: Millis(1_700_000_000_000) };

    fn cycle() -> CycleSeed {
        CycleSeed::new(1, 2, 3)
    }

    fn record_at(offset: usize, rows: &WriteSet) -> Vec<u8> {
        let mut record = Vec::new();
        encode(&mut record, rows).unwrap();
        seal(&mut record, cycle(), offset as u64, &HEAD);
        let mut segment = vec![0; offset];
        segment.extend_from_slice(&record);
        segment
    }

    fn one_row() -> WriteSet {
        let mut rows = WriteSet::default();
        rows.insert(Table::Keys, Bytes::from_static(b"name"), Some(Bytes::from_static(b"value")));
        rows
    }

    #[test]
    fn verifies_only_in_its_cycle_and_place() {
        let segment = record_at(64, &one_row());
        assert_eq!(verify(&segment, cycle(), 64), Some((HEAD, segment.len())));
        for other in [CycleSeed::new(9, 2, 3), CycleSeed::new(1, 9, 3), CycleSeed::new(1, 2, 9)] {
            assert_eq!(verify(&segment, other, 64), None);
        }
        assert_eq!(verify(&segment[8..], cycle(), 56), None, "the same bytes elsewhere");
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        let segment = record_at(8, &one_row());
        for bit in 8 * 8..segment.len() * 8 {
            let mut damaged = segment.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&damaged, cycle(), 8), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn rows_round_trip(entries in proptest::collection::vec(
            (0..Table::COUNT as u8, proptest::collection::vec(any::<u8>(), 0..300),
             proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))), 0..20))
        {
            let mut rows = WriteSet::default();
            for (table, key, value) in entries {
                let table = Table::from_number(table).unwrap();
                rows.insert(table, Bytes::from(key), value.map(Bytes::from));
            }
            let segment = Bytes::from(record_at(16, &rows));
            let mut read = WriteSet::default();
            decode_into(&mut read, &segment, 16).unwrap();
            prop_assert_eq!(read, rows);
            prop_assert_eq!(segment.len() % ALIGN, 0);
        }

        #[test]
        fn hostile_bodies_are_refused_not_obeyed(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut record = vec![0; HEADER];
            record[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
            record.extend_from_slice(&body);
            let mut rows = WriteSet::default();
            let _ = decode_into(&mut rows, &Bytes::from(record), 0);
            prop_assert!(rows.rows() <= body.len());
        }
    }
}
