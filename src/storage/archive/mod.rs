//! The archive: every record of the log, in order, kept for as long as somebody may want to go back to a moment.
//!
//! A folder of files, *pieces*, that say themselves what they are: store, run, first record, salt. Behind the header stand
//! records as in the log, each under a checksum seeded with the piece. A piece is only appended to. Where one ends in
//! the middle of a record (the power went, or the disk was full), the next one begins with that record: what a later
//! piece says of a record counts.
//!
//! Each record says up to which record the archive was on the disk when it was written, and behind the last one stands, from
//! its sync to the next record, a *mark* that says so too: a record without rows and with the number 0. So what was
//! durable and is damaged is told from what was still being written: where anything behind says that it was durable, it
//! is damaged.

mod ranges;
mod read;
#[cfg(test)]
mod tests;
mod writer;

use xxhash_rust::xxh3::xxh3_64;

use crate::storage::files::Disk;
use crate::storage::log_record::{self, CycleSeed};
use crate::storage::{Error, Result};

pub use ranges::{Range, archive_ranges, prune_archive};
pub use read::Behind;
pub(super) use read::{Archive, Reached};
pub(super) use writer::Writer;

const MAGIC: &[u8; 8] = b"AGQ-ARC\n";
const FORMAT: u32 = 1;
/// Bytes of a piece's header, and where its records begin.
const HEADER: usize = 128;
/// Bytes of the header that mean something; its checksum stands behind them.
const USED: usize = 60;
/// The number of a mark: no record has it.
const MARK_SEQ: u64 = 0;
/// Bytes of a mark: a record's header.
const MARK: usize = log_record::HEADER;
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

/// The pieces of a folder.
#[derive(Debug, Default)]
struct Pieces {
    /// By store and first record.
    sound: Vec<(PieceHeader, String)>,
    /// Those whose header does not verify though there is something behind it: the first record and the store by the name.
    headless: Vec<(u64, String, String)>,
}

impl Pieces {
    /// Looks at every piece of a folder. What is no piece is passed over.
    fn look(disk: &dyn Disk) -> Result<Pieces> {
        let names = disk.list().map_err(|source| Error::io(format!("listing {}", disk.describe("")), source))?;
        let mut pieces = Pieces::default();
        for name in names {
            let Some((store, first_seq)) = parse_name(&name) else { continue };
            let io = |source| Error::io(format!("reading {}", disk.describe(&name)), source);
            let Some(file) = disk.open(&name).map_err(io)? else { continue };
            let mut bytes = [0; HEADER];
            let read = file.read_at(0, &mut bytes).map_err(io)?;
            match PieceHeader::decode(&bytes[..read]) {
                Some(header) => pieces.sound.push((header, name)),
                // A header is on the disk before anything stands behind it.
                None if file.len().map_err(io)? > HEADER as u64 => {
                    pieces.headless.push((first_seq, store.to_owned(), name));
                }
                None => {}
            }
        }
        pieces.sound.sort_by_key(|(header, _)| (header.store_id, header.first_seq));
        pieces.headless.sort();
        Ok(pieces)
    }
}

/// The store and the first record that a piece's name says.
fn parse_name(name: &str) -> Option<(&str, u64)> {
    let (store, seq) = name.strip_prefix("agq-")?.strip_suffix(".log")?.split_once('-')?;
    Some((store, seq.parse().ok()?))
}
