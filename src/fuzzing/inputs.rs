//! Targets of what clients hand to commands as arguments that have a grammar of their own.

use crate::clock::Millis;
use crate::data::dump::{decode, encode, seal};
use crate::jobs::actions::SubmitAction;
use crate::jobs::cron::Cron;
use crate::jobs::plan::Plan;
use crate::jobs::template::{Input, Needs, expand, parts};
use crate::jobs::ticks::{Ticks, zone};
use crate::jobs::url::Url;
use crate::jobs::webhooks::Terms;
use crate::jobs::workers::{Profile, parse_held};
use crate::jobs::{Definition, LogCursor, Submit, Update};

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"];

/// A cron line: it is read or refused, and what was read gives moments that ascend, over the days on which clocks are
/// changed too. The first bytes choose the zone and, in seconds, the moment to begin at.
pub fn cron(data: &[u8]) {
    let Some(([choice, start @ ..], line)) = data.split_first_chunk::<5>() else { return };
    let Ok(cron) = str::from_utf8(line).map_err(drop).and_then(|line| Cron::parse("cron", line).map_err(drop)) else {
        return;
    };
    let Ok(zone) = zone("zone", ZONES[usize::from(*choice) % ZONES.len()]) else { panic!("a known zone") };
    let ticks = Ticks::new(cron, zone);
    let mut after = Millis(u64::from(u32::from_be_bytes(*start)) * 1000);
    for _ in 0..100 {
        let Some(tick) = ticks.next(after) else { panic!("what was read comes again before the year 9999") };
        assert!(tick > after, "{tick:?} is not after {after:?}");
        after = tick;
    }
}

/// What a client may hand to RESTORE: it is read or refused, and what was read is read again the same when it is
/// written. As it comes, and with the checksum that a client can compute as well.
pub fn dump(data: &[u8]) {
    let _ = decode(&data.to_vec().into());
    if let Ok(value) = decode(&seal(data.to_vec()).into()) {
        match decode(&encode(&value).into()) {
            Ok(again) => assert_eq!(again, value),
            Err(error) => panic!("our own payload is valid: {error}"),
        }
    }
}

/// JSON that commands take; the first byte says which. It is read or refused; a plan's canonical form is the plan, and
/// its own canonical form.
pub fn json_inputs(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else { return };
    match kind {
        b'p' => {
            if let Ok(plan) = Plan::parse(text) {
                let canonical = plan.canonical();
                match Plan::parse(canonical.as_bytes()) {
                    Ok(again) => assert_eq!(again.canonical(), canonical),
                    Err(error) => panic!("{canonical}: {error}"),
                }
                assert!(!plan.id().is_empty());
            }
        }
        b'j' => drop(Submit::parse(text)),
        b'a' => drop(SubmitAction::parse(text)),
        b's' => drop(Definition::parse(text)),
        b'h' => drop(Terms::parse(text)),
        b'w' => drop(Profile::parse(text)),
        b'b' => drop(parse_held(text)),
        b'u' => drop(Update::parse(text)),
        b'l' => {
            if let Ok(cursor) = LogCursor::parse(text) {
                assert_eq!(LogCursor::parse(cursor.to_string().as_bytes()).ok(), Some(cursor));
            }
        }
        _ => {}
    }
}

/// An argument with fields in it, up to the first line end, and an input: the parts are the argument, and when the input
/// has what a plan with that argument needs, the argument expands.
pub fn template(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (argument, input) = text.split_once('\n').unwrap_or((text, "{}"));
    let _ = parts(argument);
    let Ok(input) = Input::parse(input.as_bytes(), "input") else { return };
    let plan = serde_json::json!({ "tasks": [{ "command": "a", "args": [argument] }] }).to_string();
    let Ok(plan) = Plan::parse(plan.as_bytes()) else { return };
    let fits = Needs::of(&plan).check(&input, "input");
    let expanded = expand(argument, &input);
    assert_eq!(fits.is_ok(), expanded.is_ok(), "{fits:?} {expanded:?}");
}

/// The address of a webhook: it is read or refused, and its parts stand in it.
pub fn url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(url) = Url::parse("url", text) else { return };
    assert_eq!(url.as_str(), text);
    assert!(!url.host.is_empty() && url.target.starts_with('/'));
    let scheme = if url.is_https { "https" } else { "http" };
    let again = format!("{scheme}://{}{}", url.authority(), url.target);
    match Url::parse("url", &again) {
        Ok(same) => assert_eq!((same.host, same.port, same.target), (url.host, url.port, url.target)),
        Err(error) => assert!(again.len() > text.len(), "{again}: {error}"),
    }
}
