//! What CLIENT LIST shows of a connection, and which connections are meant.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::clock::Millis;
use crate::command::{CommandError, Session};

/// Which connections are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of which there may be a million; none for all.
    pub(super) ids: BTreeSet<u64>,
    pub(super) address: Option<Bytes>,
    /// The address that they came to.
    pub(super) local_address: Option<Bytes>,
    pub(super) kind: Option<Kind>,
    pub(super) user: Option<Bytes>,
    /// Those that have been there for as long.
    pub(super) least_age_ms: u64,
    /// Not this one.
    pub(super) except: Option<u64>,
}

/// What a connection is, as Redis divides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    PubSub,
    /// Of which there are none.
    Replication,
}

impl Kind {
    pub(super) fn read(word: &[u8]) -> Result<Kind, CommandError> {
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
    /// One connection.
    pub(super) fn only(id: u64) -> Filter {
        Filter { ids: [id].into(), ..Filter::default() }
    }

    /// True when a connection is meant.
    #[must_use]
    pub fn fits(&self, session: &Session, now: Millis) -> bool {
        (self.ids.is_empty() || self.ids.contains(&session.id))
            && self.address.as_ref().is_none_or(|address| address == session.address.as_bytes())
            && self.local_address.as_ref().is_none_or(|address| address == session.local_address.as_bytes())
            && self.kind.is_none_or(|kind| kind == Kind::of(session))
            && self.user.as_ref().is_none_or(|user| user == session.user().as_bytes())
            && now.since(session.opened) >= self.least_age_ms
            && self.except != Some(session.id)
    }
}

/// What is held for a connection outside of the engine, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// What it has sent that is not answered.
    pub sent: usize,
    /// What waits to be written to it.
    pub waiting: usize,
    /// In how many parts that waits.
    pub parts: usize,
}

/// What the engine knows of a connection beside its session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// A command of it waits.
    pub is_parked: bool,
    /// It watches every command.
    pub is_monitor: bool,
    /// Something that it watches was changed.
    pub is_overtaken: bool,
    /// How many channels, patterns and shard channels it is subscribed to.
    pub subscriptions: [usize; 3],
    /// Bytes that the engine keeps for it beside the queue of MULTI.
    pub kept_bytes: usize,
    /// Names that it watches.
    pub watches: usize,
    /// What is held for it elsewhere.
    pub held: Held,
}

/// A connection in a line, as CLIENT LIST shows it.
#[must_use]
pub fn line(session: &Session, standing: &Standing, now: Millis) -> String {
    let seconds = |since: Millis| now.since(since) / 1000;
    let text = |text: &Bytes| String::from_utf8_lossy(text).into_owned();
    let [sub, psub, ssub] = standing.subscriptions;
    let queued = session.transaction.as_ref();
    let multi = queued.map_or(-1, |queued| i64::try_from(queued.len()).unwrap_or(i64::MAX));
    let multi_mem = queued.map_or(0, |queued| queued.bytes());
    let Held { sent, waiting, parts } = standing.held;
    let total = sent + waiting + multi_mem + standing.kept_bytes;
    let events = if waiting > 0 { "rw" } else { "r" };
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={sub} psub={psub} ssub={ssub} \
         multi={multi} watch={} qbuf={sent} qbuf-free=0 argv-mem=0 multi-mem={multi_mem} rbs=0 rbp=0 obl=0 oll={parts} \
         omem={waiting} tot-mem={total} events={events} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        session.id,
        session.address,
        session.local_address,
        session.descriptor,
        text(&session.name),
        seconds(session.opened),
        seconds(session.jobs.heard),
        flags(session, standing),
        session.database,
        standing.watches,
        last_command(session),
        session.user(),
        session.protocol.version(),
        text(&session.library_name),
        text(&session.library_version),
    )
}

/// Redis's letters, in its order.
fn flags(session: &Session, standing: &Standing) -> String {
    let marks = [
        ('O', standing.is_monitor),
        ('P', session.subscriptions > 0),
        ('x', session.transaction.is_some()),
        ('b', standing.is_parked),
        ('d', standing.is_overtaken),
        ('c', session.closing),
        ('U', session.address.ends_with(":0")),
    ];
    let flags: String = marks.into_iter().filter(|(_, holds)| *holds).map(|(mark, _)| mark).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}

/// The last command, with its subcommand where it has some.
fn last_command(session: &Session) -> String {
    match (session.last_command, &*session.last_subcommand) {
        ("", _) => "NULL".to_owned(),
        (command, "") => command.to_ascii_lowercase(),
        (command, word) => format!("{}|{word}", command.to_ascii_lowercase()),
    }
}
