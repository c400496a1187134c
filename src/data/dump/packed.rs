//! Sets of integers in one row of bytes, and the form that small hashes had before Redis 2.6.

use bytes::{Buf, Bytes};

use crate::data::dump::reader::{Elements, take, take_integer};
use crate::data::{Error, Result};

/// Takes all members of an intset: `[size of an integer u32][members u32][integer …]`, lowest byte first.
///
/// # Errors
/// [`Error::BadDump`] when it is none.
pub(super) fn intset(mut rest: Bytes, found: &mut Elements) -> Result<()> {
    let header = |rest: &mut Bytes| rest.try_get_u32_le().map_err(|_| Error::BadDump);
    let (size, count) = (header(&mut rest)?, header(&mut rest)?);
    let fits = matches!(size, 2 | 4 | 8) && u64::from(size) * u64::from(count) == rest.len() as u64;
    if !fits {
        return Err(Error::BadDump);
    }
    (0..count).try_for_each(|_| found.push(take_integer(&mut rest, size as usize)?))
}

/// Takes all fields and values of a zipmap: `[fields u8]`, each field as `[length][bytes]` and its value as
/// `[length][unused u8][bytes][unused bytes]`, and `ff`.
///
/// # Errors
/// [`Error::BadDump`] when it is none.
pub(super) fn zipmap(mut rest: Bytes, found: &mut Elements) -> Result<()> {
    /// The count when there are too many fields for it.
    const UNCOUNTED: u8 = 254;
    let counted = rest.try_get_u8().map_err(|_| Error::BadDump)?;
    let mut fields = 0_usize;
    while let Some(length) = zipmap_length(&mut rest)? {
        found.push(take(&mut rest, length)?)?;
        let length = zipmap_length(&mut rest)?.ok_or(Error::BadDump)?;
        let unused = rest.try_get_u8().map_err(|_| Error::BadDump)?;
        found.push(take(&mut rest, length)?)?;
        take(&mut rest, unused.into())?;
        fields += 1;
    }
    let is_counted = counted >= UNCOUNTED || usize::from(counted) == fields;
    if rest.is_empty() && is_counted { Ok(()) } else { Err(Error::BadDump) }
}

/// A length, or `None` at the end.
fn zipmap_length(rest: &mut Bytes) -> Result<Option<u64>> {
    match rest.try_get_u8().map_err(|_| Error::BadDump)? {
        255 => Ok(None),
        254 => Ok(Some(rest.try_get_u32_le().map_err(|_| Error::BadDump)?.into())),
        length => Ok(Some(length.into())),
    }
}
