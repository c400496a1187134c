//! Redis's glob patterns, as KEYS, SCAN and PSUBSCRIBE take them: `*`, `?`, `[a-c]`, `[^a]`, and `\` before a
//! character that is to stand for itself.

/// How many bytes of a pattern are read for each byte that there is, before it is worth to make a [`Glob`].
const READINGS: usize = 16;

/// True when `pattern` matches all of `text`. For many texts, [`Glob`] is made once.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let most = READINGS.saturating_mul(pattern.len().saturating_add(text.len()));
    matches_within(pattern, text, most).unwrap_or_else(|| Glob::new(pattern).matches(text))
}

/// A pattern that was read, to be held against many texts, or a long one.
///
/// The pieces of a pattern are what stands between its stars: each matches one byte. Of the places between pieces those are
/// known that the text so far can have come to, a bit each, so that the next byte takes the same time whatever the pattern
/// is and the text was: one step for 64 pieces. (Bit-parallel simulation of an automaton; Baeza-Yates and Gonnet, 1992.)
pub struct Glob {
    /// For each byte the pieces that it matches: `words` in a row.
    rows: Vec<u64>,
    /// The places where a star stands.
    stars: Vec<u64>,
    words: usize,
    pieces: usize,
}

impl Glob {
    /// Reads a pattern.
    #[must_use]
    pub fn new(pattern: &[u8]) -> Glob {
        // Not fewer than there are pieces, whose number is known only when all are read.
        let words = pattern.len() / WORD + 1;
        let (mut rows, mut stars, mut any) = (vec![0; words * 256], vec![0; words], vec![0; words]);
        let (mut at, mut piece) = (0, 0);
        while let Some(&first) = pattern.get(at) {
            let (word, bit) = (piece / WORD, 1 << (piece % WORD));
            if first == b'*' {
                stars[word] |= bit;
                at += 1;
                continue;
            }
            let (_, next) = match_one(pattern, at, first);
            let mut fits = |byte: u8| rows[usize::from(byte) * words + word] |= bit;
            match first {
                b'?' => any[word] |= bit,
                b'[' => (0..=u8::MAX).filter(|byte| match_one(pattern, at, *byte).0).for_each(fits),
                // Behind a backslash, where there is one.
                _ => fits(pattern[next - 1]),
            }
            at = next;
            piece += 1;
        }
        for row in rows.chunks_exact_mut(words) {
            row.iter_mut().zip(&any).for_each(|(word, any)| *word |= any);
        }
        Glob { rows, stars, words, pieces: piece }
    }

    /// True when it matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let mut places = vec![0; self.words];
        places[0] = 1;
        for &byte in text {
            let row = &self.rows[usize::from(byte) * self.words..][..self.words];
            let (mut carry, mut any) = (0, 0);
            for ((place, fits), stars) in places.iter_mut().zip(row).zip(&self.stars) {
                let steps = *place & fits;
                *place = (*place & stars) | (steps << 1) | carry;
                carry = steps >> (WORD - 1);
                any |= *place;
            }
            if any == 0 {
                return false;
            }
        }
        (places[self.pieces / WORD] >> (self.pieces % WORD)) & 1 == 1
    }
}

const WORD: usize = u64::BITS as usize;

/// The same by going back to the last star, which may need time proportional to the product of the lengths: none where
/// it would read more than `most` bytes of the pattern.
fn matches_within(pattern: &[u8], text: &[u8], mut most: usize) -> Option<bool> {
    let (mut at, mut place) = (0, 0);
    // After the last star: where the pattern goes on, and the text that the star has not taken yet.
    let mut star = None;
    while let Some(&byte) = text.get(place) {
        let (fits, next) = match_one(pattern, at, byte);
        most = most.checked_sub(1 + next - at)?;
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, place));
        } else if fits {
            at = next;
            place += 1;
        } else if let Some((after, from)) = star {
            at = after;
            place = from + 1;
            star = Some((after, place));
        } else {
            return Some(false);
        }
    }
    Some(pattern.get(at..).is_some_and(|rest| rest.iter().all(|&byte| byte == b'*')))
}

/// The bytes that every match begins with.
#[must_use]
pub fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| b"*?[\\".contains(byte));
    &pattern[..end.unwrap_or(pattern.len())]
}

/// True when the pattern has no special byte, so that only its own bytes match it.
#[must_use]
pub fn is_literal(pattern: &[u8]) -> bool {
    literal_prefix(pattern).len() == pattern.len()
}

