//! DUMP and RESTORE: a key's value as one string, in Redis's own form.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::notices::Classes;
use crate::data::{Kind, View, dump};

/// Elements, and bytes of a string, that DUMP reads on the core thread.
const HEAVY_ELEMENTS: u64 = 10_000;
const HEAVY_BYTES: u64 = 1 << 20;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("DUMP", 2, Group::Generic, Flags::READONLY, Run::Read(dump))
        .keys(1, 1, 1)
        .doc("2.6.0", "key", "The value of a key as one string, in the form that RESTORE reads.")
        .heavy(is_heavy)
        .differs("Nothing is packed or compressed: the string is another than Redis's, which reads it all the same."),
    Command::new("RESTORE", -4, Group::Generic, Flags::WRITE.and(Flags::DENYOOM), Run::Write(restore))
        .keys(1, 1, 1)
        .doc(
            "2.6.0",
            "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
            "Makes a key of what DUMP gave, here or in a Redis up to 7.0.",
        )
        .differs(
            "Streams and values of modules are refused as bad data, and so is what Redis checks only with \
             sanitize-dump-payload: a field that stands there twice, counts that are wrong. IDLETIME and FREQ are \
             checked and say nothing: no key is ever evicted.",
        ),
];

fn is_heavy(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    let (view, name) = (&ctx.view, request.arg(1));
    let Some(record) = view.record(name)? else { return Ok(false) };
    Ok(match record.kind {
        Kind::String => View::string_record_len(&record)? > HEAVY_BYTES,
        Kind::List => view.list_len(name)? > HEAVY_ELEMENTS,
        Kind::Hash => view.hash_len(name)? > HEAVY_ELEMENTS,
        Kind::Set => view.set(name)?.is_some_and(|set| set.len() > HEAVY_ELEMENTS),
        Kind::SortedSet => view.sorted_set(name)?.is_some_and(|set| set.len() > HEAVY_ELEMENTS),
    })
}

fn dump(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let name = request.arg(1);
    let Some(record) = ctx.view.record(name)? else { return Ok(Reply::Null) };
    Ok(Reply::bulk(dump::encode(&ctx.view.value(name, &record)?)))
}

/// What stands behind the payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    fn read(request: &Request) -> Result<Options, CommandError> {
        let mut read = Options::default();
        let (mut idle, mut frequency) = (false, false);
        let mut options = args::Options::new(request, 4);
        while let Some(word) = options.word() {
            if args::is(word, "REPLACE") {
                read.replace = true;
            } else if args::is(word, "ABSTTL") {
                read.absolute = true;
            } else if args::is(word, "IDLETIME") && options.left() > 0 && !frequency {
                if args::integer(options.value()?)? < 0 {
                    return Err(CommandError::new("ERR Invalid IDLETIME value, must be >= 0"));
                }
                idle = true;
            } else if args::is(word, "FREQ") && options.left() > 0 && !idle {
                if !(0..=255).contains(&args::integer(options.value()?)?) {
                    return Err(CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                }
                frequency = true;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(read)
    }
}

fn restore(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let options = Options::read(request)?;
    let (name, now) = (request.arg(1), ctx.now);
    let mut edit = ctx.edit();
    let old = edit.record(name)?;
    if old.is_some() && !options.replace {
        return Err(CommandError::new("BUSYKEY Target key name already exists.").into());
    }
    let ttl = args::integer(request.arg(2))?;
    let ttl = u64::try_from(ttl).map_err(|_| CommandError::new("ERR Invalid TTL value, must be >= 0"))?;
    let value = dump::decode(&request.bytes(3))?;
    let deadline = match ttl {
        0 => None,
        _ if options.absolute => Some(Millis(ttl)),
        // Past the end of time Redis's sum wraps around: the moment has then long been.
        _ => Some(Millis(ttl.checked_add(now.0).filter(|at| i64::try_from(*at).is_ok()).unwrap_or(0))),
    };
    if deadline.is_some_and(|at| at <= now) {
        if let Some(old) = old {
            edit.delete(name, &old)?;
            edit.notice_gone(name);
        }
    } else {
        edit.put_value(name, old.as_ref(), value, deadline)?;
        edit.notice(Classes::NEW, "new", name);
        edit.notice(Classes::GENERIC, "restore", name);
    }
    Ok(Reply::ok())
}
