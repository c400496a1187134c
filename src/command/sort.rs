//! SORT and SORT_RO: the elements of a list, set or sorted set in another order, or what keys named after them hold.

use std::cmp::Ordering;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args, views};
use crate::data::dump::Value;
use crate::data::notices::Classes;
use crate::data::{Error, Kind, Record, Result, View, strings};
use crate::storage;
use crate::storage::batch::{MAX_BYTES, MAX_ROWS};

/// Rows that a sort reads on the core thread.
const HEAVY_ROWS: u64 = 10_000;

/// Values that GET finds at most …
const MAX_FOUND: u64 = 10_000_000;
/// … and bytes that BY and GET look up.
const MAX_LOOKED_UP_BYTES: usize = strings::MAX_BYTES;

const DIFFERS: &str = "ALPHA compares bytes, whatever the locale. Numbers are decimal, without C's hexadecimal ones. \
                       What ALPHA finds equal with BY keeps the order it had. BY and GET do not see jobs, plans, \
                       workers and queues. GET finds 10,000,000 values at most, BY and GET look up 512 MiB.";

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "SORT",
        -2,
        Group::Generic,
        Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
        Run::Write(sort),
    )
    .keys(1, 1, 1)
    .doc(
        "1.0.0",
        "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] \
             [STORE destination]",
        "The elements of a list, set or sorted set, or what is looked up for each, in the order of numbers or \
             letters.",
    )
    .differs(DIFFERS),
    Command::new("SORT_RO", -2, Group::Generic, Flags::READONLY.and(Flags::MOVABLE_KEYS), Run::Read(sort_ro))
        .keys(1, 1, 1)
        .doc(
            "7.0.0",
            "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
            "As SORT, without STORE.",
        )
        .heavy(|ctx, request| Sort::read(request, true)?.is_heavy(&ctx.view, request.arg(1)))
        .differs(DIFFERS),
];

fn sort(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let sort = Sort::read(request, false)?;
    let Some(target) = sort.target else {
        if ctx.in_transaction {
            return answer(&ctx.view(), &sort, request.arg(1));
        }
        ctx.batch.allowance().narrow();
        if sort.is_heavy(&ctx.view(), request.arg(1))? {
            return Err(Halt::Heavy(sort_elsewhere));
        }
        return match answer(&ctx.view(), &sort, request.arg(1)) {
            Err(_) if ctx.batch.allowance().should_leave() => Err(Halt::Heavy(sort_elsewhere)),
            outcome => outcome,
        };
    };
    if ctx.session.database == 0 {
        views::check_ordinary(ctx, target, request)?;
    }
    let elements = ctx.view().working(|view| sort.run(view, request.arg(1)))?;
    let elements: Vec<Bytes> = elements.into_iter().map(Option::unwrap_or_default).collect();
    let stored = Reply::int(elements.len() as i64);
    let mut edit = ctx.edit();
    let old = edit.record(target)?;
    if !elements.is_empty() {
        edit.put_value(target, old.as_ref(), Value::List(elements), None)?;
        if old.is_none() {
            edit.notice(Classes::NEW, "new", target);
        }
        edit.notice(Classes::LIST, "sortstore", target);
    } else if let Some(old) = old {
        edit.delete(target, &old)?;
        edit.notice_gone(target);
    }
    Ok(stored)
}

fn sort_elsewhere(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    answer(&ctx.view, &Sort::read(request, false)?, request.arg(1))
}

fn sort_ro(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    answer(&ctx.view, &Sort::read(request, true)?, request.arg(1))
}

fn answer(view: &View<'_>, sort: &Sort<'_>, name: &[u8]) -> Outcome {
    let found = view.working(|view| sort.run(view, name))?;
    view.answers(found.iter().flatten())?;
    Ok(Reply::array(found.into_iter().map(|value| value.map_or(Reply::Null, Reply::Bulk))))
}

/// The key that a SORT writes, if it writes one: what the command itself takes for it. One that it refuses writes none.
pub(super) fn target(request: &Request) -> Option<&[u8]> {
    Sort::read(request, false).ok()?.target
}

/// What is asked for.
struct Sort<'a> {
    descending: bool,
    alpha: bool,
    skip: i64,
    /// Negative: all.
    take: i64,
    by: Option<Pattern<'a>>,
    /// The elements stay in the order they have: a BY said so that does not depend on them.
    keeps_order: bool,
    get: Vec<Pattern<'a>>,
    /// Where STORE puts it.
    target: Option<&'a [u8]>,
}

