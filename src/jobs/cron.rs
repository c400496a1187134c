//! Cron lines: which seconds of the calendar they name, whatever the zone. When such a moment comes is for
//! [`super::ticks`] to say.
//!
//! Five fields (minute, hour, day of month, month, day of week), or six with seconds in front; each `*`, numbers, names,
//! ranges and steps, divided by commas. As in Vixie's cron a field counts as restricted unless it begins with `*`, and
//! where both days are restricted, either will do; else both must fit.

use jiff::civil::{Date, DateTime, Time};

use crate::jobs::error::{Error, Result, shown};

/// The longest line.
const MAX_BYTES: usize = 1024;
/// How many years are searched: the 29th of February on a given day of the week comes again within forty.
const YEARS: i16 = 41;

/// What `@` and a word stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A field: its name, its lowest and highest value, and the names of its values from the lowest on.
struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    names: &'static [&'static str],
}

const fn field(name: &'static str, first: u8, last: u8, names: &'static [&'static str]) -> Field {
    Field { name, first, last, names }
}

const SECOND: Field = field("second", 0, 59, &[]);
const MINUTE: Field = field("minute", 0, 59, &[]);
const HOUR: Field = field("hour", 0, 23, &[]);
const DAY: Field = field("day of month", 1, 31, &[]);
const MONTH: Field =
    field("month", 1, 12, &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]);
/// Sunday is 0 and 7.
const WEEKDAY: Field = field("day of week", 0, 7, &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]);

/// Numbers below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Set(u64);

impl Set {
    fn add(&mut self, value: u8) {
        self.0 |= 1 << value;
    }

    fn has(self, value: i8) -> bool {
        self.from(value) == Some(value)
    }

    /// The lowest number that is not below `value`.
    fn from(self, value: i8) -> Option<i8> {
        let value = u32::try_from(value).ok()?;
        let above = self.0.checked_shr(value)?;
        i8::try_from(value + above.trailing_zeros()).ok().filter(|_| above != 0)
    }
}

/// A cron line that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    seconds: Set,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    /// A day need fit only one of the two fields for days.
    either_day: bool,
    /// The field for hours begins with `*`.
    every_hour: bool,
}

impl Cron {
    /// Reads a line; `what` names it in errors.
    ///
    /// # Errors
    /// When it is none, or names only days that never come.
    pub fn parse(what: &str, line: &str) -> Result<Cron> {
        if line.len() > MAX_BYTES {
            let length = line.len();
            return Err(Error::refused(format!("{what} has {length} bytes, at most {MAX_BYTES} are taken")));
        }
        let cron = written_out(line).and_then(Cron::read).map_err(|error| error.at(what))?;
        if cron.day_after(Date::constant(1999, 12, 31)).is_none() {
            let line = shown(line.as_bytes());
            return Err(Error::refused(format!("{what} '{line}' never comes: no month that it names has such a day")));
        }
        Ok(cron)
    }

    fn read(line: &str) -> Result<Cron> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (second, [minute, hour, day, month, weekday]) = match *fields.as_slice() {
            [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => (second, [minute, hour, day, month, weekday]),
            _ => {
                let count = fields.len();
                return Err(Error::refused(format!(
                    "five fields are expected (minute, hour, day of month, month, day of week), or six with seconds \
                     first, or a word like @daily, not {count}"
                )));
            }
        };
        let mut weekdays = WEEKDAY.read(weekday)?;
        if weekdays.has(7) {
            weekdays.add(0);
        }
        let every = |field: &str| field.starts_with('*');
        Ok(Cron {
            seconds: SECOND.read(second)?,
            minutes: MINUTE.read(minute)?,
            hours: HOUR.read(hour)?,
            days: DAY.read(day)?,
            months: MONTH.read(month)?,
            weekdays,
            either_day: !every(day) && !every(weekday),
            every_hour: every(hour),
        })
    }

    /// True when it goes on from hour to hour, instead of naming hours.
    #[must_use]
    pub fn is_every_hour(&self) -> bool {
        self.every_hour
    }

