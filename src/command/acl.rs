//! ACL: the one user there is, as Redis would describe it.

use std::fmt::Write as _;

use agq_resp::{Reply, Request};
use sha2::{Digest, Sha256};

use crate::command::{
    Command, CommandError, Context, Flags, Group, Outcome, Run, args, catalog, lookup, subcommand, table,
};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command::new("ACL", -2, Group::Server, Flags::NONE.and(Flags::CONTAINER), Run::Write(acl))
        .doc(
            "6.0.0",
            "CAT [category] | DRYRUN username command [arg ...] | GENPASS [bits] | GETUSER username | LIST | \
             LOG [count | RESET] | USERS | WHOAMI",
            "The one user there is, 'default', who has the session key and may do everything.",
        )
        .differs("There is one user: SETUSER and DELUSER are refused, and nothing is logged.")];

/// The only user.
const USER: &[u8] = b"default";

/// Redis's categories, in its order, and AGQ's own.
const CATEGORIES: [&str; 22] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "jobs",
];

/// Bits of a password that GENPASS is asked for: at least, at most.
const PASSWORD_BITS: std::ops::RangeInclusive<i64> = 1..=4096;

fn acl(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let word = request.arg(1);
    let is = |name| args::is(word, name);
    match () {
        () if is("WHOAMI") => {
            subcommand::takes(request, 2..=2)?;
            Ok(Reply::bulk(USER))
        }
        () if is("USERS") => {
            subcommand::takes(request, 2..=2)?;
            Ok(Reply::array([Reply::bulk(USER)]))
        }
        () if is("LIST") => {
            subcommand::takes(request, 2..=2)?;
            let password = password(ctx).map_or("nopass".to_owned(), |hash| format!("#{hash}"));
            Ok(Reply::array([Reply::bulk(format!("user default on {password} ~* &* +@all"))]))
        }
        () if is("GETUSER") => {
            subcommand::takes(request, 3..=3)?;
            Ok(if request.arg(2) == USER { describe(ctx) } else { Reply::Null })
        }
        () if is("CAT") => categories(request),
        () if is("GENPASS") => generate(ctx, request),
        () if is("DRYRUN") => dry_run(request),
        () if is("LOG") => log(request),
        () if is("LOAD") || is("SAVE") => {
            Err(CommandError::new("ERR AGQ has one user and no ACL file: the session key is chosen at the start")
                .into())
        }
        () if is("SETUSER") || is("DELUSER") => Err(CommandError::new(
            "ERR AGQ has one user, 'default', who may do everything: users cannot be made, changed or removed",
        )
        .into()),
        () => Err(subcommand::unknown(request).into()),
    }
}

/// The SHA-256 of the session key in hexadecimal digits, if one is asked.
fn password(ctx: &Context<'_, '_>) -> Option<String> {
    let key = ctx.server.config.key.as_deref()?;
    Some(hex(&Sha256::digest(key.as_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn describe(ctx: &Context<'_, '_>) -> Reply {
    let password = password(ctx);
    let mut flags = vec![Reply::bulk("on")];
    if password.is_none() {
        flags.push(Reply::bulk("nopass"));
    }
    let fields = [
        ("flags", Reply::Set(flags)),
        ("passwords", Reply::array(password.map(Reply::bulk))),
        ("commands", Reply::bulk("+@all")),
        ("keys", Reply::bulk("~*")),
        ("channels", Reply::bulk("&*")),
        ("selectors", Reply::array([])),
    ];
    Reply::map(fields.map(|(name, value)| (Reply::bulk(name), value)))
}

/// The categories, or the commands of one.
fn categories(request: &Request) -> Outcome {
    if request.len() > 3 {
        return Err(subcommand::unknown_or_arity(request).into());
    }
    let Some(asked) = request.get(2) else {
        return Ok(Reply::array(CATEGORIES.iter().map(|name| Reply::bulk(*name))));
    };
    let Some(category) = CATEGORIES.iter().find(|name| args::is(asked, name)) else {
        let asked = String::from_utf8_lossy(asked);
        return Err(CommandError::new(format!("ERR Unknown category '{asked}'")).into());
    };
    let fits = |command: &&Command| catalog::categories(command).any(|found| &found[1..] == *category);
    Ok(Reply::array(table::all().filter(fits).map(|command| Reply::bulk(command.name.to_ascii_lowercase()))))
}

fn generate(ctx: &Context<'_, '_>, request: &Request) -> Outcome {
    if request.len() > 3 {
        return Err(subcommand::unknown_or_arity(request).into());
    }
    let bits = request.get(2).map_or(Ok(256), args::integer)?;
    if !PASSWORD_BITS.contains(&bits) {
        return Err(CommandError::new(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        )
        .into());
    }
    let digits = bits.unsigned_abs().div_ceil(4) as usize;
    let mut bytes = vec![0; digits.div_ceil(2)];
    if !(ctx.server.config.system.secret)(&mut bytes) {
        return Err(CommandError::new("ERR the system gave no random bytes: try again").into());
    }
    let mut text = hex(&bytes);
    text.truncate(digits);
    Ok(Reply::bulk(text))
}

/// Whether the user may run a command: always, if it is one.
fn dry_run(request: &Request) -> Outcome {
    subcommand::takes(request, 4..=usize::MAX)?;
    let text = |place| String::from_utf8_lossy(request.arg(place)).into_owned();
    if request.arg(2) != USER {
        return Err(CommandError::new(format!("ERR User '{}' not found", text(2))).into());
    }
    let Some(command) = lookup(request.arg(3)) else {
        return Err(CommandError::new(format!("ERR Command '{}' not found", text(3))).into());
    };
    if !command.takes(request.len() - 3) {
        return Err(CommandError::arity(command.name).into());
    }
    Ok(Reply::ok())
}

/// Nobody is ever denied anything, but the key, which is not logged.
fn log(request: &Request) -> Outcome {
    if request.len() > 3 {
        return Err(subcommand::unknown_or_arity(request).into());
    }
    match request.get(2) {
        Some(word) if args::is(word, "RESET") => Ok(Reply::ok()),
        Some(count) => args::integer(count).map(|_| Reply::array([])).map_err(Into::into),
        None => Ok(Reply::array([])),
    }
}
