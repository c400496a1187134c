//! What a client sees that reads everything: through a server that has run for a while, and through one that has just
//! started it has to be the same.

use std::collections::BTreeMap;

use agq_resp::{Reply, ReplyDecoder, ReplyLimits, Request};

use super::clients::unit;
use super::data_words::{DATABASES, NAMES};
use crate::clock::Millis;
use crate::command::Session;
use crate::engine::{ConnId, Engine, Input, Output};
use crate::storage::sim::Check;
use crate::storage::{Batch, Db};

/// The connection that reads.
const READER: ConnId = ConnId::MAX;

/// All of it: each key by its database and name, with its deadline, and what else is asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// When it was seen.
    at: Millis,
    keys: BTreeMap<(usize, &'static str), (Reply, i64)>,
    others: Vec<Reply>,
}

/// Reads everything; changes nothing.
pub(super) fn see(engine: &mut Engine, db: &Db, now: Millis) -> Check<Seen> {
    let mut batch = db.batch().map_err(|error| error.to_string())?;
    let mut seen = Seen { at: now, keys: BTreeMap::new(), others: Vec::new() };
    take(engine, &mut batch, Input::Open(Box::new(Session::new(READER, String::new(), true))), now)?;
    for database in 0..DATABASES {
        let mut commands = vec![format!("SELECT {database}"), "DBSIZE".to_owned()];
        commands.extend(NAMES.iter().flat_map(|name| [format!("DUMP {name}"), format!("PEXPIRETIME {name}")]));
        let mut replies = ask(engine, &mut batch, &commands, now)?.into_iter();
        seen.others.extend(replies.by_ref().take(2));
        for name in NAMES {
            let (dump, deadline) = (replies.next(), replies.next());
            match (dump, deadline) {
                (Some(Reply::Null), _) => {}
                (Some(dump @ Reply::Bulk(_)), Some(Reply::Integer(at))) => {
                    seen.keys.insert((database, name), (dump, at));
                }
                other => return Err(format!("asked for {name}, and was told {other:?}")),
            }
        }
    }
    let commands = ["QUEUE.LIST", "SCHEDULE.LIST", "WEBHOOK.LIST", "ACTION.LIST", "LRANGE queue:ready 0 -1"];
    seen.others.extend(ask(engine, &mut batch, &commands.map(str::to_owned), now)?);
    take(engine, &mut batch, Input::Close(READER), now)?;
    let changed = batch.finish();
    if changed.is_empty() { Ok(seen) } else { Err(format!("reading changed {} rows", changed.rows())) }
}

fn take(engine: &mut Engine, batch: &mut Batch<'_>, input: Input, now: Millis) -> Check<()> {
    engine.take(batch, input, now).map_err(|error| error.to_string())
}

fn ask(engine: &mut Engine, batch: &mut Batch<'_>, commands: &[String], now: Millis) -> Check<Vec<Reply>> {
    let requests = commands.iter().map(|command| Request::from_args(command.split(' ')));
    take(engine, batch, Input::Unit(unit(READER, requests)), now)?;
    let mut replies = Vec::new();
    for output in engine.take_outputs() {
        let Output::Finished(mut finished) = output else { return Err("a read had messages for others".to_owned()) };
        let mut decoder = ReplyDecoder::new(ReplyLimits::default());
        while let Some(reply) = decoder.decode(&mut finished.out).map_err(|error| error.to_string())? {
            replies.push(reply);
        }
    }
    match replies.iter().find(|reply| reply.as_error().is_some()) {
        Some(error) => Err(format!("a read of {commands:?} answered {error:?}")),
        None if replies.len() == commands.len() => Ok(replies),
        None => Err(format!("{} commands had {} replies", commands.len(), replies.len())),
    }
}

impl Seen {
    /// Checks that this is what was seen before, but for what has expired since. With a clock that was `set_back` what
    /// had expired by the old one may be there again.
    pub(super) fn shows_again(mut self, mut before: Seen, set_back: bool) -> Check<()> {
        if self.at < before.at && !set_back {
            return Err(format!("it was {:?}, and is {:?}", before.at, self.at));
        }
        let is_over = |at: i64, by: Millis| u64::try_from(at).is_ok_and(|at| at <= by.0);
        if let Some(((database, name), _)) = self.keys.iter().find(|(_, (_, at))| is_over(*at, self.at)) {
            return Err(format!("key {name} of database {database} has expired, and is there"));
        }
        before.keys.retain(|_, (_, at)| !is_over(*at, self.at));
        self.keys.retain(|_, (_, at)| !is_over(*at, before.at));
        if self.keys != before.keys {
            let differs = |key: &&(usize, &'static str)| self.keys.get(*key) != before.keys.get(*key);
            let key = before.keys.keys().chain(self.keys.keys()).find(differs);
            let of = |seen: &Seen| key.and_then(|key| seen.keys.get(key)).cloned();
            return Err(format!("key {key:?} was {:?} and is {:?}", of(&before), of(&self)));
        }
        match self.others.iter().zip(&before.others).find(|(now, before)| now != before) {
            None => Ok(()),
            Some((now, before)) => Err(format!("a client saw {before:?} before, and sees {now:?}")),
        }
    }
}
