//! HRANDFIELD and ZRANDMEMBER: fields of a hash and members of a sorted set at random.

use agq_resp::{Protocol, Reply, Request};
use bytes::Bytes;

use crate::command::sets::{random_count, repeats};
use crate::command::zsets::{index, scored, walks_to_places};
use crate::command::{Command, CommandError, Flags, Group, Outcome, ReadContext, Run, args};
use crate::data::Error;
use crate::data::zsets::{ScoreRange, Scored, Window};

/// Elements of a collection, or picks, past which a read leaves the core thread.
const HEAVY: u64 = 10_000;
/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("HRANDFIELD", -2, Group::Hash, Flags::READONLY, Run::Read(hrandfield))
        .keys(1, 1, 1)
        .heavy(|ctx, request| Ok(ctx.view.hash_len(request.arg(1))? > HEAVY || asks_for_many(request)))
        .doc(
            "6.2.0",
            "key [count [WITHVALUES]]",
            "Random fields of a hash; all different, or, with a negative count, each as often as it comes.",
        )
        .differs("A negative count is -10,000,000 at the least. A pick walks over the fields of the hash."),
    Command::new("ZRANDMEMBER", -2, Group::SortedSet, Flags::READONLY, Run::Read(zrandmember))
        .keys(1, 1, 1)
        .heavy(|ctx, request| {
            // A pick looks at some hundred rows.
            let many = picks(request, "WITHSCORES")?.is_some_and(|(count, _)| count.unsigned_abs() > HEAVY / 100);
            let many = many && ctx.view.sorted_set(request.arg(1))?.is_some_and(|set| set.len() > HEAVY / 100);
            Ok(many || walks_to_places(ctx, request)?)
        })
        .prepare(index)
        .doc(
            "6.2.0",
            "key [count [WITHSCORES]]",
            "Random members of a sorted set; all different, or, with a negative count, each as often as it comes.",
        )
        .differs("A negative count is -10,000,000 at the least."),
];

/// How many elements are asked for, and whether with what belongs to them; `None` for one alone.
fn picks(request: &Request, with: &str) -> Result<Option<(i64, bool)>, CommandError> {
    let Some(count) = request.get(2) else { return Ok(None) };
    let count = random_count(count)?;
    let with_more = match request.get(3) {
        None => false,
        Some(word) if request.len() == 4 && args::is(word, with) => true,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    if with_more && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::new("ERR value is out of range"));
    }
    repeats(count)?;
    Ok(Some((count, with_more)))
}

fn asks_for_many(request: &Request) -> bool {
    request.get(2).and_then(|count| args::integer(count).ok()).is_some_and(|count| count < -HEAVY.cast_signed())
}

/// The places that `count` random picks of `len` fall on, in the order of picking; all of them, in order, when there
/// are no more than that.
fn places(count: i64, len: u64, random: &mut fastrand::Rng) -> Vec<u64> {
    let wanted = count.unsigned_abs();
    if count < 0 {
        return (0..wanted).map(|_| random.u64(..len)).collect();
    }
    if wanted >= len {
        return (0..len).collect();
    }
    if wanted.saturating_mul(3) > len {
        let mut all: Vec<u64> = (0..len).collect();
        random.shuffle(&mut all);
        all.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        return all;
    }
    let mut seen = std::collections::HashSet::new();
    let mut picked = Vec::new();
    while (picked.len() as u64) < wanted {
        let place = random.u64(..len);
        if seen.insert(place) {
            picked.push(place);
        }
    }
    picked
}

fn hrandfield(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let picks = picks(request, "WITHVALUES")?;
    let hash = ctx.view.hash(request.arg(1))?;
    let mut random = fastrand::Rng::with_seed(ctx.seed);
    let Some(hash) = hash else { return Ok(nothing(picks.is_some())) };
    let (count, with_values) = picks.unwrap_or((1, false));
    let found = ctx.view.hash_at(&hash, &places(count, hash.len(), &mut random))?;
    if picks.is_none() {
        return Ok(found.into_iter().next().map_or(Reply::Null, |(field, _)| Reply::Bulk(field)));
    }
    Ok(if with_values {
        pairs(found, ctx.protocol)
    } else {
        Reply::array(found.into_iter().map(|(field, _)| Reply::Bulk(field)))
    })
}

/// Fields with their values: pairs in RESP3, one after the other in RESP2.
fn pairs(found: Vec<(Bytes, Bytes)>, protocol: Protocol) -> Reply {
    let pairs = found.into_iter().map(|(field, value)| [Reply::Bulk(field), Reply::Bulk(value)]);
    match protocol {
        Protocol::Resp3 => Reply::array(pairs.map(Reply::array)),
        Protocol::Resp2 => Reply::array(pairs.flatten()),
    }
}

/// The answer when there is no such key.
fn nothing(counted: bool) -> Reply {
    if counted { Reply::array([]) } else { Reply::Null }
}

fn zrandmember(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let picks = picks(request, "WITHSCORES")?;
    let set = ctx.view.sorted_set(request.arg(1))?;
    let mut random = fastrand::Rng::with_seed(ctx.seed);
    let Some(set) = set else { return Ok(nothing(picks.is_some())) };
    let (count, with_scores) = picks.unwrap_or((1, false));
    let places = places(count, set.len(), &mut random);
    let found = if places.len() as u64 == set.len() && count > 0 {
        ctx.view.zrange_by_score(&set, ScoreRange::ALL, Window::ALL)?
    } else if !set.knows_places() {
        // In the order of the members' bytes instead of the scores: a random place is one as well as the other.
        ctx.view.zat_members(&set, &places)?
    } else {
        let picks = places.into_iter().map(|place| ctx.view.zat(&set, place).transpose());
        picks.flatten().collect::<Result<Vec<Scored>, Error>>()?
    };
    let member = |(member, _)| Reply::Bulk(member);
    if picks.is_none() {
        return Ok(found.into_iter().next().map_or(Reply::Null, member));
    }
    Ok(if with_scores { scored(found, ctx.protocol) } else { Reply::array(found.into_iter().map(member)) })
}
