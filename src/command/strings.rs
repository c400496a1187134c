//! Commands on strings.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::Kind;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("GET", 2, Group::String, Flags::READONLY.and(Flags::FAST), Run::Read(get)).keys(1, 1, 1).doc(
        "1.0.0",
        "key",
        "The value of a key.",
    ),
    Command::new("SET", -3, Group::String, Flags::WRITE.and(Flags::DENYOOM), Run::Write(set)).keys(1, 1, 1).doc(
        "1.0.0",
        "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
         unix-time-milliseconds | KEEPTTL]",
        "Sets a key to a value, whatever it held.",
    ),
];

fn get(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(ctx.view.get(request.arg(1))?.map_or(Reply::Null, Reply::bulk))
}

/// What becomes of a key's deadline when it is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    None,
    Keep,
    At(Millis),
}

/// The condition of a SET.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

fn set(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (expiry, condition, answer_old) = set_options(request, ctx.now)?;
    let name = request.arg(1);
    let mut edit = ctx.edit();
    let old = edit.record(name)?;
    let mut reply = Reply::ok();
    if answer_old {
        reply = match &old {
            None => Reply::Null,
            Some(record) if record.kind != Kind::String => return Err(crate::data::Error::WrongType.into()),
            Some(record) => Reply::bulk(edit.view().string_of(record)?),
        };
    }
    let wanted = match condition {
        Condition::Always => true,
        Condition::IfAbsent => old.is_none(),
        Condition::IfPresent => old.is_some(),
    };
    if !wanted {
        return Ok(if answer_old { reply } else { Reply::Null });
    }
    let deadline = match expiry {
        Expiry::None => None,
        Expiry::Keep => old.as_ref().and_then(|record| record.deadline),
        Expiry::At(at) => Some(at),
    };
    edit.set_string(name, old.as_ref(), request.bytes(2), deadline)?;
    Ok(reply)
}

fn set_options(request: &Request, now: Millis) -> Result<(Expiry, Condition, bool), Halt> {
    let mut options = args::Options::new(request, 3);
    let (mut expiry, mut condition, mut answer_old) = (Expiry::None, Condition::Always, false);
    while let Some(word) = options.word() {
        if args::is(word, "NX") && condition != Condition::IfPresent {
            condition = Condition::IfAbsent;
        } else if args::is(word, "XX") && condition != Condition::IfAbsent {
            condition = Condition::IfPresent;
        } else if args::is(word, "GET") {
            answer_old = true;
        } else if args::is(word, "KEEPTTL") && expiry == Expiry::None {
            expiry = Expiry::Keep;
        } else if let (Some(unit), Expiry::None) = (args::ExpireUnit::of(word), expiry) {
            expiry = Expiry::At(unit.deadline(options.value()?, now, "set")?);
        } else {
            return Err(CommandError::SYNTAX.into());
        }
    }
    Ok((expiry, condition, answer_old))
}
