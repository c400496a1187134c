//! Bytes from a server in, replies out: RESP2 and RESP3 alike, without recursion.

use crate::error::ReplyError;
use crate::number::parse_integer;
use crate::reply::{Reply, pairs};
use bytes::{Buf, Bytes, BytesMut};

/// How much a server may say as one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// The longest string, in bytes. Default 512 MiB.
    pub max_bulk_bytes: usize,
    /// The longest status, error or number, in bytes. Default 64 KiB.
    pub max_line_bytes: usize,
    /// The most values in one reply, nested ones included. Default 16,777,216.
    pub max_elements: usize,
    /// How deep aggregates may stand in each other. Default 128.
    pub max_depth: usize,
    /// The longest reply, in bytes on the wire. Default 1 GiB.
    pub max_reply_bytes: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        ReplyLimits {
            max_bulk_bytes: 512 << 20,
            max_line_bytes: 64 << 10,
            max_elements: 1 << 24,
            max_depth: 128,
            max_reply_bytes: 1 << 30,
        }
    }
}

/// At most so many values are made room for before they come.
const MAX_ROOM: usize = 1024;

/// Reads replies from a stream of bytes, incrementally.
///
/// What belongs to a reply is taken from the buffer as it comes, and kept here until the reply is
/// complete. RESP3 attributes, which say something about the reply that follows them, are read and
/// dropped.
#[derive(Debug, Clone)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    /// The aggregates that are not complete, the outermost first.
    open: Vec<Open>,
    /// The string whose header is read and whose bytes are awaited.
    string: Option<(StringKind, usize)>,
    /// How many bytes of the buffer were searched for the end of a line.
    searched: usize,
    /// How many values and bytes of the present reply were announced or read.
    elements: usize,
    reply_bytes: usize,
    failed: Option<ReplyError>,
}

#[derive(Debug, Clone)]
struct Open {
    kind: Kind,
    /// How many values it still lacks: two for each pair of a map.
    missing: usize,
    values: Vec<Reply>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Array,
    Set,
    Push,
    Map,
    Attribute,
}

#[derive(Debug, Clone, Copy)]
enum StringKind {
    Bulk,
    Error,
    Verbatim,
}

impl StringKind {
    /// The byte it starts with on the wire.
    fn byte(self) -> u8 {
        match self {
            StringKind::Bulk => b'$',
            StringKind::Error => b'!',
            StringKind::Verbatim => b'=',
        }
    }
}

/// What a line means.
enum Item {
    Value(Reply),
    Open(Kind, usize),
    String(StringKind, usize),
}

