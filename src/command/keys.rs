//! Commands on keys of any type.

use std::ops::{Bound, ControlFlow};

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::args::ExpireUnit;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::Error;
use crate::data::glob::{self, Glob};
use crate::data::notices::Classes;

/// Keys that KEYS may walk over on the core thread.
const HEAVY_KEYS: u64 = 10_000;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const FAST: Flags = Flags::FAST;

const fn row(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Generic, flags, run).keys(1, 1, 1)
}

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    row("DEL", -2, WRITE, Run::Write(del)).keys(1, -1, 1).doc(
        "1.0.0",
        "key [key ...]",
        "Removes keys; answers how many there were.",
    ),
    row("UNLINK", -2, WRITE.and(FAST), Run::Write(del)).keys(1, -1, 1).doc(
        "4.0.0",
        "key [key ...]",
        "Removes keys, as DEL does: neither waits for the elements to be removed.",
    ),
    row("EXISTS", -2, READ.and(FAST), Run::Read(exists)).keys(1, -1, 1).doc(
        "1.0.0",
        "key [key ...]",
        "How many of the keys exist, each counted as often as it is named.",
    ),
    row("TYPE", 2, READ.and(FAST), Run::Read(type_of)).doc("1.0.0", "key", "The type of a key, or none."),
    row("RENAME", 3, WRITE, Run::Write(rename)).keys(1, 2, 1).doc(
        "1.0.0",
        "key newkey",
        "Gives a key another name, in place of what stood there.",
    ),
    row("RENAMENX", 3, WRITE.and(FAST), Run::Write(renamenx)).keys(1, 2, 1).doc(
        "1.0.0",
        "key newkey",
        "Gives a key another name, unless that is taken; answers whether it did.",
    ),
    row("TOUCH", -2, READ.and(FAST), Run::Read(exists)).keys(1, -1, 1).doc(
        "3.2.1",
        "key [key ...]",
        "How many of the keys exist, each counted as often as it is named.",
    ),
    row("KEYS", 2, READ, Run::Read(keys))
        .keys(0, 0, 0)
        .doc("1.0.0", "pattern", "All keys whose names match a pattern.")
        .heavy(|ctx, _| Ok(ctx.view.count()? > HEAVY_KEYS))
        .differs("The keys come in the order of their names. A pattern has 1,024 bytes at most."),
    row("EXPIRE", -3, WRITE.and(FAST), Run::Write(expire)).doc(
        "1.0.0",
        "key seconds [NX | XX | GT | LT]",
        "Lets a key expire after so many seconds.",
    ),
    row("PEXPIRE", -3, WRITE.and(FAST), Run::Write(pexpire)).doc(
        "2.6.0",
        "key milliseconds [NX | XX | GT | LT]",
        "Lets a key expire after so many milliseconds.",
    ),
    row("EXPIREAT", -3, WRITE.and(FAST), Run::Write(expireat)).doc(
        "1.2.0",
        "key unix-time-seconds [NX | XX | GT | LT]",
        "Lets a key expire at a moment.",
    ),
    row("PEXPIREAT", -3, WRITE.and(FAST), Run::Write(pexpireat)).doc(
        "2.6.0",
        "key unix-time-milliseconds [NX | XX | GT | LT]",
        "Lets a key expire at a moment, to the millisecond.",
    ),
    row("PERSIST", 2, WRITE.and(FAST), Run::Write(persist)).doc(
        "2.2.0",
        "key",
        "Lets a key not expire; answers whether it would have.",
    ),
    row("TTL", 2, READ.and(FAST), Run::Read(ttl)).doc(
        "1.0.0",
        "key",
        "Seconds until a key expires; -1 when it does not, -2 when there is none.",
    ),
    row("PTTL", 2, READ.and(FAST), Run::Read(pttl)).doc(
        "2.6.0",
        "key",
        "Milliseconds until a key expires; -1 when it does not, -2 when there is none.",
    ),
    row("EXPIRETIME", 2, READ.and(FAST), Run::Read(expiretime)).doc(
        "7.0.0",
        "key",
        "The Unix second at which a key expires; -1 when it does not, -2 when there is none.",
    ),
    row("PEXPIRETIME", 2, READ.and(FAST), Run::Read(pexpiretime)).doc(
        "7.0.0",
        "key",
        "The Unix millisecond at which a key expires; -1 when it does not, -2 when there is none.",
    ),
];

fn del(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let mut removed = 0;
    for name in request.iter().skip(1) {
        if let Some(record) = edit.record(name)? {
            edit.delete(name, &record)?;
            edit.notice_gone(name);
            removed += 1;
        }
    }
    Ok(Reply::int(removed))
}

fn exists(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut found = 0;
    for name in request.iter().skip(1) {
        found += i64::from(ctx.view.record(name)?.is_some());
    }
    Ok(Reply::int(found))
}

fn type_of(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let record = ctx.view.record(request.arg(1))?;
    Ok(Reply::simple(record.map_or("none", |record| record.kind.name())))
}

fn rename(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    give_name(ctx, request, false)?;
    Ok(Reply::ok())
}

fn renamenx(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::int(give_name(ctx, request, true)?.into()))
}

