//! Bytes from a client in, requests out. The rules and the error texts are those of Redis 7.0
//! (`processInlineBuffer` and `processMultibulkBuffer`), stated as rules on the stream, so that
//! what is decoded never depends on how the stream was cut into packets.

use crate::error::ProtocolError;
use crate::inline;
use crate::number::parse_integer;
use crate::request::{Request, Spans};
use bytes::{Buf, BytesMut};

/// The most arguments of a client that has yet to authenticate, as in Redis.
const MAX_UNAUTHENTICATED_ARGS: usize = 10;
/// The longest argument of a client that has yet to authenticate, in bytes, as in Redis.
const MAX_UNAUTHENTICATED_BULK_BYTES: usize = 16 * 1024;
/// The longest request of a client that has yet to authenticate, in bytes on the wire: room for one such argument.
const MAX_UNAUTHENTICATED_FRAME_BYTES: usize = 20 * 1024;

/// How much a client may send as one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument, in bytes. Default 512 MiB.
    pub max_bulk_bytes: usize,
    /// The most arguments, the command's name included. Default 1,048,576.
    pub max_args: usize,
    /// The longest inline command, and the longest line that announces a length, in bytes without
    /// the end of the line. Default 64 KiB.
    pub max_inline_bytes: usize,
    /// The longest request, in bytes on the wire. Default 1 GiB less one byte, at most 4 GiB.
    pub max_frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_bulk_bytes: 512 << 20,
            max_args: 1 << 20,
            max_inline_bytes: 64 << 10,
            max_frame_bytes: (1 << 30) - 1,
        }
    }
}

/// Reads requests from a stream of bytes, incrementally.
///
/// Bytes are appended to one buffer, and `decode` is called until it returns `None`. Between calls
/// the caller takes nothing from the buffer: half a request stays at its front, and the decoder
/// knows how much of it was looked at.
#[derive(Debug, Clone)]
pub struct RequestDecoder {
    limits: Limits,
    authenticated: bool,
    /// How many bytes of the buffer are parsed: a header or an argument starts here.
    position: usize,
    /// How many bytes of the buffer were searched for the end of a line.
    searched: usize,
    /// How many arguments the request still lacks; 0 between requests.
    missing_args: usize,
    /// The length of the argument at `position`, once its header is read.
    bulk_bytes: Option<usize>,
    args: Spans,
    failed: Option<ProtocolError>,
}

impl RequestDecoder {
    /// A decoder at the start of a stream, of a client that need not authenticate.
    pub fn new(limits: Limits) -> Self {
        RequestDecoder {
            limits: Limits {
                max_frame_bytes: limits.max_frame_bytes.min(u32::MAX as usize),
                max_inline_bytes: limits.max_inline_bytes.min(limits.max_frame_bytes),
                ..limits
            },
            authenticated: true,
            position: 0,
            searched: 0,
            missing_args: 0,
            bulk_bytes: None,
            args: Spans::new(),
            failed: None,
        }
    }

    /// Tells whether the client has authenticated, where it must. Until it has, it may send at most
    /// 10 arguments of at most 16384 bytes, and requests of at most 20 KiB, so that strangers cannot
    /// fill the memory. Takes effect with the next header that is read.
    pub fn set_authenticated(&mut self, yes: bool) {
        self.authenticated = yes;
    }

