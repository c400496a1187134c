//! CLIENT: what connections there are, and what may be done with them. The engine, which knows them, does what [`Ask`]
//! says.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::access;
use crate::clock::Millis;
use crate::command::client_list::{Filter, Kind};
use crate::command::session::DEFAULT_USER;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, Run, args, subcommand};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new(
    "CLIENT",
    -2,
    Group::Connection,
    Flags::CONTAINER,
    Run::Write(client),
)
.doc(
    "2.4.0",
    "GETNAME | GETREDIR | ID | INFO | KILL address | KILL filter value [filter value ...] | LIST [filter value ...] | NO-EVICT ON|OFF | NO-TOUCH ON|OFF | PAUSE timeout [WRITE | ALL] | REPLY ON|OFF|SKIP | \
         SETINFO LIB-NAME name | SETINFO LIB-VER version | SETNAME name | TRACKING OFF | TRACKINGINFO | UNBLOCK id \
         [TIMEOUT | ERROR] | UNPAUSE",
    "The connection's number and names, and the other connections.",
)
.differs(
    "LIST takes the filters of KILL too, as in Valkey: ID (several), TYPE, USER, ADDR, LADDR, SKIPME and MAXAGE. What waits \
         for a client is one list: 'obl', 'rbs' and 'rbp' are 0; arguments are parts of the query buffer, and no room in it \
         is kept: 'argv-mem' and 'qbuf-free' are 0. 'watch', 'lib-name' and 'lib-ver' are those of Redis 7.4. Names, LIB-NAME and LIB-VER have 256 bytes at most, with HELLO too. NO-EVICT and NO-TOUCH always hold: nothing is evicted, and reads are \
         not tracked. TRACKING ON is refused. SETINFO and NO-TOUCH are those of Redis 7.2.",
)];

/// What the engine is to do with connections.
#[derive(Debug)]
pub enum Ask {
    /// Describe those that fit, one a line.
    List(Box<Filter>),
    /// End those that fit; `old` answers as the old form of KILL does.
    Kill {
        /// Which.
        filter: Box<Filter>,
        /// Answer OK or an error instead of how many.
        old: bool,
    },
    /// Let a command that waits give up.
    Unblock {
        /// Whose.
        conn: u64,
        /// With an error instead of what a timeout answers.
        with_error: bool,
    },
    /// Run no commands until then.
    Pause {
        /// Until when.
        until: Millis,
        /// Reading commands neither.
        all: bool,
    },
}

