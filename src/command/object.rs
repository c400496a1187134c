//! OBJECT and MEMORY: what a key is made of.

use std::ops::ControlFlow;

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, ReadContext, Run, args, subcommand};
use crate::data::{Kind, Record, Result, View, strings, trash};
use crate::storage::Table;

/// Elements looked at to tell how large all are.
const SAMPLES: u64 = 5;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("OBJECT", -2, Group::Generic, Flags::READONLY.and(Flags::CONTAINER), Run::Read(object))
        .keys(2, 2, 1)
        .doc("2.2.3", "ENCODING key | FREQ key | IDLETIME key | REFCOUNT key", "What a key is made of.")
        .differs(
            "ENCODING names what Redis would use, with its default limits, for what the key holds now. IDLETIME is 0 \
             and REFCOUNT 1: reads are not tracked, and values not shared.",
        ),
    Command::new("MEMORY", -2, Group::Server, Flags::READONLY.and(Flags::CONTAINER), Run::Write(memory))
        .keys(2, 2, 1)
        .doc("4.0.0", "DOCTOR | MALLOC-STATS | PURGE | STATS | USAGE key [SAMPLES count]", "How large a key is.")
        .differs("USAGE counts the bytes of a key's rows in the store. STATS has the fields that mean something here."),
];

fn object(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let word = request.arg(1);
    if !["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"].iter().any(|known| args::is(word, known)) {
        return Err(subcommand::unknown(request).into());
    }
    subcommand::takes(request, 3..=3)?;
    let Some(record) = ctx.view.record(request.arg(2))? else { return Ok(Reply::Null) };
    if args::is(word, "ENCODING") {
        return Ok(Reply::bulk(ctx.view.working(|view| encoding(view, request.arg(2), &record))?));
    }
    if args::is(word, "FREQ") {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        )
        .into());
    }
    Ok(Reply::int(args::is(word, "REFCOUNT").into()))
}

/// The encoding that Redis 7.0 would use, with its default limits.
pub(super) fn encoding(view: &View<'_>, name: &[u8], record: &Record) -> Result<&'static str> {
    const HASH_ENTRIES: u64 = 512;
    const ZSET_ENTRIES: u64 = 128;
    const ENTRY_BYTES: usize = 64;
    const INTEGERS: u64 = 512;
    Ok(match record.kind {
        Kind::String if record.in_blobs => "raw",
        Kind::String if strings::parse_integer(&record.body).is_some() => "int",
        Kind::String if record.body.len() <= 44 => "embstr",
        Kind::String => "raw",
        Kind::List => "quicklist",
        Kind::Hash => {
            let small = view.hash_len(name)? <= HASH_ENTRIES
                && view.hash_entries(name)?.iter().all(|(a, b)| a.len() <= ENTRY_BYTES && b.len() <= ENTRY_BYTES);
            if small { "listpack" } else { "hashtable" }
        }
        Kind::SortedSet => {
            let Some(set) = view.sorted_set(name)? else { return Ok("listpack") };
            let small = set.len() <= ZSET_ENTRIES
                && view.zrange(&set, 0, ZSET_ENTRIES, false)?.iter().all(|(member, _)| member.len() <= ENTRY_BYTES);
            if small { "listpack" } else { "skiplist" }
        }
        Kind::Set => {
            let Some(set) = view.set(name)? else { return Ok("intset") };
            let integers = set.len() <= INTEGERS
                && view.set_members(&set)?.iter().all(|member| strings::parse_integer(member).is_some());
            if integers { "intset" } else { "hashtable" }
        }
    })
}

fn memory(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let word = request.arg(1);
    if args::is(word, "USAGE") {
        subcommand::takes(request, 3..=usize::MAX)?;
        return usage(&ctx.reading(), request);
    }
    if args::is(word, "DOCTOR") {
        subcommand::takes(request, 2..=2)?;
        return Ok(Reply::Verbatim {
            format: *b"txt",
            text: "AGQ keeps its data in a file and bounds what it caches of it: there is nothing to mend.\n".into(),
        });
    }
    if args::is(word, "STATS") {
        subcommand::takes(request, 2..=2)?;
        return stats(ctx);
    }
    if args::is(word, "MALLOC-STATS") {
        subcommand::takes(request, 2..=2)?;
        return Ok(Reply::bulk("Stats not supported for the current allocator"));
    }
    if args::is(word, "PURGE") {
        subcommand::takes(request, 2..=2)?;
        return Ok(Reply::ok());
    }
    Err(subcommand::unknown(request).into())
}

fn stats(ctx: &Context<'_, '_>) -> Outcome {
    let mut keys = 0;
    for keyspace in ctx.server.keyspaces {
        keys += View { keyspace, ..ctx.view() }.count()?;
    }
    let facts = &ctx.server.facts;
    let resident = facts.process.as_ref().map_or(0, |process| process.resident_bytes);
    let file = facts.storage.as_ref().map_or(0, |store| store.file_bytes + store.log_bytes);
    let fields = [
        ("total.allocated", resident),
        ("keys.count", keys),
        ("keys.bytes-per-key", file.checked_div(keys).unwrap_or(0)),
        ("dataset.bytes", file),
        ("allocator.resident", resident),
    ];
    Ok(Reply::map(fields.map(|(name, value)| (Reply::bulk(name), Reply::int(value.cast_signed())))))
}

fn usage(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut samples = SAMPLES;
    let mut options = args::Options::new(request, 3);
    while let Some(word) = options.word() {
        if !args::is(word, "SAMPLES") {
            return Err(CommandError::SYNTAX.into());
        }
        let given = args::integer(options.value()?)?;
        samples = u64::try_from(given).map_err(|_| CommandError::SYNTAX)?;
    }
    let Some(record) = ctx.view.record(request.arg(2))? else { return Ok(Reply::Null) };
    // Redis takes 0 for all of them; here as many as one turn may read.
    let samples = if samples == 0 { 10_000 } else { samples.min(10_000) };
    let own = request.arg(2).len() + 4 + record.encode().len();
    let mut bytes = 0_u64;
    let tables =
        trash::elements_of(&record)?.into_iter().filter(|(table, _)| !matches!(table, Table::Counts | Table::Holes));
    for (table, id) in tables {
        let (mut seen, mut sum) = (0_u64, 0_u64);
        ctx.view.rows_of(table, &id, &mut |key, value| {
            seen += 1;
            sum += (key.len() + value.len()) as u64;
            if seen < samples { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        bytes += sum.checked_div(seen).unwrap_or(0) * elements(&ctx.view, request.arg(2), &record)?;
    }
    Ok(Reply::int(i64::try_from(own as u64 + bytes).unwrap_or(i64::MAX)))
}

/// How many rows a key's elements stand in, in each of their tables.
fn elements(view: &View<'_>, name: &[u8], record: &Record) -> Result<u64> {
    Ok(match record.kind {
        Kind::String => View::string_record_len(record)?.div_ceil(strings::CHUNK_BYTES as u64),
        Kind::List => view.list_len(name)?,
        Kind::Hash => view.hash_len(name)?,
        Kind::SortedSet => view.sorted_set(name)?.map_or(0, |set| set.len()),
        Kind::Set => view.set(name)?.map_or(0, |set| set.len()),
    })
}
