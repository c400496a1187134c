//! The longest common subsequence of two strings, and of several equally long ones that which Redis's LCS names.
//!
//! The table of lengths is never built. Along one of its rows a length is that of its left neighbour or one more; a row
//! is kept as these steps, a bit each, and the next row follows from it 64 places at a time: M. Crochemore and others,
//! "A fast and practical bit-vector algorithm for the longest common subsequence problem" (2001). So it takes an eighth
//! of a byte for each pair of bytes, and about a 64th of the time that a table would.

/// A part that both strings have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where it begins in the first string.
    pub a: usize,
    /// Where it begins in the second string.
    pub b: usize,
    /// Its bytes.
    pub len: usize,
}

/// The parts that make up the longest common subsequence, the last one first. Two parts never follow each other at once
/// in both strings.
#[must_use]
pub fn longest_common(a: &[u8], b: &[u8]) -> Vec<Run> {
    let steps = Steps::of(a, b);
    let mut runs: Vec<Run> = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            match runs.last_mut() {
                Some(run) if run.a == i + 1 && run.b == j + 1 => *run = Run { a: i, b: j, len: run.len + 1 },
                _ => runs.push(Run { a: i, b: j, len: 1 }),
            }
        } else if steps.longer_at(i - 1, j - 1) {
            // The length comes from the row above, where it is greater than to the left. Alike, Redis goes left.
            i -= 1;
        } else {
            j -= 1;
        }
    }
    runs
}

/// For each prefix of one string, at which bytes of the other one the length grows.
struct Steps {
    /// Bits in a row: bytes of the other string.
    width: usize,
    /// The rows, one behind the other without a gap.
    bits: Vec<u64>,
}

impl Steps {
    fn of(a: &[u8], b: &[u8]) -> Steps {
        let places = places(a, b);
        let mut steps = Steps { width: b.len(), bits: Vec::with_capacity((a.len() * b.len()).div_ceil(64)) };
        // Set where the length does not grow; before the first row, nowhere.
        let mut level = vec![u64::MAX; b.len().div_ceil(64)];
        let mut written = 0;
        for byte in a {
            let mut carried = false;
            for (word, (level, places)) in level.iter_mut().zip(&places[usize::from(*byte)]).enumerate() {
                let (sum, over) = level.overflowing_add(*level & places);
                let (sum, over_again) = sum.overflowing_add(u64::from(carried));
                carried = over || over_again;
                *level = sum | (*level & !places);
                let count = (b.len() - word * 64).min(64);
                steps.append(written, !*level & (u64::MAX >> (64 - count)), count);
                written += count;
            }
        }
        steps
    }

    /// Puts `count` bits behind the `written` first ones.
    fn append(&mut self, written: usize, bits: u64, count: usize) {
        let free = (64 - written % 64) % 64;
        if let Some(last) = self.bits.last_mut().filter(|_| free > 0) {
            *last |= bits << (64 - free);
        }
        if count > free {
            self.bits.push(if free == 0 { bits } else { bits >> free });
        }
    }

    /// True when the length that the first `row + 1` bytes of the one string have in common with the other one grows with
    /// the byte at `place`.
    fn longer_at(&self, row: usize, place: usize) -> bool {
        let at = row * self.width + place;
        self.bits[at / 64] >> (at % 64) & 1 == 1
    }
}

/// Where each byte that `a` has stands in `b`, a bit for each place; empty for other bytes.
fn places(a: &[u8], b: &[u8]) -> Vec<Vec<u64>> {
    let mut places = vec![Vec::new(); 256];
    for byte in a {
        places[usize::from(*byte)].resize(b.len().div_ceil(64), 0);
    }
    for (at, byte) in b.iter().enumerate() {
        if let Some(word) = places[usize::from(*byte)].get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the table of lengths.
    fn by_table(a: &[u8], b: &[u8]) -> Vec<(usize, usize)> {
        let mut lengths = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                let alike = a[i - 1] == b[j - 1];
                lengths[i][j] =
                    if alike { lengths[i - 1][j - 1] + 1 } else { lengths[i - 1][j].max(lengths[i][j - 1]) };
            }
        }
        let (mut i, mut j, mut pairs) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                pairs.push((i, j));
            } else if lengths[i - 1][j] > lengths[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        pairs
    }

    fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
        (1_u8..6).prop_flat_map(move |letters| prop::collection::vec(0..letters, 0..longest))
    }

    proptest! {
        #[test]
        fn the_bits_say_what_the_table_says(a in text(200), b in text(200)) {
            let runs = longest_common(&a, &b);
            for pair in runs.windows(2) {
                prop_assert!(pair[1].a + pair[1].len != pair[0].a || pair[1].b + pair[1].len != pair[0].b);
            }
            let pairs: Vec<_> =
                runs.iter().flat_map(|run| (0..run.len).rev().map(|at| (run.a + at, run.b + at))).collect();
            prop_assert_eq!(pairs, by_table(&a, &b));
        }
    }

    #[test]
    fn of_nothing_there_is_nothing() {
        assert_eq!(longest_common(b"", b"abc"), []);
        assert_eq!(longest_common(b"abc", b""), []);
        assert_eq!(longest_common(b"abc", b"xyz"), []);
        assert_eq!(longest_common(b"ab", b"ab"), [Run { a: 0, b: 0, len: 2 }]);
    }
}
