//! How long a failed job waits.

use crate::jobs::codec::Writer;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::Backoff;
use crate::jobs::json::{self, Object};
use crate::jobs::terms::MAX_DELAY_MS;

/// The most waits of a list.
const MAX_LIST: usize = 100;

const DEFAULT_BASE_MS: u64 = 1_000;
const DEFAULT_MAX_MS: u64 = 3_600_000;

impl Backoff {
    /// Takes the field `backoff`: `{"type": "exponential", "base_ms"?, "max_ms"?}`, `{"type": "fixed", "ms"}`,
    /// `{"type": "linear", "step_ms", "max_ms"?}` or `{"type": "list", "ms": [..]}`.
    pub(super) fn take(from: &mut Object<'_>) -> Result<Backoff> {
        let path = from.path("backoff");
        let Some(mut from) = from.object("backoff")? else { return Ok(Backoff::Default) };
        let kind = from.string("type")?.ok_or_else(|| Error::refused(format!("{path}.type is missing: {KINDS}")))?;
        let need = |field: &str, value: Option<u64>| {
            value.ok_or_else(|| Error::refused(format!("{path}.{field} is missing: a number of milliseconds")))
        };
        let mut ms = |field: &str| from.integer(field, 0..=MAX_DELAY_MS);
        let backoff = match kind.as_str() {
            "exponential" => Backoff::Exponential {
                base_ms: ms("base_ms")?.unwrap_or(DEFAULT_BASE_MS),
                max_ms: ms("max_ms")?.unwrap_or(DEFAULT_MAX_MS),
            },
            "fixed" => Backoff::Fixed(need("ms", ms("ms")?)?),
            "linear" => Backoff::Linear {
                step_ms: need("step_ms", ms("step_ms")?)?,
                max_ms: ms("max_ms")?.unwrap_or(DEFAULT_MAX_MS),
            },
            "list" => Backoff::List(list(&mut from)?),
            other => {
                return Err(Error::refused(format!("{path}.type must be {KINDS}, not '{}'", shown(other.as_bytes()))));
            }
        };
        from.finish()?;
        Ok(backoff)
    }

    /// As it was submitted; `None` for the default.
    pub(super) fn json(&self) -> Option<String> {
        Some(match self {
            Backoff::Default => return None,
            Backoff::Exponential { base_ms, max_ms } => {
                format!("{{\"type\":\"exponential\",\"base_ms\":{base_ms},\"max_ms\":{max_ms}}}")
            }
            Backoff::Fixed(ms) => format!("{{\"type\":\"fixed\",\"ms\":{ms}}}"),
            Backoff::Linear { step_ms, max_ms } => {
                format!("{{\"type\":\"linear\",\"step_ms\":{step_ms},\"max_ms\":{max_ms}}}")
            }
            Backoff::List(list) => {
                let list: Vec<String> = list.iter().map(u64::to_string).collect();
                format!("{{\"type\":\"list\",\"ms\":[{}]}}", list.join(","))
            }
        })
    }

    /// Adds it to what a digest is made of, or to a row.
    pub(super) fn write(&self, out: &mut Writer) {
        let (kind, numbers) = match self {
            Backoff::Default => (0, Vec::new()),
            Backoff::Exponential { base_ms, max_ms } => (1, vec![*base_ms, *max_ms]),
            Backoff::Fixed(ms) => (2, vec![*ms]),
            Backoff::Linear { step_ms, max_ms } => (3, vec![*step_ms, *max_ms]),
            Backoff::List(list) => (4, list.clone()),
        };
        out.byte(kind);
        out.number(numbers.len() as u64);
        numbers.into_iter().for_each(|number| out.number(number));
    }

    /// The wait after the `failures`-th failure, in milliseconds.
    pub(super) fn wait_ms(&self, failures: u32, random: &mut fastrand::Rng) -> u64 {
        match self {
            Backoff::Default => exponential(DEFAULT_BASE_MS, DEFAULT_MAX_MS, failures, random),
            Backoff::Exponential { base_ms, max_ms } => exponential(*base_ms, *max_ms, failures, random),
            Backoff::Fixed(ms) => *ms,
            Backoff::Linear { step_ms, max_ms } => step_ms.saturating_mul(u64::from(failures)).min(*max_ms),
            Backoff::List(list) => {
                let place = usize::try_from(failures).unwrap_or(usize::MAX).saturating_sub(1);
                list.get(place).or(list.last()).copied().unwrap_or(0)
            }
        }
    }
}

const KINDS: &str = "exponential, fixed, linear or list";

fn list(from: &mut Object<'_>) -> Result<Vec<u64>> {
    let path = from.path("ms");
    let waits = from.array("ms")?.unwrap_or_default();
    if !(1..=MAX_LIST).contains(&waits.len()) {
        let given = waits.len();
        return Err(Error::refused(format!("{path} must have 1 to {MAX_LIST} numbers of milliseconds, not {given}")));
    }
    let wait = |(place, raw)| json::integer(raw, &format!("{path}[{place}]"), 0..=MAX_DELAY_MS);
    waits.into_iter().enumerate().map(wait).collect()
}

/// `min(base · 2^(n−1), max)`, give or take half of it.
fn exponential(base_ms: u64, max_ms: u64, failures: u32, random: &mut fastrand::Rng) -> u64 {
    let doublings = failures.saturating_sub(1).min(63);
    let wait = base_ms.saturating_mul(1 << doublings).min(max_ms);
    wait / 2 + random.u64(0..=wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_doubles_up_to_an_hour_give_or_take_half() {
        let mut random = fastrand::Rng::with_seed(3);
        for (failures, middle) in [(1, 1_000), (2, 2_000), (5, 16_000), (13, 3_600_000), (u32::MAX, 3_600_000)] {
            for _ in 0..50 {
                let wait = Backoff::Default.wait_ms(failures, &mut random);
                assert!((middle / 2..=middle + middle / 2).contains(&wait), "{failures}: {wait}");
            }
        }
    }

    #[test]
    fn the_other_policies_are_exact() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut waits = |backoff: Backoff| [1, 2, 3, 9].map(|failures| backoff.wait_ms(failures, &mut random));
        assert_eq!(waits(Backoff::Fixed(7)), [7; 4]);
        assert_eq!(waits(Backoff::Linear { step_ms: 5, max_ms: 20 }), [5, 10, 15, 20]);
        assert_eq!(waits(Backoff::List(vec![1, 50])), [1, 50, 50, 50]);
        assert_eq!(waits(Backoff::List(Vec::new())), [0; 4]);
    }
}
