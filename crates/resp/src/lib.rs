//! The Redis serialization protocol, RESP2 and RESP3: bytes in, requests and replies out.
//!
//! A server reads with [`RequestDecoder`] and answers with [`Reply::encode`]; a client writes with
//! [`encode_request`] and reads with [`ReplyDecoder`]. Both decoders are fed a growing
//! [`bytes::BytesMut`], remember where they stopped, and hand out slices of what they were fed, so
//! that nothing is copied and a peer that sends one byte at a time costs no more than any other.
//!
//! The crate does no I/O, starts nothing, and reads no clock. It never recurses as deep as a peer
//! asks it to, and every length a peer announces is held against a limit before it is believed.
//!
//! ```
//! use agq_resp::{Limits, Protocol, Reply, RequestDecoder};
//! use bytes::BytesMut;
//!
//! let mut decoder = RequestDecoder::new(Limits::default());
//! let mut input = BytesMut::from("*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n");
//! let request = decoder.decode(&mut input)?.ok_or("half a request")?;
//! assert_eq!(request.arg(0), b"ECHO");
//!
//! let mut output = BytesMut::new();
//! Reply::bulk(request.bytes(1)).encode(Protocol::Resp2, &mut output);
//! assert_eq!(&output[..], b"$5\r\nhello\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

mod decode;
mod encode;
mod error;
mod inline;
mod number;
mod reply;
mod request;
mod request_decoder;

pub use decode::{ReplyDecoder, ReplyLimits};
pub use encode::encode_request;
pub use error::{ProtocolError, ReplyError};
pub use number::{format_double, parse_integer};
pub use reply::{Protocol, Reply};
pub use request::Request;
pub use request_decoder::{Limits, RequestDecoder};
