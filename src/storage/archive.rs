//! The archive: every record of the log, in order, kept for as long as somebody may want to go back to a moment.
//!
//! A folder of files, *pieces*, that say themselves what they are: store, run, first record, salt. Behind the header stand
//! records as in the log, each under a checksum seeded with the piece. A piece is only appended to. Where one ends in
//! the middle of a record (the power went, or the disk was full), the next one begins with that record: what a later
//! piece says of a record counts.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Millis;
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_record::{ALIGN, CycleSeed, RecordHead, decode_into, record_len, seal, verify};
use crate::storage::recover::random;
use crate::storage::{Error, Result, WriteSet};

const MAGIC: &[u8; 8] = b"AGQ-ARC\n";
const FORMAT: u32 = 1;
/// Bytes of a piece's header, and where its records begin.
const HEADER: usize = 128;
/// Bytes of the header that mean something; its checksum stands behind them.
const USED: usize = 60;
/// A piece that has become longer is followed by a new one.
const PIECE: u64 = 64 << 20;

/// What a piece says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PieceHeader {
    store_id: u128,
    run_id: u64,
    generation: u64,
    salt: u64,
    first_seq: u64,
}

impl PieceHeader {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..28].copy_from_slice(&self.store_id.to_le_bytes());
        for (place, word) in [self.run_id, self.generation, self.salt, self.first_seq].into_iter().enumerate() {
            bytes[28 + place * 8..36 + place * 8].copy_from_slice(&word.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes[..USED]);
        bytes[USED..USED + 8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are no header of this format.
    fn decode(bytes: &[u8]) -> Option<PieceHeader> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let sound =
            bytes[..8] == *MAGIC && bytes[8..12] == FORMAT.to_le_bytes() && xxh3_64(&bytes[..USED]) == word(USED);
        sound.then(|| PieceHeader {
            store_id: u128::from(word(12)) | u128::from(word(20)) << 64,
            run_id: word(28),
            generation: word(36),
            salt: word(44),
            first_seq: word(52),
        })
    }

    fn seed(&self) -> CycleSeed {
        CycleSeed::new(self.store_id, self.run_id, self.salt)
    }
}

/// The name of the piece that begins with a record.
fn piece_name(store_id: u128, first_seq: u64) -> String {
    format!("agq-{}-{first_seq:020}.log", short(store_id))
}

fn short(store_id: u128) -> String {
    format!("{store_id:032x}")[..8].to_owned()
}

/// Appends records to an archive.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    store_id: u128,
    run_id: u64,
    generation: u64,
    open: Option<Open>,
    /// The pieces begun, for whoever writes records a second time.
    made: Vec<String>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: Arc<dyn DiskFile>,
    name: String,
    seed: CycleSeed,
    len: u64,
    next_seq: u64,
}

impl Writer {
    pub(super) fn new(disk: &Arc<dyn Disk>, store_id: u128, run_id: u64, generation: u64) -> Writer {
        Writer {
            disk: Arc::clone(disk),
            store_id,
            run_id,
            generation,
            open: None,
            made: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Appends one record, as it stands in the log. Durable after the next [`Writer::sync`].
    ///
    /// # Errors
    /// When it cannot be written: the piece is given up, and the next record begins another.
    pub(super) fn append(&mut self, head: &RecordHead, record: &[u8]) -> Result<()> {
        let open = self.open.take().filter(|open| open.len < PIECE && open.next_seq == head.seq);
        let mut open = match open {
            Some(open) => open,
            None => self.begin(head.seq)?,
        };
        self.buffer.clear();
        self.buffer.extend_from_slice(record);
        seal(&mut self.buffer, open.seed, open.len, head);
        let written = open.file.write_at(open.len, &self.buffer);
        written.map_err(|source| Error::io(format!("writing {}", self.disk.describe(&open.name)), source))?;
        open.len += self.buffer.len() as u64;
        open.next_seq += 1;
        self.buffer.shrink_to(4 << 20);
        self.open = Some(open);
        Ok(())
    }

    /// Removes the pieces whose records, from `seq` on, this writer has written anew and synced.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub(super) fn replace_from(&self, seq: u64) -> Result<()> {
        for (header, name) in Archive::of_store(&*self.disk, self.store_id)?.pieces {
            if header.first_seq >= seq && !self.made.contains(&name) {
                let io = |source| Error::io(format!("removing {}", self.disk.describe(&name)), source);
                self.disk.remove(&name).map_err(io)?;
            }
        }
        self.disk.sync_dir().map_err(|source| Error::io(format!("syncing {}", self.disk.describe("")), source))
    }

    fn begin(&mut self, first_seq: u64) -> Result<Open> {
        let name = piece_name(self.store_id, first_seq);
        self.made.push(name.clone());
        let header = PieceHeader {
            store_id: self.store_id,
            run_id: self.run_id,
            generation: self.generation,
            salt: random()?,
            first_seq,
        };
        let make = || -> std::io::Result<Arc<dyn DiskFile>> {
            let file = self.disk.create(&name)?;
            file.write_at(0, &header.encode())?;
            self.disk.sync_dir()?;
            Ok(file)
        };
        let file = make().map_err(|source| Error::io(format!("making {}", self.disk.describe(&name)), source))?;
        Ok(Open { file, name, seed: header.seed(), len: HEADER as u64, next_seq: first_seq })
    }

    /// Makes every appended record durable.
    ///
    /// # Errors
    /// When that fails: the piece is given up, since a second try would prove nothing.
    pub(super) fn sync(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let Err(source) = open.file.sync_data() else { return Ok(()) };
        let error = Error::io(format!("syncing {}", self.disk.describe(&open.name)), source);
        self.open = None;
        Err(error)
    }

    /// Ends the piece: the next record begins another.
    pub(super) fn end_piece(&mut self) {
        self.open = None;
    }
}

/// A record in a piece that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Archived {
    pub(super) head: RecordHead,
    offset: usize,
}

