//! When backups begin by themselves: a function of when the last was begun and what time it is.

use crate::clock::Millis;
use crate::jobs::ticks::Ticks;

/// After a failure the next of the backups that begin by themselves comes this soon, unless it is due sooner.
const RETRY_MS: u64 = 600_000;

/// When backups begin by themselves.
#[derive(Debug, Clone)]
pub enum When {
    /// So many milliseconds after the last was begun.
    Every(u64),
    /// At these moments.
    At(Ticks),
}

impl When {
    /// When the first begins in a run that starts now: at once where there is none, or its time has passed since the last
    /// was begun.
    pub(super) fn first(&self, last: Option<Millis>, now: Millis) -> Option<Millis> {
        last.map_or(Some(now), |last| self.after(last))
    }

    /// When the one after a backup begins that was begun at a moment.
    pub(super) fn after(&self, began: Millis) -> Option<Millis> {
        match self {
            When::Every(ms) => Some(began.plus(*ms)),
            When::At(ticks) => ticks.next(began),
        }
    }

    /// When the second after a moment begins.
    pub(super) fn second(&self, began: Millis) -> Option<Millis> {
        self.after(self.after(began)?)
    }

    /// When one begins after one that failed: it is tried again soon, unless the next is due sooner.
    pub(super) fn again(&self, now: Millis) -> Option<Millis> {
        let soon = now.plus(RETRY_MS);
        Some(self.after(now).map_or(soon, |next| next.min(soon)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28 at a time of day, UTC.
    fn today(hours: u64, minutes: u64) -> Millis {
        Millis(1_795_824_000_000 + (hours * 60 + minutes) * 60_000)
    }

    #[test]
    fn backups_begin_after_a_time_or_at_times_of_the_calendar() {
        let every = When::Every(6 * 3_600_000);
        assert_eq!(every.first(None, today(9, 0)), Some(today(9, 0)), "there is none");
        assert_eq!(every.first(Some(today(8, 0)), today(9, 0)), Some(today(14, 0)));
        assert_eq!(every.after(today(9, 0)), Some(today(15, 0)));
        assert_eq!(every.again(today(9, 0)), Some(today(9, 10)));
        assert_eq!(When::Every(60_000).again(today(9, 0)), Some(today(9, 1)));

        let cron = crate::jobs::cron::Cron::parse("line", "15 3,15 * * *").unwrap();
        let at = When::At(Ticks::new(cron, jiff::tz::TimeZone::UTC));
        assert_eq!(at.first(None, today(9, 0)), Some(today(9, 0)), "there is none");
        // One of last night is followed by one this afternoon; one of yesterday morning has missed two, and one is made up for.
        assert_eq!(at.first(Some(today(3, 15)), today(9, 0)), Some(today(15, 15)));
        assert!(at.first(Some(Millis(today(3, 15).0 - 86_400_000)), today(9, 0)).unwrap() < today(9, 0));
        assert_eq!(at.after(today(15, 15)), Some(today(27, 15)));
        assert_eq!(at.second(today(3, 15)), Some(today(27, 15)));
        assert_eq!(at.again(today(9, 0)), Some(today(9, 10)));
        assert_eq!(at.again(today(15, 10)), Some(today(15, 15)), "the next is due before a second try");
    }
}
