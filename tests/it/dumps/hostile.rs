//! Payloads that are damaged or lie: they are refused, or read as something; nothing panics, and nothing grows out of
//! proportion to what was sent.

use agq::data::Error;
use agq::data::dump::{Value, decode, encode, seal};
use bytes::Bytes;
use proptest::prelude::*;

use super::old;

/// Bytes that a value of so many bytes of payload may have: LZF makes 88 of one, and a packed integer 4 of one.
const MOST_FOR_ONE: usize = 4 * 88;

/// A payload without version and checksum.
fn body(payload: &[u8]) -> Vec<u8> {
    payload[..payload.len() - 10].to_vec()
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(bytes) => bytes.len(),
        Value::List(elements) | Value::Set(elements) => elements.iter().map(Bytes::len).sum(),
        Value::Hash(entries) => entries.iter().map(|(field, value)| field.len() + value.len()).sum(),
        Value::SortedSet(scored) => scored.iter().map(|(_, member)| member.len()).sum(),
    }
}

/// Reads what stands in front of version and checksum; what is read is read again the same when it is written.
fn read(body: &[u8]) -> Result<Value, TestCaseError> {
    match decode(&seal(body.to_vec()).into()) {
        Ok(value) => {
            prop_assert!(size(&value) <= body.len() * MOST_FOR_ONE);
            prop_assert_eq!(decode(&encode(&value).into()).ok(), Some(value.clone()));
            Ok(value)
        }
        Err(Error::BadDump) => Err(TestCaseError::reject("refused")),
        // The payload is small: whatever it claims to hold, it cannot hold more than a command may write.
        Err(error) => Err(TestCaseError::fail(error.to_string())),
    }
}

fn survives(body: &[u8]) -> Result<(), TestCaseError> {
    match read(body) {
        Err(TestCaseError::Reject(_)) | Ok(_) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// What is done to a payload: a byte is changed, bytes are cut out, or put in between.
#[derive(Debug, Clone)]
enum Damage {
    Change(prop::sample::Index, u8),
    Cut(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(vec![0, 0x7f, 0x80, 0x81, 0xc3, 0xf0, 0xf4, 0xfe, 0xff])];
    prop_oneof![
        4 => (any::<prop::sample::Index>(), byte).prop_map(|(at, byte)| Damage::Change(at, byte)),
        1 => (any::<prop::sample::Index>(), 1_usize..6).prop_map(|(at, count)| Damage::Cut(at, count)),
        1 => (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..10))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Damage::Change(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Cut(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Damage::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// Damage strikes heads and lengths more often when there is little else: short payloads of the same forms.
fn short() -> Vec<Vec<u8>> {
    let few: Vec<Vec<u8>> = [&b"1"[..], b"ab", b"-5000", b"x"].iter().map(|element| element.to_vec()).collect();
    let with_length = |kind: u8, blob: Vec<u8>| body(&old::payload(kind, None, &[blob]));
    vec![
        with_length(9, old::zipmap(&few)),
        with_length(10, old::ziplist(&few)),
        with_length(11, old::intset(2, &[1, 2, 3])),
        with_length(12, old::ziplist(&few[..2])),
        with_length(13, old::ziplist(&few)),
        with_length(16, old::listpack(&few)),
        with_length(17, old::listpack(&[few[1].clone(), few[0].clone()])),
        body(&old::payload(14, Some(1), &[old::ziplist(&few)])),
        body(&old::payload(1, Some(4), &few)),
        body(&old::payload(4, Some(2), &few)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_payloads_are_refused_or_read(
        payload in prop::sample::select(old::all().iter().map(|(_, payload)| body(payload)).chain(short()).collect::<Vec<_>>()),
        damage in prop::collection::vec(damage(), 1..5),
    ) {
        let mut payload = payload;
        damage.iter().for_each(|damage| damage.apply(&mut payload));
        survives(&payload)?;
    }

    #[test]
    fn random_bytes_are_refused_or_read(kind in 0_u8..22, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        survives(&[&[kind], &bytes[..]].concat())?;
    }

    #[test]
    fn a_changed_payload_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut payload = seal(short().swap_remove(4));
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        prop_assert!(matches!(decode(&payload.into()), Err(Error::BadDumpFooter)));
    }
}

#[test]
fn all_forms_are_read_and_no_part_of_one_is() {
    for (name, payload) in old::all() {
        let whole = body(&payload);
        read(&whole).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        // Every place in a short one, some in a long one.
        for end in (0..whole.len()).step_by(whole.len() / 100 + 1) {
            assert!(matches!(decode(&seal(whole[..end].to_vec()).into()), Err(Error::BadDump)), "{name} up to {end}");
        }
    }
}

#[test]
fn lies_reserve_nothing() {
    let long = [0x81, 0, 0, 0, 1, 0, 0, 0, 0];
    let lies: [Vec<u8>; 8] = [
        [&[0][..], &long].concat(),
        [&[1][..], &long].concat(),
        [&[4][..], &[0x81], &[0xff; 8]].concat(),
        [&[5][..], &long].concat(),
        [&[14][..], &[0x80, 0xff, 0xff, 0xff, 0xff]].concat(),
        // Compressed: one byte that is to become four thousand million.
        [&[0, 0xc3, 1][..], &long, &[0]].concat(),
        [&[0, 0xc3][..], &[0x81], &[0xff; 8], &[0x81], &[0xff; 8]].concat(),
        [&[11, 8][..], &[8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]].concat(),
    ];
    for lie in lies {
        assert!(matches!(decode(&seal(lie.clone()).into()), Err(Error::BadDump)), "{lie:?}");
    }
}

/// The checksum, bit by bit.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0x95ac_9329_ac4b_c9b5 } else { 0 })
    })
}

#[test]
fn a_higher_version_is_refused_and_a_lower_one_read() {
    for version in [0_u16, 6, 9, 10, 11, 0x0100] {
        let mut payload = [&[0, 1, b'x'][..], &version.to_le_bytes()].concat();
        payload.extend_from_slice(&sum(&payload).to_le_bytes());
        match decode(&payload.into()) {
            Ok(value) => assert!(version <= 10 && value == Value::String(Bytes::from_static(b"x")), "{version}"),
            Err(error) => assert!(version > 10 && matches!(error, Error::BadDumpFooter), "{version}"),
        }
    }
    for short in [vec![], vec![0; 9]] {
        assert!(matches!(decode(&short.into()), Err(Error::BadDumpFooter)));
    }
    // Ten zero bytes: the right checksum of no value at all.
    assert!(matches!(decode(&vec![0; 10].into()), Err(Error::BadDump)));
}