/// A subcommand: its name, how many arguments it takes, all counted, and its function.
type Row = (&'static str, RangeInclusive<usize>, fn(&mut Context<'_, '_>, &Request) -> Outcome);

const SUBCOMMANDS: &[Row] = &[
    ("ID", 2..=2, |ctx, _| Ok(Reply::int(ctx.session.id.cast_signed()))),
    ("GETNAME", 2..=2, |ctx, _| {
        let name = ctx.session.name.clone();
        Ok(if name.is_empty() { Reply::Null } else { Reply::bulk(name) })
    }),
    ("SETNAME", 3..=3, |ctx, request| {
        ctx.session.name = client_name(request.arg(2))?;
        Ok(Reply::ok())
    }),
    ("SETINFO", 4..=4, set_info),
    ("INFO", 2..=2, |ctx, _| Err(Halt::Ask(Ask::List(Box::new(Filter::only(ctx.session.id)))))),
    ("LIST", 2..=usize::MAX, list),
    ("KILL", 3..=usize::MAX, kill),
    ("UNBLOCK", 3..=4, unblock),
    ("PAUSE", 3..=4, pause),
    ("UNPAUSE", 2..=2, |ctx, _| Err(Halt::Ask(Ask::Pause { until: ctx.now, all: false }))),
    ("REPLY", 3..=3, reply),
    ("NO-EVICT", 3..=3, on_or_off),
    ("NO-TOUCH", 3..=3, on_or_off),
    ("GETREDIR", 2..=2, |_, _| Ok(Reply::int(-1))),
    ("TRACKING", 3..=usize::MAX, tracking),
    ("CACHING", 3..=3, |_, _| {
        let text = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
                    mode enabled";
        Err(CommandError::new(text).into())
    }),
    ("TRACKINGINFO", 2..=2, |_, _| {
        let flags = Reply::Set(vec![Reply::bulk("off")]);
        let fields = [("flags", flags), ("redirect", Reply::int(-1)), ("prefixes", Reply::array([]))];
        Ok(Reply::map(fields.map(|(name, value)| (Reply::bulk(name), value))))
    }),
];

fn client(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let found = SUBCOMMANDS.iter().find(|(name, ..)| args::is(request.arg(1), name));
    let Some((_, takes, run)) = found else { return Err(subcommand::unknown(request).into()) };
    subcommand::takes(request, takes.clone())?;
    run(ctx, request)
}

/// Bytes of a name at most: each connection keeps three, and CLIENT LIST shows them of all.
const MAX_NAME_BYTES: usize = 256;

/// A name without blanks and line ends.
pub(super) fn client_name(name: &[u8]) -> Result<Bytes, CommandError> {
    label("Client names", name)
}

/// What a client may be called; `what` is what that is for.
fn label(what: &str, text: &[u8]) -> Result<Bytes, CommandError> {
    let wrong = if text.len() > MAX_NAME_BYTES {
        let bytes = text.len();
        format!("ERR {what} cannot be longer than {MAX_NAME_BYTES} bytes: this one has {bytes}, choose a shorter one")
    } else if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(Bytes::copy_from_slice(text));
    } else {
        format!("ERR {what} cannot contain spaces, newlines or special characters.")
    };
    Err(CommandError::new(wrong))
}

fn set_info(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (name, value) = (request.arg(2), request.arg(3));
    let field = match name.to_ascii_lowercase().as_slice() {
        b"lib-name" => &mut ctx.session.library_name,
        b"lib-ver" => &mut ctx.session.library_version,
        _ => {
            let name = String::from_utf8_lossy(&name[..name.len().min(128)]);
            return Err(CommandError::new(format!("ERR Unrecognized option '{name}'")).into());
        }
    };
    *field = label(&String::from_utf8_lossy(name), value)?;
    Ok(Reply::ok())
}

fn list(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut filter = Filter::default();
    let mut options = args::Options::new(request, 2);
    while let Some(word) = options.word() {
        if args::is(word, "ID") {
            filter.ids = ids(&mut options)?;
        } else {
            narrow(ctx, &mut filter, word, &mut options)?;
        }
    }
    Err(Halt::Ask(Ask::List(Box::new(filter))))
}

/// The numbers behind ID, up to the next word that says something else.
fn ids(options: &mut args::Options<'_>) -> Result<BTreeSet<u64>, Halt> {
    let mut ids = BTreeSet::new();
    while let Some(word) = options.peek() {
        match args::integer(word) {
            Ok(id) => ids.insert(u64::try_from(id).unwrap_or(0)),
            Err(_) if !ids.is_empty() && FILTERS.iter().any(|name| args::is(word, name)) => break,
            Err(_) => return Err(CommandError::new("ERR Invalid client ID").into()),
        };
        options.word();
    }
    if ids.is_empty() { Err(CommandError::SYNTAX.into()) } else { Ok(ids) }
}

fn kill(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if request.len() == 3 {
        let filter = Filter { address: Some(Bytes::copy_from_slice(request.arg(2))), ..Filter::default() };
        return Err(Halt::Ask(Ask::Kill { filter: Box::new(filter), old: true }));
    }
    let mut filter = Filter { except: Some(ctx.session.id), ..Filter::default() };
    let mut options = args::Options::new(request, 2);
    while let Some(word) = options.word() {
        if args::is(word, "ID") {
            let id = args::integer(options.value()?).ok().filter(|id| *id > 0);
            let id = id.ok_or(CommandError::new("ERR client-id should be greater than 0"))?;
            filter.ids = [id.unsigned_abs()].into();
        } else {
            narrow(ctx, &mut filter, word, &mut options)?;
        }
    }
    Err(Halt::Ask(Ask::Kill { filter: Box::new(filter), old: false }))
}

