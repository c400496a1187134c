//! Listpacks: `[bytes u32][entries u16][entry …][ff]`, numbers with their lowest byte first. An entry is a head that
//! tells type and length, its bytes, and its own length once more, to be read backwards.

use bytes::{Buf, Bytes};

use crate::data::dump::reader::{Elements, take, take_integer};
use crate::data::{Error, Result};

const HEADER: usize = 6;
const END: u8 = 0xff;
/// The header's count when there are too many entries for it.
const UNCOUNTED: u16 = u16::MAX;

/// Takes all entries of a listpack.
///
/// # Errors
/// [`Error::BadDump`] when it is none.
pub(super) fn read(mut rest: Bytes, found: &mut Elements) -> Result<()> {
    let whole = rest.len();
    if whole < HEADER + 1 || rest.get_u32_le() as usize != whole {
        return Err(Error::BadDump);
    }
    let (counted, mut entries) = (rest.get_u16_le(), 0_usize);
    loop {
        let before = rest.len();
        let head = rest.try_get_u8().map_err(|_| Error::BadDump)?;
        if head == END {
            break;
        }
        found.push(entry(head, &mut rest)?)?;
        entries += 1;
        let size = before - rest.len();
        take(&mut rest, backward_length(size))?;
    }
    let is_counted = counted == UNCOUNTED || usize::from(counted) == entries;
    if rest.is_empty() && is_counted { Ok(()) } else { Err(Error::BadDump) }
}

fn entry(head: u8, rest: &mut Bytes) -> Result<Bytes> {
    let mut next = || rest.try_get_u8().map(u64::from).map_err(|_| Error::BadDump);
    match head {
        0..0x80 => Ok(head.to_string().into()),
        0x80..0xc0 => take(rest, (head & 0x3f).into()),
        0xc0..0xe0 => {
            let bits = i64::from(head & 0x1f) << 8 | next()?.cast_signed();
            // The highest of thirteen bits is the sign.
            Ok((bits - if bits >= 1 << 12 { 1 << 13 } else { 0 }).to_string().into())
        }
        0xe0..0xf0 => {
            let length = u64::from(head & 0x0f) << 8 | next()?;
            take(rest, length)
        }
        0xf0 => {
            let length = rest.try_get_u32_le().map_err(|_| Error::BadDump)?;
            take(rest, length.into())
        }
        0xf1 => take_integer(rest, 2),
        0xf2 => take_integer(rest, 3),
        0xf3 => take_integer(rest, 4),
        0xf4 => take_integer(rest, 8),
        _ => Err(Error::BadDump),
    }
}

/// How many bytes the length of an entry of `size` bytes takes.
fn backward_length(size: usize) -> u64 {
    match size {
        ..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}
