//! CLIENT: what connections there are, and what may be done with them. The engine, which knows them, does what [`Ask`]
//! says.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::access;
use crate::clock::Millis;
use crate::command::session::DEFAULT_USER;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, Run, Session, args, subcommand};

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
    "GETNAME | GETREDIR | ID | INFO | KILL address | KILL filter value [filter value ...] | LIST [TYPE type] [ID id \
         [id ...]] | NO-EVICT ON|OFF | NO-TOUCH ON|OFF | PAUSE timeout [WRITE | ALL] | REPLY ON|OFF|SKIP | \
         SETINFO LIB-NAME name | SETINFO LIB-VER version | SETNAME name | TRACKING OFF | TRACKINGINFO | UNBLOCK id \
         [TIMEOUT | ERROR] | UNPAUSE",
    "The connection's number and names, and the other connections.",
)
.differs(
    "LIST and INFO show no local address and no descriptor, and buffers and memory as 0, which clients insist on. NO-EVICT and NO-TOUCH always hold: nothing is evicted, and reads are \
         not tracked. TRACKING ON is refused. SETINFO and NO-TOUCH are those of Redis 7.2.",
)];

/// What the engine is to do with connections.
#[derive(Debug)]
pub enum Ask {
    /// Describe those that fit, one a line.
    List(Filter),
    /// End those that fit; `old` answers as the old form of KILL does.
    Kill {
        /// Which.
        filter: Filter,
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

/// Which connections are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of which there may be a million.
    ids: BTreeSet<u64>,
    address: Option<Bytes>,
    kind: Option<Kind>,
    user: Option<Bytes>,
    /// Not this one.
    except: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    PubSub,
    /// Of which there are none.
    Replication,
}

impl Kind {
    fn read(word: &[u8]) -> Result<Kind, CommandError> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"pubsub" => Ok(Kind::PubSub),
            b"master" | b"replica" | b"slave" => Ok(Kind::Replication),
            _ => Err(CommandError::new(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word)))),
        }
    }

    fn of(session: &Session) -> Kind {
        if session.subscriptions > 0 { Kind::PubSub } else { Kind::Normal }
    }
}

impl Filter {
    /// True when a connection is meant.
    #[must_use]
    pub fn fits(&self, session: &Session) -> bool {
        (self.ids.is_empty() || self.ids.contains(&session.id))
            && self.address.as_ref().is_none_or(|address| address == session.address.as_bytes())
            && self.kind.is_none_or(|kind| kind == Kind::of(session))
            && self.user.as_ref().is_none_or(|user| user == session.user().as_bytes())
            && self.except != Some(session.id)
    }
}

/// A connection in a line, as CLIENT LIST shows it; `parked`: a command of it waits.
#[must_use]
pub fn line(session: &Session, now: Millis, parked: bool, counts: [usize; 3], watches: usize) -> String {
    let seconds = |since: Millis| now.since(since) / 1000;
    let mut flags = String::new();
    let marks = [
        ('x', session.transaction.is_some()),
        ('b', parked),
        ('P', session.subscriptions > 0),
        ('c', session.closing),
        ('U', session.address.ends_with(":0")),
    ];
    flags.extend(marks.into_iter().filter(|(_, holds)| *holds).map(|(mark, _)| mark));
    if flags.is_empty() {
        flags.push('N');
    }
    let [sub, psub, ssub] = counts;
    let multi = session.transaction.as_ref().map_or(-1, |queued| i64::try_from(queued.len()).unwrap_or(i64::MAX));
    let text = |text: &Bytes| String::from_utf8_lossy(text).into_owned();
    format!(
        "id={} addr={} laddr= fd=-1 name={} age={} idle={} flags={flags} db={} sub={sub} psub={psub} ssub={ssub} \
         multi={multi} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
         watch={watches} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        session.id,
        session.address,
        text(&session.name),
        seconds(session.opened),
        seconds(session.jobs.heard),
        session.database,
        session.last_command.to_ascii_lowercase(),
        session.user(),
        session.protocol.version(),
        text(&session.library_name),
        text(&session.library_version),
    )
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
    ("INFO", 2..=2, |ctx, _| Err(Halt::Ask(Ask::List(Filter { ids: [ctx.session.id].into(), ..Filter::default() })))),
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

/// A name without blanks and line ends.
pub(super) fn client_name(name: &[u8]) -> Result<Bytes, CommandError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(Bytes::copy_from_slice(name));
    }
    Err(CommandError::new("ERR Client names cannot contain spaces, newlines or special characters."))
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
    *field = client_name(value).map_err(|_| {
        let name = String::from_utf8_lossy(name);
        CommandError::new(format!("ERR {name} cannot contain spaces, newlines or special characters."))
    })?;
    Ok(Reply::ok())
}

fn list(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut filter = Filter::default();
    match request.get(2) {
        None => {}
        Some(word) if args::is(word, "TYPE") && request.len() == 4 => filter.kind = Some(Kind::read(request.arg(3))?),
        Some(word) if args::is(word, "ID") && request.len() > 3 => {
            for id in request.iter().skip(3) {
                let id = args::integer(id).map_err(|_| CommandError::new("ERR Invalid client ID"))?;
                filter.ids.insert(u64::try_from(id).unwrap_or(0));
            }
        }
        Some(_) => return Err(CommandError::SYNTAX.into()),
    }
    Err(Halt::Ask(Ask::List(filter)))
}

fn kill(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if request.len() == 3 {
        let filter = Filter { address: Some(Bytes::copy_from_slice(request.arg(2))), ..Filter::default() };
        return Err(Halt::Ask(Ask::Kill { filter, old: true }));
    }
    let mut filter = Filter { except: Some(ctx.session.id), ..Filter::default() };
    let mut options = args::Options::new(request, 2);
    while let Some(word) = options.word() {
        let value = options.value()?;
        if args::is(word, "ID") {
            let id = args::integer(value).ok().filter(|id| *id > 0);
            let id = id.ok_or(CommandError::new("ERR client-id should be greater than 0"))?;
            filter.ids = [id.unsigned_abs()].into();
        } else if args::is(word, "TYPE") {
            filter.kind = Some(Kind::read(value)?);
        } else if args::is(word, "ADDR") {
            filter.address = Some(Bytes::copy_from_slice(value));
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
        } else {
            return Err(CommandError::SYNTAX.into());
        }
    }
    Err(Halt::Ask(Ask::Kill { filter, old: false }))
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
