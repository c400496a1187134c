//! BITFIELD: integers of any width within a string.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::bitmaps::{bit_offset, bytes_of};
use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, ReadContext, Run, args};
use crate::data::notices::Classes;
use crate::data::{Edit, Kind, Record, Result as DataResult, View};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("BITFIELD", -2, Group::Bitmap, Flags::WRITE.and(Flags::DENYOOM), Run::Write(bitfield))
        .keys(1, 1, 1)
        .doc(
            "3.2.0",
            "key [GET encoding offset | [OVERFLOW WRAP | SAT | FAIL] SET encoding offset value | \
             [OVERFLOW WRAP | SAT | FAIL] INCRBY encoding offset increment ...]",
            "Reads, sets and adds to integers of any width within a string.",
        )
        .differs("A field that ends behind the 512 MiB of a string is refused; Redis makes the string longer."),
    Command::new("BITFIELD_RO", -2, Group::Bitmap, Flags::READONLY.and(Flags::FAST), Run::Read(bitfield_ro))
        .keys(1, 1, 1)
        .doc("6.0.0", "key [GET encoding offset ...]", "Reads integers of any width within a string."),
];

/// What happens to a number that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// An integer within a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    signed: bool,
    /// Bits, 1 to 64.
    width: u32,
    /// Where its first bit stands.
    offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Get,
    Set(i64),
    Add(i64),
}

struct Operation {
    field: Field,
    change: Change,
    overflow: Overflow,
}

impl Field {
    fn read(encoding: &[u8], offset: &[u8]) -> Result<Field, CommandError> {
        let invalid = || {
            CommandError::new(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )
        };
        let (signed, most, digits) = match encoding {
            [b'i', digits @ ..] => (true, 64, digits),
            [b'u', digits @ ..] => (false, 63, digits),
            _ => return Err(invalid()),
        };
        let width = args::integer(digits).ok().and_then(|width| u32::try_from(width).ok());
        let width = width.filter(|width| (1..=most).contains(width)).ok_or_else(invalid)?;
        Ok(Field { signed, width, offset: bit_offset(offset, Some(width.into()))? })
    }

    /// The bytes it stands in: from the first to behind the last.
    fn bytes(&self) -> (u64, u64) {
        (self.offset / 8, (self.offset + u64::from(self.width)).div_ceil(8))
    }

    /// How far its last bit is from the end of its last byte.
    fn shift(&self) -> u32 {
        (8 - (self.offset + u64::from(self.width)) % 8) as u32 % 8
    }

    fn mask(&self) -> u128 {
        (1 << self.width) - 1
    }

    /// Its value within its bytes.
    fn value(&self, bytes: &[u8]) -> i128 {
        let whole = bytes.iter().fold(0, |whole: u128, byte| whole << 8 | u128::from(*byte));
        let bits = (whole >> self.shift() & self.mask()).cast_signed();
        if self.signed && bits >> (self.width - 1) == 1 { bits - (1 << self.width) } else { bits }
    }

    /// Its bytes with another value.
    fn put(&self, bytes: &[u8], value: i128) -> Vec<u8> {
        let whole = bytes.iter().fold(0, |whole: u128, byte| whole << 8 | u128::from(*byte));
        let (mask, shift) = (self.mask(), self.shift());
        let whole = whole & !(mask << shift) | (value.cast_unsigned() & mask) << shift;
        whole.to_be_bytes()[16 - bytes.len()..].to_vec()
    }

    /// The nearest that the field can hold to a number, or what is left of it; `None` when it must fit and does not.
    fn fit(&self, number: i128, overflow: Overflow) -> Option<i128> {
        let (low, high) = match self.signed {
            true => (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1),
            false => (0, (1 << self.width) - 1),
        };
        if (low..=high).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate => Some(number.clamp(low, high)),
            Overflow::Wrap => {
                let bits = number & self.mask().cast_signed();
                Some(if self.signed && bits > high { bits - (1 << self.width) } else { bits })
            }
        }
    }
}

