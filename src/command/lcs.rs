//! LCS: the longest common subsequence of two strings.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, CommandError, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::strings::MAX_BYTES;
use crate::data::subsequence::{self, longest_common};
use crate::data::{Kind, Record, View};

/// Pairs of bytes that are compared on the core thread.
const HEAVY_PAIRS: u64 = 1 << 20;
/// Pairs of bytes that may be compared at all: Redis keeps four bytes for each, and no more than fit into a string.
const MAX_PAIRS: u64 = MAX_BYTES as u64 / 4;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command::new("LCS", -3, Group::String, Flags::READONLY, Run::Read(lcs)).keys(1, 2, 1).heavy(is_heavy).doc(
        "7.0.0",
        "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        "The longest common subsequence of two strings, its length, or where its parts stand.",
    )];

#[derive(Default)]
struct Asked {
    length: bool,
    parts: bool,
    part_lengths: bool,
    /// Shorter parts are left out.
    shortest: u64,
}

fn lcs(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let records = records(ctx, request)?;
    let asked = asked(request)?;
    if pairs(&records)? > MAX_PAIRS {
        let text = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        return Err(CommandError::new(text).into());
    }
    let [a, b] = records.map(|record| record.map_or(Ok(Bytes::new()), |record| ctx.view.string_of(&record)));
    let (a, b) = (a?, b?);
    let parts = longest_common(&a, &b);
    let length = parts.iter().map(|part| part.len).sum::<usize>();
    if asked.parts {
        let shown = parts.iter().filter(|part| part.len as u64 >= asked.shortest);
        let shown = Reply::array(shown.map(|part| part_reply(part, asked.part_lengths)));
        return Ok(Reply::map([(Reply::bulk("matches"), shown), (Reply::bulk("len"), number(length))]));
    }
    if asked.length {
        return Ok(number(length));
    }
    let mut common = Vec::with_capacity(length);
    for part in parts.iter().rev() {
        common.extend_from_slice(&a[part.a..part.a + part.len]);
    }
    Ok(Reply::bulk(common))
}

fn asked(request: &Request) -> Result<Asked, CommandError> {
    let mut asked = Asked::default();
    let mut options = args::Options::new(request, 3);
    while let Some(word) = options.word() {
        if args::is(word, "IDX") {
            asked.parts = true;
        } else if args::is(word, "LEN") {
            asked.length = true;
        } else if args::is(word, "WITHMATCHLEN") {
            asked.part_lengths = true;
        } else if args::is(word, "MINMATCHLEN") {
            asked.shortest = u64::try_from(args::integer(options.value()?)?).unwrap_or(0);
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    if asked.parts && asked.length {
        return Err(CommandError::new("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(asked)
}

fn records(ctx: &ReadContext<'_>, request: &Request) -> Result<[Option<Record>; 2], Halt> {
    let records = [ctx.view.record(request.arg(1))?, ctx.view.record(request.arg(2))?];
    if records.iter().flatten().any(|record| record.kind != Kind::String) {
        return Err(CommandError::new("ERR The specified keys must contain string values").into());
    }
    Ok(records)
}

/// The cells of the table that compares each prefix of the one string with each of the other.
fn pairs(records: &[Option<Record>; 2]) -> Result<u64, Halt> {
    let length = |record: &Option<Record>| record.as_ref().map_or(Ok(0), View::string_record_len);
    let [a, b] = records;
    Ok((length(a)? + 1) * (length(b)? + 1))
}

fn is_heavy(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    Ok((HEAVY_PAIRS..=MAX_PAIRS).contains(&pairs(&records(ctx, request)?)?))
}

fn part_reply(part: &subsequence::Run, with_length: bool) -> Reply {
    let range = |start: usize| Reply::array([number(start), number(start + part.len - 1)]);
    let length = with_length.then(|| number(part.len));
    Reply::array([range(part.a), range(part.b)].into_iter().chain(length))
}

fn number(number: usize) -> Reply {
    Reply::int(i64::try_from(number).unwrap_or(i64::MAX))
}
