//! The records of the log that the file lacks: which of them count, and what they make of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Millis;
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_record::{RecordHead, decode_into, record_len};
use crate::storage::log_segment::{CycleHeader, Found, NAMES, read_header, read_records, refuse};
use crate::storage::meta::StoreMeta;
use crate::storage::store_file::DATA;
use crate::storage::{Error, Result, WriteSet};

/// What the log holds beyond the file.
pub(in crate::storage) struct Replay {
    pub(in crate::storage) rows: WriteSet,
    /// The last record taken, or the file's when there is none.
    pub(in crate::storage) seq: u64,
    pub(in crate::storage) time: Millis,
}

impl Replay {
    pub(super) fn nothing(meta: &StoreMeta) -> Replay {
        Replay { rows: WriteSet::default(), seq: meta.seq, time: meta.time }
    }
}

/// The records of both segments, by sequence number.
#[derive(Default)]
pub(in crate::storage) struct Records {
    segments: Vec<Bytes>,
    found: BTreeMap<u64, (usize, Found)>,
}

impl Records {
    pub(in crate::storage) fn add(&mut self, (bytes, found): (Bytes, Vec<Found>)) {
        let segment = self.segments.len();
        self.segments.push(bytes);
        self.found.extend(found.into_iter().map(|found| (found.head.seq, (segment, found))));
    }

    /// Merges the records after the file's, in sequence, up to the first that is not there.
    pub(in crate::storage) fn replay(&self, meta: &StoreMeta) -> Result<Replay> {
        let mut replay = Replay::nothing(meta);
        while let Some((segment, found)) = self.found.get(&(replay.seq + 1)) {
            decode_into(&mut replay.rows, &self.segments[*segment], found.offset)?;
            replay.seq += 1;
            // Not the latest: an operator may have set the clock back.
            replay.time = found.head.time;
        }
        Ok(replay)
    }

    /// A record that says that the one after `seq`, which is not there, was on disk when it was written.
    pub(super) fn promised_beyond(&self, seq: u64) -> Option<u64> {
        let later = self.found.range(seq + 1..);
        later.into_iter().find(|(_, (_, found))| found.head.synced_seq > seq).map(|(later, _)| *later)
    }

    /// The sequence numbers of the records after `seq`.
    pub(in crate::storage) fn beyond(&self, seq: u64) -> Vec<u64> {
        self.found.range(seq + 1..).map(|(number, _)| *number).collect()
    }

    /// The first of the records that end with `seq` without a gap; `seq + 1` when that one is not there.
    pub(super) fn first_before(&self, seq: u64) -> u64 {
        let run =
            self.found.range(..=seq).rev().zip((0..=seq).rev()).take_while(|((found, _), wanted)| **found == *wanted);
        run.last().map_or(seq + 1, |(_, first)| first)
    }

    /// The records from `first` to `last` that are there, each with its bytes.
    pub(super) fn between(&self, first: u64, last: u64) -> impl Iterator<Item = (RecordHead, Bytes)> {
        let found = if first <= last { Some(self.found.range(first..=last)) } else { None };
        found.into_iter().flatten().map(|(_, (segment, found))| {
            let rest = self.segments[*segment].slice(found.offset..);
            let len = record_len(&rest);
            (found.head, rest.slice(..len))
        })
    }

    /// Adds the rows of every record after `seq` to `rows`: the sequence numbers of those records.
    pub(in crate::storage) fn rows_beyond(&self, seq: u64, rows: &mut WriteSet) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for (number, (segment, found)) in self.found.range(seq + 1..) {
            decode_into(rows, &self.segments[*segment], found.offset)?;
            numbers.push(*number);
        }
        Ok(numbers)
    }
}

/// Reads both segments and takes the records after the file's, up to the first that is missing.
///
/// # Errors
/// [`Error::Refused`] when a segment is missing, foreign or damaged, or a record is missing that was synced.
pub(in crate::storage) fn read_log(disk: &dyn Disk, meta: &StoreMeta) -> Result<(Replay, Records)> {
    let mut records = Records::default();
    for name in NAMES {
        let file = open_segment(disk, name)?
            .ok_or_else(|| refuse(format!("no {}", disk.describe(name)), "the log of a store that was not closed"))?;
        if let Some(header) = read_header(&*file, name)?
            && belongs(&header, meta, name)?
        {
            records.add(read_records(&*file, name, &header)?);
        }
    }
    let replay = records.replay(meta)?;
    if let Some(later) = records.promised_beyond(replay.seq) {
        return Err(refuse(
            format!(
                "record {} of the log damaged or missing, though record {later}, written later, is there",
                replay.seq + 1
            ),
            "every record that was synced",
        ));
    }
    Ok((replay, records))
}

/// Whether a segment's records count: those of the file's own run do, an earlier generation's do not.
///
/// # Errors
/// [`Error::Refused`] for a segment of another store, of a later generation, or of another run of this generation.
pub(in crate::storage) fn belongs(header: &CycleHeader, meta: &StoreMeta, name: &str) -> Result<bool> {
    if header.store_id != meta.store_id {
        return Err(refuse(
            format!("{name} of the store {:032x}", header.store_id),
            format!("a log of the store {:032x}", meta.store_id),
        ));
    }
    if header.generation > meta.generation {
        return Err(refuse(
            format!("{name} of generation {}, later than {DATA}, which may be an old copy", header.generation),
            format!("generation {} at most", meta.generation),
        ));
    }
    if header.generation == meta.generation && header.run_id != meta.run_id {
        return Err(refuse(
            format!("{name} of another run of generation {}", header.generation),
            "the log of the run that wrote data.redb last",
        ));
    }
    Ok(header.generation == meta.generation)
}

pub(in crate::storage) fn open_segment(disk: &dyn Disk, name: &str) -> Result<Option<Arc<dyn DiskFile>>> {
    disk.open(name).map_err(|source| Error::io(format!("opening {}", disk.describe(name)), source))
}
