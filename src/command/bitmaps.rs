//! Strings as bitmaps: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Bit 0 is the highest of the first byte.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::notices::Classes;
use crate::data::strings::MAX_BYTES;
use crate::data::{Kind, Record, Result as DataResult, View};

/// Bytes that are counted or searched on the core thread.
const HEAVY_BYTES: u64 = 4 << 20;
/// Bytes looked at at a time.
const WINDOW: u64 = 1 << 20;

const READ: Flags = Flags::READONLY;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    row("SETBIT", 4, Flags::WRITE.and(Flags::DENYOOM), Run::Write(setbit)).doc(
        "2.2.0",
        "key offset value",
        "Sets a bit of a string; answers what it was.",
    ),
    row("GETBIT", 3, READ.and(Flags::FAST), Run::Read(getbit)).doc("2.2.0", "key offset", "A bit of a string."),
    row("BITCOUNT", -2, READ, Run::Read(bitcount)).heavy(is_long).doc(
        "2.6.0",
        "key [start end [BYTE | BIT]]",
        "How many bits of a string are set.",
    ),
    row("BITPOS", -3, READ, Run::Read(bitpos)).heavy(is_long).doc(
        "2.8.7",
        "key bit [start [end [BYTE | BIT]]]",
        "Where the first bit of a value stands in a string.",
    ),
    row("BITOP", -4, Flags::WRITE.and(Flags::DENYOOM), Run::Write(bitop)).keys(2, -1, 1).doc(
        "2.6.0",
        "AND | OR | XOR | NOT destkey key [key ...]",
        "Puts strings combined bit by bit into another; answers its length.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Bitmap, flags, run).keys(1, 1, 1)
}

/// A bit's place, which must lie within the longest string; with `#` in front, counted in fields of `width` bits.
pub(super) fn bit_offset(text: &[u8], width: Option<u64>) -> Result<u64, CommandError> {
    let refused = || CommandError::new("ERR bit offset is not an integer or out of range");
    let (text, factor) = match (text.strip_prefix(b"#"), width) {
        (Some(rest), Some(width)) => (rest, width),
        _ => (text, 1),
    };
    let offset = args::integer(text).ok().and_then(|offset| u64::try_from(offset).ok()).ok_or_else(refused)?;
    let offset = offset.checked_mul(factor).ok_or_else(refused)?;
    if offset / 8 >= MAX_BYTES as u64 { Err(refused()) } else { Ok(offset) }
}

fn setbit(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let offset = bit_offset(request.arg(2), None)?;
    let bit = match request.arg(3) {
        b"0" => 0,
        b"1" => 1,
        _ => return Err(CommandError::new("ERR bit is not an integer or out of range").into()),
    };
    let (name, byte, shift) = (request.arg(1), offset / 8, 7 - offset % 8);
    let mut edit = ctx.edit();
    let record = edit.record_of(name, Kind::String)?;
    let length = record.as_ref().map_or(Ok(0), View::string_record_len)?;
    let old = bytes_of(&edit.view(), record.as_ref(), byte, byte + 1)?.first().copied().unwrap_or(0);
    let new = old & !(1 << shift) | bit << shift;
    if new != old || byte >= length {
        edit.write_string_part(name, byte, &vec![new].into())?;
        edit.notice(Classes::STRING, "setbit", name);
    }
    Ok(Reply::int(i64::from(old >> shift & 1)))
}

fn getbit(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let offset = bit_offset(request.arg(2), None)?;
    let record = ctx.view.record_of(request.arg(1), Kind::String)?;
    let byte = bytes_of(&ctx.view, record.as_ref(), offset / 8, offset / 8 + 1)?.first().copied().unwrap_or(0);
    Ok(Reply::int(i64::from(byte >> (7 - offset % 8) & 1)))
}

/// The bytes of a string from `from` on up to `to`; zeros behind its end.
pub(super) fn bytes_of(view: &View<'_>, record: Option<&Record>, from: u64, to: u64) -> DataResult<Vec<u8>> {
    let length = record.map_or(Ok(0), View::string_record_len)?;
    let mut bytes = match record {
        Some(record) if from < length => view.string_part(record, from, to.min(length))?.to_vec(),
        _ => Vec::new(),
    };
    bytes.resize(usize::try_from(to - from).unwrap_or(usize::MAX), 0);
    Ok(bytes)
}

fn is_long(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    Ok(ctx.view.string_len(request.arg(1))? > HEAVY_BYTES)
}

