//! Who reads the archive's pieces.

use bytes::Bytes;

use crate::clock::Millis;
use crate::storage::archive::{HEADER, MARK_SEQ, PieceHeader, Pieces, short};
use crate::storage::files::Disk;
use crate::storage::log_record::{ALIGN, RecordHead, decode_into, record_len, verify};
use crate::storage::{Error, Result, WriteSet};

/// A record in a piece that was read.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) struct Archived {
    pub(in crate::storage) head: RecordHead,
    offset: usize,
}

/// One piece, read whole.
pub(in crate::storage) struct Piece {
    name: String,
    bytes: Bytes,
    pub(in crate::storage) records: Vec<Archived>,
    pub(in crate::storage) behind: Behind,
}

/// What stands behind the last record that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Nothing that counts.
    Nothing,
    /// So many bytes that are no whole record, or not next to the last: nothing says that they were ever on the disk. They
    /// were being written, or are still.
    Unfinished {
        /// How many.
        bytes: u64,
    },
    /// A record that was on the disk, and is damaged.
    Damaged,
}

impl Piece {
    /// Bytes of a record.
    pub(in crate::storage) fn record_bytes(&self, record: &Archived) -> usize {
        record_len(&self.bytes[record.offset..])
    }

    pub(in crate::storage) fn decode_into(&self, rows: &mut WriteSet, record: &Archived) -> Result<()> {
        decode_into(rows, &self.bytes, record.offset)
    }
}

/// The pieces of one store, by their first record.
pub(in crate::storage) struct Archive<'a> {
    disk: &'a dyn Disk,
    pieces: Vec<(PieceHeader, String)>,
    /// Those whose header is damaged, with the first record by their names.
    headless: Vec<(u64, String)>,
}

impl<'a> Archive<'a> {
    /// # Errors
    /// When the folder cannot be read.
    pub(in crate::storage) fn of_store(disk: &'a dyn Disk, store_id: u128) -> Result<Archive<'a>> {
        let Pieces { mut sound, headless } = Pieces::look(disk)?;
        sound.retain(|(header, _)| header.store_id == store_id);
        let of_store = headless.into_iter().filter(|(_, store, _)| *store == short(store_id));
        let headless = of_store.map(|(first_seq, _, name)| (first_seq, name)).collect();
        Ok(Archive { disk, pieces: sound, headless })
    }

    /// The first record of each piece, and its name.
    pub(in crate::storage) fn names(&self) -> impl Iterator<Item = (u64, &str)> {
        self.pieces.iter().map(|(header, name)| (header.first_seq, &name[..]))
    }

    /// How many pieces there are.
    pub(in crate::storage) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The first record of the piece after a piece.
    pub(in crate::storage) fn end(&self, piece: usize) -> u64 {
        self.pieces.get(piece + 1).map_or(u64::MAX, |(header, _)| header.first_seq)
    }

    /// Reads a piece: its records in sequence, up to the first that is not there, or that a later piece has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(in crate::storage) fn read(&self, piece: usize) -> Result<Piece> {
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
        if let Some((head, next)) = verify(&bytes, seed, offset)
            && head.seq == MARK_SEQ
        {
            offset = next;
        }
        let was_durable = |at| verify(&bytes, seed, at).is_some_and(|(head, _)| head.synced_seq >= reaches);
        let behind = match bytes.len().saturating_sub(offset) as u64 {
            // A later piece says what counts.
            _ if reaches >= end => Behind::Nothing,
            _ if (offset..bytes.len()).step_by(ALIGN).any(was_durable) => Behind::Damaged,
            0 => Behind::Nothing,
            bytes => Behind::Unfinished { bytes },
        };
        Ok(Piece { name: self.disk.describe(name), bytes: bytes.into(), records, behind })
    }

