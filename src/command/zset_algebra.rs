//! Sorted sets combined, and ranges of them stored.

use std::ops::Range;

use agq_resp::{Reply, Request};

use crate::command::set_algebra::card_limit;
use crate::command::sets::HEAVY_MEMBERS;
use crate::command::zset_ranges::parse_stored;
use crate::command::zsets::{member, scored};
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::sets::Combination;
use crate::data::zsets::{Aggregate, Scored, Source};
use crate::data::{Error, View};

const READ: Flags = Flags::READONLY;
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);

const UNION: Algebra = Algebra { name: "zunion", how: Combination::Union, keys_at: 1 };
const INTERSECTION: Algebra = Algebra { name: "zinter", how: Combination::Intersection, keys_at: 1 };
const DIFFERENCE: Algebra = Algebra { name: "zdiff", how: Combination::Difference, keys_at: 1 };
const CARD: Algebra = Algebra { name: "zintercard", how: Combination::Intersection, keys_at: 1 };
const UNION_STORE: Algebra = Algebra { name: "zunionstore", how: Combination::Union, keys_at: 2 };
const INTERSECTION_STORE: Algebra = Algebra { name: "zinterstore", how: Combination::Intersection, keys_at: 2 };
const DIFFERENCE_STORE: Algebra = Algebra { name: "zdiffstore", how: Combination::Difference, keys_at: 2 };

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("ZUNION", -3, Group::SortedSet, READ, Run::Read(|ctx, request| UNION.read(ctx, request)))
        .keys_counted_at(1)
        .heavy(|ctx, request| UNION.is_heavy(ctx, request))
        .doc(
            "6.2.0",
            "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
            "The members of all sorted sets together.",
        ),
    Command::new("ZINTER", -3, Group::SortedSet, READ, Run::Read(|ctx, request| INTERSECTION.read(ctx, request)))
        .keys_counted_at(1)
        .heavy(|ctx, request| INTERSECTION.is_heavy(ctx, request))
        .doc(
            "6.2.0",
            "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
            "The members that all sorted sets have.",
        ),
    Command::new("ZDIFF", -3, Group::SortedSet, READ, Run::Read(|ctx, request| DIFFERENCE.read(ctx, request)))
        .keys_counted_at(1)
        .heavy(|ctx, request| DIFFERENCE.is_heavy(ctx, request))
        .doc(
            "6.2.0",
            "numkeys key [key ...] [WITHSCORES]",
            "The members of the first sorted set that none of the others has.",
        ),
    Command::new("ZINTERCARD", -3, Group::SortedSet, READ, Run::Read(zintercard))
        .keys_counted_at(1)
        .heavy(|ctx, request| CARD.is_heavy(ctx, request))
        .doc("7.0.0", "numkeys key [key ...] [LIMIT limit]", "How many members all sorted sets have."),
    store("ZUNIONSTORE", Run::Write(|ctx, request| UNION_STORE.store(ctx, request))).doc(
        "2.0.0",
        "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
        "Puts the members of all sorted sets together into one; answers how many.",
    ),
    store("ZINTERSTORE", Run::Write(|ctx, request| INTERSECTION_STORE.store(ctx, request))).doc(
        "2.0.0",
        "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
        "Puts the members that all sorted sets have into one; answers how many.",
    ),
    store("ZDIFFSTORE", Run::Write(|ctx, request| DIFFERENCE_STORE.store(ctx, request))).doc(
        "6.2.0",
        "destination numkeys key [key ...]",
        "Puts the members of the first sorted set that none of the others has into one; answers how many.",
    ),
    Command::new("ZRANGESTORE", -5, Group::SortedSet, STORE, Run::Write(zrangestore)).keys(1, 2, 1).doc(
        "6.2.0",
        "destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        "Puts a range of a sorted set into another; answers how many members.",
    ),
];

const fn store(name: &'static str, run: Run) -> Command {
    Command::new(name, -4, Group::SortedSet, STORE, run).keys(1, 1, 1).keys_counted_at(2)
}

/// One of the commands that combine.
struct Algebra {
    name: &'static str,
    how: Combination,
    /// Where the number of keys stands.
    keys_at: usize,
}

