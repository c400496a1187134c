//! What a server may send: it is read or refused, however it is cut into packets, and what was read
//! is read again the same when it is encoded.

#![no_main]

use agq_resp::{Protocol, Reply, ReplyDecoder, ReplyError, ReplyLimits};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

/// Small, so that inputs of a few kilobytes reach them.
const LIMITS: ReplyLimits =
    ReplyLimits { max_bulk_bytes: 256, max_line_bytes: 64, max_elements: 128, max_depth: 8, max_reply_bytes: 1024 };

// The first byte chooses the length of the packets.
fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let (replies, error) = decode(stream.chunks(usize::from(choice) + 1));
    let (whole, whole_error) = decode([stream]);
    assert_eq!(encode(&replies), encode(&whole));
    assert_eq!(error, whole_error);

    // Compared as bytes: a NaN equals nothing.
    let mut encoded = encode(&replies);
    let expected = encoded.clone();
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let mut again = Vec::new();
    while let Some(reply) = decoder.decode(&mut encoded).expect("our own encoding is valid") {
        again.push(reply);
    }
    assert_eq!(again.len(), replies.len());
    assert_eq!(encode(&again), expected);
});

fn encode(replies: &[Reply]) -> BytesMut {
    let mut out = BytesMut::new();
    for reply in replies {
        reply.encode(Protocol::Resp3, &mut out);
    }
    out
}

fn decode<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ReplyError>) {
    let mut decoder = ReplyDecoder::new(LIMITS);
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
