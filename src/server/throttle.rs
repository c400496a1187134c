//! Wrong keys: how long each is made to wait for its answer. Only that answer waits, in its connection's own task; a right
//! key, other commands and other connections never do. The same wrong key again waits no longer than before: it is no guess
//! but a wrong setting, which libraries try ten times before they tell their user.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses that are remembered; past it the one whose last wrong key is longest ago is forgotten.
const MAX_SOURCES: usize = 4096;
/// An address is forgotten so long after its last wrong key.
const MEMORY: Duration = Duration::from_secs(600);
/// An answer is held back for the first delay, doubled so often at most.
const MAX_DOUBLINGS: u32 = 7;

/// Where a client comes from, as far as wrong keys are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address: one site has all of the second.
    V6([u8; 8]),
    /// A Unix socket of this machine.
    Local,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(address) => Source::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Source::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    /// Different keys, as far as each differs from the one before.
    count: u32,
    /// The last key.
    key: u32,
    last: Instant,
}

/// The wrong keys of each address.
#[derive(Debug)]
pub(super) struct Throttle {
    first_delay: Duration,
    failures: HashMap<Source, Failures>,
}

impl Throttle {
    /// A throttle whose first answer is held back for so long; for no time, none is.
    pub(super) fn new(first_delay: Duration) -> Throttle {
        Throttle { first_delay, failures: HashMap::new() }
    }

    /// Counts a wrong key, unless it is the one that this address gave last, and says for how long its answer is held back.
    /// `key` tells keys from one another.
    pub(super) fn failed(&mut self, source: Source, key: u32, now: Instant) -> Duration {
        if self.first_delay.is_zero() {
            return Duration::ZERO;
        }
        if !self.failures.contains_key(&source) && self.failures.len() >= MAX_SOURCES {
            self.make_room(now);
        }
        let failures = self.failures.entry(source).or_insert(Failures { count: 0, key, last: now });
        if now.saturating_duration_since(failures.last) > MEMORY {
            failures.count = 0;
        }
        if failures.key != key || failures.count == 0 {
            failures.count = failures.count.saturating_add(1);
        }
        (failures.key, failures.last) = (key, now);
        self.first_delay * (1 << (failures.count - 1).min(MAX_DOUBLINGS))
    }

    fn make_room(&mut self, now: Instant) {
        self.failures.retain(|_, failures| now.saturating_duration_since(failures.last) <= MEMORY);
        if self.failures.len() < MAX_SOURCES {
            return;
        }
        let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.last).map(|(source, _)| *source);
        oldest.map(|source| self.failures.remove(&source));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);

    fn v4(last: u8) -> Source {
        IpAddr::from([10, 0, 0, last]).into()
    }

    #[test]
    fn each_wrong_key_of_an_address_waits_longer_up_to_a_bound() {
        let (mut throttle, now) = (Throttle::new(FIRST), Instant::now());
        let delays: Vec<_> = (0..10).map(|key| throttle.failed(v4(1), key, now).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 12_800, 12_800]);
        assert_eq!(throttle.failed(v4(2), 1, now), FIRST, "another address");
        assert_eq!(throttle.failed(Source::Local, 1, now), FIRST);
    }

    #[test]
    fn the_same_key_again_waits_no_longer() {
        let (mut throttle, now) = (Throttle::new(FIRST), Instant::now());
        let delays: Vec<_> = [1, 1, 1, 2, 2, 1].map(|key| throttle.failed(v4(1), key, now).as_millis()).to_vec();
        assert_eq!(delays, [100, 100, 100, 200, 200, 400]);
        assert_eq!(throttle.failed(v4(2), 1, now), FIRST, "another address");
        assert_eq!(throttle.failed(v4(1), 1, now + MEMORY * 2), FIRST);
    }

    #[test]
    fn an_address_that_was_quiet_begins_anew() {
        let (mut throttle, now) = (Throttle::new(FIRST), Instant::now());
        throttle.failed(v4(1), 1, now);
        assert_eq!(throttle.failed(v4(1), 2, now + MEMORY), FIRST * 2);
        assert_eq!(throttle.failed(v4(1), 3, now + MEMORY * 2 + FIRST), FIRST);
    }

    #[test]
    fn a_site_has_one_count_and_a_mapped_address_is_the_address() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_eq!(source("::ffff:10.0.0.1"), v4(1));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let (mut throttle, now) = (Throttle::new(FIRST), Instant::now());
        for number in 0..u32::try_from(MAX_SOURCES).unwrap() + 10 {
            throttle.failed(IpAddr::from(number.to_be_bytes()).into(), 1, now + FIRST * number);
        }
        assert_eq!(throttle.failures.len(), MAX_SOURCES);
        assert!(!throttle.failures.contains_key(&IpAddr::from([0, 0, 0, 0]).into()));
        assert!(throttle.failures.contains_key(&IpAddr::from(4100_u32.to_be_bytes()).into()));
    }

    #[test]
    fn no_first_delay_is_no_delay_at_all() {
        let mut throttle = Throttle::new(Duration::ZERO);
        assert_eq!(throttle.failed(v4(1), 1, Instant::now()), Duration::ZERO);
        assert!(throttle.failures.is_empty());
    }
}
