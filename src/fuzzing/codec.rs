//! Targets of the codec: what a client and what a server may send.

use agq_resp::{
    Limits, Protocol, ProtocolError, Reply, ReplyDecoder, ReplyError, ReplyLimits, Request, RequestDecoder,
    encode_request,
};
use bytes::BytesMut;

/// Small, so that inputs of a few kilobytes reach them.
const REQUEST_LIMITS: Limits =
    Limits { max_bulk_bytes: 256, max_args: 32, max_inline_bytes: 64, max_frame_bytes: 1024 };
const REPLY_LIMITS: ReplyLimits =
    ReplyLimits { max_bulk_bytes: 256, max_line_bytes: 64, max_elements: 128, max_depth: 8, max_reply_bytes: 1024 };

/// What a client may send: it is read or refused, however it is cut into packets, and what was read is read again the
/// same when it is encoded. The first byte chooses whether the client is authenticated, and the length of its packets.
pub fn request(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else { return };
    let authenticated = choice & 1 == 0;
    let packet = usize::from(choice >> 1) + 1;
    let (requests, error) = requests(stream.chunks(packet), authenticated);
    let (whole, whole_error) = self::requests([stream], authenticated);
    assert_eq!((&requests, error), (&whole, whole_error));

    let mut encoded = BytesMut::new();
    for request in &requests {
        assert!(!request.is_empty());
        let args: Vec<&[u8]> = request.iter().collect();
        encode_request(&args, &mut encoded);
    }
    // With the default limits: a quoted word may be shorter on the wire than its header is.
    let mut decoder = RequestDecoder::new(Limits::default());
    for request in requests {
        assert_eq!(decoder.decode(&mut encoded), Ok(Some(request)));
    }
    assert!(encoded.is_empty());
}

fn requests<'a>(
    packets: impl IntoIterator<Item = &'a [u8]>,
    authenticated: bool,
) -> (Vec<Request>, Option<ProtocolError>) {
    let mut decoder = RequestDecoder::new(REQUEST_LIMITS);
    decoder.set_authenticated(authenticated);
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

/// What a server may send: it is read or refused, however it is cut into packets, and what was read is read again the
/// same when it is encoded. The first byte chooses the length of the packets.
pub fn reply(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else { return };
    let (replies, error) = replies(stream.chunks(usize::from(choice) + 1));
    let (whole, whole_error) = self::replies([stream]);
    assert_eq!(encode(&replies), encode(&whole));
    assert_eq!(error, whole_error);

    // Compared as bytes: a NaN equals nothing.
    let mut encoded = encode(&replies);
    let expected = encoded.clone();
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let mut again = Vec::new();
    loop {
        match decoder.decode(&mut encoded) {
            Ok(Some(reply)) => again.push(reply),
            Ok(None) => break,
            Err(error) => panic!("our own encoding is valid: {error}"),
        }
    }
    assert_eq!(again.len(), replies.len());
    assert_eq!(encode(&again), expected);
}

fn encode(replies: &[Reply]) -> BytesMut {
    let mut out = BytesMut::new();
    for reply in replies {
        reply.encode(Protocol::Resp3, &mut out);
    }
    out
}

fn replies<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ReplyError>) {
    let mut decoder = ReplyDecoder::new(REPLY_LIMITS);
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
