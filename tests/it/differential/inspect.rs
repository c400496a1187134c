//! What stands in the two servers after the same commands: the same keys with the same content, whole scans that meet
//! everything once, random picks of what is there, and payloads of DUMP that each restores from the other.

use std::collections::BTreeSet;

use super::words::words;
use crate::dumps::{content, dump, restore};
use crate::support::wire::{Frame, Wire};

/// The commands whose replies are a matter of chance or of the moment, compared here by what they mean.
pub(super) const COMPARED: [&str; 10] =
    ["KEYS", "SCAN", "RANDOMKEY", "DUMP", "RESTORE", "HSCAN", "ZSCAN", "HRANDFIELD", "ZRANDMEMBER", "SRANDMEMBER"];

/// The name that payloads are restored under; no command of the generators uses it.
const COPY: &str = "copy of another";

/// Compares all that the two hold in the database that they have selected. Says what differs first.
pub(super) fn compare(redis: &mut Wire, agq: &mut Wire) -> Result<(), String> {
    let keys = texts(call(redis, &words(&["KEYS", "*"])));
    same("KEYS", &keys, &texts(call(agq, &words(&["KEYS", "*"]))))?;
    same("a whole SCAN", &keys, &scanned(agq, &words(&["SCAN"])))?;
    let picked = texts(call(agq, &words(&["RANDOMKEY"])));
    if !keys.is_empty() && !picked.is_subset(&keys) {
        return Err(format!("RANDOMKEY answered {picked:?}, there are {keys:?}"));
    }
    keys.iter().try_for_each(|key| compare_key(redis, agq, key).map_err(|what| format!("'{key}': {what}")))
}

fn compare_key(redis: &mut Wire, agq: &mut Wire, key: &str) -> Result<(), String> {
    let expected = content(redis, key);
    same("the content", &expected, &content(agq, key))?;
    let (theirs, ours) = (dump(redis, key), dump(agq, key));
    for (wire, payload, what) in [(&mut *redis, ours, "of AGQ in Redis"), (&mut *agq, theirs, "of Redis in AGQ")] {
        let answer = restore(wire, COPY, &payload);
        same(&format!("the payload {what}"), "+OK", &answer)?;
        same(&format!("the payload {what}"), &expected, &content(wire, COPY))?;
        call(wire, &words(&["DEL", COPY]));
    }
    let (scan, pick) = match expected.split(' ').next() {
        Some("+hash") => ("HSCAN", "HRANDFIELD"),
        Some("+set") => ("SSCAN", "SRANDMEMBER"),
        Some("+zset") => ("ZSCAN", "ZRANDMEMBER"),
        _ => return Ok(()),
    };
    let elements = scanned(redis, &words(&[scan, key]));
    same(scan, &elements, &scanned(agq, &words(&[scan, key])))?;
    for count in ["1", "2", "100", "-5"] {
        let command = words(&[pick, key, count]);
        let (theirs, ours) = (listed(call(redis, &command)), listed(call(agq, &command)));
        let there: BTreeSet<_> = ours.iter().cloned().collect();
        let repeats = !count.starts_with('-') && there.len() != ours.len();
        if ours.len() != theirs.len() || repeats || !there.is_subset(&elements) {
            return Err(format!("{} answered {ours:?}, Redis {theirs:?}", command.join(" ")));
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, in Redis {expected:?}")) }
}

fn call(wire: &mut Wire, command: &[String]) -> Frame {
    wire.send(&[command.iter().map(|word| word.clone().into_bytes()).collect()]).unwrap();
    wire.read().unwrap()
}

/// The bytes of a reply's items, in order.
fn listed(reply: Frame) -> Vec<String> {
    let text = |bytes: Vec<u8>| bytes.escape_ascii().to_string();
    match reply {
        Frame::Many(_, items) => items.into_iter().flat_map(listed).collect(),
        Frame::Blob(_, bytes) => vec![text(bytes)],
        Frame::Line(_, bytes) => vec![text(bytes)],
    }
}

fn texts(reply: Frame) -> BTreeSet<String> {
    listed(reply).into_iter().collect()
}

/// All that the steps of an iteration bring, two elements or so a step.
fn scanned(wire: &mut Wire, command: &[String]) -> BTreeSet<String> {
    let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let mut step = command.to_vec();
        step.extend(words(&[&cursor, "COUNT", "2"]));
        let Frame::Many(_, parts) = call(wire, &step) else { panic!("{command:?} answered no array") };
        let [next, page] = <[Frame; 2]>::try_from(parts).unwrap();
        found.extend(listed(page));
        cursor = listed(next).concat();
        if cursor == "0" {
            return found;
        }
    }
}
