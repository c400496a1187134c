//! Ziplists: `[bytes u32][place of the last entry u32][entries u16][entry …][ff]`, numbers with their lowest byte
//! first but for the lengths of strings. An entry is the length of the one before it, a head, and its bytes.

use bytes::{Buf, Bytes};

use crate::data::dump::reader::{Elements, take, take_integer};
use crate::data::{Error, Result};

const HEADER: usize = 10;
const END: u8 = 0xff;
/// Before an entry: the length of the one before it follows in four bytes.
const LONG: u8 = 0xfe;
/// The header's count when there are too many entries for it.
const UNCOUNTED: u16 = u16::MAX;

/// Takes all entries of a ziplist.
///
/// # Errors
/// [`Error::BadDump`] when it is none.
pub(super) fn read(mut rest: Bytes, found: &mut Elements) -> Result<()> {
    let whole = rest.len();
    if whole < HEADER + 1 || rest.get_u32_le() as usize != whole {
        return Err(Error::BadDump);
    }
    rest.advance(4);
    let (counted, mut entries) = (rest.get_u16_le(), 0_usize);
    loop {
        match rest.try_get_u8().map_err(|_| Error::BadDump)? {
            END => break,
            LONG => take(&mut rest, 4).map(drop)?,
            _ => {}
        }
        found.push(entry(&mut rest)?)?;
        entries += 1;
    }
    let is_counted = counted == UNCOUNTED || usize::from(counted) == entries;
    if rest.is_empty() && is_counted { Ok(()) } else { Err(Error::BadDump) }
}

fn entry(rest: &mut Bytes) -> Result<Bytes> {
    let head = rest.try_get_u8().map_err(|_| Error::BadDump)?;
    match head {
        0..0x40 => take(rest, head.into()),
        0x40..0x80 => {
            let low = rest.try_get_u8().map_err(|_| Error::BadDump)?;
            take(rest, u64::from(head & 0x3f) << 8 | u64::from(low))
        }
        0x80..0xc0 => {
            let length = rest.try_get_u32().map_err(|_| Error::BadDump)?;
            take(rest, length.into())
        }
        0xc0 => take_integer(rest, 2),
        0xd0 => take_integer(rest, 4),
        0xe0 => take_integer(rest, 8),
        0xf0 => take_integer(rest, 3),
        0xfe => take_integer(rest, 1),
        0xf1..=0xfd => Ok((head - 0xf1).to_string().into()),
        _ => Err(Error::BadDump),
    }
}