/// One piece, read whole.
pub(super) struct Piece {
    name: String,
    bytes: Bytes,
    pub(super) records: Vec<Archived>,
    /// Records that verify stand behind one that does not.
    damaged: bool,
}

impl Piece {
    /// Bytes of a record.
    pub(super) fn record_bytes(&self, record: &Archived) -> usize {
        record_len(&self.bytes[record.offset..])
    }

    pub(super) fn decode_into(&self, rows: &mut WriteSet, record: &Archived) -> Result<()> {
        decode_into(rows, &self.bytes, record.offset)
    }
}

/// The pieces of one store, by their first record.
pub(super) struct Archive<'a> {
    disk: &'a dyn Disk,
    pieces: Vec<(PieceHeader, String)>,
}

impl<'a> Archive<'a> {
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn of_store(disk: &'a dyn Disk, store_id: u128) -> Result<Archive<'a>> {
        let mut pieces = pieces(disk)?;
        pieces.retain(|(header, _)| header.store_id == store_id);
        Ok(Archive { disk, pieces })
    }

    /// How many pieces there are.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The first record of the piece after a piece.
    pub(super) fn end(&self, piece: usize) -> u64 {
        self.pieces.get(piece + 1).map_or(u64::MAX, |(header, _)| header.first_seq)
    }

    /// Reads a piece: its records in sequence, up to the first that is not there, or that a later piece has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(&self, piece: usize) -> Result<Piece> {
        let (header, name) = &self.pieces[piece];
        let io = |source| Error::io(format!("reading {}", self.disk.describe(name)), source);
        let missing = || io(std::io::ErrorKind::NotFound.into());
        let file = self.disk.open(name).map_err(io)?.ok_or_else(missing)?;
        let mut bytes = vec![0; usize::try_from(file.len().map_err(io)?).unwrap_or(usize::MAX)];
        let read = file.read_at(0, &mut bytes).map_err(io)?;
        bytes.truncate(read);
        let (seed, end, mut records, mut offset) = (header.seed(), self.end(piece), Vec::new(), HEADER);
        while let Some((head, next)) = verify(&bytes, seed, offset) {
            if head.seq != header.first_seq + records.len() as u64 || head.seq >= end {
                break;
            }
            records.push(Archived { head, offset });
            offset = next;
        }
        let reaches = header.first_seq + records.len() as u64;
        let damaged =
            reaches < end && (offset + ALIGN..bytes.len()).step_by(ALIGN).any(|at| verify(&bytes, seed, at).is_some());
        Ok(Piece { name: self.disk.describe(name), bytes: bytes.into(), records, damaged })
    }

    /// The last record, durable; `None` where there is none.
    ///
    /// # Errors
    /// When a piece cannot be read or synced.
    pub(super) fn last(&self) -> Result<Option<u64>> {
        for piece in (0..self.pieces.len()).rev() {
            let (_, name) = &self.pieces[piece];
            let io = |source| Error::io(format!("syncing {}", self.disk.describe(name)), source);
            if let Some(file) = self.disk.open(name).map_err(io)? {
                // What a killed process wrote is read here, and is not to be lost to a power cut once it counts.
                file.sync_data().map_err(io)?;
            }
            if let Some(last) = self.read(piece)?.records.last() {
                self.disk.sync_dir().map_err(io)?;
                return Ok(Some(last.head.seq));
            }
        }
        Ok(None)
    }