/// The bits from `start` up to, not including, `end`, that a request means; the rest of its arguments from `place` on is
/// `start [end [BYTE | BIT]]`. `None` when those are none.
fn bit_range(request: &Request, place: usize, length: u64) -> Result<Option<(u64, u64)>, CommandError> {
    let start = args::integer(request.get(place).unwrap_or(b"0"))?;
    let unit = match request.get(place + 2) {
        None => Ok(false),
        Some(word) if args::is(word, "BIT") => Ok(true),
        Some(word) if args::is(word, "BYTE") => Ok(false),
        Some(_) => Err(CommandError::SYNTAX),
    };
    // BITPOS looks at the unit before the end, BITCOUNT after all else, and only that knows ranges that end before they
    // begin.
    let counts = place == 2;
    if !counts {
        unit.clone()?;
    }
    let end = args::integer(request.get(place + 1).unwrap_or(b"-1"))?;
    if counts && start < 0 && end < 0 && start > end {
        return Ok(None);
    }
    let in_bits = unit?;
    let total = (if in_bits { length * 8 } else { length }).cast_signed();
    let place = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(total - 1));
    if start > end {
        return Ok(None);
    }
    let scale = if in_bits { 1 } else { 8 };
    Ok(Some((start.cast_unsigned() * scale, (end.cast_unsigned() + 1) * scale)))
}

/// Visits the bytes that hold the bits `from..to` of a string: the bit the byte begins at, the byte, and which of its
/// bits are meant. Stops when the visitor answers something.
fn walk<T>(
    view: &View<'_>,
    record: &Record,
    (from, to): (u64, u64),
    mut visit: impl FnMut(u64, u8, u8) -> Option<T>,
) -> DataResult<Option<T>> {
    let (mut at, end) = (from / 8, to.div_ceil(8));
    while at < end {
        let stop = end.min(at + WINDOW);
        for (byte, place) in view.string_part(record, at, stop)?.iter().zip(at..) {
            let first = if place == from / 8 { 0xff >> (from % 8) } else { 0xff };
            let last = if place == to / 8 { !(0xff >> (to % 8)) } else { 0xff };
            if let Some(found) = visit(place * 8, *byte, first & last) {
                return Ok(Some(found));
            }
        }
        at = stop;
    }
    Ok(None)
}

fn bitcount(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let Some(record) = ctx.view.record_of(request.arg(1), Kind::String)? else { return Ok(Reply::int(0)) };
    if !matches!(request.len(), 2 | 4 | 5) {
        return Err(CommandError::SYNTAX.into());
    }
    let length = View::string_record_len(&record)?;
    let Some(range) = bit_range(request, 2, length)? else { return Ok(Reply::int(0)) };
    let mut count = 0;
    walk(&ctx.view, &record, range, |_, byte, mask| {
        count += i64::from((byte & mask).count_ones());
        None::<()>
    })?;
    Ok(Reply::int(count))
}

fn bitpos(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let bit = match args::integer(request.arg(2))? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::new("ERR The bit argument must be 1 or 0.").into()),
    };
    let Some(record) = ctx.view.record_of(request.arg(1), Kind::String)? else {
        return Ok(Reply::int(if bit { -1 } else { 0 }));
    };
    if request.len() > 6 {
        return Err(CommandError::SYNTAX.into());
    }
    let length = View::string_record_len(&record)?;
    let Some(range) = bit_range(request, 3, length)? else { return Ok(Reply::int(-1)) };
    let found = walk(&ctx.view, &record, range, |at, byte, mask| {
        let wanted = (if bit { byte } else { !byte }) & mask;
        (wanted != 0).then(|| at + u64::from(wanted.leading_zeros()))
    })?;
    Ok(Reply::int(match found {
        Some(at) => at.cast_signed(),
        // A string goes on with zeros where nobody says that it ends.
        None if !bit && request.len() < 5 => (length * 8).cast_signed(),
        None => -1,
    }))
}

fn bitop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let word = request.arg(1).to_ascii_uppercase();
    let operation: fn(u8, u8) -> u8 = match &word[..] {
        b"AND" => |a, b| a & b,
        b"OR" => |a, b| a | b,
        b"XOR" => |a, b| a ^ b,
        b"NOT" => |a, _| !a,
        _ => return Err(CommandError::SYNTAX.into()),
    };
    if word == b"NOT" && request.len() != 4 {
        return Err(CommandError::new("ERR BITOP NOT must be called with a single source key.").into());
    }
    let target = request.arg(2);
    let mut edit = ctx.edit();
    let mut sources = Vec::with_capacity(request.len() - 3);
    for source in request.iter().skip(3) {
        sources.push(edit.view().get(source)?.unwrap_or_default());
    }
    let length = sources.iter().map(bytes::Bytes::len).max().unwrap_or(0);
    let (first, others) = sources.split_first().ok_or(CommandError::SYNTAX)?;
    let mut result = first.to_vec();
    result.resize(length, 0);
    if word == b"NOT" {
        result.iter_mut().for_each(|byte| *byte = operation(*byte, 0));
    }
    for other in others {
        let other = other.iter().copied().chain(std::iter::repeat(0));
        result.iter_mut().zip(other).for_each(|(byte, other)| *byte = operation(*byte, other));
    }
    let old = edit.record(target)?;
    match old {
        Some(old) if length == 0 => {
            edit.delete(target, &old)?;
            edit.notice_gone(target);
        }
        None if length == 0 => {}
        old => {
            edit.set_string(target, old.as_ref(), result.into(), None)?;
            edit.notice(Classes::STRING, "set", target);
        }
    }
    Ok(Reply::int(i64::try_from(length).unwrap_or(i64::MAX)))
}