    /// The first second that it names from this one on; `None` when there is none in the years that the calendar has.
    #[must_use]
    pub fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        if self.has_day(from.date())
            && let Some(time) = self.time_from(from.hour(), from.minute(), from.second())
        {
            return Some(from.date().to_datetime(time));
        }
        Some(self.day_after(from.date())?.to_datetime(self.time_from(0, 0, 0)?))
    }

    fn has_day(&self, date: Date) -> bool {
        let by_month = self.days.has(date.day());
        let by_week = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        self.months.has(date.month()) && if self.either_day { by_month || by_week } else { by_month && by_week }
    }

    fn day_after(&self, date: Date) -> Option<Date> {
        let mut from = date.tomorrow().ok()?;
        let last = date.year().saturating_add(YEARS);
        while from.year() <= last {
            match self.months.from(from.month()) {
                Some(month) if month == from.month() => {
                    let days = from.day()..=from.days_in_month();
                    let dates = days.filter_map(|day| Date::new(from.year(), month, day).ok());
                    if let Some(found) = { dates }.find(|date| self.has_day(*date)) {
                        return Some(found);
                    }
                    from = from.last_of_month().tomorrow().ok()?;
                }
                Some(month) => from = Date::new(from.year(), month, 1).ok()?,
                None => from = Date::new(from.year().checked_add(1)?, 1, 1).ok()?,
            }
        }
        None
    }

    /// The first time of a day from this one on.
    fn time_from(&self, hour: i8, minute: i8, second: i8) -> Option<Time> {
        let (first_minute, first_second) = (self.minutes.from(0)?, self.seconds.from(0)?);
        let in_hour = |minute: i8, second: i8| match self.seconds.from(second) {
            Some(second) if self.minutes.has(minute) => Some((minute, second)),
            _ => Some((self.minutes.from(minute + 1)?, first_second)),
        };
        let (hour, (minute, second)) = match in_hour(minute, second) {
            Some(found) if self.hours.has(hour) => (hour, found),
            _ => (self.hours.from(hour + 1)?, (first_minute, first_second)),
        };
        Time::new(hour, minute, second, 0).ok()
    }
}

/// The line that a nickname stands for; any other as it is.
fn written_out(line: &str) -> Result<&str> {
    let word = line.trim_ascii();
    if !word.starts_with('@') {
        return Ok(line);
    }
    match NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        Some((_, line)) => Ok(line),
        None => {
            let (word, known) = (shown(word.as_bytes()), NICKNAMES.map(|(name, _)| name).join(", "));
            Err(Error::refused(format!("'{word}' is not a known word: known are {known}")))
        }
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<Set> {
        let mut set = Set::default();
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(self.step(range, step)?)),
                None => (part, None),
            };
            let (first, last) = self.range(range)?;
            (first..=last).step_by(step.unwrap_or(1)).for_each(|value| set.add(value));
        }
        Ok(set)
    }

    fn range(&self, text: &str) -> Result<(u8, u8)> {
        if text == "*" {
            // A week has no second Sunday.
            return Ok((self.first, if self.last == WEEKDAY.last { 6 } else { self.last }));
        }
        let Some((from, to)) = text.split_once('-') else {
            let value = self.value(text)?;
            return Ok((value, value));
        };
        let first = self.value(from)?;
        let last = match self.value(to)? {
            // From any day to Sunday.
            0 if self.last == WEEKDAY.last && first > 0 && !to.starts_with('0') => WEEKDAY.last,
            last => last,
        };
        if first <= last {
            return Ok((first, last));
        }
        let (name, text) = (self.name, shown(text.as_bytes()));
        Err(Error::refused(format!("{name} range '{text}' runs backwards: write it as two, divided by a comma")))
    }

    fn step(&self, range: &str, step: &str) -> Result<usize> {
        let (name, most) = (self.name, self.last - self.first + 1);
        if range != "*" && !range.contains('-') {
            let (range, step, last) = (shown(range.as_bytes()), shown(step.as_bytes()), self.last);
            return Err(Error::refused(format!(
                "{name} '{range}/{step}' has a step but no range: write {range}-{last}/{step}, or */{step}"
            )));
        }
        match number(step) {
            Some(step) if (1..=most).contains(&step) => Ok(usize::from(step)),
            _ => {
                let step = shown(step.as_bytes());
                Err(Error::refused(format!("{name} step must be 1 to {most}, not '{step}'")))
            }
        }
    }

    fn value(&self, text: &str) -> Result<u8> {
        let named = (self.first..).zip(self.names).find(|(_, name)| name.eq_ignore_ascii_case(text));
        let value = named.map(|(value, _)| value).or_else(|| number(text));
        value.filter(|value| (self.first..=self.last).contains(value)).ok_or_else(|| {
            let (name, first, last, text) = (self.name, self.first, self.last, shown(text.as_bytes()));
            let names = match self.names {
                [first, .., last] => format!(", {first} to {last}"),
                _ => String::new(),
            };
            Error::refused(format!("{name} must be {first} to {last}{names} or *, not '{text}'"))
        })
    }
}

