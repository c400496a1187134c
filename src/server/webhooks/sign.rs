//! Signatures of deliveries: HMAC-SHA-256 (RFC 2104) over the time and the body, so that a receiver can tell who sent
//! it, and refuse what somebody recorded and sends again later.

use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The signature of a body that is sent at a time, in seconds since the Unix epoch: `sha256=` and 64 hex digits.
///
/// # Errors
/// Never: a key of any length is one.
pub(super) fn signature(secret: &str, timestamp: u64, body: &[u8]) -> Result<String, InvalidLength> {
    let code = code(secret.as_bytes(), &[timestamp.to_string().as_bytes(), b".", body])?;
    Ok(format!("sha256={}", hex(&code)))
}

fn code(key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32], InvalidLength> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1, 2, 3, 6 and 7.
    #[test]
    fn the_codes_are_those_of_the_standard() {
        let long_key = [0xaa; 131];
        let cases: [(&[u8], &[u8], &str); 5] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &long_key,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &long_key,
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs \
                  to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, data, expected) in cases {
            assert_eq!(hex(&code(key, &[data]).unwrap()), expected);
            let (front, rest) = data.split_at(3);
            assert_eq!(hex(&code(key, &[front, rest]).unwrap()), expected);
        }
    }

    #[test]
    fn the_time_is_signed_with_the_body() {
        let signed = |timestamp| signature("0123456789abcdef", timestamp, b"{}").unwrap();
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(signed(1_700_000_000), "sha256=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e");
        assert_ne!(signed(1_700_000_000), signed(1_700_000_001));
    }
}
