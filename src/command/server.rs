//! Commands about the server itself.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, Wait, args};
use crate::data::{Touch, View, keyspaces};

const ADMIN: Flags = Flags::ADMIN;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("DBSIZE", 1, Group::Server, Flags::READONLY.and(Flags::FAST), Run::Read(dbsize))
        .doc("1.0.0", "", "The number of keys in the selected database.")
        .differs("In database 0 the queues that are not empty count too (`queue:<name>`), as KEYS and SCAN list them; `INFO keyspace` \
             leaves them out."),
    Command::new("FLUSHDB", -1, Group::Server, Flags::WRITE, Run::Write(flushdb)).doc(
        "1.0.0",
        "[ASYNC | SYNC]",
        "Removes all keys of the selected database, at once, however many they are; jobs stay.",
    ),
    Command::new("FLUSHALL", -1, Group::Server, Flags::WRITE, Run::Write(flushall)).doc(
        "1.0.0",
        "[ASYNC | SYNC]",
        "Removes all keys of all databases, at once, however many they are; jobs stay.",
    ),
    Command::new("TIME", 1, Group::Server, Flags::FAST, Run::Write(time))
        .doc("2.6.0", "", "The server's time: Unix seconds, and microseconds within the second.")
        .differs("The microseconds are those of a whole millisecond."),
    Command::new("ROLE", 1, Group::Server, Flags::FAST, Run::Write(role)).doc(
        "2.8.12",
        "",
        "That the server is a master, without replicas.",
    ),
    Command::new("WAIT", 3, Group::Generic, Flags::NONE, Run::Write(wait)).doc(
        "3.0.0",
        "numreplicas timeout",
        "Waits, for replicas that there are not, as long as it is told; answers 0.",
    ),
    Command::new("LOLWUT", -1, Group::Server, Flags::READONLY.and(Flags::FAST), Run::Write(lolwut))
        .doc("5.0.0", "[VERSION version]", "The server's name and version.")
        .differs("Draws nothing, and says AGQ."),
    Command::new("SAVE", 1, Group::Server, ADMIN.and(Flags::NO_MULTI), Run::Write(save)).doc(
        "1.0.0",
        "",
        "Makes a checkpoint before it answers.",
    ),
    Command::new("BGREWRITEAOF", 1, Group::Server, ADMIN, Run::Write(background_rewrite))
        .doc("1.0.0", "", "Makes a checkpoint: the log before it is not needed any more.")
        .differs("The checkpoint is made before it answers."),
];

fn dbsize(ctx: &ReadContext<'_>, _: &Request) -> Outcome {
    Ok(Reply::int(ctx.view.count()?.cast_signed()))
}

fn flushdb(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    check_flush_words(request)?;
    let database = usize::from(ctx.session.database);
    flush(ctx, database..database + 1)
}

fn flushall(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    check_flush_words(request)?;
    flush(ctx, 0..keyspaces::DATABASES)
}

/// ASYNC and SYNC mean the same here: nothing waits for the rows to be removed.
fn check_flush_words(request: &Request) -> Result<(), CommandError> {
    match request.get(1) {
        None => Ok(()),
        Some(word) if request.len() == 2 && (args::is(word, "ASYNC") || args::is(word, "SYNC")) => Ok(()),
        Some(_) => Err(CommandError::SYNTAX),
    }
}

fn flush(ctx: &mut Context<'_, '_>, databases: std::ops::Range<usize>) -> Outcome {
    let mut fresh = ctx.server.keyspaces;
    for database in databases {
        let keyspace = fresh[database];
        if (View { keyspace, ..ctx.view() }).count()? > 0 {
            fresh[database] = keyspaces::flush(ctx.batch, database, keyspace)?;
            ctx.touched.add(|| Touch::Keyspace(keyspace));
        }
    }
    ctx.server.keyspaces = fresh;
    Ok(Reply::ok())
}

fn time(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    let parts = [ctx.now.0 / 1000, ctx.now.0 % 1000 * 1000];
    Ok(Reply::array(parts.map(|part| Reply::bulk(part.to_string()))))
}

fn role(_: &mut Context<'_, '_>, _: &Request) -> Outcome {
    Ok(Reply::array([Reply::bulk("master"), Reply::int(0), Reply::array([])]))
}

fn wait(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let replicas = args::integer(request.arg(1))?;
    let timeout = args::integer(request.arg(2))
        .map_err(|_| CommandError::new("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::new("ERR timeout is negative"))?;
    let none = Reply::int(0);
    if replicas <= 0 {
        return Ok(none);
    }
    let deadline = (timeout > 0).then(|| ctx.now.plus(timeout));
    Err(Halt::Block(Wait { on: Vec::new(), deadline, timeout_reply: none, drained: false, yields: false }))
}

fn lolwut(_: &mut Context<'_, '_>, _: &Request) -> Outcome {
    let text = concat!("AGQ ver. ", env!("CARGO_PKG_VERSION"), "\n");
    Ok(Reply::Verbatim { format: *b"txt", text: text.into() })
}

fn save(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    ctx.server.save_requested = true;
    Ok(Reply::ok())
}

fn background_rewrite(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    ctx.server.save_requested = true;
    Ok(Reply::simple("Background append only file rewriting started"))
}
