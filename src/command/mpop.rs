//! LMPOP, ZMPOP and their blocking forms: several elements of the first of several keys that has some.

use std::ops::Range;

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::lists::end_of;
use crate::command::set_algebra::counted_keys;
use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args};
use crate::data::lists::End;
use crate::data::{Edit, Error};

const POP: Flags = Flags::WRITE;
const WAIT: Flags = POP.and(Flags::BLOCKING);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("LMPOP", -4, Group::List, POP, Run::Write(lmpop)).keys_counted_at(1).doc(
        "7.0.0",
        "numkeys key [key ...] LEFT | RIGHT [COUNT count]",
        "Removes and answers elements of the first list that is there, with its name.",
    ),
    Command::new("BLMPOP", -5, Group::List, WAIT, Run::Write(blmpop)).keys_counted_at(2).doc(
        "7.0.0",
        "timeout numkeys key [key ...] LEFT | RIGHT [COUNT count]",
        "As LMPOP, and waits for a list when there is none.",
    ),
    Command::new("ZMPOP", -4, Group::SortedSet, POP, Run::Write(zmpop)).keys_counted_at(1).doc(
        "7.0.0",
        "numkeys key [key ...] MIN | MAX [COUNT count]",
        "Removes and answers members of the first sorted set that is there, with its name.",
    ),
    Command::new("BZMPOP", -5, Group::SortedSet, WAIT, Run::Write(bzmpop)).keys_counted_at(2).doc(
        "7.0.0",
        "timeout numkeys key [key ...] MIN | MAX [COUNT count]",
        "As ZMPOP, and waits for a sorted set when there is none.",
    ),
];

fn lmpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let asked = Asked::read(request, 1, end_of)?;
    let popped = asked.pop(ctx, request, pop_list)?;
    Ok(popped.unwrap_or(Reply::NullArray))
}

fn blmpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let asked = Asked::read(request, 2, end_of)?;
    let deadline = args::timeout(request.arg(1), ctx.now)?;
    asked.pop_or_wait(ctx, request, deadline, pop_list)
}

fn zmpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let asked = Asked::read(request, 1, is_highest)?;
    let popped = asked.pop(ctx, request, pop_zset)?;
    Ok(popped.unwrap_or(Reply::NullArray))
}

fn bzmpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let asked = Asked::read(request, 2, is_highest)?;
    let deadline = args::timeout(request.arg(1), ctx.now)?;
    asked.pop_or_wait(ctx, request, deadline, pop_zset)
}

/// Whether MIN or MAX is meant.
fn is_highest(word: &[u8]) -> Result<bool, CommandError> {
    if args::is(word, "MAX") {
        Ok(true)
    } else if args::is(word, "MIN") {
        Ok(false)
    } else {
        Err(CommandError::SYNTAX)
    }
}

fn pop_list(edit: &mut Edit<'_, '_>, name: &[u8], end: End, count: u64) -> Result<Option<Reply>, Error> {
    let taken = edit.list_pop(name, end, count)?;
    Ok(taken.map(|taken| Reply::array(taken.into_iter().map(Reply::Bulk))))
}

fn pop_zset(edit: &mut Edit<'_, '_>, name: &[u8], highest: bool, count: u64) -> Result<Option<Reply>, Error> {
    let Some(set) = edit.sorted_set(name)? else { return Ok(None) };
    let popped = edit.zpop(name, &set, count, highest)?;
    let pair = |(member, score)| Reply::array([Reply::Bulk(member), Reply::Double(score)]);
    Ok(Some(Reply::array(popped.into_iter().map(pair))))
}

/// Takes elements of one key, `None` when there is no such collection.
type Pop<S> = fn(&mut Edit<'_, '_>, &[u8], S, u64) -> Result<Option<Reply>, Error>;

/// What is asked for: which keys, from which side, and how many elements at most.
struct Asked<S> {
    keys: Range<usize>,
    side: S,
    count: u64,
}

impl<S: Copy> Asked<S> {
    /// Reads what stands from the number of keys on. The order of the checks is Redis's.
    fn read(
        request: &Request,
        place: usize,
        side: fn(&[u8]) -> Result<S, CommandError>,
    ) -> Result<Asked<S>, CommandError> {
        let too_few = CommandError::new("ERR numkeys should be greater than 0");
        if args::count(request.arg(place)).unwrap_or(0) == 0 {
            return Err(too_few);
        }
        let keys = counted_keys(request, place).map_err(|_| CommandError::SYNTAX)?;
        let mut options = args::Options::new(request, keys.end);
        let side = side(options.value()?)?;
        let mut count = None;
        while let Some(word) = options.word() {
            if count.is_some() || !args::is(word, "COUNT") {
                return Err(CommandError::SYNTAX);
            }
            let given = args::count(options.value()?).unwrap_or(0);
            if given == 0 {
                return Err(CommandError::new("ERR count should be greater than 0"));
            }
            count = Some(given);
        }
        Ok(Asked { keys, side, count: count.unwrap_or(1) })
    }

    /// The name of the first key that has something, and what was taken of it.
    fn pop(&self, ctx: &mut Context<'_, '_>, request: &Request, pop: Pop<S>) -> Result<Option<Reply>, Error> {
        for place in self.keys.clone() {
            if let Some(taken) = pop(&mut ctx.edit(), request.arg(place), self.side, self.count)? {
                return Ok(Some(Reply::array([Reply::Bulk(request.bytes(place)), taken])));
            }
        }
        Ok(None)
    }

    fn pop_or_wait(
        &self,
        ctx: &mut Context<'_, '_>,
        request: &Request,
        deadline: Option<Millis>,
        pop: Pop<S>,
    ) -> Outcome {
        let mut drained = true;
        for place in self.keys.clone() {
            let name = request.arg(place);
            if !ctx.may_be_served_by(name) {
                continue;
            }
            match pop(&mut ctx.edit(), name, self.side, self.count) {
                Ok(Some(taken)) => return Ok(Reply::array([Reply::Bulk(request.bytes(place)), taken])),
                Ok(None) => {}
                // Somebody behind may wait for just this type.
                Err(Error::WrongType) if ctx.woken_by.is_some() => drained = false,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ctx.wait_for_keys(request, self.keys.clone(), deadline, drained))
    }
}
