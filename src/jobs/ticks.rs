//! When the moments of a cron line come in a time zone, over the days on which its clocks are changed.
//!
//! A line that names its hours comes once on each of its days: a time that the clocks pass over comes when they have
//! passed it, and one that they show twice comes the first time. A line whose field for hours begins with `*` goes by
//! what the clocks show: a time that they pass over does not come, one that they show twice comes twice, so that hours
//! and minutes follow each other as they elapse. docs/adr/0014-schedules.md says why.
//!
//! The zones come with the program: no file and no environment is read.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use crate::clock::Millis;
use crate::jobs::cron::Cron;
use crate::jobs::error::{Error, Result, shown};

/// Changes of a zone's offset that a search goes over: over forty years, at the pace of the zone that has most.
const MAX_CHANGES: usize = 256;
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The moments of a cron line in a zone.
#[derive(Debug, Clone)]
pub struct Ticks {
    cron: Cron,
    zone: TimeZone,
    from: Millis,
    until: Millis,
}

/// The zone of an IANA name, in any case; `what` names it in errors.
///
/// # Errors
/// When there is none.
pub fn zone(what: &str, name: &str) -> Result<TimeZone> {
    let found = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
    found.ok_or_else(|| {
        let name = shown(name.as_bytes());
        Error::refused(format!(
            "{what} must be the IANA name of a time zone, such as Europe/Berlin or UTC, not '{name}'"
        ))
    })
}

impl Ticks {
    /// The moments of this line in this zone.
    #[must_use]
    pub fn new(cron: Cron, zone: TimeZone) -> Ticks {
        Ticks { cron, zone, from: Millis(0), until: Millis::MAX }
    }

    /// Of these moments those from one on and up to another.
    #[must_use]
    pub fn within(self, from: Option<Millis>, until: Option<Millis>) -> Ticks {
        Ticks { from: from.unwrap_or(self.from), until: until.unwrap_or(self.until), ..self }
    }

    /// The first moment after another; `None` when there is none in the years that the calendar has.
    #[must_use]
    pub fn next(&self, after: Millis) -> Option<Millis> {
        let after = after.max(Millis(self.from.0.saturating_sub(1)));
        let after = Timestamp::from_second(i64::try_from(after.0 / 1000).ok()?).ok()?;
        let next = if self.cron.is_every_hour() { self.next_shown(after) } else { self.next_of_day(after) };
        u64::try_from(next?.as_millisecond()).ok().map(Millis).filter(|tick| *tick <= self.until)
    }

    /// The next moment at which the clocks show a time that the line names: looked for between two of their changes, then
    /// between the next two.
    fn next_shown(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after.checked_add(SECOND).ok()?;
        for _ in 0..MAX_CHANGES {
            let offset = self.zone.to_offset(from);
            let tick = offset.to_timestamp(self.cron.at_or_after(offset.to_datetime(from))?).ok()?;
            match self.change_after(from) {
                Some(change) if tick >= change => from = change,
                _ => return Some(tick),
            }
        }
        None
    }

    /// The next moment at which a time that the line names has come for the first time.
    fn next_of_day(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = self.zone.to_datetime(after).checked_add(SECOND).ok()?;
        loop {
            let named = self.cron.at_or_after(from)?;
            let (tick, behind) = self.first_of(named)?;
            if tick > after {
                return Some(tick);
            }
            // It is shown for the second time now: all that follows of what is shown twice has come before too.
            from = behind.filter(|behind| *behind > from)?;
        }
    }

