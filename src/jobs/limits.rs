//! Limits of a queue: how many of its jobs run at once, of all and of each key, and how many start in a time.
//!
//! The rate is a token bucket that stands in the queue's row: each claim takes a token, and tokens come back evenly. So a
//! restart neither refills nor empties it.

use crate::clock::Millis;
use crate::jobs::codec::{Reader, Writer};
use crate::storage;

/// What an operator bounds; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Jobs of the queue that run at once.
    pub concurrency: Option<u64>,
    /// Jobs of one key that run at once.
    pub key_concurrency: Option<u64>,
    /// Jobs that start.
    pub rate: Option<Rate>,
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many jobs,
    pub jobs: u64,
    /// in how many milliseconds.
    pub per_ms: u64,
    /// How many may start at once after a rest.
    pub burst: u64,
}

/// Starts that a rate allows, as of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bucket {
    /// Tokens, in parts: a token has as many parts as the rate has milliseconds.
    pub(super) parts: u64,
    pub(super) at: Millis,
    /// The timer that rings when there is a token again: its moment and number.
    pub(super) timer: Option<(Millis, u64)>,
}

impl Rate {
    fn full(self) -> u64 {
        self.burst.saturating_mul(self.per_ms)
    }
}

impl Bucket {
    /// A full one.
    pub(super) fn full(rate: Rate, now: Millis) -> Bucket {
        Bucket { parts: rate.full(), at: now, timer: None }
    }

    /// The same at a later moment. A clock that went back brings nothing and takes nothing.
    fn at(self, rate: Rate, now: Millis) -> Bucket {
        let gained = now.since(self.at).saturating_mul(rate.jobs);
        Bucket { parts: self.parts.saturating_add(gained).min(rate.full()), at: now.max(self.at), ..self }
    }

    /// How many jobs may start.
    pub(super) fn tokens(self, rate: Rate, now: Millis) -> u64 {
        self.at(rate, now).parts / rate.per_ms.max(1)
    }

    /// Takes a token, or what there is of one.
    pub(super) fn take(&mut self, rate: Rate, now: Millis) {
        *self = self.at(rate, now);
        self.parts = self.parts.saturating_sub(rate.per_ms);
    }

    /// When there is a token again.
    pub(super) fn next_token(self, rate: Rate) -> Millis {
        let missing = rate.per_ms.saturating_sub(self.parts);
        self.at.plus(missing.div_ceil(rate.jobs.max(1)))
    }

    fn write(self, out: &mut Writer) {
        out.number(self.parts);
        out.number(self.at.0);
        out.byte(u8::from(self.timer.is_some()));
        if let Some((at, number)) = self.timer {
            out.number(at.0);
            out.number(number);
        }
    }

    fn read(from: &mut Reader<'_>) -> storage::Result<Bucket> {
        let (parts, at) = (from.number()?, Millis(from.number()?));
        let timer = match from.byte()? {
            0 => None,
            1 => Some((Millis(from.number()?), from.number()?)),
            _ => return Err(from.corrupt("an unknown flag")),
        };
        Ok(Bucket { parts, at, timer })
    }
}

impl Limits {
    /// Writes the limits and, where there is a rate, its bucket. A bound of zero would say nothing that a pause does not,
    /// so zero stands for none.
    pub(super) fn write(&self, bucket: Bucket, out: &mut Writer) {
        out.number(self.concurrency.unwrap_or(0));
        out.number(self.key_concurrency.unwrap_or(0));
        out.number(self.rate.map_or(0, |rate| rate.jobs));
        if let Some(rate) = self.rate {
            out.number(rate.per_ms);
            out.number(rate.burst);
            bucket.write(out);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> storage::Result<(Limits, Bucket)> {
        let bound = |number: u64| (number > 0).then_some(number);
        let (concurrency, key_concurrency) = (bound(from.number()?), bound(from.number()?));
        let Some(jobs) = bound(from.number()?) else {
            return Ok((Limits { concurrency, key_concurrency, rate: None }, Bucket::default()));
        };
        let rate = Rate { jobs, per_ms: from.number()?, burst: from.number()? };
        if rate.per_ms == 0 || rate.burst == 0 {
            return Err(from.corrupt("a rate of nothing"));
        }
        Ok((Limits { concurrency, key_concurrency, rate: Some(rate) }, Bucket::read(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_evenly_up_to_the_burst() {
        let rate = Rate { jobs: 3, per_ms: 1000, burst: 2 };
        let mut bucket = Bucket::full(rate, Millis(5000));
        assert_eq!(bucket.tokens(rate, Millis(5000)), 2);
        bucket.take(rate, Millis(5000));
        bucket.take(rate, Millis(5000));
        assert_eq!((bucket.tokens(rate, Millis(5000)), bucket.next_token(rate)), (0, Millis(5334)));
        assert_eq!((bucket.tokens(rate, Millis(5333)), bucket.tokens(rate, Millis(5334))), (0, 1));
        assert_eq!(bucket.tokens(rate, Millis(1_000_000)), 2);
        // A clock that goes back.
        assert_eq!(bucket.tokens(rate, Millis(0)), 0);
    }
}
