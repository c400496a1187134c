//! One segment file of the log: its header, how it is made, and how it is read back.
//!
//! A segment is used in *cycles*: each begins with a header that names the store, the run, a fresh salt and the first
//! sequence number, and stands twice, in two sectors. Behind the headers come records; behind the records whatever an
//! earlier cycle left, which never verifies. Segments are written full of zeros once, because a sync that need not
//! allocate takes half the time of one that must.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_record::{ALIGN, CycleSeed, RecordHead, verify};
use crate::storage::{Error, Result};

/// The names of the two segments.
pub(super) const NAMES: [&str; 2] = ["data.redb-log-0", "data.redb-log-1"];
/// The files of both segments.
pub(super) type Segments = [Arc<dyn DiskFile>; 2];
/// Where records begin.
pub(super) const RECORDS: u64 = 8192;
/// Where the two copies of the header stand: in two sectors of any size in use.
const COPIES: [u64; 2] = [0, 4096];

const MAGIC: &[u8; 8] = b"AGQ-LOG\n";
const FORMAT: u32 = 1;
pub(super) const SECTOR: usize = 512;
/// Bytes of a header that mean something; zeros follow to the end of the sector.
const USED: usize = 84;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What one cycle of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CycleHeader {
    pub(super) store_id: u128,
    pub(super) run_id: u64,
    pub(super) generation: u64,
    /// Counts the cycles of a run over both segments; tells the newer of two headers.
    pub(super) cycle: u64,
    pub(super) salt: u64,
    /// The sequence number of its first record.
    pub(super) first_seq: u64,
    /// Bytes the file was known to have when the cycle began: a shorter one was cut by somebody.
    pub(super) len: u64,
}

impl CycleHeader {
    pub(super) fn seed(&self) -> CycleSeed {
        CycleSeed::new(self.store_id, self.run_id, self.salt)
    }

    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(MAGIC);
        sector[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        sector[12..28].copy_from_slice(&self.store_id.to_le_bytes());
        let words = [self.run_id, self.generation, self.cycle, self.salt, self.first_seq, self.len];
        for (place, word) in words.into_iter().enumerate() {
            sector[28 + place * 8..36 + place * 8].copy_from_slice(&word.to_le_bytes());
        }
        let checksum = xxh3_64(&sector[..USED - 8]);
        sector[USED - 8..USED].copy_from_slice(&checksum.to_le_bytes());
        sector
    }

    fn decode(sector: &[u8; SECTOR]) -> Copy {
        if sector.iter().all(|&byte| byte == 0) {
            return Copy::Zero;
        }
        let word = |at: usize| sector[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let format = sector[8..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if sector[..8] == *MAGIC && format > FORMAT {
            return Copy::Newer(format);
        }
        let sound = sector[..8] == *MAGIC
            && format == FORMAT
            && xxh3_64(&sector[..USED - 8]) == word(USED - 8)
            && sector[USED..].iter().all(|&byte| byte == 0);
        if !sound {
            return Copy::Damaged;
        }
        Copy::Sound(CycleHeader {
            store_id: u128::from(word(12)) | u128::from(word(20)) << 64,
            run_id: word(28),
            generation: word(36),
            cycle: word(44),
            salt: word(52),
            first_seq: word(60),
            len: word(68),
        })
    }

    /// The header that a sector holds once its checksum is made to fit, which it then is.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn sealed(sector: &mut [u8; SECTOR]) -> Option<CycleHeader> {
        let checksum = xxh3_64(&sector[..USED - 8]);
        sector[USED - 8..USED].copy_from_slice(&checksum.to_le_bytes());
        match CycleHeader::decode(sector) {
            Copy::Sound(header) => Some(header),
            Copy::Zero | Copy::Newer(_) | Copy::Damaged => None,
        }
    }

    /// Writes both copies. Durable after the next sync of the file.
    pub(super) fn write(&self, file: &dyn DiskFile) -> std::io::Result<()> {
        let sector = self.encode();
        COPIES.into_iter().try_for_each(|at| file.write_at(at, &sector))
    }
}

/// One copy of a header as read.
enum Copy {
    Zero,
    Sound(CycleHeader),
    Newer(u32),
    Damaged,
}

/// Reads a sector as it comes: only one that [`CycleHeader::encode`] wrote is sound.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn check_copy(sector: &[u8; SECTOR]) {
    if let Copy::Sound(header) = CycleHeader::decode(sector) {
        assert_eq!(header.encode(), *sector);
    }
}

