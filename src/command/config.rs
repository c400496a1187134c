//! CONFIG: what the server was started with, and what may be set while it runs: [`settings`] that are known above the
//! engine, and what is set here.
//!
//! Of Redis's tuning parameters those are taken and kept that AGQ has no use for but clients and test suites set: they
//! bound encodings that AGQ does not have. Those do something that choose notices, and what is measured.

use std::ops::RangeInclusive;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{
    Command, CommandError, Context, Flags, Group, NotSet, Outcome, Run, Server, Statistics, args, settings, subcommand,
};
use crate::data::Touched;
use crate::data::glob;
use crate::data::notices::Classes;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new("CONFIG", -2, Group::Server, Flags::ADMIN.and(Flags::CONTAINER), Run::Write(config))
    .doc(
        "2.0.0",
        "GET pattern [pattern ...] | SET parameter value [parameter value ...] | RESETSTAT | REWRITE",
        "The server's parameters.",
    )
    .differs(
        "SET takes what SIGHUP takes (maxclients, the files of TLS, leases, the log …), notify-keyspace-events, what SLOWLOG \
         and LATENCY keep, and Redis's limits of encodings and intervals, which change nothing here. What else was chosen at \
         the start can be set to what it is only. Nothing that is set outlives the server, nor a SIGHUP what that reads; \
         REWRITE is refused. A pattern has 1,024 bytes at most.",
    )];

/// What a value may be.
enum Takes {
    Integer(RangeInclusive<i64>),
    YesNo,
    Classes,
}

/// Parameters that can be set: the name, what it may be, and what it is at first.
const TUNABLE: &[(&str, Takes, &str)] = &[
    ("notify-keyspace-events", Takes::Classes, ""),
    ("hash-max-listpack-entries", Takes::Integer(0..=i64::MAX), "512"),
    ("hash-max-ziplist-entries", Takes::Integer(0..=i64::MAX), "512"),
    ("hash-max-listpack-value", Takes::Integer(0..=i64::MAX), "64"),
    ("hash-max-ziplist-value", Takes::Integer(0..=i64::MAX), "64"),
    ("list-max-listpack-size", Takes::Integer(-5..=i64::MAX), "-2"),
    ("list-max-ziplist-size", Takes::Integer(-5..=i64::MAX), "-2"),
    ("list-compress-depth", Takes::Integer(0..=i64::MAX), "0"),
    ("set-max-intset-entries", Takes::Integer(0..=i64::MAX), "512"),
    ("zset-max-listpack-entries", Takes::Integer(0..=i64::MAX), "128"),
    ("zset-max-ziplist-entries", Takes::Integer(0..=i64::MAX), "128"),
    ("zset-max-listpack-value", Takes::Integer(0..=i64::MAX), "64"),
    ("zset-max-ziplist-value", Takes::Integer(0..=i64::MAX), "64"),
    ("activerehashing", Takes::YesNo, "yes"),
    ("active-expire-effort", Takes::Integer(1..=10), "1"),
    ("hz", Takes::Integer(i64::MIN..=i64::MAX), "10"),
    ("dynamic-hz", Takes::YesNo, "yes"),
    ("lazyfree-lazy-expire", Takes::YesNo, "no"),
    ("lazyfree-lazy-server-del", Takes::YesNo, "no"),
    ("lazyfree-lazy-user-del", Takes::YesNo, "no"),
    ("lua-time-limit", Takes::Integer(0..=i64::MAX), "5000"),
    ("busy-reply-threshold", Takes::Integer(0..=i64::MAX), "5000"),
    ("slowlog-log-slower-than", Takes::Integer(-1..=i64::MAX), "10000"),
    ("slowlog-max-len", Takes::Integer(0..=i64::MAX), "128"),
    ("latency-monitor-threshold", Takes::Integer(0..=i64::MAX), "0"),
    ("maxmemory-samples", Takes::Integer(1..=64), "5"),
];

/// Parameters of Redis's that are always the same in AGQ.
pub const FIXED: [(&str, &str); 5] =
    [("appendonly", "yes"), ("save", ""), ("databases", "16"), ("maxmemory", "0"), ("maxmemory-policy", "noeviction")];