fn operations(request: &Request) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut options = args::Options::new(request, 2);
    while let Some(word) = options.word() {
        let enough = |count| if options.left() >= count { Ok(()) } else { Err(CommandError::SYNTAX) };
        if args::is(word, "OVERFLOW") && options.left() >= 1 {
            let words = [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
            let word = options.value()?;
            let found = words.into_iter().find(|(name, _)| args::is(word, name));
            let unknown = CommandError::new("ERR Invalid OVERFLOW type specified");
            overflow = found.ok_or(unknown)?.1;
            continue;
        }
        let takes = match word {
            word if args::is(word, "GET") => 2,
            word if args::is(word, "SET") || args::is(word, "INCRBY") => 3,
            _ => return Err(CommandError::SYNTAX),
        };
        enough(takes)?;
        let field = Field::read(options.value()?, options.value()?)?;
        let change = match takes {
            2 => Change::Get,
            _ if args::is(word, "SET") => Change::Set(args::integer(options.value()?)?),
            _ => Change::Add(args::integer(options.value()?)?),
        };
        operations.push(Operation { field, change, overflow });
    }
    Ok(operations)
}

fn field_value(view: &View<'_>, record: Option<&Record>, field: Field) -> DataResult<(Vec<u8>, i128)> {
    let (from, to) = field.bytes();
    let bytes = bytes_of(view, record, from, to)?;
    let value = field.value(&bytes);
    Ok((bytes, value))
}

fn number(value: i128) -> Reply {
    Reply::int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn bitfield_ro(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let operations = operations(request)?;
    if operations.iter().any(|operation| operation.change != Change::Get) {
        return Err(CommandError::new("ERR BITFIELD_RO only supports the GET subcommand").into());
    }
    let record = ctx.view.record_of(request.arg(1), Kind::String)?;
    let value = |operation: Operation| Ok(number(field_value(&ctx.view, record.as_ref(), operation.field)?.1));
    Ok(Reply::Array(operations.into_iter().map(value).collect::<DataResult<_>>()?))
}

fn bitfield(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let operations = operations(request)?;
    let name = request.arg(1);
    let mut edit = ctx.edit();
    let record = edit.record_of(name, Kind::String)?;
    let length = record.as_ref().map_or(Ok(0), View::string_record_len)?;
    let mut changed = false;
    // As in Redis, the string is made long enough for all that may be written, even if nothing then is.
    let writes = operations.iter().filter(|operation| operation.change != Change::Get);
    if let Some(end) = writes.map(|operation| operation.field.bytes().1).max()
        && end > length
    {
        edit.write_string_part(name, end - 1, &Bytes::from_static(&[0]))?;
        changed = true;
    }
    let mut replies = Vec::with_capacity(operations.len());
    for operation in operations {
        let (reply, wrote) = operate(&mut edit, name, &operation)?;
        replies.push(reply);
        changed |= wrote;
    }
    if changed {
        edit.notice(Classes::STRING, "setbit", name);
    }
    Ok(Reply::Array(replies))
}

/// Does one operation; answers its reply, and whether it wrote something.
fn operate(edit: &mut Edit<'_, '_>, name: &[u8], operation: &Operation) -> DataResult<(Reply, bool)> {
    let Operation { field, change, overflow } = *operation;
    let record = edit.record_of(name, Kind::String)?;
    let (bytes, old) = field_value(&edit.view(), record.as_ref(), field)?;
    let wanted = match change {
        Change::Get => return Ok((number(old), false)),
        Change::Set(value) if field.signed => value.into(),
        Change::Set(value) => value.cast_unsigned().into(),
        Change::Add(change) => old + i128::from(change),
    };
    let Some(new) = field.fit(wanted, overflow) else { return Ok((Reply::Null, false)) };
    if new != old {
        edit.write_string_part(name, field.bytes().0, &field.put(&bytes, new).into())?;
    }
    Ok((number(if matches!(change, Change::Set(_)) { old } else { new }), new != old))
}
