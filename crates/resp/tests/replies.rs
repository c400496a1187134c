//! Replies: that what is written is read back, what is refused, and that packets do not matter.

use agq_resp::{Protocol, Reply, ReplyDecoder, ReplyError, ReplyLimits};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

/// Everything a decoder makes of these packets, up to the first error.
fn decode_packets<'a>(
    limits: ReplyLimits,
    packets: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Reply>, Option<ReplyError>) {
    let mut decoder = ReplyDecoder::new(limits);
    let mut buf = BytesMut::new();
    let mut replies = Vec::new();
    for packet in packets {
        buf.extend_from_slice(packet);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

fn decode(bytes: &[u8]) -> (Vec<Reply>, Option<ReplyError>) {
    decode_packets(ReplyLimits::default(), [bytes])
}

#[test]
fn every_type_is_read() {
    for (bytes, expected) in [
        ("+OK\r\n", Reply::ok()),
        ("+\r\n", Reply::simple("")),
        ("-ERR no\r\n", Reply::error("ERR no")),
        ("!6\r\nERR no\r\n", Reply::error("ERR no")),
        (":-7\r\n", Reply::int(-7)),
        ("$4\r\na\r\nb\r\n", Reply::bulk("a\r\nb")),
        ("$-1\r\n", Reply::Null),
        ("*-1\r\n", Reply::NullArray),
        ("_\r\n", Reply::Null),
        ("*0\r\n", Reply::array([])),
        ("*2\r\n*1\r\n:1\r\n$-1\r\n", Reply::array([Reply::array([Reply::int(1)]), Reply::Null])),
        ("%1\r\n+k\r\n~1\r\n#t\r\n", Reply::map([(Reply::simple("k"), Reply::Set(vec![Reply::Bool(true)]))])),
        (">1\r\n#f\r\n", Reply::Push(vec![Reply::Bool(false)])),
        (",1.5\r\n", Reply::Double(1.5)),
        (",-inf\r\n", Reply::Double(f64::NEG_INFINITY)),
        ("(-123\r\n", Reply::BigNumber(Bytes::from("-123"))),
        ("=6\r\ntxt:hi\r\n", Reply::Verbatim { format: *b"txt", text: Bytes::from("hi") }),
        // Attributes are dropped, wherever they stand.
        ("|1\r\n+ttl\r\n*1\r\n:5\r\n*1\r\n|0\r\n:9\r\n", Reply::array([Reply::int(9)])),
    ] {
        assert_eq!(decode(bytes.as_bytes()), (vec![expected], None), "{bytes:?}");
    }
    let (not_a_number, error) = decode(b",nan\r\n");
    assert!(matches!(not_a_number[..], [Reply::Double(value)] if value.is_nan()));
    assert_eq!(error, None);
}

#[test]
fn what_is_no_reply_is_refused() {
    use ReplyError::{InvalidLength, InvalidValue, MissingLineEnd, UnknownType};
    for (bytes, expected) in [
        ("HTTP/1.1 400\r\n", UnknownType(b'H')),
        ("\r\n", UnknownType(b'\r')),
        (":\r\n", InvalidValue(b':')),
        (":1x\r\n", InvalidValue(b':')),
        (",x\r\n", InvalidValue(b',')),
        ("#y\r\n", InvalidValue(b'#')),
        ("_x\r\n", InvalidValue(b'_')),
        ("(1.5\r\n", InvalidValue(b'(')),
        ("(-\r\n", InvalidValue(b'(')),
        ("=2\r\nhi\r\n", InvalidValue(b'=')),
        ("$x\r\n", InvalidLength(b'$')),
        ("$-2\r\n", InvalidLength(b'$')),
        ("~-1\r\n", InvalidLength(b'~')),
        ("*?\r\n", InvalidLength(b'*')),
        ("+OK\n", MissingLineEnd(b'+')),
        ("$2\r\nabcd\r\n", MissingLineEnd(b'$')),
    ] {
        assert_eq!(decode(bytes.as_bytes()), (vec![], Some(expected)), "{bytes:?}");
    }
}

#[test]
fn limits_hold_at_their_value_and_not_before() {
    let limits =
        ReplyLimits { max_bulk_bytes: 4, max_line_bytes: 5, max_elements: 4, max_depth: 2, max_reply_bytes: 16 };
    for (bytes, expected) in [
        ("$4\r\n", None),
        ("$5\r\n", Some(ReplyError::BulkTooLong { length: 5, limit: 4 })),
        ("+12345\r\n", None),
        ("+123456", None),
        ("+1234567", Some(ReplyError::LineTooLong { kind: b'+', limit: 5 })),
        ("*4\r\n", None),
        ("*5\r\n", Some(ReplyError::TooManyElements { limit: 4 })),
        ("*1\r\n%2\r\n", Some(ReplyError::TooManyElements { limit: 4 })),
        ("*1\r\n*1\r\n:1\r\n", None),
        ("*1\r\n*1\r\n*1\r\n", Some(ReplyError::TooDeep { limit: 2 })),
        ("*2\r\n+12345\r\n+12\r\n", Some(ReplyError::TooBig { limit: 16 })),
        ("*2\r\n+12345\r\n+1\r\n*2\r\n", None),
    ] {
        assert_eq!(decode_packets(limits, [bytes.as_bytes()]).1, expected, "{bytes:?}");
    }
    let huge = b"*9223372036854775807\r\n";
    let limit = ReplyLimits::default().max_elements;
    assert_eq!(decode(huge), (vec![], Some(ReplyError::TooManyElements { limit })));
}

#[test]
fn after_an_error_nothing_is_read_any_more() {
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let mut buf = BytesMut::from("?");
    let error = Err(ReplyError::UnknownType(b'?'));
    assert_eq!(decoder.decode(&mut buf), error);
    buf.clear();
    buf.extend_from_slice(b"+OK\r\n");
    assert_eq!(decoder.decode(&mut buf), error);
}

/// A reply as RESP3 can say it: one null only, no line ends in lines, no NaN (which equals nothing).
fn reply() -> impl Strategy<Value = Reply> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let line = || "[^\r\n]{0,20}".prop_map(Bytes::from);
    let leaf = prop_oneof![
        line().prop_map(Reply::Simple),
        line().prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        bytes().prop_map(Reply::Bulk),
        Just(Reply::Null),
        (any::<f64>()).prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Bool),
        "-?[0-9]{1,40}".prop_map(|digits| Reply::BigNumber(Bytes::from(digits))),
        (any::<[u8; 3]>(), bytes()).prop_map(|(format, text)| Reply::Verbatim { format, text }),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let values = || prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            values().prop_map(Reply::Array),
            values().prop_map(Reply::Set),
            values().prop_map(Reply::Push),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Reply::Map),
        ]
    })
}