/// Whether the piece at `at` matches `byte`, and where the pattern goes on.
fn match_one(pattern: &[u8], at: usize, byte: u8) -> (bool, usize) {
    match pattern.get(at..).unwrap_or_default() {
        [] => (false, at),
        [b'?', ..] => (true, at + 1),
        [b'[', ..] => match_class(pattern, at + 1, byte),
        [b'\\', escaped, ..] => (*escaped == byte, at + 2),
        [literal, ..] => (*literal == byte, at + 1),
    }
}

/// The class whose first byte stands at `at`; one that is never closed ends with the pattern, as in Redis.
fn match_class(pattern: &[u8], mut at: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match pattern.get(at..).unwrap_or_default() {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [start, b'-', end, ..] => {
                // Redis compares C's chars, which are signed where it is at home.
                let (start, end) = (start.cast_signed(), end.cast_signed());
                found |= (start.min(end)..=start.max(end)).contains(&byte.cast_signed());
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("*", ""),
            ("*", "abc"),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("a*b*c", "a1b2b3c"),
            ("[abc", "c"),
            ("a**", "a"),
            ("\\", "\\"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let no = [("", "a"), ("a", ""), ("h?llo", "hllo"), ("h[^e]llo", "hello"), ("a*b", "abc"), ("\\*", "a")];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn the_prefix_ends_at_the_first_special_byte() {
        assert_eq!(literal_prefix(b"user:*"), b"user:");
        assert_eq!(literal_prefix(b"a\\*"), b"a");
        assert!(is_literal(b"abc") && !is_literal(b"a?c"));
    }

    #[test]
    fn a_pattern_that_was_read_matches_the_same() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut count, mut given_up) = (0, 0);
        for _ in 0..20_000 {
            let mut text = |letters: &[u8], most| {
                let length = random.usize(0..=most);
                (0..length).map(|_| letters[random.usize(..letters.len())]).collect::<Vec<_>>()
            };
            let (pattern, text) = (text(b"ab**?[^-]\\\xff", 9), text(b"aab]\\\xff", 7));
            // More than one word of pieces, of which none, some or all match.
            for times in [1, 30] {
                let (pattern, text) = (pattern.repeat(times), text.repeat(times));
                let expected = Glob::new(&pattern).matches(&text);
                assert_eq!(matches_within(&pattern, &text, usize::MAX), Some(expected), "{pattern:?} {text:?}");
                assert_eq!(matches(&pattern, &text), expected, "{pattern:?} {text:?}");
                // Given up or not, it tells nothing else.
                let most = random.usize(0..=pattern.len() + text.len());
                match matches_within(&pattern, &text, most) {
                    Some(found) => assert_eq!(found, expected, "{pattern:?} {text:?} {most}"),
                    None => given_up += 1,
                }
                count += usize::from(expected);
            }
        }
        assert!(count > 1000 && given_up > 1000, "{count} {given_up}");
    }

    #[test]
    fn past_the_readings_a_pattern_matches_the_same() {
        let mut given_up = [0; 2];
        for length in 1..200 {
            for (end, text_end) in [("", ""), ("b", ""), ("b", "b"), ("?", ""), ("[ab]", "b")] {
                let pattern = format!("*{}{end}", "a".repeat(length / 2)).into_bytes();
                let text = format!("{}{text_end}", "a".repeat(length)).into_bytes();
                let expected = text_end == "b" || end != "b";
                assert_eq!(matches(&pattern, &text), expected, "{length} {end} {text_end}");
                let most = READINGS * (pattern.len() + text.len());
                given_up[usize::from(matches_within(&pattern, &text, most).is_none())] += 1;
            }
        }
        assert!(given_up.iter().all(|count| *count > 100), "{given_up:?}");
    }

    #[test]
    fn a_pattern_without_stars_is_not_read_first() {
        let text = "a".repeat(129).into_bytes();
        for pattern in ["?".repeat(1020), "a".repeat(1020), "[^b]".repeat(255), "?".repeat(129)] {
            let most = READINGS * (pattern.len() + text.len());
            let expected = Glob::new(pattern.as_bytes()).matches(&text);
            assert_eq!(matches_within(pattern.as_bytes(), &text, most), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn a_long_text_takes_no_time_of_the_product() {
        let pattern = |end: &str| format!("*{}{end}", "?a".repeat(500)).into_bytes();
        let text = "a".repeat(1 << 20);
        assert!(!matches(&pattern("b"), text.as_bytes()) && matches(&pattern("a"), text.as_bytes()));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches("*a".repeat(60).as_bytes(), "a".repeat(59).as_bytes()));
        assert!(!matches(format!("{}b", "a*".repeat(100)).as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