/// Gives a key another name, with `only_new` unless that is taken; answers whether it did.
fn give_name(ctx: &mut Context<'_, '_>, request: &Request, only_new: bool) -> Result<bool, Halt> {
    let (from, to) = (request.arg(1), request.arg(2));
    let mut edit = ctx.edit();
    let record = edit.record(from)?.ok_or(Error::NoSuchKey)?;
    let replaced = edit.record(to)?;
    if only_new && replaced.is_some() {
        return Ok(false);
    }
    if from != to {
        edit.forget(from, &record)?;
        edit.replace(to, replaced.as_ref(), &record)?;
        edit.notice(Classes::GENERIC, "rename_from", from);
        edit.notice(Classes::GENERIC, "rename_to", to);
    }
    Ok(true)
}

fn keys(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let pattern = args::pattern(request.arg(1))?;
    let (prefix, glob) = (glob::literal_prefix(pattern), Glob::new(pattern));
    let (mut found, mut failed) = (Vec::new(), None);
    ctx.view.walk(Bound::Included(prefix), &mut |name, head| {
        if !name.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        if head.is_live(ctx.view.now) && glob.matches(name) {
            if let Err(error) = ctx.view.rows.collect(name.len()) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            found.push(Reply::bulk(Bytes::copy_from_slice(name)));
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or_else(|| Ok(Reply::array(found)), |error| Err(error.into()))
}

fn expire(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    expire_by(ctx, request, ExpireUnit::SECONDS, "expire")
}

fn pexpire(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    expire_by(ctx, request, ExpireUnit::MILLISECONDS, "pexpire")
}

fn expireat(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    expire_by(ctx, request, ExpireUnit::UNIX_SECONDS, "expireat")
}

fn pexpireat(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    expire_by(ctx, request, ExpireUnit::UNIX_MILLISECONDS, "pexpireat")
}

/// Which deadlines an EXPIRE may replace.
#[derive(Default)]
struct ExpireRule {
    only_new: bool,
    only_existing: bool,
    later: bool,
    earlier: bool,
}

impl ExpireRule {
    fn read(request: &Request) -> Result<ExpireRule, CommandError> {
        let mut rule = ExpireRule::default();
        for word in request.iter().skip(3) {
            let options: [(&str, &mut bool); 4] = [
                ("NX", &mut rule.only_new),
                ("XX", &mut rule.only_existing),
                ("GT", &mut rule.later),
                ("LT", &mut rule.earlier),
            ];
            let Some((_, option)) = options.into_iter().find(|(name, _)| args::is(word, name)) else {
                let word = String::from_utf8_lossy(&word[..word.len().min(128)]);
                return Err(CommandError::new(format!("ERR Unsupported option {word}")));
            };
            *option = true;
        }
        if rule.only_new && (rule.only_existing || rule.later || rule.earlier) {
            return Err(CommandError::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if rule.later && rule.earlier {
            return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(rule)
    }

    /// A key without a deadline counts as one that never expires.
    fn allows(&self, old: Option<Millis>, new: Millis) -> bool {
        !(self.only_new && old.is_some()
            || self.only_existing && old.is_none()
            || self.later && old.is_none_or(|old| new <= old)
            || self.earlier && old.is_some_and(|old| new >= old))
    }
}

fn expire_by(ctx: &mut Context<'_, '_>, request: &Request, unit: ExpireUnit, command: &str) -> Outcome {
    let rule = ExpireRule::read(request)?;
    let value = args::integer(request.arg(2))?;
    let invalid = || CommandError::new(format!("ERR invalid expire time in '{command}' command"));
    let at = unit.moment(value, ctx.now).ok_or_else(invalid)?;
    let name = request.arg(1);
    let mut edit = ctx.edit();
    let Some(record) = edit.record(name)? else { return Ok(Reply::int(0)) };
    if !rule.allows(record.deadline, at) {
        return Ok(Reply::int(0));
    }
    if at <= edit.now {
        edit.delete(name, &record)?;
        edit.notice_gone(name);
    } else {
        edit.set_deadline(name, record, Some(at))?;
        edit.notice(Classes::GENERIC, "expire", name);
    }
    Ok(Reply::int(1))
}

fn persist(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    match edit.record(request.arg(1))? {
        Some(record) if record.deadline.is_some() => {
            edit.set_deadline(request.arg(1), record, None)?;
            edit.notice(Classes::GENERIC, "persist", request.arg(1));
            Ok(Reply::int(1))
        }
        _ => Ok(Reply::int(0)),
    }
}

fn ttl(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    expiry(ctx, request, |at| rounded(at.since(ctx.view.now)))
}

fn pttl(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    expiry(ctx, request, |at| at.since(ctx.view.now))
}

fn expiretime(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    expiry(ctx, request, |at| rounded(at.0))
}

fn pexpiretime(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    expiry(ctx, request, |at| at.0)
}

/// Seconds, to the nearest, as in Redis.
fn rounded(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

fn expiry(ctx: &ReadContext<'_>, request: &Request, told: impl Fn(Millis) -> u64) -> Outcome {
    Ok(Reply::int(match ctx.view.record(request.arg(1))? {
        None => -2,
        Some(record) => record.deadline.map_or(-1, |at| told(at).cast_signed()),
    }))
}
