//! Values as they are read: lengths, strings, and the forms that each type may have.

use bytes::{Buf, Bytes};

use crate::data::dump::{Value, listpack, lzf, packed, ziplist};
use crate::data::{Error, Result};
use crate::storage;
use crate::storage::batch::{MAX_BYTES, MAX_ROWS};

pub(super) const STRING: u8 = 0;
pub(super) const LIST: u8 = 1;
pub(super) const SET: u8 = 2;
/// Scores as text.
const ZSET: u8 = 3;
pub(super) const HASH: u8 = 4;
/// Scores as numbers of eight bytes.
pub(super) const ZSET_2: u8 = 5;
const HASH_ZIPMAP: u8 = 9;
const LIST_ZIPLIST: u8 = 10;
const SET_INTSET: u8 = 11;
const ZSET_ZIPLIST: u8 = 12;
const HASH_ZIPLIST: u8 = 13;
/// Ziplists, one after the other.
const LIST_QUICKLIST: u8 = 14;
const HASH_LISTPACK: u8 = 16;
const ZSET_LISTPACK: u8 = 17;
/// Listpacks and single elements, one after the other.
const LIST_QUICKLIST_2: u8 = 18;

/// Elements that a payload may hold: two for each row, as a hash has them.
const MAX_ELEMENTS: usize = 2 * MAX_ROWS;

fn too_large() -> Error {
    storage::Error::TooLarge { max_rows: MAX_ROWS, max_bytes: MAX_BYTES }.into()
}

/// Elements as they are found, never more than a command may write.
#[derive(Default)]
pub(super) struct Elements(Vec<Bytes>);

impl Elements {
    /// Takes one more.
    pub(super) fn push(&mut self, element: Bytes) -> Result<()> {
        if self.0.len() == MAX_ELEMENTS {
            return Err(too_large());
        }
        self.0.push(element);
        Ok(())
    }

    fn into_pairs(self) -> Result<Vec<(Bytes, Bytes)>> {
        let (pairs, rest) = self.0.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Error::BadDump);
        }
        Ok(pairs.iter().map(|[first, second]| (first.clone(), second.clone())).collect())
    }

    fn into_scored(self) -> Result<Vec<(f64, Bytes)>> {
        self.into_pairs()?.into_iter().map(|(member, text)| Ok((score(&text)?, member))).collect()
    }
}

/// The value of a payload without its footer.
pub(super) fn value(bytes: Bytes) -> Result<Value> {
    let mut reader = Reader { rest: bytes, unpacked: 0 };
    let kind = reader.byte()?;
    let mut elements = Elements::default();
    match kind {
        STRING => return Ok(Value::String(reader.string()?)),
        LIST | SET => reader.strings(1, &mut elements)?,
        HASH => reader.strings(2, &mut elements)?,
        ZSET | ZSET_2 => return Ok(Value::SortedSet(reader.scored(kind)?)),
        HASH_ZIPMAP => packed::zipmap(reader.string()?, &mut elements)?,
        SET_INTSET => packed::intset(reader.string()?, &mut elements)?,
        LIST_ZIPLIST | ZSET_ZIPLIST | HASH_ZIPLIST => ziplist::read(reader.string()?, &mut elements)?,
        HASH_LISTPACK | ZSET_LISTPACK => listpack::read(reader.string()?, &mut elements)?,
        LIST_QUICKLIST | LIST_QUICKLIST_2 => reader.quicklist(kind, &mut elements)?,
        _ => return Err(Error::BadDump),
    }
    if elements.0.is_empty() {
        return Err(Error::BadDump);
    }
    Ok(match kind {
        SET | SET_INTSET => Value::Set(elements.0),
        HASH | HASH_ZIPMAP | HASH_ZIPLIST | HASH_LISTPACK => Value::Hash(elements.into_pairs()?),
        ZSET_ZIPLIST | ZSET_LISTPACK => Value::SortedSet(elements.into_scored()?),
        _ => Value::List(elements.0),
    })
}

/// A score as text.
fn score(text: &[u8]) -> Result<f64> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    number.filter(|number| !number.is_nan()).ok_or(Error::BadDump)
}

/// What is left of a payload.
struct Reader {
    rest: Bytes,
    /// Bytes that compressed strings became so far.
    unpacked: usize,
}

impl Reader {
    fn byte(&mut self) -> Result<u8> {
        self.rest.try_get_u8().map_err(|_| Error::BadDump)
    }

    fn bytes(&mut self, count: u64) -> Result<Bytes> {
        take(&mut self.rest, count)
    }