    /// When the clocks show a time first, or have passed it; and behind what they show twice, if that is such a time.
    fn first_of(&self, named: DateTime) -> Option<(Timestamp, Option<DateTime>)> {
        match self.zone.to_ambiguous_timestamp(named).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some((offset.to_timestamp(named).ok()?, None)),
            AmbiguousOffset::Gap { after, .. } => Some((self.change_after(after.to_timestamp(named).ok()?)?, None)),
            AmbiguousOffset::Fold { before, .. } => {
                let first = before.to_timestamp(named).ok()?;
                Some((first, Some(before.to_datetime(self.change_after(first)?))))
            }
        }
    }

    fn change_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.zone.following(at).next().map(|change| change.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticks(line: &str, name: &str) -> Ticks {
        Ticks::new(Cron::parse("cron", line).unwrap(), zone("zone", name).unwrap())
    }

    fn millis(time: &str) -> Millis {
        Millis(time.parse::<Timestamp>().unwrap().as_millisecond().unsigned_abs())
    }

    /// The next moments after one in a zone, as day, time and offset there.
    fn next(line: &str, name: &str, after: &str, count: usize) -> Vec<String> {
        let ticks = ticks(line, name);
        let mut after = millis(after);
        let mut found = Vec::new();
        for _ in 0..count {
            after = ticks.next(after).unwrap();
            let at = Timestamp::from_millisecond(after.0.cast_signed()).unwrap();
            let (shown, offset) = (ticks.zone.to_datetime(at), ticks.zone.to_offset(at).seconds() / 60);
            let sign = if offset < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
            found.push(format!("{} {sign}{hours:02}{minutes:02}", shown.strftime("%d %H:%M:%S")));
        }
        found
    }

    #[test]
    fn a_named_hour_comes_once_when_clocks_go_forward() {
        // Berlin, 29 March 2026: 02:00 becomes 03:00. New York, 8 March 2026: the same. Lord Howe, 4 October 2026: 02:30.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["28 02:30:00 +0100", "29 03:00:00 +0200", "30 02:30:00 +0200"]
        );
        assert_eq!(
            next("30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", 2),
            ["08 03:00:00 -0400", "09 02:30:00 -0400"]
        );
        assert_eq!(
            next("15,45 2 * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", 3),
            ["04 02:30:00 +1100", "04 02:45:00 +1100", "05 02:15:00 +1100"]
        );
        // All that the clocks pass over comes as one, and with what comes then anyway.
        assert_eq!(
            next("*/10 2,3 * * *", "Europe/Berlin", "2026-03-29T00:50:00Z", 2),
            ["29 03:00:00 +0200", "29 03:10:00 +0200"]
        );
    }

    #[test]
    fn a_named_hour_comes_once_when_clocks_go_back() {
        // Berlin, 25 October 2026: 03:00 becomes 02:00. New York, 1 November 2026. Lord Howe, 5 April 2026: 02:00, 01:30.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", 2),
            ["25 02:30:00 +0200", "26 02:30:00 +0100"]
        );
        assert_eq!(
            next("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2),
            ["01 01:30:00 -0400", "02 01:30:00 -0500"]
        );
        assert_eq!(
            next("*/15 1 * * *", "Australia/Lord_Howe", "2026-04-04T13:59:59Z", 5),
            ["05 01:00:00 +1100", "05 01:15:00 +1100", "05 01:30:00 +1100", "05 01:45:00 +1100", "06 01:00:00 +1030"]
        );
        // Asked in the hour that is shown for the second time.
        assert_eq!(
            next("* * 2,3 * * *", "Europe/Berlin", "2026-10-25T01:30:00Z", 2),
            ["25 03:00:00 +0100", "25 03:00:01 +0100"]
        );
    }

    #[test]
    fn every_hour_goes_by_what_the_clocks_show() {
        assert_eq!(
            next("0 * * * *", "Europe/Berlin", "2026-03-28T23:59:00Z", 3),
            ["29 01:00:00 +0100", "29 03:00:00 +0200", "29 04:00:00 +0200"]
        );
        assert_eq!(
            next("30 * * * *", "Europe/Berlin", "2026-10-24T23:40:00Z", 4),
            ["25 02:30:00 +0200", "25 02:30:00 +0100", "25 03:30:00 +0100", "25 04:30:00 +0100"]
        );
        assert_eq!(
            next("*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:29:00Z", 4),
            ["05 01:30:00 +1100", "05 01:30:00 +1030", "05 02:00:00 +1030", "05 02:30:00 +1030"]
        );
        assert_eq!(
            next("*/30 * * * *", "Australia/Lord_Howe", "2026-10-03T15:01:00Z", 3),
            ["04 02:30:00 +1100", "04 03:00:00 +1100", "04 03:30:00 +1100"]
        );
    }

    #[test]
    fn a_day_that_a_zone_left_out_comes_when_it_is_over() {
        // Samoa had no 30 December 2011.
        assert_eq!(
            next("0 7 * * *", "Pacific/Apia", "2011-12-29T10:00:00Z", 3),
            ["29 07:00:00 -1000", "31 00:00:00 +1400", "31 07:00:00 +1400"]
        );
    }

    #[test]
    fn zones_come_with_the_program_and_others_are_refused() {
        assert!(zone("zone", "europe/berlin").is_ok() && zone("zone", "UTC").is_ok());
        for bad in ["", "Europe/Bonn", "Etc/Unknown", "+01:00", "../UTC"] {
            let error = zone("zone", bad).unwrap_err().to_string();
            assert!(error.starts_with("ERR zone must be the IANA name of a time zone"), "{error}");
            assert!(error.ends_with(&format!("not '{bad}'")), "{error}");
        }
    }

    #[test]
    fn what_is_far_away_is_found_and_what_is_too_far_is_not() {
        assert_eq!(next("0 * 29 2 */7", "Europe/Berlin", "2088-03-01T00:00:00Z", 1), ["29 00:00:00 +0100"]);
        let ticks = ticks("* * * * * *", "UTC");
        assert_eq!(ticks.next(Millis::MAX), None);
    }

    const ZONES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"];
    const LINES: [&str; 7] = [
        "*/7 * * * *",
        "30 1,2 * * *",
        "*/20 */2 * * *",
        "0 0 * * *",
        "15 0-3 1-7 * SUN",
        "59 59 23 * * *",
        "*/15 1-3 * * * *",
    ];

    proptest! {
        /// The same as by looking at every second.
        #[test]
        fn no_tick_is_passed_over(
            line in 0..LINES.len(), place in 0..ZONES.len(), from in 1_300_000_000_u64..1_900_000_000, change: bool,
        ) {
            let ticks = ticks(LINES[line], ZONES[place]);
            let mut from = Timestamp::from_second(from.cast_signed()).unwrap();
            if change && let Some(change) = ticks.change_after(from) {
                from = change.checked_sub(SignedDuration::from_mins(150)).unwrap();
            }
            let mut after = Millis(from.as_millisecond().unsigned_abs());
            let until = after.plus(6 * 3_600_000);
            let mut found = Vec::new();
            while let Some(tick) = ticks.next(after).filter(|tick| *tick <= until) {
                prop_assert!(tick > after);
                found.push(tick);
                after = tick;
            }
            let named = |at: Timestamp| {
                let shown = ticks.zone.to_datetime(at);
                let fits = ticks.cron.at_or_after(shown) == Some(shown);
                if ticks.cron.is_every_hour() {
                    return fits;
                }
                let first = ticks.zone.to_ambiguous_timestamp(shown).offset();
                let first = match first {
                    AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).unwrap() == at,
                    _ => true,
                };
                let before = ticks.zone.to_datetime(at.checked_sub(SECOND).unwrap()).checked_add(SECOND).unwrap();
                let passed = before < shown && ticks.cron.at_or_after(before).is_some_and(|named| named < shown);
                fits && first || passed
            };
            let mut looked = Vec::new();
            for second in 1..=6 * 3_600 {
                let at = from.checked_add(SignedDuration::from_secs(second)).unwrap();
                if named(at) {
                    looked.push(Millis(at.as_millisecond().unsigned_abs()));
                }
            }
            prop_assert_eq!(found, looked);
        }
    }
}