impl<'a> Sort<'a> {
    fn read(request: &'a Request, read_only: bool) -> std::result::Result<Sort<'a>, CommandError> {
        let mut sort = Sort {
            descending: false,
            alpha: false,
            skip: 0,
            take: -1,
            by: None,
            keeps_order: false,
            get: Vec::new(),
            target: None,
        };
        let mut options = args::Options::new(request, 2);
        while let Some(word) = options.word() {
            let left = options.left();
            if args::is(word, "ASC") {
                sort.descending = false;
            } else if args::is(word, "DESC") {
                sort.descending = true;
            } else if args::is(word, "ALPHA") {
                sort.alpha = true;
            } else if args::is(word, "LIMIT") && left >= 2 {
                sort.skip = args::integer(options.value()?)?;
                sort.take = args::integer(options.value()?)?;
            } else if args::is(word, "STORE") && left >= 1 && !read_only {
                sort.target = options.word();
            } else if args::is(word, "BY") && left >= 1 {
                let pattern = Pattern::read(options.value()?);
                sort.keeps_order |= matches!(pattern, Pattern::Nothing | Pattern::Element);
                sort.by = Some(pattern);
            } else if args::is(word, "GET") && left >= 1 {
                sort.get.push(Pattern::read(options.value()?));
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(sort)
    }

    /// Of `length` elements those that are asked for: the first, and how many.
    fn window(&self, length: u64) -> (u64, u64) {
        let skip = u64::try_from(self.skip).unwrap_or(0).min(length);
        (skip, u64::try_from(self.take).unwrap_or(u64::MAX).min(length - skip))
    }

    /// Tells from counts whether it reads so much that it should leave the core thread.
    fn is_heavy(&self, view: &View<'_>, name: &[u8]) -> std::result::Result<bool, Halt> {
        let Some((record, length)) = source(view, name)? else { return Ok(false) };
        let (skip, take) = self.window(length);
        let walked = if self.keeps_order && record.kind != Kind::Set { skip + take } else { length };
        let weighed = if self.by.is_some() && !self.keeps_order { length } else { 0 };
        Ok(walked + weighed + take.saturating_mul(self.get.len() as u64) > HEAVY_ROWS)
    }

    /// The sorted elements, or what is looked up for each.
    fn run(&self, view: &View<'_>, name: &[u8]) -> std::result::Result<Vec<Option<Bytes>>, Halt> {
        let Some((record, length)) = source(view, name)? else { return Ok(Vec::new()) };
        let (skip, take) = self.window(length);
        // Refused before anything is read: what comes out is more than one command may write.
        if self.target.is_some() && take.saturating_mul(self.get.len().max(1) as u64) > MAX_ROWS as u64 {
            return Err(storage::Error::TooLarge { max_rows: MAX_ROWS, max_bytes: MAX_BYTES }.into());
        }
        self.check_found(take)?;
        let mut looked_up = LookedUp::default();
        let elements = if !self.keeps_order {
            let elements = self.sorted(view, all(view, name, &record)?, &mut looked_up)?;
            part(elements, skip, take)
        } else if record.kind != Kind::Set {
            self.in_their_order(view, name, &record, (skip, take, length))?
        } else if self.target.is_some() {
            // The order of a set means nothing, and what is stored should not depend on it.
            let mut members = all(view, name, &record)?;
            members.sort_unstable_by(|a, b| if self.descending { b.cmp(a) } else { a.cmp(b) });
            part(members, skip, take)
        } else {
            part(all(view, name, &record)?, skip, take)
        };
        if self.get.is_empty() {
            return Ok(elements.into_iter().map(Some).collect());
        }
        let mut found = Vec::new();
        for element in &elements {
            for pattern in &self.get {
                found.push(looked_up.count(pattern.look_up(view, element)?)?);
            }
        }
        Ok(found)
    }

    /// Refuses what GET would find for so many elements when that is too much to hold. Asked before anything is read.
    fn check_found(&self, elements: u64) -> std::result::Result<(), CommandError> {
        let patterns = self.get.len() as u64;
        if elements.saturating_mul(patterns) <= MAX_FOUND {
            return Ok(());
        }
        Err(CommandError::new(format!(
            "ERR SORT finds {MAX_FOUND} values at most, and these would be {elements} elements times {patterns} GETs: \
             take fewer elements with LIMIT, or fewer GETs"
        )))
    }

    /// Elements that have an order already, `DESC` from the end.
    fn in_their_order(
        &self,
        view: &View<'_>,
        name: &[u8],
        record: &Record,
        (skip, take, length): (u64, u64, u64),
    ) -> Result<Vec<Bytes>> {
        let Some(last) = (skip + take).checked_sub(1).filter(|_| take > 0) else { return Ok(Vec::new()) };
        if record.kind == Kind::SortedSet {
            let Some(set) = view.sorted_set(name)? else { return Ok(Vec::new()) };
            let scored = view.zrange(&set, skip, last, self.descending)?;
            return Ok(scored.into_iter().map(|(member, _)| member).collect());
        }
        let (first, last) = if self.descending { (length - 1 - last, length - 1 - skip) } else { (skip, last) };
        let mut elements = view.list_range(name, first.cast_signed(), last.cast_signed())?;
        if self.descending {
            elements.reverse();
        }
        Ok(elements)
    }

    /// All elements, sorted.
    fn sorted(
        &self,
        view: &View<'_>,
        elements: Vec<Bytes>,
        looked_up: &mut LookedUp,
    ) -> std::result::Result<Vec<Bytes>, Halt> {
        let mut weigh = |element: &Bytes| match &self.by {
            Some(pattern) => looked_up.count(pattern.look_up(view, element)?),
            None => Ok(Some(element.clone())),
        };
        if self.alpha {
            let weighed = elements.into_iter().map(|element| Ok((weigh(&element)?, element)));
            // A key that is not there comes before all others.
            return Ok(self.by_weight(weighed.collect::<std::result::Result<_, Halt>>()?, Ord::cmp));
        }
        let mut weighed = Vec::with_capacity(elements.len());
        for element in elements {
            let weight = weigh(&element)?.map_or(Some(0.0), |text| number(&text));
            let refused = CommandError::new("ERR One or more scores can't be converted into double");
            weighed.push(((weight.ok_or(refused)?, element.clone()), element));
        }
        // Equal numbers: by the bytes of the elements.
        Ok(self.by_weight(weighed, |a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1))))
    }

    fn by_weight<W>(&self, mut weighed: Vec<(W, Bytes)>, compare: impl Fn(&W, &W) -> Ordering) -> Vec<Bytes> {
        weighed.sort_by(|(a, _), (b, _)| if self.descending { compare(b, a) } else { compare(a, b) });
        weighed.into_iter().map(|(_, element)| element).collect()
    }
}

/// Bytes of values that BY and GET looked up: the same value may be found for each of many elements.
#[derive(Default)]
struct LookedUp(usize);

impl LookedUp {
    fn count(&mut self, value: Option<Bytes>) -> std::result::Result<Option<Bytes>, Halt> {
        self.0 += value.as_ref().map_or(0, Bytes::len);
        if self.0 <= MAX_LOOKED_UP_BYTES {
            return Ok(value);
        }
        let text = format!(
            "ERR what BY and GET look up has more than {MAX_LOOKED_UP_BYTES} bytes: take fewer elements with LIMIT, or \
             fewer GETs"
        );
        Err(CommandError::new(text).into())
    }
}

/// What is to be sorted, and how many elements it has.
fn source(view: &View<'_>, name: &[u8]) -> Result<Option<(Record, u64)>> {
    let Some(record) = view.record(name)? else { return Ok(None) };
    let length = match record.kind {
        Kind::List => view.list_len(name)?,
        Kind::Set => view.set(name)?.map_or(0, |set| set.len()),
        Kind::SortedSet => view.sorted_set(name)?.map_or(0, |set| set.len()),
        Kind::String | Kind::Hash => return Err(Error::WrongType),
    };
    Ok(Some((record, length)))
}

fn all(view: &View<'_>, name: &[u8], record: &Record) -> Result<Vec<Bytes>> {
    Ok(match view.value(name, record)? {
        Value::List(elements) | Value::Set(elements) => elements,
        Value::SortedSet(scored) => scored.into_iter().map(|(_, member)| member).collect(),
        Value::String(_) | Value::Hash(_) => return Err(Error::WrongType),
    })
}

fn part(elements: Vec<Bytes>, skip: u64, take: u64) -> Vec<Bytes> {
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    elements.into_iter().skip(count(skip)).take(count(take)).collect()
}

/// A number as C's `strtod` reads one to the end of the text: blanks before it do no harm, nothing at all is 0, and
/// what is too large or too small for a number is none.
fn number(text: &[u8]) -> Option<f64> {
    // To C the text ends at a zero byte.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    // Both zeros are equal.
    args::score(text.get(blanks..)?).filter(|number| !number.is_subnormal()).map(|number| number + 0.0)
}

/// What BY and GET look up for an element.
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// A name without `*`: nothing.
    Nothing,
    /// The value of a string key, or of a field of a hash, whose name holds the element.
    Key { before: &'a [u8], behind: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn read(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Pattern::Nothing };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        let arrow = rest.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < rest.len());
        match arrow {
            Some(at) => Pattern::Key { before, behind: &rest[..at], field: Some(&rest[at + 2..]) },
            None => Pattern::Key { before, behind: rest, field: None },
        }
    }

    fn look_up(&self, view: &View<'_>, element: &Bytes) -> Result<Option<Bytes>> {
        let (name, field) = match self {
            Pattern::Element => return Ok(Some(element.clone())),
            Pattern::Nothing => return Ok(None),
            Pattern::Key { before, behind, field } => ([before, &element[..], behind].concat(), *field),
        };
        let Some(record) = view.record(&name)? else { return Ok(None) };
        match (record.kind, field) {
            (Kind::String, None) => view.string_of(&record).map(Some),
            (Kind::Hash, Some(field)) => Ok(view.hash_values(&name, [field])?.pop().flatten()),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let read = [("1", 1.0), ("", 0.0), (" 1", 1.0), ("\x0b\t-2.5e1", -25.0), ("1\0x", 1.0), ("-0", 0.0)];
        for (text, expected) in read.into_iter().chain([("inf", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)]) {
            assert_eq!(number(text.as_bytes()), Some(expected), "{text:?}");
        }
        for text in [" ", "1 ", "x", "nan", "1e400", "1e-400", "1e-310", "1x", "--1"] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }
}
