//! Cursors that say nothing: the place of something that a client was not shown, sealed with a key that the server makes
//! at its start.
//!
//! A list looks at a bounded number of things a call. Where its reader may not see the last of them, the place to go on from
//! would tell of it: its queue's name, its id. HMAC-SHA-256 (RFC 2104) makes the tag that a forged cursor lacks, and from
//! the tag the bytes that hide the place, as in SIV (RFC 5297).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::command::Halt;
use crate::jobs::error::shown;
use crate::jobs::{Error, from_hex};

/// What a sealed cursor begins with; no other one and no id does.
const MARK: u8 = b'.';
const NONCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// Makes and reads sealed cursors.
#[derive(Clone, Copy)]
pub struct Seal([u8; 64]);

impl Seal {
    /// A new one, of the system's randomness where there is some.
    #[must_use]
    pub fn new(secret: fn(&mut [u8]) -> bool, random: &mut fastrand::Rng) -> Seal {
        let mut key = [0; 64];
        if !secret(&mut key) {
            random.fill(&mut key);
        }
        Seal(key)
    }

    fn code(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new((&self.0).into());
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    fn tag(&self, list: &str, nonce: &[u8], place: &[u8]) -> [u8; TAG_BYTES] {
        let code = self.code(&[b"tag", list.as_bytes(), &[0], nonce, place]);
        std::array::from_fn(|at| code[at])
    }

    /// Hides bytes, or shows hidden ones.
    fn turn(&self, nonce: &[u8], tag: &[u8], bytes: &mut [u8]) {
        for (block, bytes) in (0u64..).zip(bytes.chunks_mut(32)) {
            let code = self.code(&[b"key", nonce, tag, &block.to_be_bytes()]);
            bytes.iter_mut().zip(code).for_each(|(byte, code)| *byte ^= code);
        }
    }

    /// A cursor to a place in the list of a command, which has no zero byte. Places up to `width` bytes long cannot be
    /// told from each other by the length of the cursor, nor, by the `nonce`, whether two are the same.
    #[must_use]
    pub fn close(&self, list: &str, place: &str, width: usize, nonce: u64) -> String {
        let nonce = nonce.to_be_bytes();
        let mut place = place.as_bytes().to_vec();
        place.resize(place.len().max(width), 0);
        let tag = self.tag(list, &nonce, &place);
        self.turn(&nonce, &tag, &mut place);
        let bytes = nonce.iter().chain(&tag).chain(&place);
        std::iter::once(char::from(MARK).to_string()).chain(bytes.map(|byte| format!("{byte:02x}"))).collect()
    }

    /// The place of a cursor, where it is a sealed one; any other is the place itself.
    ///
    /// # Errors
    /// When it was not sealed here for this list.
    pub fn open(&self, list: &str, cursor: &[u8]) -> Result<Vec<u8>, Halt> {
        let Some(sealed) = cursor.strip_prefix(&[MARK]) else { return Ok(cursor.to_vec()) };
        self.unseal(list, sealed).ok_or_else(|| {
            Error::refused(format!(
                "CURSOR must be 0 or what a page before answered since the server started, not '{}': begin anew with 0",
                shown(cursor)
            ))
            .into()
        })
    }

    fn unseal(&self, list: &str, digits: &[u8]) -> Option<Vec<u8>> {
        let bytes = from_hex(digits)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_BYTES)?;
        let (tag, hidden) = rest.split_at_checked(TAG_BYTES)?;
        let mut place = hidden.to_vec();
        self.turn(nonce, tag, &mut place);
        if !bool::from(self.tag(list, nonce, &place).ct_eq(tag)) {
            return None;
        }
        let end = place.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        place.truncate(end);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(seed: u64) -> Seal {
        Seal::new(|_| false, &mut fastrand::Rng::with_seed(seed))
    }

    #[test]
    fn a_place_comes_back_and_is_not_to_be_seen() {
        let seal = seal(1);
        for place in ["a", "n6e0000000000000001", &"secret".repeat(40)] {
            let cursor = seal.close("JOB.LIST", place, 64, 7);
            assert_eq!(seal.open("JOB.LIST", cursor.as_bytes()).unwrap(), place.as_bytes());
            assert!(!cursor.contains("6e00") && cursor[1..].bytes().all(|byte| byte.is_ascii_hexdigit()), "{cursor}");
        }
        assert_eq!(seal.open("JOB.LIST", b"n6e00").unwrap(), b"n6e00", "a place that hides nothing");
    }

    #[test]
    fn the_length_tells_nothing_and_the_same_place_looks_another_each_time() {
        let seal = seal(1);
        let [short, long, again] =
            [("a", 1), (&*"b".repeat(64), 2), ("a", 3)].map(|(place, nonce)| seal.close("l", place, 64, nonce));
        assert_eq!(short.len(), long.len());
        let blocks = |cursor: &str| cursor.as_bytes()[1..].chunks(16).skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert!(blocks(&short).iter().zip(blocks(&again)).all(|(one, other)| *one != other), "{short} {again}");
    }

    #[test]
    fn what_was_not_sealed_here_is_refused() {
        let cursor = seal(1).close("JOB.LIST", "n6e0000000000000001", 64, 7);
        assert!(seal(2).open("JOB.LIST", cursor.as_bytes()).is_err(), "the key is another after a restart");
        assert!(seal(1).open("ACTION.LIST", cursor.as_bytes()).is_err());
        for at in 1..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert!(seal(1).open("JOB.LIST", &forged).is_err(), "{at}");
            assert!(seal(1).open("JOB.LIST", &cursor.as_bytes()[..at]).is_err(), "{at}");
        }
        assert!(seal(1).open("JOB.LIST", b".zz").is_err());
    }
}
