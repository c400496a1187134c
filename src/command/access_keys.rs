//! Access keys: made, listed and revoked; and the audit log, read.

use agq_resp::{Reply, Request};
use serde::Serialize;

use crate::access::audit::{self, Entry, Ring};
use crate::access::{self, AccessKey, Role, Scopes, Secret};
use crate::command::work::{bounded, unknown_option};
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::jobs::error::shown;
use crate::jobs::{Error, Id, time};

const ADMIN: Flags = Flags::ADMIN.and(Flags::AGQ);
const READ: Flags = ADMIN.and(Flags::READONLY);
const WRITE: Flags = ADMIN.and(Flags::WRITE);

/// The longest life of a key that has an end: a hundred years.
const MAX_EXPIRES_MS: u64 = 100 * 365 * 86_400_000;
/// Entries that a page of the audit log shows unless told, and at most.
const AUDIT_LIMIT: u64 = 100;
const MAX_AUDIT_LIMIT: u64 = 1_000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("KEY.CREATE", -3, Group::Server, WRITE.and(Flags::DENYOOM), Run::Write(create)).doc(
        "1.0.0",
        "name <ADMIN | SUBMIT queues | WORK queues | READ queues | KEYS pattern | READ-KEYS pattern | WRITE-KEYS pattern \
         | CHANNELS pattern> [...] [EXPIRES milliseconds]",
        "Makes an access key and answers its secret, which is never shown again. Queues, keys and channels are glob \
         patterns.",
    ),
    Command::new("KEY.LIST", 1, Group::Server, READ, Run::Read(list)).doc(
        "1.0.0",
        "",
        "Every access key as JSON, in the order of names: what it may do, since when and how long; not its secret.",
    ),
    Command::new("KEY.REVOKE", 2, Group::Server, WRITE, Run::Write(revoke)).doc(
        "1.0.0",
        "name",
        "Removes an access key, and ends its connections at once.",
    ),
    Command::new("AUDIT.LIST", -1, Group::Server, READ, Run::Read(audit_list)).doc(
        "1.0.0",
        "[CURSOR cursor] [LIMIT count]",
        "What administrators did and what was refused to whom, newest first, in pages: the next cursor, 0 at the end, \
         and entries as JSON.",
    ),
];

/// What KEY.CREATE asks for behind the name: scopes, and how long the key counts.
fn terms(request: &Request) -> Result<(Scopes, Option<u64>), Halt> {
    let mut options = args::Options::new(request, 2);
    let (mut scopes, mut expires_ms) = (Scopes::default(), None);
    while let Some(word) = options.word() {
        if args::is(word, "EXPIRES") {
            expires_ms = Some(bounded("EXPIRES", options.value()?, 1..=MAX_EXPIRES_MS)?);
            continue;
        }
        let Some(role) = Role::of(word) else {
            let known: Vec<_> = Role::ALL.iter().map(|role| role.word()).collect();
            return Err(unknown_option(word, &format!("{} and EXPIRES", known.join(", "))));
        };
        let pattern = if role == Role::Admin { &b""[..] } else { options.value()? };
        scopes.add(role, pattern).map_err(Error::refused)?;
    }
    if scopes.is_empty() {
        return Err(Error::refused("KEY.CREATE must say what the key may do, SUBMIT ready for example").into());
    }
    Ok((scopes, expires_ms))
}

fn create(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let name = Id::parse("name", request.arg(1))?;
    let (scopes, expires_ms) = terms(request)?;
    let secret = Secret::make(ctx.server.config.system.secret);
    let secret = secret.ok_or(CommandError::new("ERR the system gave no random bytes: try again"))?;
    let expires_at = expires_ms.map(|ms| ctx.now.plus(ms));
    let key = AccessKey { name, id: secret.id(), hash: secret.hash(), created_at: ctx.now, expires_at, scopes };
    access::create(ctx.batch, &key)?;
    Ok(Reply::bulk(secret.text().to_owned()))
}

