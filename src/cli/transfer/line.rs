//! The lines of an export. docs/export.md is their description; a change that an older program would misread raises
//! [`FORMAT`].

use std::borrow::Cow;
use std::fmt;

use anyhow::{bail, ensure};
use bytes::Bytes;
use serde::de::{DeserializeOwned, Deserializer as _, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::access;

use crate::clock::Millis;
use crate::data::Kind;
use crate::data::transfer::{Item, Key};
use crate::jobs;

/// The number of the format.
pub(super) const FORMAT: u32 = 2;
/// The oldest that is read: it knows keys only.
pub(super) const OLDEST: u32 = 1;

/// One line of keys, or the first or last.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    Header(Header),
    Key(KeyLine),
    Bytes(Part),
    Elements(Vec<Text>),
    Fields(Vec<(Text, Text)>),
    Members(Vec<(Text, String)>),
    Footer(Footer),
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// [`FORMAT`].
    pub(super) agq_export: u32,
    /// The version of the program that wrote it.
    pub(super) version: String,
    /// The store's time, Unix milliseconds.
    pub(super) time: u64,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyLine {
    database: usize,
    name: Text,
    r#type: String,
    /// Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// A part of a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    at: u64,
    bytes: Text,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Footer {
    /// Lines before this one.
    pub(super) lines: u64,
    /// Keys among them.
    pub(super) keys: u64,
    /// Jobs among them; in format 1 there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jobs: Option<u64>,
    /// SHA-256 of all their bytes, line ends included, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Footer {
    /// What it says that is not so, each with what the lines are found to be.
    pub(super) fn differences(&self, found: &Footer) -> Vec<String> {
        let count = |count: Option<u64>| count.map_or_else(|| "none".to_owned(), |count| count.to_string());
        let parts = [
            ("lines", self.lines.to_string(), found.lines.to_string()),
            ("keys", self.keys.to_string(), found.keys.to_string()),
            ("jobs", count(self.jobs), count(found.jobs)),
            ("sha256", self.sha256.clone(), found.sha256.clone()),
        ];
        let differing = parts.into_iter().filter(|(_, said, found)| said != found);
        differing.map(|(name, said, found)| format!("{name}: found {found}, expected {said}")).collect()
    }
}

/// Any bytes: a string where they are UTF-8, else their hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Plain(String),
    Hex(Hex),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hex {
    hex: String,
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

impl Text {
    fn of(bytes: &Bytes) -> Text {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Plain(text.to_owned()),
            Err(_) => Text::Hex(Hex { hex: hex(bytes) }),
        }
    }

    fn bytes(self) -> anyhow::Result<Bytes> {
        match self {
            Text::Plain(text) => Ok(text.into()),
            Text::Hex(Hex { hex }) => {
                let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
                match pairs.iter().map(byte).collect::<Option<Vec<u8>>>() {
                    Some(bytes) if rest.is_empty() => Ok(bytes.into()),
                    _ => bail!("'hex' is not pairs of hexadecimal digits: '{hex:.40}'"),
                }
            }
        }
    }
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// One of keys, or the first or last.
    Line(Line),
    /// One of the rest of the store: its kind and its object.
    Rest(Cow<'a, str>, &'a RawValue),
}

/// Reads a line.
///
/// # Errors
/// When it is no object of one field, of a kind that there is.
pub(super) fn read(text: &[u8]) -> anyhow::Result<Read<'_>> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let (kind, raw) = from.deserialize_map(OneField)?;
    from.end()?;
    if jobs::transfer::is_kind(&kind) || kind == access::transfer::KIND {
        return Ok(Read::Rest(kind, raw));
    }
    Ok(Read::Line(match &*kind {
        "header" => Line::Header(value(raw)?),
        "key" => Line::Key(value(raw)?),
        "bytes" => Line::Bytes(value(raw)?),
        "elements" => Line::Elements(value(raw)?),
        "fields" => Line::Fields(value(raw)?),
        "members" => Line::Members(value(raw)?),
        "footer" => Line::Footer(value(raw)?),
        other => bail!("'{other:.40}' is no kind of line that this program knows"),
    }))
}

fn value<T: DeserializeOwned>(raw: &RawValue) -> anyhow::Result<T> {
    Ok(serde_json::from_str(raw.get())?)
}

/// Reads an object of one field, without looking into its value.
struct OneField;

impl<'de> Visitor<'de> for OneField {
    type Value = (Cow<'de, str>, &'de RawValue);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of one field, which says what the line is")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let first = map.next_entry::<Name<'_>, &RawValue>()?;
        let (Name(kind), raw) = first.ok_or_else(|| A::Error::custom("an object without a field"))?;
        match map.next_key::<Name<'_>>()? {
            None => Ok((kind, raw)),
            Some(Name(second)) => Err(A::Error::custom(format!("a second field '{second:.40}', a line has one"))),
        }
    }
}

