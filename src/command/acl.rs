//! ACL: access keys, and who has the session key, as Redis describes users; and what was refused of late.

use std::fmt::Write as _;

use agq_resp::{Reply, Request};
use sha2::{Digest, Sha256};

use crate::access::audit::{self, Entry, Ring};
use crate::access::{self, AccessKey, Role, Scope, Scopes};
use crate::clock::Millis;
use crate::command::grants::Asked;
use crate::command::session::DEFAULT_USER;
use crate::command::{
    Command, CommandError, Context, Flags, Group, Halt, Outcome, Run, args, catalog, lookup, subcommand, table,
};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command::new("ACL", -2, Group::Server, Flags::NONE.and(Flags::CONTAINER), Run::Write(acl))
        .doc(
            "6.0.0",
            "CAT [category] | DRYRUN username command [arg ...] | GENPASS [bits] | GETUSER username | LIST | \
             LOG [count | RESET] | USERS | WHOAMI",
            "Access keys as users, beside 'default', who has the session key and may do everything; and what was refused.",
        )
        .differs("SETUSER and DELUSER are refused: KEY.CREATE and KEY.REVOKE make and remove keys. GETUSER tells a key's scopes too, LOG each refusal by itself, with its error.")];

/// Entries that LOG shows unless told.
const LOG_ENTRIES: usize = 10;

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
            Ok(Reply::bulk(ctx.session.user().to_owned()))
        }
        () if is("USERS") => {
            subcommand::takes(request, 2..=2)?;
            Ok(Reply::array(users(ctx)?.into_iter().map(|user| Reply::bulk(user.name))))
        }
        () if is("LIST") => {
            subcommand::takes(request, 2..=2)?;
            let now = ctx.now;
            Ok(Reply::array(users(ctx)?.into_iter().map(|user| Reply::bulk(user.line(now)))))
        }
        () if is("GETUSER") => {
            subcommand::takes(request, 3..=3)?;
            let name = request.arg(2);
            let found = users(ctx)?.into_iter().find(|user| user.name.as_bytes() == name);
            Ok(found.map_or(Reply::Null, |user| user.describe(ctx.now)))
        }
        () if is("CAT") => categories(request),
        () if is("GENPASS") => generate(ctx, request),
        () if is("DRYRUN") => dry_run(ctx, request),
        () if is("LOG") => log(ctx, request),
        () if is("LOAD") || is("SAVE") => {
            Err(CommandError::new("ERR AGQ has no ACL file: access keys stand in the store, KEY.CREATE makes them")
                .into())
        }
        () if is("SETUSER") || is("DELUSER") => Err(CommandError::new(
            "ERR AGQ has access keys in place of users: KEY.CREATE makes them, KEY.REVOKE removes them",
        )
        .into()),
        () => Err(subcommand::unknown(request).into()),
    }
}

/// A user as Redis shows one: the session key's, or an access key.
struct User {
    name: String,
    /// The hash of what it authenticates with, in hexadecimal digits.
    password: Option<String>,
    /// `None` for who may do everything.
    key: Option<AccessKey>,
}

/// Every user, in the order of names.
fn users(ctx: &Context<'_, '_>) -> Result<Vec<User>, Halt> {
    let default = User { name: DEFAULT_USER.to_owned(), password: password(ctx), key: None };
    let keys = access::list(ctx.batch)?.into_iter();
    let keys = keys.map(|key| User { name: key.name.to_string(), password: Some(hex(&key.hash)), key: Some(key) });
    let mut users: Vec<_> = keys.chain([default]).collect();
    users.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(users)
}

impl User {
    fn is_on(&self, now: Millis) -> bool {
        self.key.as_ref().is_none_or(|key| key.is_live(now))
    }

    /// Its scopes; `None` when it may do everything.
    fn scopes(&self) -> Option<&Scopes> {
        self.key.as_ref().map(|key| &key.scopes).filter(|scopes| !scopes.is_admin())
    }

    /// The commands by category: which of them on what is said by the scopes.
    fn commands(&self) -> String {
        let Some(scopes) = self.scopes() else { return "+@all".to_owned() };
        let mut commands = "-@all +@connection +@transaction".to_owned();
        let mut add = |roles: &[Role], category: &str| {
            if roles.iter().any(|role| scopes.has_any(*role)) {
                commands.push_str(category);
            }
        };
        add(&[Role::Keys, Role::ReadKeys], " +@read");
        add(&[Role::Keys, Role::WriteKeys], " +@write");
        add(&[Role::Channels], " +@pubsub");
        add(&[Role::Submit, Role::Work, Role::Read], " +@jobs");
        commands
    }

    fn keys(&self) -> String {
        let Some(scopes) = self.scopes() else { return "~*".to_owned() };
        let pattern = |scope: &Scope| match scope.role {
            Role::Keys => Some(format!("~{}", scope.pattern)),
            Role::ReadKeys => Some(format!("%R~{}", scope.pattern)),
            Role::WriteKeys => Some(format!("%W~{}", scope.pattern)),
            _ => None,
        };
        scopes.iter().filter_map(pattern).collect::<Vec<_>>().join(" ")
    }