/// A key in KEY.LIST.
#[derive(Serialize)]
struct Listed {
    key: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    expired: bool,
}

fn list(ctx: &ReadContext<'_>, _: &Request) -> Outcome {
    let row = |key: AccessKey| {
        let row = Listed {
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            created_at: time::rfc3339(key.created_at),
            expires_at: key.expires_at.map(time::rfc3339),
            expired: !key.is_live(ctx.view.now),
            key: key.name.to_string(),
        };
        Reply::bulk(serde_json::to_string(&row).unwrap_or_default())
    };
    Ok(Reply::array(access::list(ctx.view.rows)?.into_iter().map(row)))
}

fn revoke(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let key = access::revoke(ctx.batch, request.arg(1))?;
    ctx.server.revoked.push(key.name);
    Ok(Reply::ok())
}

/// An entry of the audit log in AUDIT.LIST.
#[derive(Serialize)]
struct Shown<'a> {
    at: String,
    kind: &'static str,
    key: &'a str,
    connection: u64,
    address: &'a str,
    command: &'a str,
    outcome: &'a str,
}

fn audit_list(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut options = args::Options::new(request, 1);
    let (mut cursor, mut limit) = (&b"0"[..], AUDIT_LIMIT);
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"CURSOR" => cursor = options.value()?,
            b"LIMIT" => limit = bounded("LIMIT", options.value()?, 1..=MAX_AUDIT_LIMIT)?,
            _ => return Err(unknown_option(word, "CURSOR and LIMIT")),
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut actions, mut refusals) = cursor_of(cursor)?;
    let rows = ctx.view.rows;
    let mut entries: Vec<(Ring, u64, Entry)> = Vec::new();
    for (ring, before) in [(Ring::Actions, actions), (Ring::Refusals, refusals)] {
        let found = audit::read(rows, ring, before, limit)?;
        entries.extend(found.into_iter().map(|(number, entry)| (ring, number, entry)));
    }
    // Within one time, and a ring, the newest stay first: the sort keeps the order of equals.
    entries.sort_by_key(|(_, _, entry)| std::cmp::Reverse(entry.at));
    let is_last = entries.len() <= limit;
    entries.truncate(limit);
    for (ring, number, _) in &entries {
        match ring {
            Ring::Actions => actions = *number,
            Ring::Refusals => refusals = *number,
        }
    }
    let more = |ring, before| Ok::<_, Halt>(!audit::read(rows, ring, before, 1)?.is_empty());
    let has_more = !is_last || more(Ring::Actions, actions)? || more(Ring::Refusals, refusals)?;
    let next = if has_more { format!("{actions}-{refusals}") } else { "0".to_owned() };
    let shown = entries.iter().map(|(ring, _, entry)| {
        let row = Shown {
            at: time::rfc3339(entry.at),
            kind: if *ring == Ring::Actions { "action" } else { "refusal" },
            key: &entry.key,
            connection: entry.connection,
            address: &entry.address,
            command: &entry.command,
            outcome: &entry.outcome,
        };
        Reply::bulk(serde_json::to_string(&row).unwrap_or_default())
    });
    Ok(Reply::array([Reply::bulk(next), Reply::array(shown)]))
}

/// The numbers below which a page goes on, of actions and of refusals.
fn cursor_of(text: &[u8]) -> Result<(u64, u64), Halt> {
    if text == b"0" {
        return Ok((u64::MAX, u64::MAX));
    }
    let numbers = std::str::from_utf8(text).ok().and_then(|text| text.split_once('-'));
    let numbers = numbers.and_then(|(actions, refusals)| Some((actions.parse().ok()?, refusals.parse().ok()?)));
    numbers.ok_or_else(|| {
        Error::refused(format!("CURSOR must be 0 or what the page before answered, not '{}'", shown(text))).into()
    })
}
