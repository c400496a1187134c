//! What has been written but is not in the file yet: pieces of a file that do not overlap.
//!
//! Pages differ in size and a page may be written over the place of others, so this maps byte ranges, not pages.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A part of what one queued write wrote.
#[derive(Debug, Clone)]
struct Piece {
    data: Arc<[u8]>,
    /// Which bytes of `data`.
    part: Range<usize>,
    /// The number of the write in the queue.
    op: u64,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        &self.data[self.part.clone()]
    }
}

/// The newest bytes of every range that a queued write covers.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pieces: BTreeMap<u64, Piece>,
}

/// Pieces of the overlay that lie in a range that is being read.
#[derive(Debug, Default)]
pub(super) struct Patches(Vec<(u64, Piece)>);

impl Overlay {
    /// Covers `data.len()` bytes from `offset` with what write `op` wrote.
    pub(super) fn put(&mut self, offset: u64, data: &Arc<[u8]>, op: u64) {
        self.clear(offset, offset + data.len() as u64);
        self.pieces.insert(offset, Piece { data: Arc::clone(data), part: 0..data.len(), op });
    }

    /// Forgets everything from `offset` on.
    pub(super) fn cut(&mut self, offset: u64) {
        self.clear(offset, u64::MAX);
    }

    /// Forgets what write `op` at `offset` put and no later one has replaced: it is in the file now.
    pub(super) fn retire(&mut self, offset: u64, len: usize, op: u64) {
        let end = offset + len as u64;
        let mut at = offset;
        while let Some((&start, piece)) = self.pieces.range(at..end).next() {
            at = start + 1;
            if piece.op == op {
                self.pieces.remove(&start);
            }
        }
    }

    /// What covers the `len` bytes at `offset`.
    pub(super) fn patches(&self, offset: u64, len: usize) -> Patches {
        let end = offset + len as u64;
        let before = self.pieces.range(..offset).next_back();
        let before = before.filter(|(start, piece)| *start + piece.part.len() as u64 > offset);
        let inside = self.pieces.range(offset..end);
        Patches(before.into_iter().chain(inside).map(|(start, piece)| (*start, piece.clone())).collect())
    }

    fn clear(&mut self, from: u64, to: u64) {
        if let Some((&start, piece)) = self.pieces.range_mut(..from).next_back() {
            let end = start + piece.part.len() as u64;
            if end > from {
                let rest = piece.clone();
                piece.part.end = piece.part.start + (from - start) as usize;
                self.insert_rest(start, rest, to);
            }
        }
        while let Some((&start, _)) = self.pieces.range(from..to).next() {
            if let Some(piece) = self.pieces.remove(&start) {
                self.insert_rest(start, piece, to);
            }
        }
    }

    /// Puts the part of `piece`, which began at `start`, that lies at or behind `to`.
    fn insert_rest(&mut self, start: u64, mut piece: Piece, to: u64) {
        if start + piece.part.len() as u64 > to {
            piece.part.start += (to - start) as usize;
            self.pieces.insert(to, piece);
        }
    }
}

impl Patches {
    /// True when they leave no byte of the range open.
    pub(super) fn cover(&self, offset: u64, len: usize) -> bool {
        let mut at = offset;
        for (start, piece) in &self.0 {
            if *start > at {
                return false;
            }
            at = start + piece.part.len() as u64;
        }
        at >= offset + len as u64
    }

    /// Lays them over `out`, the bytes at `offset`.
    pub(super) fn apply(&self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        for (start, piece) in &self.0 {
            let from = (*start).max(offset);
            let to = (start + piece.part.len() as u64).min(end);
            let bytes = &piece.bytes()[(from - start) as usize..(to - start) as usize];
            out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: usize = 64;

    #[derive(Debug, Clone)]
    enum Step {
        Put(usize, usize),
        Cut(usize),
        /// Writes the oldest queued write to the file and retires it.
        Apply,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..SIZE, 1..16usize).prop_map(|(at, len)| Step::Put(at, len)),
            1 => (0..SIZE).prop_map(Step::Cut),
            3 => Just(Step::Apply),
        ]
    }

    proptest! {
        #[test]
        fn reads_through_it_see_the_newest_bytes(steps in proptest::collection::vec(step(), 0..60)) {
            let mut overlay = Overlay::default();
            let mut file = [0u8; SIZE + 16];
            let mut wanted = [0u8; SIZE + 16];
            let mut queue = std::collections::VecDeque::new();
            for (op, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(at, len) => {
                        let data: Arc<[u8]> = vec![op as u8 + 1; len].into();
                        overlay.put(at as u64, &data, op as u64);
                        wanted[at..at + len].copy_from_slice(&data);
                        queue.push_back((op as u64, at, data));
                    }
                    Step::Cut(at) => {
                        // Only with nothing queued, so that the model needs no queue of cuts.
                        while let Some((op, at, data)) = queue.pop_front() {
                            file[at..at + data.len()].copy_from_slice(&data);
                            overlay.retire(at as u64, data.len(), op);
                        }
                        overlay.cut(at as u64);
                        file[at..].fill(0);
                        wanted[at..].fill(0);
                    }
                    Step::Apply => if let Some((op, at, data)) = queue.pop_front() {
                        file[at..at + data.len()].copy_from_slice(&data);
                        overlay.retire(at as u64, data.len(), op);
                    }
                }
                for from in [0, 7, 30] {
                    let mut read = file[from..].to_vec();
                    let patches = overlay.patches(from as u64, read.len());
                    patches.apply(from as u64, &mut read);
                    prop_assert_eq!(&read[..], &wanted[from..]);
                    if patches.cover(from as u64, 8) {
                        let mut read = [0xee; 8];
                        overlay.patches(from as u64, 8).apply(from as u64, &mut read);
                        prop_assert_eq!(&read[..], &wanted[from..from + 8]);
                    }
                }
            }
        }
    }
}