    fn channels(&self) -> String {
        let Some(scopes) = self.scopes() else { return "&*".to_owned() };
        let channels = scopes.iter().filter(|scope| scope.role == Role::Channels);
        channels.map(|scope| format!("&{}", scope.pattern)).collect::<Vec<_>>().join(" ")
    }

    /// A line of ACL LIST.
    fn line(&self, now: Millis) -> String {
        let state = if self.is_on(now) { "on" } else { "off" };
        let password = self.password.as_ref().map_or("nopass".to_owned(), |hash| format!("#{hash}"));
        let channels = Some(self.channels()).filter(|channels| !channels.is_empty());
        let channels = channels.unwrap_or_else(|| "resetchannels".to_owned());
        let parts = ["user".to_owned(), self.name.clone(), state.to_owned(), password, self.keys(), channels];
        let parts = parts.into_iter().chain([self.commands()]).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(" ")
    }

    fn describe(&self, now: Millis) -> Reply {
        let mut flags = vec![Reply::bulk(if self.is_on(now) { "on" } else { "off" })];
        if self.password.is_none() {
            flags.push(Reply::bulk("nopass"));
        }
        let mut fields = vec![
            ("flags", Reply::Set(flags)),
            ("passwords", Reply::array(self.password.clone().map(Reply::bulk))),
            ("commands", Reply::bulk(self.commands())),
            ("keys", Reply::bulk(self.keys())),
            ("channels", Reply::bulk(self.channels())),
            ("selectors", Reply::array([])),
        ];
        if let Some(key) = &self.key {
            let scopes = key.scopes.iter().map(|scope| Reply::bulk(scope.to_string()));
            fields.push(("scopes", Reply::array(scopes)));
        }
        Reply::map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)))
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

/// Whether a user may run a command on this connection: the gate's own answer.
fn dry_run(ctx: &Context<'_, '_>, request: &Request) -> Outcome {
    subcommand::takes(request, 4..=usize::MAX)?;
    let text = |place| String::from_utf8_lossy(request.arg(place)).into_owned();
    let user = users(ctx)?.into_iter().find(|user| user.name.as_bytes() == request.arg(2));
    let user = user.ok_or_else(|| CommandError::new(format!("ERR User '{}' not found", text(2))))?;
    let Some(command) = lookup(request.arg(3)) else {
        return Err(CommandError::new(format!("ERR Command '{}' not found", text(3))).into());
    };
    if !command.takes(request.len() - 3) {
        return Err(CommandError::arity(command.name).into());
    }
    let Some(key) = &user.key else { return Ok(Reply::ok()) };
    let tried = Request::from_args(request.iter().skip(3));
    match (Asked { key, view: ctx.view(), session: ctx.session, command, request: &tried }).check() {
        Ok(()) => Ok(Reply::ok()),
        Err(Halt::Error(refusal)) => Ok(Reply::bulk(refusal.0.trim_start_matches("NOPERM ").to_owned())),
        Err(halt) => Err(halt),
    }
}

/// What was refused of late, newest first; AUDIT.LIST shows more of it.
fn log(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if request.len() > 3 {
        return Err(subcommand::unknown_or_arity(request).into());
    }
    let count = match request.get(2) {
        Some(word) if args::is(word, "RESET") => {
            audit::forget_refusals(ctx.batch)?;
            return Ok(Reply::ok());
        }
        Some(count) => usize::try_from(args::integer(count)?).unwrap_or(0),
        None => LOG_ENTRIES,
    };
    let entries = audit::read(ctx.batch, Ring::Refusals, u64::MAX, count)?;
    Ok(Reply::array(entries.into_iter().map(|(number, entry)| log_entry(number, &entry, ctx.now))))
}

/// An entry in Redis's fields.
fn log_entry(number: u64, entry: &Entry, now: Millis) -> Reply {
    let command = entry.command.split(' ').next().unwrap_or_default().trim_matches('"').to_ascii_lowercase();
    let is_about_keys = ["WRONGPASS", "NOAUTH"].iter().any(|code| entry.outcome.starts_with(code));
    let reason = if is_about_keys { "auth" } else { "command" };
    let client = format!("id={} addr={} user={}", entry.connection, entry.address, entry.key);
    let (seconds, millis) = (now.since(entry.at) / 1000, now.since(entry.at) % 1000);
    let at = Reply::int(i64::try_from(entry.at.0).unwrap_or(i64::MAX));
    let fields = [
        ("count", Reply::int(1)),
        ("reason", Reply::bulk(reason)),
        ("context", Reply::bulk("toplevel")),
        ("object", Reply::bulk(command)),
        ("username", Reply::bulk(entry.key.clone())),
        ("age-seconds", Reply::bulk(format!("{seconds}.{millis:03}"))),
        ("client-info", Reply::bulk(client)),
        ("entry-id", Reply::int(number.cast_signed())),
        ("timestamp-created", at.clone()),
        ("timestamp-last-updated", at),
        ("outcome", Reply::bulk(entry.outcome.clone())),
    ];
    Reply::map(fields.map(|(name, value)| (Reply::bulk(name), value)))
}
