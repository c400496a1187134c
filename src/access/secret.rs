//! Secrets of access keys: `agq_<id>_<secret>`, of which the store keeps a hash.
//!
//! The id, 64 bits, is public: by it the key is found without a scan. The secret is 256 bits of the system's randomness.
//! A plain SHA-256 suffices for that: slow hashes are there to make guessing a person's password dear, and nobody guesses
//! 256 random bits, however fast each guess is. A slow one would only let strangers keep the core thread busy.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "agq_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// The whole text: prefix, id, a dash and the secret, in hexadecimal digits.
const LENGTH: usize = PREFIX.len() + 2 * ID_BYTES + 1 + 2 * SECRET_BYTES;

/// The hash of a secret's whole text.
pub type Hash = [u8; 32];
/// The public part of a secret.
pub type KeyId = [u8; ID_BYTES];

/// What a client shows to be let in. Never logged: it has no `Debug` that would show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    id: KeyId,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", hex(&self.id))
    }
}

/// True for what begins as the secret of an access key does: it is not a session key that AGQ made.
#[must_use]
pub fn looks_like(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Secret {
    /// A new secret out of the system's randomness; `None` when there is none.
    pub fn make(random: impl Fn(&mut [u8]) -> bool) -> Option<Secret> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        if !random(&mut id) || !random(&mut secret) {
            return None;
        }
        Some(Secret { text: format!("{PREFIX}{}_{}", hex(&id), hex(&secret)), id })
    }

    /// Reads what a client shows; `None` when it is no secret.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Secret> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == LENGTH && text.is_ascii())?;
        let (digits, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != 2 * ID_BYTES || !is_hex(digits) || !is_hex(secret) {
            return None;
        }
        let id = u64::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some(Secret { text: text.to_owned(), id })
    }

    /// The text that a client shows.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the store keeps.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// True when this is the secret of a hash; takes the same time whatever differs.
    #[must_use]
    pub fn fits(&self, hash: &Hash) -> bool {
        self.hash().ct_eq(hash).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(bytes: &mut [u8]) -> bool {
        bytes.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
        true
    }

    #[test]
    fn a_secret_is_read_as_it_was_made() {
        let made = Secret::make(fill).unwrap();
        assert!(made.text().starts_with("agq_0102030405060708_0102"));
        assert_eq!(Secret::read(made.text().as_bytes()).unwrap(), made);
        assert!(made.fits(&made.hash()));
        assert!(Secret::make(|_| false).is_none());
    }

    #[test]
    fn any_other_text_is_none_and_any_other_secret_does_not_fit() {
        let made = Secret::make(fill).unwrap();
        let text = made.text();
        for place in 0..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[place] ^= 1;
            assert!(Secret::read(&other).is_none_or(|other| !other.fits(&made.hash())), "byte {place}");
        }
        let upper = text.to_ascii_uppercase();
        for other in ["", "agq_", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &upper] {
            assert!(Secret::read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn nothing_shows_it_by_accident() {
        let made = Secret::make(fill).unwrap();
        assert_eq!(format!("{made:?}"), "Secret(0102030405060708)");
    }
}