    /// The last record, durable; `None` where there is none.
    ///
    /// # Errors
    /// When a piece cannot be read or synced.
    pub(in crate::storage) fn last(&self) -> Result<Option<u64>> {
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

    /// Bytes of the pieces that records from `seq` on stand in.
    ///
    /// # Errors
    /// When a file cannot be looked at.
    pub(in crate::storage) fn bytes_from(&self, seq: u64) -> Result<u64> {
        let mut bytes = 0;
        for (_, (_, name)) in self.names().enumerate().filter(|(place, _)| self.end(*place) > seq) {
            let io = |source| Error::io(format!("reading {}", self.disk.describe(name)), source);
            if let Some(file) = self.disk.open(name).map_err(io)? {
                bytes += file.len().map_err(io)?;
            }
        }
        Ok(bytes)
    }

    /// Visits the records after `seq` up to the last of which no earlier one, nor itself, has a time after `to`.
    ///
    /// `visit` is told too where the record begins, counted in the bytes of [`Archive::bytes_from`].
    ///
    /// # Errors
    /// What `visit` says, and when a file cannot be read. Where a record is missing, [`Reached::gap`] says so.
    pub(in crate::storage) fn replay(
        &self,
        seq: u64,
        to: Millis,
        visit: &mut dyn FnMut(&Piece, &Archived, u64) -> Result<()>,
    ) -> Result<Reached> {
        let mut reached = Reached { seq, time: None, gap: None, unfinished: None };
        let mut bytes_before = 0;
        for place in 0..self.len() {
            if self.end(place) <= reached.seq + 1 {
                continue;
            }
            let (header, name) = &self.pieces[place];
            if header.first_seq > reached.seq + 1 {
                let (next, first) = (reached.seq + 1, header.first_seq);
                let begins = format!("{} begins with record {first}", self.disk.describe(name));
                let gap = || format!("no record {next} to {} in the archive: {begins}", first - 1);
                reached.gap = Some(self.headless_from(next, first).unwrap_or_else(gap));
                return Ok(reached);
            }
            let piece = self.read(place)?;
            reached.unfinished = None;
            for record in piece.records.iter().filter(|record| record.head.seq > seq) {
                if record.head.time > to {
                    return Ok(reached);
                }
                visit(&piece, record, bytes_before + record.offset as u64)?;
                (reached.seq, reached.time) = (record.head.seq, Some(record.head.time));
            }
            bytes_before += piece.bytes.len() as u64;
            match piece.behind {
                Behind::Nothing => {}
                Behind::Unfinished { bytes } => {
                    let what = "was still being written, and nothing says that it was ever on the disk";
                    let behind = format!("behind record {} in {}", reached.seq, piece.name);
                    reached.unfinished = Some(format!("{bytes} bytes {behind}: what stood there {what}"));
                }
                Behind::Damaged => {
                    reached.gap = Some(format!("record {} damaged in {}", reached.seq + 1, piece.name));
                    return Ok(reached);
                }
            }
        }
        reached.gap = self.headless_from(reached.seq + 1, u64::MAX);
        Ok(reached)
    }

    /// What is to be said of a piece with a damaged header that may have records from `next` on, before `end`.
    pub(in crate::storage) fn headless_from(&self, next: u64, end: u64) -> Option<String> {
        let followed_at = |first: u64| {
            let follows = |(header, _): &&(PieceHeader, String)| header.first_seq > first;
            self.pieces.iter().find(follows).map_or(u64::MAX, |(header, _)| header.first_seq)
        };
        let (first, name) = self.headless.iter().find(|(first, _)| *first < end && followed_at(*first) > next)?;
        let name = self.disk.describe(name);
        Some(format!("the header of {name} damaged, which by its name begins with record {first}"))
    }
}

/// How far a replay came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage) struct Reached {
    /// The last record.
    pub(in crate::storage) seq: u64,
    /// Its time; `None` when there was none.
    pub(in crate::storage) time: Option<Millis>,
    /// What is missing behind it though there is more.
    pub(in crate::storage) gap: Option<String>,
    /// What was left out behind it since it was not whole yet, where the archive ends with it.
    pub(in crate::storage) unfinished: Option<String>,
}
