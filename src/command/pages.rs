//! Pages of what is listed in the order of ids: actions and schedules.

use agq_resp::{Reply, Request};

use crate::command::work::{bounded, unknown_option};
use crate::command::{Halt, Outcome, ReadContext, args};
use crate::jobs::{Id, Result as JobsResult};

/// What one page shows unless told, and at most; no call looks at more.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;
/// The longest id.
const MAX_ID_BYTES: usize = 128;

/// Reads up to so many things behind an id.
type Read<'a, T> = &'a dyn Fn(Option<&Id>, usize) -> JobsResult<Vec<(Id, T)>>;

/// A kind of things in the order of their ids.
pub(super) struct Listing<'a, T> {
    /// The command.
    pub(super) name: &'static str,
    /// Where they come from.
    pub(super) read: Read<'a, T>,
    /// Whether the caller may see one.
    pub(super) shows: &'a dyn Fn(&Id, &T) -> JobsResult<bool>,
    /// One as JSON.
    pub(super) json: &'a dyn Fn(&Id, &T) -> JobsResult<String>,
}

impl<T> Listing<'_, T> {
    /// A page as a command of `[CURSOR cursor] [LIMIT count]` answers it. A cursor is the id of the last thing that was
    /// shown or, where the call ends at one that was not, sealed.
    ///
    /// # Errors
    /// When an option is unknown or not sound, or the store fails.
    pub(super) fn page(&self, ctx: &ReadContext<'_>, request: &Request) -> Outcome {
        let (mut after, limit) = options(ctx, self.name, request)?;
        let (mut shown, mut looked_at) = (Vec::new(), 0);
        while looked_at < MAX_LIMIT {
            let wanted = limit.min(MAX_LIMIT - looked_at);
            let things = (self.read)(after.as_ref(), wanted)?;
            let ended = things.len() < wanted;
            looked_at += things.len();
            for (id, thing) in things {
                if (self.shows)(&id, &thing)? {
                    shown.push(Reply::bulk((self.json)(&id, &thing)?));
                    if shown.len() == limit {
                        return Ok(Reply::array([Reply::bulk(id.to_string()), Reply::array(shown)]));
                    }
                }
                after = Some(id);
            }
            if ended {
                return Ok(Reply::array([Reply::bulk("0"), Reply::array(shown)]));
            }
        }
        let last = after.as_deref().unwrap_or_default();
        let next = ctx.seal.close(self.name, last, MAX_ID_BYTES, ctx.seed);
        Ok(Reply::array([Reply::bulk(next), Reply::array(shown)]))
    }
}

/// CURSOR and LIMIT: behind which id, and how many.
fn options(ctx: &ReadContext<'_>, list: &str, request: &Request) -> Result<(Option<Id>, usize), Halt> {
    let mut options = args::Options::new(request, 1);
    let (mut after, mut limit) = (None, LIMIT);
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"CURSOR" => after = Some(options.value()?).filter(|cursor| *cursor != b"0"),
            b"LIMIT" => {
                let given = bounded("LIMIT", options.value()?, 1..=MAX_LIMIT as u64)?;
                limit = usize::try_from(given).unwrap_or(MAX_LIMIT);
            }
            _ => return Err(unknown_option(word, "CURSOR and LIMIT")),
        }
    }
    let after = after.map(|cursor| Ok::<_, Halt>(Id::parse("CURSOR", &ctx.seal.open(list, cursor)?)?)).transpose()?;
    Ok((after, limit))
}
