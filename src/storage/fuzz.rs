//! What fuzz targets do with the log's bytes and the keys' ([`crate::fuzzing`]).

use bytes::Bytes;

use crate::clock::Millis;
use crate::storage::log_record::{CycleSeed, HEADER, RecordHead, decode_into, encode, seal, verify};
use crate::storage::log_segment::{CycleHeader, SECTOR};
use crate::storage::meta::StoreMeta;
use crate::storage::tables::{prefix_end, put_name, take_name};
use crate::storage::{WriteSet, log_segment};

/// Bytes of the log, at any place: no record begins where none was sealed, and reading past the end is no panic.
/// Then the same bytes as the body of a record that verifies: it decodes or is refused, and what was decoded decodes
/// from its own encoding again.
pub fn log_record(data: &[u8]) {
    let cycle = CycleSeed::new(1, 2, 3);
    let raw = Bytes::copy_from_slice(data);
    for offset in 0..data.len().min(64) {
        assert_eq!(verify(data, cycle, offset), None, "a checksum of 64 bits by chance");
        let _ = decode_into(&mut WriteSet::default(), &raw, offset);
    }
    let head = RecordHead { seq: 7, synced_seq: 6, time: Millis(5) };
    let mut record = vec![0; HEADER];
    record.extend_from_slice(data);
    record[12..16].copy_from_slice(&(data.len() as u32).to_le_bytes());
    record.resize(record.len().next_multiple_of(super::log_record::ALIGN), 0);
    seal(&mut record, cycle, 0, &head);
    assert_eq!(verify(&record, cycle, 0), Some((head, record.len())));
    let mut rows = WriteSet::default();
    if decode_into(&mut rows, &record.into(), 0).is_err() {
        return;
    }
    // Not the same bytes: rows that stand twice, or in another order, or lengths in a longer form, are read as well.
    let mut again = Vec::new();
    let mut same = WriteSet::default();
    if encode(&mut again, &rows).is_ok() && decode_into(&mut same, &again.into(), 0).is_ok() {
        assert_eq!(same, rows);
        return;
    }
    panic!("what was decoded is not encoded");
}

/// A sector with the header of a segment's cycle, as it comes and with a checksum that fits: read whole or refused.
pub fn log_segment(data: &[u8]) {
    let mut sector = [0; SECTOR];
    let length = data.len().min(SECTOR);
    sector[..length].copy_from_slice(&data[..length]);
    log_segment::check_copy(&sector);
    if let Some(header) = CycleHeader::sealed(&mut sector) {
        assert_eq!(header.encode(), sector, "a header has one form");
    }
}

/// The store's own row: read whole or refused, and it has one form.
pub fn store_row(data: &[u8]) {
    if let Ok(meta) = StoreMeta::decode(data) {
        assert_eq!(meta.encode()[..], *data);
    }
}

/// A name in front of a key: read or refused, it has one form, and order is kept.
pub fn table_keys(data: &[u8]) {
    if let Some((name, rest)) = take_name(data) {
        let mut key = Vec::new();
        put_name(&mut key, &name);
        key.extend_from_slice(rest);
        assert_eq!(key, data);
    }
    let (one, other) = data.split_at(data.len() / 2);
    let encoded = |name: &[u8]| {
        let mut key = Vec::new();
        put_name(&mut key, name);
        key
    };
    assert_eq!(encoded(one).cmp(&encoded(other)), one.cmp(other));
    assert_eq!(take_name(&encoded(one)), Some((one.to_vec(), &[][..])));
    match prefix_end(data) {
        Some(end) => assert!(end[..] > *data && !end.starts_with(data)),
        None => assert!(data.iter().all(|byte| *byte == 0xff)),
    }
}