/// Reads a segment's header: the newer of the copies that verify, `None` for a segment never used.
///
/// # Errors
/// [`Error::Refused`] when neither copy verifies and neither is zero: a damaged log is never an empty one.
pub(super) fn read_header(file: &dyn DiskFile, name: &str) -> Result<Option<CycleHeader>> {
    let mut newest: Option<CycleHeader> = None;
    let mut zeros = 0;
    for at in COPIES {
        let mut sector = [0; SECTOR];
        let read = file.read_at(at, &mut sector).map_err(|error| unreadable(name, &error))?;
        match if read < SECTOR { Copy::Damaged } else { CycleHeader::decode(&sector) } {
            Copy::Zero => zeros += 1,
            Copy::Damaged => {}
            Copy::Newer(format) => {
                return Err(Error::Refused {
                    found: format!("the log {name} in format {format}"),
                    expected: format!("format {FORMAT} at most, the newest this version of agq knows"),
                    help: "Open it with the version of agq that wrote it, or a later one.".to_owned(),
                });
            }
            Copy::Sound(header) => {
                let order = |header: &CycleHeader| (header.generation, header.cycle);
                if newest.is_none_or(|newest| order(&newest) < order(&header)) {
                    newest = Some(header);
                }
            }
        }
    }
    // One zero and one damaged copy: the first header of a segment, cut short while it was written. Every sync covers
    // both copies, so no record behind it was ever promised.
    if newest.is_none() && zeros == 0 {
        return Err(refuse(
            format!("no header in {name} that verifies"),
            "one, or zeros in a segment that was never used",
        ));
    }
    Ok(newest)
}

/// A refusal that names the way out.
pub(super) fn refuse(found: String, expected: impl Into<String>) -> Error {
    Error::Refused {
        found,
        expected: expected.into(),
        help:
            "Restore the files that belong together, or run `agq recover --discard-log`: it keeps copies of the log, \
               opens the store without what it cannot read, and prints what is lost."
                .to_owned(),
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Error {
    refuse(format!("a read error in {name}: {error}"), "a log that can be read")
}

/// A record found in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) head: RecordHead,
    /// Where it begins in the segment.
    pub(super) offset: usize,
}

/// Reads a segment of one cycle: all its bytes, and every record in it that verifies, those behind damage included.
///
/// # Errors
/// [`Error::Refused`] when it cannot be read, or is shorter than when the cycle began.
pub(super) fn read_records(file: &dyn DiskFile, name: &str, header: &CycleHeader) -> Result<(Bytes, Vec<Found>)> {
    let len = file.len().map_err(|error| unreadable(name, &error))?;
    if len < header.len {
        return Err(refuse(format!("{name} with {len} bytes"), format!("{} bytes at least", header.len)));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = file.read_at(0, &mut bytes).map_err(|error| unreadable(name, &error))?;
    bytes.truncate(read);
    let seed = header.seed();
    let mut found = Vec::new();
    let mut offset = RECORDS as usize;
    while offset < bytes.len() {
        match verify(&bytes, seed, offset) {
            Some((head, next)) => {
                found.push(Found { head, offset });
                offset = next;
            }
            None => offset += ALIGN,
        }
    }
    Ok((Bytes::from(bytes), found))
}

/// Makes a segment of `len` zeros under a temporary name, syncs it and gives it its name; the folder is synced by the
/// caller.
///
/// # Errors
/// When the file cannot be made.
pub(super) fn create(disk: &dyn Disk, name: &str, len: u64) -> std::io::Result<Arc<dyn DiskFile>> {
    let temporary = format!("{name}.tmp");
    let file = disk.create(&temporary)?;
    write_zeros(&*file, 0, len)?;
    file.sync_data()?;
    disk.rename(&temporary, name)?;
    Ok(file)
}

/// Writes zeros from `from` to `to`.
///
/// # Errors
/// When the operating system refuses.
pub(super) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    let mut at = from;
    while at < to {
        let step = (to - at).min(ZEROS.len() as u64);
        file.write_at(at, &ZEROS[..step as usize])?;
        at += step;
    }
    Ok(())
}

/// Zeroes both copies of the header and syncs: the segment is as one never used.
///
/// # Errors
/// When the operating system refuses.
pub(super) fn erase_header(file: &dyn DiskFile) -> std::io::Result<()> {
    COPIES.into_iter().try_for_each(|at| file.write_at(at, &[0; SECTOR]))?;
    file.sync_data()
}
