//! Commands about the connection itself.

use std::borrow::Cow;
use std::sync::Arc;

use agq_resp::{Protocol, Reply, Request};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::access::{self, AccessKey, Secret};
use crate::command::clients::client_name;
use crate::command::session::DEFAULT_USER;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, Run, args, pubsub, views};
use crate::data::keyspaces::DATABASES;

const FAST: Flags = Flags::FAST;
/// Gives a key: not within MULTI, where a wrong one could not wait for its answer before the next is tried.
const LOGIN: Flags = FAST.and(Flags::NO_AUTH).and(Flags::NO_MULTI);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("PING", -1, Group::Connection, FAST, Run::Write(ping))
        .doc("1.0.0", "[message]", "Answers PONG, or the message.")
        .differs("The id of a worker as message refreshes that worker."),
    Command::new("ECHO", 2, Group::Connection, FAST, Run::Write(echo)).doc("1.0.0", "message", "Answers the message."),
    Command::new("AUTH", -2, Group::Connection, LOGIN, Run::Write(auth)).doc(
        "1.0.0",
        "[username] password",
        "Gives a key: the session key, whose user is 'default', or an access key, whose secret says which it is; a name that \
         is given too must be its own, or 'default'.",
    )
    .differs(
        "Over another key, it ends the subscriptions that the new one may not have, each with its message, and lets what is \
         watched count as changed. Refused within MULTI.",
    ),
    Command::new("HELLO", -1, Group::Connection, LOGIN, Run::Write(hello)).doc(
        "6.0.0",
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Chooses the protocol version and answers what the server is.",
    )
    .differs("Refused within MULTI."),
    Command::new("SELECT", 2, Group::Connection, FAST, Run::Write(select)).doc(
        "1.0.0",
        "index",
        "Chooses the database, 0 to 15.",
    ),
    Command::new("QUIT", -1, Group::Connection, FAST.and(Flags::NO_AUTH).and(Flags::NOT_QUEUED), Run::Write(quit)).doc(
        "1.0.0",
        "",
        "Closes the connection once its replies are out.",
    ),
    Command::new("RESET", 1, Group::Connection, FAST.and(Flags::NO_AUTH).and(Flags::NOT_QUEUED), Run::Write(reset))
        .doc("6.2.0", "", "Puts the connection back to the state of a fresh one."),
];

fn ping(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    match request.len() {
        1 | 2 if ctx.session.subscriptions > 0 && !ctx.is_resp3() => {
            let message = request.get(1).map_or(Reply::bulk(""), |_| Reply::bulk(request.bytes(1)));
            Ok(Reply::array([Reply::bulk("pong"), message]))
        }
        1 => Ok(Reply::simple("PONG")),
        2 => {
            views::ping(ctx, request.arg(1))?;
            Ok(Reply::bulk(request.bytes(1)))
        }
        _ => Err(CommandError::arity("ping").into()),
    }
}

fn echo(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::bulk(request.bytes(1)))
}