/// The words that LIST and KILL have in common.
const FILTERS: [&str; 6] = ["TYPE", "USER", "ADDR", "LADDR", "SKIPME", "MAXAGE"];

/// Reads one of [`FILTERS`].
fn narrow(
    ctx: &Context<'_, '_>,
    filter: &mut Filter,
    word: &[u8],
    options: &mut args::Options<'_>,
) -> Result<(), Halt> {
    let value = options.value()?;
    if args::is(word, "TYPE") {
        filter.kind = Some(Kind::read(value)?);
    } else if args::is(word, "ADDR") {
        filter.address = Some(Bytes::copy_from_slice(value));
    } else if args::is(word, "LADDR") {
        filter.local_address = Some(Bytes::copy_from_slice(value));
    } else if args::is(word, "USER") {
        let is_known = value == DEFAULT_USER.as_bytes() || access::find(ctx.batch, value)?.is_some();
        if !is_known {
            let user = String::from_utf8_lossy(value);
            return Err(CommandError::new(format!("ERR No such user '{user}'")).into());
        }
        filter.user = Some(Bytes::copy_from_slice(value));
    } else if args::is(word, "SKIPME") && args::is(value, "yes") {
        filter.except = Some(ctx.session.id);
    } else if args::is(word, "SKIPME") && args::is(value, "no") {
        filter.except = None;
    } else if args::is(word, "MAXAGE") {
        let age =
            args::integer(value).map_err(|_| CommandError::new("ERR maxage is not an integer or out of range"))?;
        let age = u64::try_from(age).ok().filter(|age| *age > 0);
        filter.least_age_ms = age.ok_or(CommandError::new("ERR maxage should be greater than 0"))?.saturating_mul(1000);
    } else {
        return Err(CommandError::SYNTAX.into());
    }
    Ok(())
}

fn unblock(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let with_error = match request.get(3) {
        None => false,
        Some(word) if args::is(word, "TIMEOUT") => false,
        Some(word) if args::is(word, "ERROR") => true,
        Some(_) => {
            return Err(CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR").into());
        }
    };
    let conn = u64::try_from(args::integer(request.arg(2))?).unwrap_or(0);
    Err(Halt::Ask(Ask::Unblock { conn, with_error }))
}

fn pause(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let all = match request.get(3) {
        None => true,
        Some(word) if args::is(word, "ALL") => true,
        Some(word) if args::is(word, "WRITE") => false,
        Some(_) => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL").into()),
    };
    let timeout = args::integer(request.arg(2))
        .map_err(|_| CommandError::new("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::new("ERR timeout is negative"))?;
    Err(Halt::Ask(Ask::Pause { until: ctx.now.plus(timeout), all }))
}

fn reply(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let word = request.arg(2);
    if args::is(word, "ON") {
        ctx.session.replies = Replies::On;
        return Ok(Reply::ok());
    }
    if args::is(word, "OFF") {
        ctx.session.replies = Replies::Off;
    } else if args::is(word, "SKIP") {
        if ctx.session.replies == Replies::On {
            ctx.session.replies = Replies::SkipNext;
        }
    } else {
        return Err(CommandError::SYNTAX.into());
    }
    Err(Halt::Several(Vec::new()))
}

/// Whether a connection is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replies {
    /// It is.
    #[default]
    On,
    /// It is not.
    Off,
    /// The next command is not.
    SkipNext,
}

fn on_or_off(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if args::is(request.arg(2), "ON") || args::is(request.arg(2), "OFF") {
        return Ok(Reply::ok());
    }
    Err(CommandError::SYNTAX.into())
}

fn tracking(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if args::is(request.arg(2), "OFF") {
        return Ok(Reply::ok());
    }
    let text = "ERR CLIENT TRACKING is not supported: AGQ sends no invalidations; do not cache its replies on the \
                client, or watch for keyspace notifications";
    Err(CommandError::new(text).into())
}
