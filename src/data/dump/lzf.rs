//! The compression of long strings in a payload, LZF: runs of bytes, and references to what came before.

use crate::data::{Error, Result};

/// Bytes that one byte of input becomes at most: a reference of three stands for 264.
pub(super) const MOST_FOR_ONE: usize = 88;

/// The `length` bytes that `input` stands for. Reserves no more than the input can become.
///
/// # Errors
/// [`Error::BadDump`] when it stands for more, for less, or for nothing at all.
pub(super) fn decompress(input: &[u8], length: usize) -> Result<Vec<u8>> {
    if length > input.len().saturating_mul(MOST_FOR_ONE) {
        return Err(Error::BadDump);
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = input;
    while let Some((&control, behind)) = rest.split_first() {
        rest = behind;
        if control < 32 {
            let run = usize::from(control) + 1;
            let (bytes, behind) = rest.split_at_checked(run).ok_or(Error::BadDump)?;
            rest = behind;
            if out.len() + run > length {
                return Err(Error::BadDump);
            }
            out.extend_from_slice(bytes);
        } else {
            let short = usize::from(control >> 5);
            let run = 2 + if short == 7 { 7 + usize::from(next(&mut rest)?) } else { short };
            let back = (usize::from(control & 31) << 8 | usize::from(next(&mut rest)?)) + 1;
            let from = out.len().checked_sub(back).ok_or(Error::BadDump)?;
            if out.len() + run > length {
                return Err(Error::BadDump);
            }
            // A reference may reach into what it writes itself: then the bytes repeat.
            for place in from..from + run {
                out.push(out[place]);
            }
        }
    }
    if out.len() == length { Ok(out) } else { Err(Error::BadDump) }
}

fn next(rest: &mut &[u8]) -> Result<u8> {
    let (&byte, behind) = rest.split_first().ok_or(Error::BadDump)?;
    *rest = behind;
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_references_are_followed() {
        assert_eq!(decompress(&[2, b'a', b'b', b'c'], 3).unwrap(), b"abc");
        assert_eq!(decompress(&[1, b'a', b'b', 0x40, 1], 6).unwrap(), b"ababab");
        assert_eq!(decompress(&[0, b'a', 0xe0, 255, 0], 265).unwrap(), [b'a'; 265]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let broken: [(&[u8], usize); 9] = [
            (&[], 1),
            (&[2, b'a'], 3),
            (&[0, b'a'], 2),
            (&[1, b'a', b'b'], 1),
            (&[0x20, 0], 3),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a', 0xe0], 100),
            (&[0, b'a', 0x20, 0], 3),
            (&[0, b'a'], usize::MAX),
        ];
        for (input, length) in broken {
            assert!(decompress(input, length).is_err(), "{input:?} as {length}");
        }
    }
}
