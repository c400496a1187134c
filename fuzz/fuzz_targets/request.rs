//! What a client may send: it is read or refused, however it is cut into packets, and what was read
//! is read again the same when it is encoded.

#![no_main]

use agq_resp::{Limits, ProtocolError, Request, RequestDecoder, encode_request};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

/// Small, so that inputs of a few kilobytes reach them.
const LIMITS: Limits = Limits { max_bulk_bytes: 256, max_args: 32, max_inline_bytes: 64, max_frame_bytes: 1024 };

// The first byte chooses whether the client is authenticated, and the length of its packets.
fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let authenticated = choice & 1 == 0;
    let packet = usize::from(choice >> 1) + 1;
    let (requests, error) = decode(stream.chunks(packet), authenticated);
    let (whole, whole_error) = decode([stream], authenticated);
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
});

fn decode<'a>(
    packets: impl IntoIterator<Item = &'a [u8]>,
    authenticated: bool,
) -> (Vec<Request>, Option<ProtocolError>) {
    let mut decoder = RequestDecoder::new(LIMITS);
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
