//! Giving free pages of `data.redb` back to the file system: holes are made where they are, so that the file takes no more
//! than what is in it, and what was deleted makes room wherever redb puts the next page.
//!
//! Done by whoever applies the queue of pages, and in its order: the file then holds the last durable commit, and what was
//! written since, which is left alone. A free page is one that no commit on the disk needs and no reader has, else redb
//! would not write there itself; after a crash it is free still. So it does not matter which of the holes a power cut
//! takes back.

use std::io;
use std::ops::Range;

use crate::storage::files::DiskFile;
use crate::storage::free_pages;

/// Bytes that one hole has at most: how much is given back is looked at after each.
const STEP: u64 = 4 << 20;
/// Holes that are made at a time.
const MAX_HOLES: u32 = 1 << 16;

/// What is to be given back.
#[derive(Debug)]
pub(super) struct GiveBack {
    /// Bytes, at most.
    pub(super) most: u64,
    /// Bytes of free pages that stay as they are, the smallest pieces: redb takes those first.
    pub(super) keep: u64,
    /// Where something was written that no durable commit has yet.
    pub(super) uncommitted: Vec<Range<u64>>,
}

/// Gives back what it can: bytes of free pages that still take space then, `None` where that cannot be known.
pub(super) fn give_back(file: &dyn DiskFile, what: &GiveBack) -> Option<u64> {
    let given = try_give_back(file, what);
    match given {
        Ok(free) => Some(free),
        Err(error) => {
            // What is free stays where it is: less room is found, and nothing is lost.
            tracing::warn!(%error, "what was deleted makes no room in data.redb");
            None
        }
    }
}

fn try_give_back(file: &dyn DiskFile, what: &GiveBack) -> io::Result<u64> {
    let found = free_pages::read(file)?;
    let taken = joined(&what.uncommitted);
    let before = file.allocated()?;
    let enough = before.saturating_sub(what.most).max(found.used + what.keep);
    let (mut allocated, mut holes) = (before, 0);
    'pieces: for piece in &found.pieces {
        for gap in gaps(piece, &taken) {
            let mut end = gap.end;
            // From behind: redb takes what is in front first.
            while end > gap.start {
                if allocated <= enough || holes == MAX_HOLES {
                    break 'pieces;
                }
                let start = gap.start.max(end.saturating_sub(STEP));
                if !file.give_back(start, end - start)? {
                    break 'pieces;
                }
                allocated = file.allocated()?;
                holes += 1;
                end = start;
            }
        }
    }
    let given = before.saturating_sub(allocated);
    tracing::debug!(given, holes, free = found.free, "free pages were given back to the file system");
    Ok(allocated.saturating_sub(found.used))
}

/// The ranges in order, those that touch as one.
fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The parts of `piece` outside of `taken`, whose ranges stand in order and apart.
fn gaps(piece: &Range<u64>, taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let first = taken.partition_point(|range| range.end <= piece.start);
    let mut from = piece.start;
    let mut gaps = Vec::new();
    for range in taken[first..].iter().take_while(|range| range.start < piece.end) {
        if from < range.start {
            gaps.push(from..range.start);
        }
        from = range.end;
    }
    if from < piece.end {
        gaps.push(from..piece.end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_since_the_commit_is_left_out() {
        let taken = joined(&[30..40, 10..20, 15..25, 40..41, 60..70]);
        assert_eq!(taken, [10..25, 30..41, 60..70]);
        for (piece, expected) in [
            (0..5, &[(0, 5)][..]),
            (0..12, &[(0, 10)]),
            (12..22, &[]),
            (20..65, &[(25, 30), (41, 60)]),
            (41..60, &[(41, 60)]),
            (50..100, &[(50, 60), (70, 100)]),
        ] {
            let found: Vec<_> = gaps(&piece, &taken).into_iter().map(|gap| (gap.start, gap.end)).collect();
            assert_eq!(found, expected, "{piece:?}");
        }
    }
}