impl Line {
    /// The line of an item.
    pub(super) fn of(item: &Item) -> Line {
        match item {
            Item::Key(key) => Line::Key(KeyLine {
                database: key.database,
                name: Text::of(&key.name),
                r#type: key.kind.name().to_owned(),
                expires_at: key.deadline.map(|at| at.0),
            }),
            Item::Bytes(at, bytes) => Line::Bytes(Part { at: *at, bytes: Text::of(bytes) }),
            Item::Elements(elements) => Line::Elements(elements.iter().map(Text::of).collect()),
            Item::Fields(fields) => {
                Line::Fields(fields.iter().map(|(field, value)| (Text::of(field), Text::of(value))).collect())
            }
            Item::Members(members) => {
                Line::Members(members.iter().map(|(member, score)| (Text::of(member), score.to_string())).collect())
            }
        }
    }

    /// The item of a line.
    ///
    /// # Errors
    /// When it says none.
    pub(super) fn item(self) -> anyhow::Result<Item> {
        Ok(match self {
            Line::Header(_) => bail!("a second header"),
            Line::Footer(_) => bail!("a footer before the end"),
            Line::Key(key) => {
                let kinds = [Kind::String, Kind::List, Kind::Hash, Kind::SortedSet, Kind::Set];
                let Some(kind) = kinds.into_iter().find(|kind| kind.name() == key.r#type) else {
                    bail!("the type '{:.40}', expected string, list, hash, zset or set", key.r#type);
                };
                let deadline = key.expires_at.map(Millis);
                Item::Key(Key { database: key.database, name: key.name.bytes()?, kind, deadline })
            }
            Line::Bytes(part) => Item::Bytes(part.at, part.bytes.bytes()?),
            Line::Elements(elements) => {
                Item::Elements(elements.into_iter().map(Text::bytes).collect::<anyhow::Result<_>>()?)
            }
            Line::Fields(fields) => {
                let field = |(field, value): (Text, Text)| anyhow::Ok((field.bytes()?, value.bytes()?));
                Item::Fields(fields.into_iter().map(field).collect::<anyhow::Result<_>>()?)
            }
            Line::Members(members) => {
                let member = |(member, score): (Text, String)| {
                    let number = score.parse::<f64>().ok().filter(|number| !number.is_nan());
                    ensure!(number.is_some(), "the score '{score:.40}' is not a number");
                    anyhow::Ok((member.bytes()?, number.unwrap_or_default()))
                };
                Item::Members(members.into_iter().map(member).collect::<anyhow::Result<_>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_and_scores_come_back(name: Vec<u8>, value: Vec<u8>, score: f64, at: u64) {
            prop_assume!(!score.is_nan());
            let (name, value) = (Bytes::from(name), Bytes::from(value));
            let items = [
                Item::Key(Key { database: 3, name: name.clone(), kind: Kind::SortedSet, deadline: Some(Millis(at)) }),
                Item::Bytes(at, value.clone()),
                Item::Elements(vec![name.clone(), value.clone()]),
                Item::Fields(vec![(name.clone(), value.clone())]),
                Item::Members(vec![(name, score), (value, f64::NEG_INFINITY)]),
            ];
            for item in items {
                let text = serde_json::to_string(&Line::of(&item)).unwrap();
                let Read::Line(line) = read(text.as_bytes()).unwrap() else { panic!("{text}") };
                prop_assert_eq!(line.item().unwrap(), item);
            }
        }
    }

    #[test]
    fn lines_look_as_documented_and_others_are_refused() {
        let key = Item::Key(Key { database: 0, name: Bytes::from_static(b"\xff"), kind: Kind::List, deadline: None });
        let text = serde_json::to_string(&Line::of(&key)).unwrap();
        assert_eq!(text, r#"{"key":{"database":0,"name":{"hex":"ff"},"type":"list"}}"#);
        for text in [
            r#"{"key":{"database":0,"name":"k","type":"list","ttl":5}}"#,
            r#"{"key":{"database":0,"name":"k","type":"stream"}}"#,
            r#"{"key":{"database":-1,"name":"k","type":"list"}}"#,
            r#"{"elements":[{"hex":"f"}]}"#,
            r#"{"elements":[{"hex":"zz"}]}"#,
            r#"{"members":[["m","NaN"]]}"#,
            r#"{"unknown":[]}"#,
        ] {
            let line = read(text.as_bytes()).and_then(|read| match read {
                Read::Line(line) => line.item(),
                Read::Rest(..) => bail!("a line of another part"),
            });
            assert!(line.is_err(), "{text}");
        }
    }
}
