//! What an archive holds, and what of it nobody needs any more.

use crate::clock::Millis;
use crate::storage::archive::Pieces;
use crate::storage::archive::read::{Archive, Behind};
use crate::storage::files::Disk;
use crate::storage::{Error, Result};

/// A run of records without a gap, of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The store whose records they are.
    pub store_id: u128,
    /// The first record and its time.
    pub first: (u64, Millis),
    /// The last record and its time.
    pub last: (u64, Millis),
    /// What stands behind the last.
    pub behind: Behind,
}

/// What an archive holds: runs of records without a gap.
///
/// # Errors
/// When a file cannot be read.
pub fn archive_ranges(disk: &dyn Disk) -> Result<Vec<Range>> {
    let mut stores: Vec<u128> = Pieces::look(disk)?.sound.iter().map(|(header, _)| header.store_id).collect();
    stores.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for store_id in stores {
        let archive = Archive::of_store(disk, store_id)?;
        for place in 0..archive.len() {
            let piece = archive.read(place)?;
            let (Some(first), Some(last)) = (piece.records.first(), piece.records.last()) else { continue };
            let last = (last.head.seq, last.head.time);
            match ranges.last_mut().filter(|range| range.store_id == store_id && range.last.0 + 1 == first.head.seq) {
                Some(range) if range.behind != Behind::Damaged => (range.last, range.behind) = (last, piece.behind),
                _ => {
                    let first = (first.head.seq, first.head.time);
                    ranges.push(Range { store_id, first, last, behind: piece.behind });
                }
            }
        }
        if let Some(range) = ranges.last_mut().filter(|range| range.store_id == store_id)
            && archive.headless_from(range.last.0 + 1, u64::MAX).is_some()
        {
            range.behind = Behind::Damaged;
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
    for (place, (_, name)) in archive.names().enumerate() {
        // The newest piece is still being written.
        if place + 1 == archive.len() || archive.end(place) > seq + 1 {
            break;
        }
        disk.remove(name).map_err(|source| Error::io(format!("removing {}", disk.describe(name)), source))?;
        removed.push(name.to_owned());
    }
    if !removed.is_empty() {
        disk.sync_dir().map_err(|source| Error::io(format!("syncing {}", disk.describe("")), source))?;
    }
    Ok(removed)
}