    /// Takes the next request from the front of `buf`; `None` when more bytes are needed. Empty
    /// lines and requests of no arguments are skipped.
    ///
    /// # Errors
    /// When the bytes are no request or exceed a limit. The stream has no next request then: every
    /// further call returns the same error, and the connection is to be closed.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let outcome = self.step(buf);
        if let Err(error) = outcome {
            self.failed = Some(error);
        }
        outcome
    }

    fn step(&mut self, buf: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        loop {
            let found = match (self.missing_args, buf.first()) {
                (0, None) => return Ok(None),
                (0, Some(b'*')) => {
                    if !self.read_count(buf)? {
                        return Ok(None);
                    }
                    None
                }
                (0, Some(_)) => match self.read_inline(buf)? {
                    Some(request) => Some(request),
                    None => return Ok(None),
                },
                _ => {
                    if !self.read_args(buf)? {
                        return Ok(None);
                    }
                    let frame = buf.split_to(self.position).freeze();
                    self.position = 0;
                    self.searched = 0;
                    Some(Request::new(frame, std::mem::take(&mut self.args)))
                }
            };
            match found {
                Some(request) if !request.is_empty() => return Ok(Some(request)),
                _ => {}
            }
        }
    }

    /// A line of words; an empty request when the line is blank, `None` when it is not there yet.
    fn read_inline(&mut self, buf: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        let too_big = ProtocolError::TooBigInlineRequest;
        let Some(end) = self.find(b'\n', buf, too_big)? else {
            return Ok(None);
        };
        let mut line = buf.split_to(end + 1);
        self.searched = 0;
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        let words = inline::split(&mut line)?;
        Ok(Some(Request::new(line.freeze(), words)))
    }

    /// The header of a request: `*` and the number of arguments. False when it is not there yet.
    fn read_count(&mut self, buf: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some(end) = self.find_header(buf, ProtocolError::TooBigCountString)? else {
            return Ok(false);
        };
        let count = parse_integer(&buf[1..end]).ok_or(ProtocolError::InvalidMultibulkLength)?;
        // A negative count is as good as none.
        let count = usize::try_from(count).unwrap_or(0);
        if count > self.limits.max_args {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if count > MAX_UNAUTHENTICATED_ARGS && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        if count == 0 {
            buf.advance(end + 2);
            self.searched = 0;
        } else {
            self.position = end + 2;
            self.searched = self.position;
            self.missing_args = count;
        }
        Ok(true)
    }

    /// The arguments that the request lacks. False when they are not all there yet.
    fn read_args(&mut self, buf: &[u8]) -> Result<bool, ProtocolError> {
        while self.missing_args > 0 {
            let length = match self.bulk_bytes {
                Some(length) => length,
                None => match self.read_bulk_header(buf)? {
                    Some(length) => *self.bulk_bytes.insert(length),
                    None => return Ok(false),
                },
            };
            let end = self.position + length;
            // The two bytes after an argument are not looked at, as in Redis.
            if buf.len() < end + 2 {
                return Ok(false);
            }
            // The limit on a frame keeps both within 32 bits.
            self.args.push((self.position as u32, end as u32));
            self.position = end + 2;
            self.searched = self.position;
            self.bulk_bytes = None;
            self.missing_args -= 1;
        }
        Ok(true)
    }

    /// The header of an argument: `$` and its length in bytes. `None` when it is not there yet.
    fn read_bulk_header(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.find_header(buf, ProtocolError::TooBigBulkCountString)? else {
            return Ok(None);
        };
        if buf[self.position] != b'$' {
            return Err(ProtocolError::ExpectedBulk(buf[self.position]));
        }
        // A line that starts with its end has no text to parse, but then it had no '$' either.
        let length = parse_integer(&buf[self.position + 1..end])
            .and_then(|length| usize::try_from(length).ok())
            .filter(|&length| length <= self.limits.max_bulk_bytes)
            .ok_or(ProtocolError::InvalidBulkLength)?;
        if length > MAX_UNAUTHENTICATED_BULK_BYTES && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        let frame_end = (end + 4).saturating_add(length);
        let longest = if self.authenticated { usize::MAX } else { MAX_UNAUTHENTICATED_FRAME_BYTES };
        if frame_end > self.limits.max_frame_bytes.min(longest) {
            return Err(ProtocolError::TooBigRequest);
        }
        self.position = end + 2;
        self.searched = self.position;
        Ok(Some(length))
    }

    /// Where the header at `position` ends: at a CR, which any one byte may follow, as in Redis.
    /// `None` when that byte is not there yet.
    fn find_header(&mut self, buf: &[u8], too_big: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let end = self.find(b'\r', buf, too_big)?;
        Ok(end.filter(|&end| end + 1 < buf.len()))
    }

    /// Where `byte` stands in the line at `position`. What was searched is not searched again.
    fn find(&mut self, byte: u8, buf: &[u8], too_big: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let most = self.max_line_bytes();
        let window_end = (self.position + most + 1).min(buf.len());
        let unsearched = buf.get(self.searched..window_end).unwrap_or_default();
        if let Some(at) = unsearched.iter().position(|&b| b == byte) {
            self.searched += at;
            return Ok(Some(self.searched));
        }
        self.searched = window_end;
        if window_end - self.position.min(window_end) > most {
            return Err(too_big);
        }
        Ok(None)
    }

    fn max_line_bytes(&self) -> usize {
        let longest = if self.authenticated { usize::MAX } else { MAX_UNAUTHENTICATED_BULK_BYTES };
        self.limits.max_inline_bytes.min(longest)
    }
}
