//! Requests: what is read, what is refused, and that packets do not matter.

use agq_resp::{Limits, ProtocolError, Request, RequestDecoder, encode_request};
use bytes::BytesMut;
use proptest::prelude::*;

/// Everything a decoder makes of these packets, up to the first error.
fn decode_packets<'a>(
    decoder: &mut RequestDecoder,
    packets: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Request>, Option<ProtocolError>) {
    let mut buf = BytesMut::new();
    let mut requests = Vec::new();
    for packet in packets {
        buf.extend_from_slice(packet);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn decode(bytes: &[u8]) -> (Vec<Request>, Option<ProtocolError>) {
    decode_packets(&mut RequestDecoder::new(Limits::default()), [bytes])
}

fn requests(of: &[&[&str]]) -> Vec<Request> {
    of.iter().map(|args| Request::from_args(*args)).collect()
}

#[test]
fn requests_of_both_kinds_are_read_one_after_the_other() {
    for (bytes, expected) in [
        ("*1\r\n$4\r\nPING\r\n", &[&["PING"][..]][..]),
        ("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &[&["GET", ""]]),
        ("PING\r\nGET a\n", &[&["PING"], &["GET", "a"]]),
        ("*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$1\r\n\n\r\n", &[&["PING"], &["PING"], &["\n"]]),
        // Nothing is asked here, so nothing is answered.
        ("\r\n\n  \n*0\r\n*-1\r\n*-5\r\nPING\n", &[&["PING"]]),
        // Redis looks neither at the byte after a CR nor at the two after an argument.
        ("*1\rX$4\r\nPINGXXPING\n", &[&["PING"], &["PING"]]),
    ] {
        assert_eq!(decode(bytes.as_bytes()), (requests(expected), None), "{bytes:?}");
    }
}

/// All but those marked as our own were put to a Redis 7.0.15, which answered with `-ERR ` and this text.
#[test]
fn protocol_errors_have_the_words_of_redis() {
    let multibulk = "Protocol error: invalid multibulk length";
    let bulk = "Protocol error: invalid bulk length";
    let long = |prefix: &str, length| prefix.to_owned() + &"1".repeat(length);
    for (bytes, expected) in [
        ("*x\r\n".to_owned(), multibulk),
        ("*\r\n".to_owned(), multibulk),
        ("*01\r\n".to_owned(), multibulk),
        ("*-0\r\n".to_owned(), multibulk),
        ("*2147483648\r\n".to_owned(), multibulk),
        // Our own limit: Redis 7 takes up to 2147483647 arguments.
        ("*1048577\r\n".to_owned(), multibulk),
        ("*1\r\n$-1\r\n".to_owned(), bulk),
        ("*1\r\n$\r\n".to_owned(), bulk),
        ("*1\r\n$+4\r\nPING\r\n".to_owned(), bulk),
        ("*1\r\n$536870913\r\n".to_owned(), bulk),
        ("*1\r\nPING\r\n".to_owned(), "Protocol error: expected '$', got 'P'"),
        ("*1\r\n\r\n".to_owned(), "Protocol error: expected '$', got ' '"),
        ("*1\r\n\nx\r\n".to_owned(), "Protocol error: expected '$', got ' '"),
        ("PING \"a\n".to_owned(), "Protocol error: unbalanced quotes in request"),
        ("PING 'a'b\r\n".to_owned(), "Protocol error: unbalanced quotes in request"),
        (long("", 65537), "Protocol error: too big inline request"),
        (long("*", 65536), "Protocol error: too big mbulk count string"),
        (long("*1\r\n$", 65536), "Protocol error: too big bulk count string"),
    ] {
        let (requests, error) = decode(bytes.as_bytes());
        let shown = &bytes[..bytes.len().min(20)];
        assert!(requests.is_empty(), "{shown:?}");
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(expected), "{shown:?}");
    }
}

#[test]
fn lines_of_just_the_limit_are_waited_for() {
    for bytes in ["1".repeat(65536), "*".to_owned() + &"1".repeat(65535), "*1\r\n$".to_owned() + &"1".repeat(65535)] {
        assert_eq!(decode(bytes.as_bytes()), (vec![], None));
    }
}

#[test]
fn an_error_goes_out_byte_by_byte_as_from_redis() {
    for (error, expected) in [
        (ProtocolError::ExpectedBulk(0xff), &b"-ERR Protocol error: expected '$', got '\xff'\r\n"[..]),
        (ProtocolError::ExpectedBulk(b'\r'), b"-ERR Protocol error: expected '$', got ' '\r\n"),
        (ProtocolError::InvalidBulkLength, b"-ERR Protocol error: invalid bulk length\r\n"),
    ] {
        let mut out = BytesMut::new();
        error.to_reply().encode(agq_resp::Protocol::Resp2, &mut out);
        assert_eq!(&out[..], expected);
    }
}

#[test]
fn a_stranger_may_send_little_until_it_has_authenticated() {
    let mut eleven = BytesMut::new();
    encode_request(&["a"; 11], &mut eleven);
    let mut long = BytesMut::new();
    encode_request(&["a".repeat(16385)], &mut long);
    let mut fits = BytesMut::new();
    encode_request(&vec!["a".repeat(2000); 10], &mut fits);
    let mut together = BytesMut::new();
    encode_request(&vec!["a".repeat(2100); 10], &mut together);
    let line = BytesMut::from("a".repeat(16385).as_bytes());

    for (bytes, stranger) in [
        (&eleven, Some("Protocol error: unauthenticated multibulk length")),
        (&long, Some("Protocol error: unauthenticated bulk length")),
        (&together, Some("Protocol error: too big request")),
        (&fits, None),
    ] {
        let mut decoder = RequestDecoder::new(Limits::default());
        decoder.set_authenticated(false);
        let (_, error) = decode_packets(&mut decoder, [&bytes[..]]);
        assert_eq!(error.map(|error| error.to_string()).as_deref(), stranger);

        let mut decoder = RequestDecoder::new(Limits::default());
        decoder.set_authenticated(false);
        decoder.set_authenticated(true);
        let (requests, error) = decode_packets(&mut decoder, [&bytes[..]]);
        assert_eq!((requests.len(), error), (1, None));
    }
    for (authenticated, expected) in [(false, Some("Protocol error: too big inline request")), (true, None)] {
        let mut decoder = RequestDecoder::new(Limits::default());
        decoder.set_authenticated(authenticated);
        let (_, error) = decode_packets(&mut decoder, [&line[..]]);
        assert_eq!(error.map(|error| error.to_string()).as_deref(), expected);
    }
}

#[test]
fn limits_hold_at_their_value_and_not_before() {
    let limits = Limits { max_bulk_bytes: 4, max_args: 2, max_inline_bytes: 8, max_frame_bytes: 24 };
    for (bytes, error) in [
        ("*1\r\n$4\r\nPING\r\n", None),
        ("*1\r\n$5\r\n", Some(ProtocolError::InvalidBulkLength)),
        // 24 bytes.
        ("*2\r\n$4\r\nECHO\r\n$4\r\nabcd\r\n", None),
        ("*3\r\n", Some(ProtocolError::InvalidMultibulkLength)),
        ("12345678\n", None),
        ("123456789\n", Some(ProtocolError::TooBigInlineRequest)),
    ] {
        let mut decoder = RequestDecoder::new(limits);
        assert_eq!(decode_packets(&mut decoder, [bytes.as_bytes()]).1, error, "{bytes:?}");
    }
    let mut decoder = RequestDecoder::new(Limits { max_frame_bytes: 23, ..limits });
    let (_, error) = decode_packets(&mut decoder, [&b"*2\r\n$4\r\nECHO\r\n$4\r\n"[..]]);
    assert_eq!(error, Some(ProtocolError::TooBigRequest));
}

#[test]
fn after_an_error_nothing_is_read_any_more() {
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut buf = BytesMut::from("*x\r\n");
    let error = Err(ProtocolError::InvalidMultibulkLength);
    assert_eq!(decoder.decode(&mut buf), error);
    buf.clear();
    buf.extend_from_slice(b"PING\r\n");
    assert_eq!(decoder.decode(&mut buf), error);
}

#[test]
fn arguments_are_slices_of_what_was_read() {
    let mut buf = BytesMut::from("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    let place = buf.as_ptr().wrapping_add(17);
    let request = RequestDecoder::new(Limits::default()).decode(&mut buf).unwrap().unwrap();
    assert_eq!(request.arg(1).as_ptr(), place);
    assert!(buf.is_empty());
}

/// A stream of requests of both kinds, some of which are damaged.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let multibulk = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8).prop_map(|args| {
        let mut out = BytesMut::new();
        encode_request(&args, &mut out);
        out.to_vec()
    });
    let inline = "[a-z \"'\\\\x0-9\t]{0,30}\r?\n".prop_map(String::into_bytes);
    let odd = prop::sample::select(vec![
        &b"*0\r\n"[..],
        b"*-1\r\n",
        b"\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n+OK\r\n",
        b"*x\r\n",
        b"*1\r\n$9\r",
    ])
    .prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![6 => multibulk, 3 => inline, 1 => odd];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_changes_nothing(bytes in stream()) {
        let limits = Limits { max_inline_bytes: 24, ..Limits::default() };
        let whole = decode_packets(&mut RequestDecoder::new(limits), [&bytes[..]]);
        for at in 0..=bytes.len() {
            let (front, back) = bytes.split_at(at);
            let cut = decode_packets(&mut RequestDecoder::new(limits), [front, back]);
            prop_assert_eq!(&cut, &whole, "cut at {}", at);
        }
        let single = decode_packets(&mut RequestDecoder::new(limits), bytes.chunks(1));
        prop_assert_eq!(&single, &whole);
    }

    #[test]
    fn what_a_client_encodes_is_what_a_server_reads(
        args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..20),
    ) {
        let mut bytes = BytesMut::new();
        encode_request(&args, &mut bytes);
        prop_assert_eq!(decode(&bytes), (vec![Request::from_args(args)], None));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"*$\r\n0123456789-\"'\\ ".to_vec())],
            0..200,
        ),
    ) {
        // A request takes at least one byte and the end of a line.
        let (requests, _) = decode(&bytes);
        prop_assert!(requests.len() <= bytes.len() / 2);
    }
}

/// Looking at half a megabyte from its start again for every byte that comes would be 10^11 steps.
#[test]
fn a_peer_that_sends_single_bytes_costs_no_more_than_another() {
    let mut bytes = b"\"".to_vec();
    bytes.resize(1 << 19, b'a');
    bytes.extend_from_slice(b"\"\n");
    encode_into(&mut bytes, 1 << 19);
    let mut decoder = RequestDecoder::new(Limits { max_inline_bytes: 1 << 20, ..Limits::default() });
    let (requests, error) = decode_packets(&mut decoder, bytes.chunks(1));
    assert_eq!((requests.len(), error), (2, None));
}

fn encode_into(bytes: &mut Vec<u8>, args: usize) {
    let mut out = BytesMut::new();
    encode_request(&vec![""; args], &mut out);
    bytes.extend_from_slice(&out);
}