fn auth(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (user, key) = match request.len() {
        2 => (None, request.arg(1)),
        3 => (Some(request.arg(1)), request.arg(2)),
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let access = check_key(ctx, user, key)?;
    go_on_with(ctx, access);
    Ok(Reply::ok())
}

/// Tells a wrong key from others. The session key is part of it, so that nobody can make keys that have the same one.
fn fingerprint(ctx: &Context<'_, '_>, key: &[u8]) -> u32 {
    let mut hash = Sha256::new();
    hash.update(ctx.server.config.key.as_ref().map_or(&b""[..], |key| key.as_bytes()));
    hash.update([0]);
    hash.update(key);
    hash.finalize().first_chunk().map_or(0, |start| u32::from_be_bytes(*start))
}

/// With what a connection goes on that gave this key, if it is right; takes the same time when it is wrong, which is counted.
fn check_key(ctx: &mut Context<'_, '_>, user: Option<&[u8]>, key: &[u8]) -> Result<Option<Arc<AccessKey>>, Halt> {
    if let Some(access) = right_key(ctx, user, key)? {
        return Ok(access);
    }
    ctx.session.wrong_key = Some(fingerprint(ctx, key));
    Err(CommandError::new("WRONGPASS invalid username-password pair or user is disabled.").into())
}

/// The connection has another key from now on. What it was given by the one before, and this one would not, ends.
fn go_on_with(ctx: &mut Context<'_, '_>, access: Option<Arc<AccessKey>>) {
    let before = std::mem::replace(&mut ctx.session.access, access);
    ctx.session.authenticated = true;
    ctx.session.not_let_in = None;
    let Some(key) = ctx.session.access.clone().filter(|key| !key.scopes.is_admin()) else { return };
    ctx.server.monitors.remove(&ctx.session.id);
    pubsub::keep_permitted(ctx, &key.scopes);
    if before.is_none_or(|before| before.scopes != key.scopes) {
        // Whether these keys changed may not be its business: EXEC answers as if they had.
        ctx.server.watches.count_as_changed(ctx.session.id);
    }
}

/// With what a connection goes on that gave this: an access key, or nothing for who may do everything. `None` when it
/// is wrong.
fn right_key(ctx: &Context<'_, '_>, user: Option<&[u8]>, key: &[u8]) -> Result<Option<Option<Arc<AccessKey>>>, Halt> {
    let is_default = user.is_none_or(|user| user == DEFAULT_USER.as_bytes());
    if let Some(secret) = Secret::read(key) {
        let found = access::find_by_secret(ctx.batch, &secret, ctx.now)?;
        // Clients that were given nothing but a secret say 'default' too.
        let is_named = |found: &AccessKey| is_default || user == Some(found.name.as_bytes());
        if let Some(found) = found.filter(|found| is_named(found)) {
            return Ok(Some(Some(found)));
        }
        // The operator may have chosen a session key that looks like this.
        if ctx.server.config.key.as_deref().is_none_or(|expected| !access::looks_like(expected.as_bytes())) {
            return Ok(None);
        }
    }
    let is_right = match ctx.server.config.key.as_deref() {
        Some(expected) => bool::from(expected.as_bytes().ct_eq(key)) && is_default,
        None if user.is_none() => {
            return Err(CommandError::new(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            )
            .into());
        }
        // Redis's default user without a password takes any.
        None => is_default,
    };
    Ok(is_right.then_some(None))
}

const NO_KEY_IN_HELLO: CommandError = CommandError(Cow::Borrowed(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
     option can be used to authenticate the client and select the RESP protocol version at the same time",
));

fn hello(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut options = args::Options::new(request, 1);
    let mut protocol = ctx.session.protocol;
    if let Some(version) = options.word() {
        let version = args::integer(version)
            .map_err(|_| CommandError::new("ERR Protocol version is not an integer or out of range"))?;
        protocol = Protocol::from_version(version).ok_or(CommandError::new("NOPROTO unsupported protocol version"))?;
    }
    let mut name = None;
    let mut login = None;
    while let Some(word) = options.word() {
        if args::is(word, "AUTH") && options.left() >= 2 {
            login = Some((options.value()?, options.value()?));
        } else if args::is(word, "SETNAME") && options.left() >= 1 {
            name = Some(options.value()?);
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(CommandError::new(format!("ERR Syntax error in HELLO option '{word}'")).into());
        }
    }
    let login = login.map(|(user, key)| check_key(ctx, Some(user), key)).transpose()?;
    if login.is_none() && !ctx.session.authenticated {
        return Err(ctx.session.no_key().unwrap_or(NO_KEY_IN_HELLO).into());
    }
    let name = name.map(client_name).transpose()?;
    if let Some(access) = login {
        go_on_with(ctx, access);
    }
    if let Some(name) = name {
        ctx.session.name = name;
    }
    ctx.session.protocol = protocol;
    Ok(Reply::map([
        (Reply::bulk("server"), Reply::bulk("redis")),
        (Reply::bulk("version"), Reply::bulk(super::REDIS_VERSION)),
        (Reply::bulk("proto"), Reply::int(i64::from(protocol.version()))),
        (Reply::bulk("id"), Reply::int(ctx.session.id.cast_signed())),
        (Reply::bulk("mode"), Reply::bulk("standalone")),
        (Reply::bulk("role"), Reply::bulk("master")),
        (Reply::bulk("modules"), Reply::array([])),
    ]))
}

fn reset(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    let asks_key = ctx.server.config.key.is_some();
    ctx.session.reset(!asks_key);
    ctx.session.look_up_vouched(ctx.batch, ctx.now)?;
    ctx.server.watches.clear(ctx.session.id);
    ctx.server.channels.leave(ctx.session.id);
    ctx.server.monitors.remove(&ctx.session.id);
    Ok(Reply::simple("RESET"))
}

fn select(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let index = args::integer(request.arg(1))?;
    match u8::try_from(index) {
        Ok(index) if usize::from(index) < DATABASES => {
            ctx.session.database = index;
            Ok(Reply::ok())
        }
        _ => Err(CommandError::new("ERR DB index is out of range").into()),
    }
}

fn quit(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    ctx.session.closing = true;
    Ok(Reply::ok())
}