/// A number of one or two digits.
fn number(text: &str) -> Option<u8> {
    let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(line: &str) -> Cron {
        Cron::parse("cron", line).unwrap()
    }

    fn error(line: &str) -> String {
        Cron::parse("cron", line).unwrap_err().to_string()
    }

    /// The next seconds from a moment on.
    fn next(line: &str, from: &str, count: usize) -> Vec<String> {
        let (cron, mut from) = (cron(line), from.parse::<DateTime>().unwrap());
        let mut found = Vec::new();
        for _ in 0..count {
            let at = cron.at_or_after(from).unwrap();
            found.push(at.to_string().replace('T', " "));
            from = at.checked_add(jiff::Span::new().seconds(1)).unwrap();
        }
        found
    }

    #[test]
    fn each_field_gives_way_to_the_one_before() {
        assert_eq!(next("0 7 * * 1-5", "2026-11-27T07:00:01", 2), ["2026-11-30 07:00:00", "2026-12-01 07:00:00"]);
        assert_eq!(
            next("*/20 5,6 * * *", "2026-01-31T06:20:00", 3),
            ["2026-01-31 06:20:00", "2026-01-31 06:40:00", "2026-02-01 05:00:00"]
        );
        assert_eq!(next("59 59 23 31 12 *", "2026-12-31T23:59:59", 2), ["2026-12-31 23:59:59", "2027-12-31 23:59:59"]);
        assert_eq!(
            next("10-30/10 * * * * *", "2026-01-01T00:00:30", 2),
            ["2026-01-01 00:00:30", "2026-01-01 00:01:10"]
        );
        assert_eq!(next("@monthly", "2026-01-01T00:00:01", 1), ["2026-02-01 00:00:00"]);
        assert_eq!(next(" @Yearly ", "2026-01-01T00:00:01", 1), ["2027-01-01 00:00:00"]);
    }

    #[test]
    fn leap_days_are_found_over_a_century_that_has_none() {
        assert_eq!(next("0 0 29 2 *", "2096-02-29T00:00:01", 1), ["2104-02-29 00:00:00"]);
        // Only together with a Sunday, since `*/7` leaves the day of the week unrestricted.
        assert_eq!(next("0 0 29 FEB */7", "2088-03-01T00:00:00", 1), ["2128-02-29 00:00:00"]);
    }

    #[test]
    fn either_day_will_do_where_both_are_restricted() {
        assert_eq!(
            next("0 0 13 * FRI", "2026-11-12T00:00:00", 3),
            ["2026-11-13 00:00:00", "2026-11-20 00:00:00", "2026-11-27 00:00:00"]
        );
        assert_eq!(next("0 0 31 2 MON", "2026-02-03T00:00:00", 1), ["2026-02-09 00:00:00"]);
        assert_eq!(next("0 0 */2 * MON", "2026-11-01T00:00:00", 2), ["2026-11-09 00:00:00", "2026-11-23 00:00:00"]);
    }

    #[test]
    fn sunday_is_0_and_7_and_names_stand_for_numbers() {
        for line in ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "0 0 * * SUN-SUN", "@weekly"] {
            assert_eq!(next(line, "2026-11-23T00:00:00", 1), ["2026-11-29 00:00:00"], "{line}");
        }
        assert_eq!(cron("0 0 * * FRI-SUN").weekdays, cron("0 0 * * 5,6,0").weekdays.with_seventh());
        assert_eq!(cron("0 0 1 jan-mar/2 *").months, cron("0 0 1 1,3 *").months);
    }

    impl Set {
        fn with_seventh(mut self) -> Set {
            self.add(7);
            self
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let lines = [
            (
                "",
                "five fields are expected (minute, hour, day of month, month, day of week), or six with seconds first, or a word like @daily, not 0",
            ),
            (
                "* * * *",
                "five fields are expected (minute, hour, day of month, month, day of week), or six with seconds first, or a word like @daily, not 4",
            ),
            ("60 * * * *", "minute must be 0 to 59 or *, not '60'"),
            ("60 0 * * * *", "second must be 0 to 59 or *, not '60'"),
            ("0 24 * * *", "hour must be 0 to 23 or *, not '24'"),
            ("0 0 0 * *", "day of month must be 1 to 31 or *, not '0'"),
            ("0 0 L * *", "day of month must be 1 to 31 or *, not 'L'"),
            ("0 0 ? * *", "day of month must be 1 to 31 or *, not '?'"),
            ("0 0 * FEBR *", "month must be 1 to 12, JAN to DEC or *, not 'FEBR'"),
            ("0 0 * * 8", "day of week must be 0 to 7, SUN to SAT or *, not '8'"),
            ("0 0 * * 1#2", "day of week must be 0 to 7, SUN to SAT or *, not '1#2'"),
            ("0,,5 * * * *", "minute must be 0 to 59 or *, not ''"),
            ("-5 * * * *", "minute must be 0 to 59 or *, not ''"),
            ("+5 * * * *", "minute must be 0 to 59 or *, not '+5'"),
            ("0 22-4 * * *", "hour range '22-4' runs backwards: write it as two, divided by a comma"),
            ("0 0 * * 5-0", "day of week range '5-0' runs backwards: write it as two, divided by a comma"),
            ("*/0 * * * *", "minute step must be 1 to 60, not '0'"),
            ("*/90 * * * *", "minute step must be 1 to 60, not '90'"),
            ("5/15 * * * *", "minute '5/15' has a step but no range: write 5-59/15, or */15"),
            (
                "@reboot",
                "'@reboot' is not a known word: known are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(error(line), format!("ERR cron: {expected}"), "{line}");
        }
        assert_eq!(error(&"*".repeat(1025)), "ERR cron has 1025 bytes, at most 1024 are taken");
    }

    #[test]
    fn days_that_never_come_are_refused() {
        for line in ["0 0 31 2 *", "0 0 30 FEB *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(error(line), format!("ERR cron '{line}' never comes: no month that it names has such a day"));
        }
        let _ = (cron("0 0 31 2 1"), cron("0 0 29 2 *"));
    }
}