/// What a client of a RESP2 server sees of a reply.
fn in_resp2(reply: Reply) -> Reply {
    let all = |values: Vec<Reply>| Reply::Array(values.into_iter().map(in_resp2).collect());
    match reply {
        Reply::Array(values) | Reply::Set(values) | Reply::Push(values) => all(values),
        Reply::Map(pairs) => all(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        Reply::Double(value) => Reply::bulk(agq_resp::format_double(value)),
        Reply::Bool(value) => Reply::int(value.into()),
        Reply::BigNumber(text) | Reply::Verbatim { text, .. } => Reply::Bulk(text),
        same => same,
    }
}

proptest! {
    #[test]
    fn what_a_server_encodes_is_what_a_client_reads(reply in reply()) {
        let mut bytes = BytesMut::new();
        reply.encode(Protocol::Resp3, &mut bytes);
        prop_assert_eq!(decode(&bytes), (vec![reply.clone()], None));

        bytes.clear();
        reply.encode(Protocol::Resp2, &mut bytes);
        prop_assert_eq!(decode(&bytes), (vec![in_resp2(reply)], None));
    }

    #[test]
    fn how_a_stream_is_cut_changes_nothing(replies in prop::collection::vec(reply(), 0..3), garbage in "[ -~\r\n]{0,10}") {
        let mut bytes = BytesMut::new();
        for reply in &replies {
            reply.encode(Protocol::Resp3, &mut bytes);
        }
        bytes.extend_from_slice(garbage.as_bytes());
        let limits = ReplyLimits::default();
        let whole = decode_packets(limits, [&bytes[..]]);
        prop_assert!(whole.0.len() >= replies.len());
        for at in 0..=bytes.len() {
            let (front, back) = bytes.split_at(at);
            prop_assert_eq!(&decode_packets(limits, [front, back]), &whole, "cut at {}", at);
        }
        prop_assert_eq!(&decode_packets(limits, bytes.chunks(1)), &whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"+-:$*_#,(!=%~>|\r\n0123456789".to_vec())],
            0..200,
        ),
    ) {
        // A reply takes at least a type and the end of a line.
        let (replies, _) = decode(&bytes);
        prop_assert!(replies.len() <= bytes.len() / 3);
    }
}

#[test]
fn nesting_as_deep_as_the_limit_is_read() {
    let limits = ReplyLimits::default();
    let deep = "*1\r\n".repeat(limits.max_depth) + ":1\r\n";
    let (replies, error) = decode(deep.as_bytes());
    assert_eq!((replies.len(), error), (1, None));
    let (_, error) = decode(("*1\r\n".to_owned() + &deep).as_bytes());
    assert_eq!(error, Some(ReplyError::TooDeep { limit: limits.max_depth }));
}