/// What such a command asks for.
struct Asked {
    sources: Vec<(Source, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: u64,
}

impl Algebra {
    fn keys(&self, request: &Request) -> Result<Range<usize>, CommandError> {
        let count = args::integer(request.arg(self.keys_at))?;
        if count < 1 {
            let text = format!("ERR at least 1 input key is needed for '{}' command", self.name);
            return Err(CommandError::new(text));
        }
        let first = self.keys_at + 1;
        match usize::try_from(count) {
            Ok(count) if count <= request.len() - first => Ok(first..first + count),
            _ => Err(CommandError::SYNTAX),
        }
    }

    /// Reads a request: its keys first, of whatever type they are, and then the options, as Redis does.
    fn ask(&self, view: &View<'_>, request: &Request) -> Result<Asked, Halt> {
        let keys = self.keys(request)?;
        let sources = keys.clone().map(|place| Ok((view.source(request.arg(place))?, 1.0)));
        let sources = sources.collect::<Result<Vec<_>, Error>>()?;
        let mut asked = Asked { sources, aggregate: Aggregate::Sum, with_scores: false, limit: u64::MAX };
        let counts = self.name == CARD.name;
        let weighs = self.how != Combination::Difference && !counts;
        let mut options = args::Options::new(request, keys.end);
        while let Some(word) = options.word() {
            if weighs && args::is(word, "WEIGHTS") && options.left() >= asked.sources.len() {
                for (_, weight) in &mut asked.sources {
                    let refused = CommandError::new("ERR weight value is not a float");
                    *weight = args::score(options.value()?).ok_or(refused)?;
                }
            } else if weighs && args::is(word, "AGGREGATE") {
                asked.aggregate = aggregate(options.value()?)?;
            } else if self.keys_at == 1 && !counts && args::is(word, "WITHSCORES") {
                asked.with_scores = true;
            } else if counts && args::is(word, "LIMIT") {
                asked.limit = card_limit(options.value()?)?;
            } else {
                return Err(CommandError::SYNTAX.into());
            }
        }
        Ok(asked)
    }

    fn is_heavy(&self, ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
        let asked = self.ask(&ctx.view, request)?;
        Ok(asked.sources.iter().map(|(source, _)| source.len()).sum::<u64>() > HEAVY_MEMBERS)
    }

    fn read(&self, ctx: &ReadContext<'_>, request: &Request) -> Outcome {
        let asked = self.ask(&ctx.view, request)?;
        let found = ctx.view.working(|view| view.zcombine(self.how, asked.sources, asked.aggregate))?;
        ctx.view.answers(found.iter().map(|(member, _)| member))?;
        Ok(if asked.with_scores { scored(found, ctx.protocol) } else { Reply::array(found.into_iter().map(member)) })
    }

    fn store(&self, ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
        let asked = self.ask(&ctx.view(), request)?;
        let found = ctx.view().working(|view| view.zcombine(self.how, asked.sources, asked.aggregate))?;
        stored(ctx, request.arg(1), found, self.name)
    }
}

fn aggregate(word: &[u8]) -> Result<Aggregate, CommandError> {
    let words = [("SUM", Aggregate::Sum), ("MIN", Aggregate::Min), ("MAX", Aggregate::Max)];
    let found = words.into_iter().find(|(name, _)| args::is(word, name));
    found.map(|(_, aggregate)| aggregate).ok_or(CommandError::SYNTAX)
}

fn stored(ctx: &mut Context<'_, '_>, name: &[u8], found: Vec<Scored>, event: &'static str) -> Outcome {
    let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
    ctx.edit().zreplace(name, found, event)?;
    Ok(Reply::int(count))
}

fn zintercard(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let asked = CARD.ask(&ctx.view, request)?;
    Ok(Reply::int(ctx.view.working(|view| view.zcommon(asked.sources, asked.limit))?.cast_signed()))
}

fn zrangestore(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let range = parse_stored(request)?;
    let found = ctx.view().working(|view| range.members(view, request.arg(2)))?;
    stored(ctx, request.arg(1), found, "zrangestore")
}