impl ReplyDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: ReplyLimits) -> Self {
        ReplyDecoder { limits, open: Vec::new(), string: None, searched: 0, elements: 0, reply_bytes: 0, failed: None }
    }

    /// Takes the next reply from the front of `buf`; `None` when more bytes are needed. Strings
    /// are slices of what was in the buffer, and keep it alive.
    ///
    /// # Errors
    /// When the bytes are no reply or exceed a limit. The stream has no next reply then: every
    /// further call returns the same error, and the connection is to be closed.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let outcome = self.step(buf);
        if let Err(error) = outcome {
            self.failed = Some(error);
            self.open = Vec::new();
        }
        outcome
    }

    fn step(&mut self, buf: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        loop {
            let value = match self.string {
                Some((kind, length)) => match take_string(kind, length, buf)? {
                    Some(value) => {
                        self.string = None;
                        Some(value)
                    }
                    None => return Ok(None),
                },
                None => {
                    let Some(line) = self.take_line(buf)? else {
                        return Ok(None);
                    };
                    match self.read_item(line)? {
                        Item::Value(value) => Some(value),
                        Item::Open(kind, count) => self.open(kind, count)?,
                        Item::String(kind, length) => {
                            self.count_bytes(length)?;
                            self.string = Some((kind, length));
                            None
                        }
                    }
                }
            };
            if let Some(reply) = value.and_then(|value| self.place(value)) {
                self.elements = 0;
                self.reply_bytes = 0;
                return Ok(Some(reply));
            }
        }
    }

    /// Puts a value where it belongs. Returns it, or what it completes, if that is a whole reply.
    fn place(&mut self, value: Reply) -> Option<Reply> {
        let mut value = value;
        loop {
            let Some(innermost) = self.open.last_mut() else {
                return Some(value);
            };
            innermost.values.push(value);
            innermost.missing -= 1;
            if innermost.missing > 0 {
                return None;
            }
            let complete = self.open.pop()?;
            value = close(complete.kind, complete.values)?;
        }
    }

    /// Starts an aggregate; an empty one is complete at once.
    fn open(&mut self, kind: Kind, count: usize) -> Result<Option<Reply>, ReplyError> {
        let missing = match kind {
            Kind::Map | Kind::Attribute => count.saturating_mul(2),
            Kind::Array | Kind::Set | Kind::Push => count,
        };
        self.elements = self.elements.saturating_add(missing);
        if self.elements > self.limits.max_elements {
            return Err(ReplyError::TooManyElements { limit: self.limits.max_elements });
        }
        if missing == 0 {
            return Ok(close(kind, Vec::new()));
        }
        if self.open.len() >= self.limits.max_depth {
            return Err(ReplyError::TooDeep { limit: self.limits.max_depth });
        }
        self.open.push(Open { kind, missing, values: Vec::with_capacity(missing.min(MAX_ROOM)) });
        Ok(None)
    }

    /// Takes a line without its end; `None` when it is not all there yet. Never an empty one.
    fn take_line(&mut self, buf: &mut BytesMut) -> Result<Option<BytesMut>, ReplyError> {
        let Some(&kind) = buf.first() else {
            return Ok(None);
        };
        if !b"+-:$*_#,(!=%~>|".contains(&kind) {
            return Err(ReplyError::UnknownType(kind));
        }
        let limit = self.limits.max_line_bytes;
        // The type, the text, CR LF.
        let window_end = buf.len().min(limit.saturating_add(3));
        let unsearched = buf.get(self.searched..window_end).unwrap_or_default();
        let Some(at) = unsearched.iter().position(|&byte| byte == b'\n') else {
            self.searched = window_end;
            if window_end == limit.saturating_add(3) {
                return Err(ReplyError::LineTooLong { kind, limit });
            }
            return Ok(None);
        };
        let end = self.searched + at;
        self.searched = 0;
        self.count_bytes(end + 1)?;
        let mut line = buf.split_to(end + 1);
        if line[end - 1] != b'\r' {
            return Err(ReplyError::MissingLineEnd(kind));
        }
        line.truncate(end - 1);
        Ok(Some(line))
    }

    /// What a line says. It is not empty, and its first byte is a known type.
    fn read_item(&self, line: BytesMut) -> Result<Item, ReplyError> {
        let kind = line[0];
        let mut text = line.freeze();
        text.advance(1);
        let invalid = ReplyError::InvalidValue(kind);
        let value = match kind {
            b'+' => Reply::Simple(text),
            b'-' => Reply::Error(text),
            b':' => Reply::Integer(parse_integer(&text).ok_or(invalid)?),
            b',' => Reply::Double(parse_double(&text).ok_or(invalid)?),
            b'(' if is_big_number(&text) => Reply::BigNumber(text),
            b'_' if text.is_empty() => Reply::Null,
            b'#' if text == "t" => Reply::Bool(true),
            b'#' if text == "f" => Reply::Bool(false),
            b'$' if text == "-1" => Reply::Null,
            b'*' if text == "-1" => Reply::NullArray,
            b'(' | b'_' | b'#' => return Err(invalid),
            _ => return self.read_length(kind, &text),
        };
        Ok(Item::Value(value))
    }

    /// What a line says that announces a length.
    fn read_length(&self, kind: u8, text: &[u8]) -> Result<Item, ReplyError> {
        let length = parse_integer(text)
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(ReplyError::InvalidLength(kind))?;
        Ok(match kind {
            b'*' => Item::Open(Kind::Array, length),
            b'~' => Item::Open(Kind::Set, length),
            b'>' => Item::Open(Kind::Push, length),
            b'%' => Item::Open(Kind::Map, length),
            b'|' => Item::Open(Kind::Attribute, length),
            string => {
                let limit = self.limits.max_bulk_bytes;
                if length > limit {
                    return Err(ReplyError::BulkTooLong { length: length as u64, limit });
                }
                let kind = match string {
                    b'!' => StringKind::Error,
                    b'=' => StringKind::Verbatim,
                    _ => StringKind::Bulk,
                };
                Item::String(kind, length)
            }
        })
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), ReplyError> {
        self.reply_bytes = self.reply_bytes.saturating_add(bytes);
        if self.reply_bytes > self.limits.max_reply_bytes {
            return Err(ReplyError::TooBig { limit: self.limits.max_reply_bytes });
        }
        Ok(())
    }
}

/// The value a complete aggregate is; an attribute is none.
fn close(kind: Kind, values: Vec<Reply>) -> Option<Reply> {
    match kind {
        Kind::Array => Some(Reply::Array(values)),
        Kind::Set => Some(Reply::Set(values)),
        Kind::Push => Some(Reply::Push(values)),
        Kind::Map => Some(Reply::Map(pairs(values))),
        Kind::Attribute => None,
    }
}

/// Takes a string of `length` bytes and its CR LF; `None` when they are not all there yet.
fn take_string(kind: StringKind, length: usize, buf: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
    if buf.len() < length + 2 {
        return Ok(None);
    }
    if buf[length..length + 2] != *b"\r\n" {
        return Err(ReplyError::MissingLineEnd(kind.byte()));
    }
    let mut text: Bytes = buf.split_to(length).freeze();
    buf.advance(2);
    match kind {
        StringKind::Bulk => Ok(Some(Reply::Bulk(text))),
        StringKind::Error => Ok(Some(Reply::Error(text))),
        StringKind::Verbatim => match *text {
            [a, b, c, b':', ..] => {
                text.advance(4);
                Ok(Some(Reply::Verbatim { format: [a, b, c], text }))
            }
            _ => Err(ReplyError::InvalidValue(kind.byte())),
        },
    }
}

fn parse_double(text: &[u8]) -> Option<f64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