    /// A length, or what its two highest bits say stands there in place of one.
    fn length_or_code(&mut self) -> Result<std::result::Result<u64, u8>> {
        let first = self.byte()?;
        let low = first & 0x3f;
        let short = |_| Error::BadDump;
        Ok(match first >> 6 {
            0 => Ok(low.into()),
            1 => Ok(u64::from(low) << 8 | u64::from(self.byte()?)),
            2 if first == 0x80 => Ok(self.rest.try_get_u32().map_err(short)?.into()),
            2 if first == 0x81 => Ok(self.rest.try_get_u64().map_err(short)?),
            3 => Err(low),
            _ => return Err(Error::BadDump),
        })
    }

    fn length(&mut self) -> Result<u64> {
        self.length_or_code()?.map_err(|_| Error::BadDump)
    }

    /// A string: its bytes, an integer in place of its digits, or compressed.
    fn string(&mut self) -> Result<Bytes> {
        let short = |_| Error::BadDump;
        let number = match self.length_or_code()? {
            Ok(length) => return self.bytes(length),
            Err(0) => self.rest.try_get_i8().map_err(short)?.into(),
            Err(1) => self.rest.try_get_i16_le().map_err(short)?.into(),
            Err(2) => self.rest.try_get_i32_le().map_err(short)?,
            Err(3) => return self.compressed(),
            Err(_) => return Err(Error::BadDump),
        };
        Ok(number.to_string().into())
    }

    fn compressed(&mut self) -> Result<Bytes> {
        let (compressed, length) = (self.length()?, self.length()?);
        let compressed = self.bytes(compressed)?;
        let length = usize::try_from(length).map_err(|_| Error::BadDump)?;
        // Checked against what it can become before it is weighed: a mere claim is no large value.
        if length > compressed.len().saturating_mul(lzf::MOST_FOR_ONE) {
            return Err(Error::BadDump);
        }
        self.unpacked = self.unpacked.saturating_add(length);
        if self.unpacked > MAX_BYTES {
            return Err(too_large());
        }
        Ok(lzf::decompress(&compressed, length)?.into())
    }

    /// A count, which what is left must have room for.
    fn count(&mut self) -> Result<u64> {
        let count = self.length()?;
        if count > self.rest.len() as u64 { Err(Error::BadDump) } else { Ok(count) }
    }

    /// A count and `each` times as many strings.
    fn strings(&mut self, each: u64, found: &mut Elements) -> Result<()> {
        let count = self.count()?;
        (0..count * each).try_for_each(|_| found.push(self.string()?))
    }

    fn scored(&mut self, kind: u8) -> Result<Vec<(f64, Bytes)>> {
        let mut scored = Vec::new();
        for _ in 0..self.count()? {
            let member = self.string()?;
            let score = if kind == ZSET { self.score_as_text()? } else { self.score_as_number()? };
            if scored.len() == MAX_ELEMENTS {
                return Err(too_large());
            }
            scored.push((score, member));
        }
        if scored.is_empty() { Err(Error::BadDump) } else { Ok(scored) }
    }

    fn score_as_number(&mut self) -> Result<f64> {
        let score = self.rest.try_get_f64_le().map_err(|_| Error::BadDump)?;
        if score.is_nan() { Err(Error::BadDump) } else { Ok(score) }
    }

    /// A score as older versions write it: its length and its digits; three lengths stand for what has none.
    fn score_as_text(&mut self) -> Result<f64> {
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Err(Error::BadDump),
            length => score(&self.bytes(length.into())?),
        }
    }

    fn quicklist(&mut self, kind: u8, found: &mut Elements) -> Result<()> {
        const PLAIN: u64 = 1;
        const PACKED: u64 = 2;
        for _ in 0..self.count()? {
            let container = if kind == LIST_QUICKLIST { PACKED } else { self.length()? };
            let node = self.string()?;
            match container {
                PLAIN => found.push(node)?,
                PACKED if kind == LIST_QUICKLIST => ziplist::read(node, found)?,
                PACKED => listpack::read(node, found)?,
                _ => return Err(Error::BadDump),
            }
        }
        Ok(())
    }
}

/// Takes bytes off the front.
pub(super) fn take(rest: &mut Bytes, count: u64) -> Result<Bytes> {
    match usize::try_from(count) {
        Ok(count) if count <= rest.len() => Ok(rest.split_to(count)),
        _ => Err(Error::BadDump),
    }
}

/// Takes an integer of `size` bytes, the lowest byte first, off the front: its digits.
pub(super) fn take_integer(rest: &mut Bytes, size: usize) -> Result<Bytes> {
    if size > rest.len() {
        return Err(Error::BadDump);
    }
    Ok(rest.get_int_le(size).to_string().into())
}
