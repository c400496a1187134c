//! How often commands ran, how long they took, and with what errors: for INFO, LATENCY and SLOWLOG.

use std::collections::BTreeMap;

use agq_resp::Request;

use crate::clock::Millis;
use crate::command::latency::Events;
use crate::command::slowlog::SlowLog;
use crate::command::{Command, Flags, Session, table};

/// Different error codes that are counted by themselves, as in Redis.
const ERROR_CODES: usize = 128;

/// What is counted since the start, or since CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub struct Statistics {
    /// By [`Command::number`].
    usage: Vec<Usage>,
    errors: BTreeMap<String, u64>,
    /// Error replies of all codes.
    pub error_replies: u64,
    /// The slowest of the commands that ran lately.
    pub slow: SlowLog,
    /// What held up others.
    pub events: Events,
}

/// How a command was used.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Times that it ran.
    pub calls: u64,
    /// How long it took altogether.
    pub nanos: u64,
    /// Times that it was refused before it ran.
    pub rejected: u64,
    /// Times that it ran and answered with an error.
    pub failed: u64,
    /// How long it took each time.
    pub times: Histogram,
}

impl Statistics {
    /// A command ran, for `nanos` nanoseconds.
    pub fn ran(
        &mut self,
        session: &Session,
        command: &Command,
        request: &Request,
        nanos: u64,
        now: Millis,
        error: Option<&[u8]>,
    ) {
        let usage = self.usage_of(command);
        usage.calls += 1;
        usage.nanos += nanos;
        usage.failed += u64::from(error.is_some());
        usage.times.add(nanos);
        if let Some(error) = error {
            self.failed(error);
        }
        let event = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        self.events.add(event, now, nanos);
        if command.name != "EXEC" {
            self.slow.add(session, request, nanos, now);
        }
    }

    /// A command was refused before it ran, with this error; an unknown one has no row.
    pub fn rejected(&mut self, command: Option<&Command>, error: &[u8]) {
        if let Some(command) = command {
            self.usage_of(command).rejected += 1;
        }
        self.failed(error);
    }

    fn usage_of(&mut self, command: &Command) -> &mut Usage {
        if self.usage.is_empty() {
            self.usage = vec![Usage::default(); table::all().count()];
        }
        &mut self.usage[command.number]
    }

    fn failed(&mut self, error: &[u8]) {
        self.error_replies += 1;
        let code = error.split(|byte| *byte == b' ').next().unwrap_or_default();
        let code = String::from_utf8_lossy(code);
        if let Some(count) = self.errors.get_mut(&*code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES {
            self.errors.insert(code.into_owned(), 1);
        }
    }

    /// The commands that were used or refused.
    pub fn used(&self) -> impl Iterator<Item = (&'static Command, &Usage)> {
        table::all().zip(&self.usage).filter(|(_, usage)| usage.calls + usage.rejected > 0)
    }

    /// Error codes, and how many replies began with them.
    pub fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors.iter().map(|(code, count)| (code.as_str(), *count))
    }

    /// Counts from nothing again; the slow log and the events stay, as in Redis.
    pub fn reset(&mut self) {
        self.usage.clear();
        self.errors.clear();
        self.error_replies = 0;
    }
}

/// Bits of a time that tell its bucket from others of the same power of two: an error of one part in 16 at most.
const PRECISION: u32 = 3;
/// The longest time that has a bucket of its own: 2^40 ns, 18 minutes.
const LONGEST: u32 = 40;
const BUCKETS: usize = ((LONGEST - PRECISION + 1) << PRECISION) as usize;

/// How many times were about how long. Takes no memory until one is added.
#[derive(Debug, Clone, Default)]
pub struct Histogram(Vec<u64>);

impl Histogram {
    /// Adds a time of so many nanoseconds.
    pub fn add(&mut self, nanos: u64) {
        if self.0.is_empty() {
            self.0 = vec![0; BUCKETS];
        }
        self.0[bucket_of(nanos)] += 1;
    }

    /// The nanoseconds that `part` (0 to 1) of all times do not pass.
    #[must_use]
    pub fn percentile(&self, part: f64) -> u64 {
        let total: u64 = self.0.iter().sum();
        let wanted = ((total as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return last_of(bucket);
            }
        }
        0
    }

    /// For each power of two times 1,024 ns, from the first that some time does not pass to the first that none does:
    /// that bound, and how many times do not pass it.
    #[must_use]
    pub fn powers(&self) -> Vec<(u64, u64)> {
        let total: u64 = self.0.iter().sum();
        let (mut seen, mut bound, mut powers) = (0, 1024, Vec::new());
        for (bucket, count) in self.0.iter().enumerate() {
            while last_of(bucket) >= bound {
                if seen > 0 {
                    powers.push((bound, seen));
                }
                if seen == total {
                    return powers;
                }
                bound *= 2;
            }
            seen += count;
        }
        if total > 0 {
            powers.push((bound, total));
        }
        powers
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min((1 << LONGEST) - 1);
    if nanos < 1 << PRECISION {
        return nanos as usize;
    }
    let power = nanos.ilog2();
    let within = (nanos >> (power - PRECISION)) & ((1 << PRECISION) - 1);
    (((power - PRECISION + 1) as usize) << PRECISION) + within as usize
}

/// The longest time of a bucket.
fn last_of(bucket: usize) -> u64 {
    let (row, within) = (bucket >> PRECISION, (bucket & ((1 << PRECISION) - 1)) as u64);
    match row {
        0 => within,
        row => (((1 << PRECISION) + within + 1) << (row - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_bucket_not_far_from_it() {
        let mut nanos = 0;
        while nanos < 1 << LONGEST {
            let bucket = bucket_of(nanos);
            assert!(bucket < BUCKETS);
            assert!(last_of(bucket) >= nanos, "{nanos}");
            assert!(last_of(bucket) - nanos <= nanos >> PRECISION, "{nanos}");
            assert_eq!(bucket_of(last_of(bucket)), bucket);
            assert_eq!(bucket_of(last_of(bucket) + 1), (bucket + 1).min(BUCKETS - 1));
            nanos += 1 + nanos / 37;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_and_powers_count_what_was_added() {
        let mut times = Histogram::default();
        assert_eq!(times.percentile(0.5), 0);
        assert!(times.powers().is_empty());
        for nanos in 1..=1000 {
            times.add(nanos * 1000);
        }
        for (part, expected) in [(0.5, 500_000), (0.99, 990_000), (0.999, 999_000), (1.0, 1_000_000)] {
            let found = times.percentile(part);
            assert!((expected..expected + expected / 8 + 1).contains(&found), "{part}: {found}");
        }
        let powers = times.powers();
        assert_eq!(powers.first(), Some(&(1024, 1)));
        assert_eq!(powers.last(), Some(&(1024 << 10, 1000)));
        assert!(powers.iter().all(|(bound, seen)| *seen == (bound / 1000).min(1000)), "{powers:?}");
    }
}
