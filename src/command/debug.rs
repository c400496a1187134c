//! DEBUG: the little of it that harms nobody.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args, object, subcommand};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command::new("DEBUG", -2, Group::Server, Flags::ADMIN.and(Flags::CONTAINER), Run::Write(debug))
        .doc("1.0.0", "OBJECT key | PROTOCOL type", "How a key is stored; a reply of a type, for tests of clients.")
        .differs("Everything else is refused, as Redis by default refuses all of DEBUG.")];

fn debug(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if args::is(request.arg(1), "OBJECT") {
        subcommand::takes(request, 3..=3)?;
        let Some(record) = ctx.view().record(request.arg(2))? else {
            return Err(CommandError::new("ERR no such key").into());
        };
        let encoding = ctx.view().working(|view| object::encoding(view, request.arg(2), &record))?;
        let bytes = record.encode().len();
        return Ok(Reply::Simple(
            format!("Value refcount:1 encoding:{encoding} recordlength:{bytes} lru_seconds_idle:0").into(),
        ));
    }
    if args::is(request.arg(1), "PROTOCOL") {
        subcommand::takes(request, 3..=3)?;
        return protocol(request);
    }
    #[cfg(debug_assertions)]
    if args::is(request.arg(1), "PANIC") {
        // A test sees that what was done so far is taken back. A release refuses it, as everything else.
        ctx.edit().append_string(b"half-done", Bytes::from_static(b"x"))?;
        panic!("DEBUG PANIC was asked for");
    }
    Err(CommandError::new("ERR DEBUG command not allowed. AGQ knows DEBUG OBJECT and DEBUG PROTOCOL only.").into())
}

/// A reply of the type that is asked for.
fn protocol(request: &Request) -> Outcome {
    let is = |name| args::is(request.arg(2), name);
    let numbers = || (0..3).map(Reply::int);
    let reply = match () {
        () if is("string") => Reply::bulk("Hello World"),
        () if is("integer") => Reply::int(12345),
        () if is("double") => Reply::Double(2.5),
        () if is("null") => Reply::Null,
        () if is("array") => Reply::array(numbers()),
        () if is("set") => Reply::Set(numbers().collect()),
        () if is("map") => Reply::map((0..3).map(|number| (Reply::int(number), Reply::Bool(number == 1)))),
        () if is("verbatim") => Reply::Verbatim { format: *b"txt", text: "This is a verbatim\nstring".into() },
        () if is("bignum") => Reply::BigNumber(Bytes::from_static(b"1234567999999999999999999999999999999")),
        () if is("true") => Reply::Bool(true),
        () if is("false") => Reply::Bool(false),
        () => {
            return Err(CommandError::new(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|null|array|set|map|verbatim|bignum|true|false",
            )
            .into());
        }
    };
    Ok(reply)
}