/// The parameters that were set, in the order of the table above.
#[derive(Debug, Clone, Default)]
pub struct Tuning(Vec<(&'static str, String)>);

impl Tuning {
    fn get(&self, name: &str, first: &'static str) -> String {
        let set = self.0.iter().find(|(known, _)| *known == name);
        set.map_or_else(|| first.to_owned(), |(_, value)| value.clone())
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }
}

/// True for what CONFIG knows, and whose value everybody may see who sees what administrators did.
pub(crate) fn is_setting(server: &Server, name: &[u8]) -> bool {
    let is = |known: &str| args::is(name, known);
    let chosen = server.config.parameters.iter().map(|(name, _)| name.as_str());
    let tuned = TUNABLE.iter().map(|(name, ..)| *name);
    let mut known = chosen.chain(tuned).chain(server.settings.changeable.iter().copied());
    !name.to_ascii_lowercase().windows(4).any(|part| part == b"pass") && known.any(is)
}

fn config(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let word = request.arg(1);
    if args::is(word, "GET") {
        subcommand::takes(request, 3..=usize::MAX)?;
        request.iter().skip(2).try_for_each(|pattern| args::pattern(pattern).map(drop))?;
        return Ok(get(ctx, request));
    }
    if args::is(word, "SET") {
        if !request.len().is_multiple_of(2) || request.len() < 4 {
            return Err(CommandError::arity("config|set").into());
        }
        return set(ctx, request);
    }
    if args::is(word, "RESETSTAT") {
        subcommand::takes(request, 2..=2)?;
        ctx.server.facts.commands_processed = 0;
        ctx.server.facts.connections_received = 0;
        ctx.server.statistics.reset();
        return Ok(Reply::ok());
    }
    if args::is(word, "REWRITE") {
        subcommand::takes(request, 2..=2)?;
        return Err(CommandError::new(
            "ERR AGQ never writes agq.toml: what is to outlive the server has to be put into it by hand",
        )
        .into());
    }
    Err(subcommand::unknown(request).into())
}

fn get(ctx: &Context<'_, '_>, request: &Request) -> Reply {
    let patterns: Vec<Vec<u8>> = request.iter().skip(2).map(<[u8]>::to_ascii_lowercase).collect();
    let chosen = ctx.server.config.parameters.iter().map(|(name, value)| (name.clone(), value.clone()));
    let tuned = TUNABLE.iter().map(|(name, _, first)| ((*name).to_owned(), ctx.server.tuning.get(name, first)));
    Reply::map(chosen.chain(tuned).filter_map(|(name, value)| {
        let place = patterns.iter().position(|pattern| glob::matches(pattern, name.as_bytes()))?;
        // A name without special bytes is answered as it was asked for.
        let asked = request.arg(place + 2);
        let name = if glob::is_literal(asked) { request.bytes(place + 2) } else { name.into() };
        Some((Reply::bulk(name), Reply::bulk(value)))
    }))
}

/// Sets all that is asked for, or nothing.
fn set(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (mut changes, mut settings, mut classes) = (Vec::new(), Vec::<(String, String)>::new(), None);
    for place in (2..request.len()).step_by(2) {
        let name = String::from_utf8_lossy(request.arg(place)).to_ascii_lowercase();
        let failed = |why: &str| NotSet { parameter: name.clone(), why: why.to_owned() }.error();
        let value = request.bytes(place + 1);
        if ctx.server.settings.changeable.contains(&name.as_str()) {
            if settings.iter().any(|(other, _)| *other == name) {
                return Err(failed("duplicate parameter").into());
            }
            let Ok(text) = String::from_utf8(value.to_vec()) else {
                return Err(failed("the value is no text in UTF-8").into());
            };
            settings.push((name, text));
            continue;
        }
        if let Some((_, chosen)) = ctx.server.config.parameters.iter().find(|(known, _)| *known == name) {
            if value == chosen.as_bytes() {
                continue;
            }
            let why = match FIXED.iter().any(|(fixed, _)| *fixed == name) {
                true => format!("it is always '{chosen}' in AGQ"),
                false => format!("it is '{chosen}' while the server runs: choose it at the start"),
            };
            return Err(failed(&why).into());
        }
        let Some((known, takes, _)) = TUNABLE.iter().find(|(known, ..)| *known == name) else {
            let text = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            return Err(CommandError::new(text).into());
        };
        if changes.iter().any(|(other, _)| other == known) {
            return Err(failed("duplicate parameter").into());
        }
        changes.push((*known, sound(takes, &value).map_err(|why| failed(&why))?));
        if matches!(takes, Takes::Classes) {
            // Not read from the value as it is kept, which does not show all of it: `An` becomes `A`.
            classes = Classes::parse(&value);
        }
    }
    let tuned = Tuned { changes, classes };
    if settings.is_empty() {
        tuned.apply(ctx.server, ctx.touched);
    } else {
        settings::change(ctx, settings, tuned)?.map_err(|refused| refused.error())?;
    }
    Ok(Reply::ok())
}

/// Parameters that are set here, with sound values.
#[derive(Debug, Default)]
pub struct Tuned {
    changes: Vec<(&'static str, String)>,
    classes: Option<Classes>,
}

impl Tuned {
    /// Sets them.
    pub fn apply(self, server: &mut Server, touched: &mut Touched) {
        if let Some(classes) = self.classes {
            touched.classes = classes;
        }
        for (name, value) in self.changes {
            // Each limit has its old name too.
            let both = [name.replace("listpack", "ziplist"), name.replace("ziplist", "listpack")];
            for (known, ..) in TUNABLE.iter().filter(|(known, ..)| both.iter().any(|name| name == known)) {
                server.tuning.set(known, value.clone());
            }
            measure(&mut server.statistics, name, &value);
        }
    }
}

/// Lets what is measured follow the parameters.
fn measure(statistics: &mut Statistics, name: &str, value: &str) {
    let Ok(number) = args::integer(value.as_bytes()) else { return };
    let natural = usize::try_from(number).unwrap_or(usize::MAX);
    match name {
        "slowlog-log-slower-than" => statistics.slow.slower_than = number,
        "slowlog-max-len" => statistics.slow.longest = natural,
        "latency-monitor-threshold" => statistics.events.threshold_ms = natural as u64,
        _ => {}
    }
}

/// The value as it is kept.
fn sound(takes: &Takes, value: &Bytes) -> Result<String, String> {
    let text = String::from_utf8_lossy(value).into_owned();
    match takes {
        Takes::YesNo if ["yes", "no"].iter().any(|word| args::is(value, word)) => Ok(text.to_ascii_lowercase()),
        Takes::YesNo => Err("argument must be 'yes' or 'no'".to_owned()),
        Takes::Integer(range) => match args::integer(value) {
            Ok(number) if range.contains(&number) => Ok(text),
            Ok(_) => {
                let (low, high) = (range.start(), range.end());
                Err(format!("argument must be between {low} and {high} inclusive"))
            }
            Err(_) => Err("argument couldn't be parsed into an integer".to_owned()),
        },
        Takes::Classes if value.contains(&b'm') => {
            Err("AGQ does not tell of keys that are asked for and not there: leave out 'm'".to_owned())
        }
        Takes::Classes => Classes::parse(value)
            .map(Classes::text)
            .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
    }
}