    /// Visits the records after `seq` up to the last of which no earlier one, nor itself, has a time after `to`.
    ///
    /// # Errors
    /// What `visit` says, and when a file cannot be read. Where a record is missing, [`Reached::gap`] says so.
    pub(super) fn replay(
        &self,
        seq: u64,
        to: Millis,
        visit: &mut dyn FnMut(&Piece, &Archived) -> Result<()>,
    ) -> Result<Reached> {
        let mut reached = Reached { seq, time: None, gap: None };
        for place in 0..self.len() {
            if self.end(place) <= reached.seq + 1 {
                continue;
            }
            let (header, name) = &self.pieces[place];
            if header.first_seq > reached.seq + 1 {
                reached.gap = Some(format!(
                    "no record {} to {} in the archive: {} begins with record {}",
                    reached.seq + 1,
                    header.first_seq - 1,
                    self.disk.describe(name),
                    header.first_seq
                ));
                return Ok(reached);
            }
            let piece = self.read(place)?;
            for record in piece.records.iter().filter(|record| record.head.seq > seq) {
                if record.head.time > to {
                    return Ok(reached);
                }
                visit(&piece, record)?;
                (reached.seq, reached.time) = (record.head.seq, Some(record.head.time));
            }
            if piece.damaged {
                reached.gap = Some(format!("record {} damaged in {}", reached.seq + 1, piece.name));
                return Ok(reached);
            }
        }
        Ok(reached)
    }
}

/// How far a replay came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    /// The last record.
    pub(super) seq: u64,
    /// Its time; `None` when there was none.
    pub(super) time: Option<Millis>,
    /// What is missing behind it though there is more.
    pub(super) gap: Option<String>,
}

/// Every piece of a folder, by store and first record. What is no piece is passed over.
fn pieces(disk: &dyn Disk) -> Result<Vec<(PieceHeader, String)>> {
    let names = disk.list().map_err(|source| Error::io(format!("listing {}", disk.describe("")), source))?;
    let mut found = Vec::new();
    for name in names.into_iter().filter(|name| name.starts_with("agq-") && name.ends_with(".log")) {
        let io = |source| Error::io(format!("reading {}", disk.describe(&name)), source);
        let Some(file) = disk.open(&name).map_err(io)? else { continue };
        let mut bytes = [0; HEADER];
        let read = file.read_at(0, &mut bytes).map_err(io)?;
        if let Some(header) = PieceHeader::decode(&bytes[..read]) {
            found.push((header, name));
        }
    }
    found.sort_by_key(|(header, _)| (header.store_id, header.first_seq));
    Ok(found)
}

/// A run of records without a gap, of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The store whose records they are.
    pub store_id: u128,
    /// The first record and its time.
    pub first: (u64, Millis),
    /// The last record and its time.
    pub last: (u64, Millis),
    /// The next record is there, but damaged.
    pub damaged: bool,
}

/// What an archive holds: runs of records without a gap.
///
/// # Errors
/// When a file cannot be read.
pub fn archive_ranges(disk: &dyn Disk) -> Result<Vec<Range>> {
    let mut stores: Vec<u128> = pieces(disk)?.iter().map(|(header, _)| header.store_id).collect();
    stores.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for store_id in stores {
        let archive = Archive::of_store(disk, store_id)?;
        for place in 0..archive.len() {
            let piece = archive.read(place)?;
            let (Some(first), Some(last)) = (piece.records.first(), piece.records.last()) else { continue };
            let last = (last.head.seq, last.head.time);
            match ranges.last_mut().filter(|range| range.store_id == store_id && range.last.0 + 1 == first.head.seq) {
                Some(range) if !range.damaged => (range.last, range.damaged) = (last, piece.damaged),
                _ => {
                    let first = (first.head.seq, first.head.time);
                    ranges.push(Range { store_id, first, last, damaged: piece.damaged });
                }
            }
        }
    }
    Ok(ranges)
}

/// Removes the pieces of a store all of whose records a backup up to `seq` has. Returns their names.
///
/// # Errors
/// When one cannot be removed.
pub fn prune_archive(disk: &dyn Disk, store_id: u128, seq: u64) -> Result<Vec<String>> {
    let archive = Archive::of_store(disk, store_id)?;
    let mut removed = Vec::new();
    for (place, (_, name)) in archive.pieces.iter().enumerate() {
        // The newest piece is still being written.
        if place + 1 == archive.len() || archive.end(place) > seq + 1 {
            break;
        }
        disk.remove(name).map_err(|source| Error::io(format!("removing {}", disk.describe(name)), source))?;
        removed.push(name.clone());
    }
    if !removed.is_empty() {
        disk.sync_dir().map_err(|source| Error::io(format!("syncing {}", disk.describe("")), source))?;
    }
    Ok(removed)
}
