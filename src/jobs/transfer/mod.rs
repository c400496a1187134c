//! The job system as a sequence of plain values, out of a store and into an empty one: what `agq export` writes and
//! `agq import` reads beside keys (docs/export.md).
//!
//! A value is a kind, a word, and an object of JSON. What follows from other values, indexes and counts, is not among
//! them: an import makes it anew. Moments are Unix milliseconds, so that none is rounded.

mod action;
mod ending;
mod export;
mod feed;
mod import;
mod job;
mod output;
mod put;
mod queue;

use std::borrow::Cow;
use std::ops::Bound;

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::body::check_length;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::json::{self, Object};
use crate::jobs::show::Json;
use crate::jobs::{Id, time};
use crate::storage::batch::try_scan;
use crate::storage::{Rows, Table};

pub use export::{Take, counters, export};
pub use import::Import;

/// The kinds of values, in the order in which they stand; those at one place stand as they belong together.
const ORDER: [&[&str]; 10] = [
    &["counters"],
    &["plan"],
    &["queue"],
    &["worker"],
    &["action", "inputs"],
    &["job", "output"],
    &["schedule"],
    &["webhook"],
    &["repeat", "bulk"],
    &["event"],
];

/// True for a word that is a kind of value.
#[must_use]
pub fn is_kind(word: &str) -> bool {
    ORDER.iter().any(|kinds| kinds.contains(&word))
}

/// What looks at a row: its key and its value.
type VisitRow<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Visits the rows that begin with a prefix.
fn each_under(rows: &dyn Rows, table: Table, prefix: &[u8], visit: &mut VisitRow<'_>) -> Result<()> {
    let end = crate::storage::tables::prefix_end(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    try_scan(rows, table, (Bound::Included(prefix), end), visit)
}

fn put_moment(out: &mut Json, name: &str, at: Option<Millis>) {
    if let Some(at) = at {
        out.number(name, at.0);
    }
}

fn put_flag(out: &mut Json, name: &str, holds: bool) {
    if holds {
        out.raw(name, "true");
    }
}

/// A number that is left out where it says nothing.
fn put_count(out: &mut Json, name: &str, count: u64) {
    if count > 0 {
        out.number(name, count);
    }
}

/// JSON as it came. What would not stand on one line as it came, or lose blanks around it, stands in a string, under the
/// name and `_text`.
fn put_json(out: &mut Json, name: &str, json: &str) {
    let is_plain = !json.contains(['\n', '\r']) && json.trim_ascii() == json;
    if is_plain { out.raw(name, json) } else { out.text(&format!("{name}_text"), json) }
}

/// Takes what [`put_json`] put.
fn take_json<'a>(from: &mut Object<'a>, name: &str) -> Result<Option<Cow<'a, str>>> {
    let (path, as_text) = (from.path(name), format!("{name}_text"));
    let text = match (from.take_raw(name), from.string(&as_text)?) {
        (Some(_), Some(_)) => {
            return Err(Error::refused(format!("{path} and {path}_text say the same thing: give one of them")));
        }
        (Some(raw), None) => Cow::Borrowed(raw.get()),
        (None, Some(text)) => Cow::Owned(text),
        (None, None) => return Ok(None),
    };
    check_length(&path, text.len())?;
    json::parse(text.as_bytes(), &path)?;
    Ok(Some(text))
}

/// Bytes as JSON: a string where they are UTF-8, else an object with their hexadecimal digits.
fn bytes_json(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::Value::from(text).to_string(),
        Err(_) => format!("{{\"hex\":\"{}\"}}", hex(bytes)),
    }
}

/// Takes what [`bytes_json`] made.
fn take_bytes(from: &mut Object<'_>, name: &str) -> Result<Option<Bytes>> {
    let path = from.path(name);
    let Some(raw) = from.take(name) else { return Ok(None) };
    if json::kind(raw) == "a string" {
        return Ok(Some(json::string(raw, &path)?.into_owned().into()));
    }
    let mut object = Object::of(raw, &path)?;
    let digits = object.string("hex")?;
    let digits = need(&object, "hex", digits)?;
    object.finish()?;
    from_hex(&digits).map(|bytes| Some(bytes.into())).ok_or_else(|| wrong_hex(&format!("{path}.hex"), &digits))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

fn wrong_hex(path: &str, found: &str) -> Error {
    Error::refused(format!("{path} must be pairs of hexadecimal digits, not '{}'", shown(found.as_bytes())))
}

/// A number of so many bytes that is AGQ's own, in hexadecimal digits.
fn take_hex<const N: usize>(from: &mut Object<'_>, name: &str) -> Result<Option<[u8; N]>> {
    let path = from.path(name);
    let Some(digits) = from.string(name)? else { return Ok(None) };
    let bytes = from_hex(&digits).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(|| {
        let (count, found) = (2 * N, shown(digits.as_bytes()));
        Error::refused(format!("{path} must be {count} hexadecimal digits, not '{found}'"))
    })
}

/// A field that must be there.
fn need<T>(from: &Object<'_>, name: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::refused(format!("{} is missing", from.path(name))))
}

fn take_id(from: &mut Object<'_>, name: &str) -> Result<Option<Id>> {
    let path = from.path(name);
    from.string(name)?.map(|id| Id::parse(&path, id.as_bytes())).transpose()
}

fn need_id(from: &mut Object<'_>, name: &str) -> Result<Id> {
    let id = take_id(from, name)?;
    need(from, name, id)
}

fn take_moment(from: &mut Object<'_>, name: &str) -> Result<Option<Millis>> {
    let path = from.path(name);
    from.take(name).map(|raw| time::read(raw, &path)).transpose()
}

fn need_moment(from: &mut Object<'_>, name: &str) -> Result<Millis> {
    let at = take_moment(from, name)?;
    need(from, name, at)
}

fn take_flag(from: &mut Object<'_>, name: &str) -> Result<bool> {
    Ok(from.boolean(name)?.unwrap_or(false))
}

/// A count that is none where it is left out.
fn take_count(from: &mut Object<'_>, name: &str) -> Result<u64> {
    Ok(from.integer(name, 0..=u64::MAX)?.unwrap_or(0))
}

fn take_small(from: &mut Object<'_>, name: &str) -> Result<u32> {
    let count = from.integer(name, 0..=u64::from(u32::MAX))?.unwrap_or(0);
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// One of a few words; `None` when it is left out.
fn take_word<T: Copy>(
    from: &mut Object<'_>,
    name: &str,
    all: &[T],
    word: impl Fn(T) -> &'static str,
) -> Result<Option<T>> {
    let (path, Some(text)) = (from.path(name), from.string(name)?) else { return Ok(None) };
    let found = all.iter().copied().find(|choice| word(*choice) == text);
    found.map(Some).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|choice| word(*choice)).collect();
        let (known, text) = (known.join(", "), shown(text.as_bytes()));
        Error::refused(format!("{path} must be one of {known}, not '{text}'"))
    })
}
