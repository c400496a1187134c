//! What a client may hand to SCHEDULE.PUT as its cron line: it is read or refused, and what was read gives moments that
//! ascend, over the days on which clocks are changed too.

#![no_main]

use agq::clock::Millis;
use agq::jobs::cron::Cron;
use agq::jobs::ticks::{Ticks, zone};
use libfuzzer_sys::fuzz_target;

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"];

// The first bytes choose the zone and, in seconds, the moment to begin at.
fuzz_target!(|data: &[u8]| {
    let Some(([choice, start @ ..], line)) = data.split_first_chunk::<5>() else {
        return;
    };
    let Ok(cron) = str::from_utf8(line).map_err(drop).and_then(|line| Cron::parse("cron", line).map_err(drop)) else {
        return;
    };
    let zone = zone("zone", ZONES[usize::from(*choice) % ZONES.len()]).expect("a known zone");
    let ticks = Ticks::new(cron, zone);
    let mut after = Millis(u64::from(u32::from_be_bytes(*start)) * 1000);
    for _ in 0..100 {
        let tick = ticks.next(after).expect("what was read comes again before the year 9999");
        assert!(tick > after, "{tick:?} is not after {after:?}");
        after = tick;
    }
});
