//! Strict JSON: what is accepted is kept byte for byte, and what is wrong with the rest is said by name.
//!
//! serde_json reads the syntax. On top of that a document may not repeat a key in an object, at any depth, nor nest
//! deeper than [`MAX_DEPTH`], nor hold half a surrogate pair: readers disagree about what those mean. An [`Object`]
//! hands out typed fields and refuses those that nobody asked for. A `null` field is an absent one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::jobs::error::{Error, Result, shown};

/// How deep arrays and objects may stand in each other.
pub const MAX_DEPTH: usize = 64;

/// Reads a document; `what` names it in errors (`plan`, `inputs[3]`).
///
/// # Errors
/// When it is no JSON, nests too deep or repeats a key.
pub fn parse<'a>(text: &'a [u8], what: &str) -> Result<&'a RawValue> {
    let raw: &RawValue =
        serde_json::from_slice(text).map_err(|error| Error::refused(format!("{what} is not valid JSON: {error}")))?;
    Checker { text: raw.get(), at: 0, open: Vec::new() }
        .run()
        .map_err(|why| Error::refused(format!("{what}: {why}")))?;
    Ok(raw)
}

/// Goes once over a document whose syntax is known to be right; no recursion that the document controls.
struct Checker<'a> {
    text: &'a str,
    at: usize,
    /// The containers around this place: the keys of an object, `None` for an array.
    open: Vec<Option<HashSet<Cow<'a, str>>>>,
}

impl<'a> Checker<'a> {
    fn run(mut self) -> std::result::Result<(), String> {
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'{' => self.enter(Some(HashSet::new()))?,
                b'[' => self.enter(None)?,
                b'}' | b']' => drop(self.open.pop()),
                b'"' => {
                    self.string()?;
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    fn enter(&mut self, container: Option<HashSet<Cow<'a, str>>>) -> std::result::Result<(), String> {
        if self.open.len() == MAX_DEPTH {
            return Err(format!("arrays and objects stand more than {MAX_DEPTH} deep in each other"));
        }
        self.open.push(container);
        Ok(())
    }

    /// A string, which is a key when a colon follows.
    fn string(&mut self) -> std::result::Result<(), String> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + 1;
        let mut escaped = false;
        while let Some(&byte) = bytes.get(end)
            && byte != b'"'
        {
            escaped |= byte == b'\\';
            end += if byte == b'\\' { 2 } else { 1 };
        }
        end += 1;
        self.at = end;
        let quoted = self.text.get(start..end).ok_or("a string has no end")?;
        let text = if escaped {
            let text: String = serde_json::from_str(quoted)
                .map_err(|_| format!("the string {} holds half a surrogate pair", shown(quoted.as_bytes())))?;
            Cow::Owned(text)
        } else {
            Cow::Borrowed(&quoted[1..quoted.len() - 1])
        };
        let rest = bytes.get(end..).unwrap_or_default();
        if rest.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b':') {
            return Ok(());
        }
        match self.open.last_mut() {
            Some(Some(keys)) if keys.contains(&text) => {
                Err(format!("the key '{}' stands twice in an object", shown(text.as_bytes())))
            }
            Some(Some(keys)) => {
                keys.insert(text);
                Ok(())
            }
            _ => Err("a key stands outside an object".to_owned()),
        }
    }
}

/// What kind of JSON value this is, as an error says it.
#[must_use]
pub fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A value as an error repeats it.
fn seen(raw: &RawValue) -> String {
    match kind(raw) {
        long @ ("an object" | "an array") => long.to_owned(),
        _ => shown(raw.get().as_bytes()),
    }
}

/// A string's text.
///
/// # Errors
/// When the value is none.
pub fn string<'a>(raw: &'a RawValue, path: &str) -> Result<Cow<'a, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(raw.get())
        .map(|Text(text)| text)
        .map_err(|_| Error::refused(format!("{path} must be a string, not {}", seen(raw))))
}

/// An integer within `range`.
///
/// # Errors
/// When the value is none, or outside.
pub fn integer(raw: &RawValue, path: &str, range: RangeInclusive<u64>) -> Result<u64> {
    match serde_json::from_str(raw.get()) {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(Error::refused(format!(
            "{path} must be an integer from {} to {}, not {}",
            range.start(),
            range.end(),
            seen(raw)
        ))),
    }
}

/// The values of an array.
///
/// # Errors
/// When the value is none.
pub fn array<'a>(raw: &'a RawValue, path: &str) -> Result<Vec<&'a RawValue>> {
    serde_json::from_str(raw.get()).map_err(|_| Error::refused(format!("{path} must be an array, not {}", seen(raw))))
}

/// The strings of an array.
///
/// # Errors
/// When the value is no array, or one in it is no string.
pub fn strings(raw: &RawValue, path: &str) -> Result<Vec<String>> {
    let values = array(raw, path)?;
    let text = |(place, value)| string(value, &format!("{path}[{place}]")).map(Cow::into_owned);
    values.into_iter().enumerate().map(text).collect()
}

/// An object whose fields are taken one by one; see [`Object::finish`].
#[derive(Debug)]
pub struct Object<'a> {
    path: String,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads a document that must be an object; `what` names it in errors.
    ///
    /// # Errors
    /// As [`parse`], and when it is no object.
    pub fn parse(text: &'a [u8], what: &str) -> Result<Object<'a>> {
        Object::of(parse(text, what)?, what)
    }

    /// The fields of a value that [`parse`] has seen.
    ///
    /// # Errors
    /// When it is no object.
    pub fn of(raw: &'a RawValue, path: &str) -> Result<Object<'a>> {
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        let fields = deserializer
            .deserialize_map(Fields)
            .map_err(|_| Error::refused(format!("{path} must be an object, not {}", seen(raw))))?;
        Ok(Object { path: path.to_owned(), fields })
    }

    /// The name that errors give a field.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a field out, as it stands; `None` when it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let place = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, raw) = self.fields.swap_remove(place);
        (raw.get() != "null").then_some(raw)
    }

    /// Takes a field out as it stands, null included; `None` when it is absent.
    pub fn take_raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let place = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.swap_remove(place).1)
    }

    /// Takes a string.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn string(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name).map(|raw| string(raw, &self.path(name)).map(Cow::into_owned)).transpose()
    }

    /// Takes an integer within `range`.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        self.take(name).map(|raw| integer(raw, &self.path(name), range)).transpose()
    }

    /// Takes true or false.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| Error::refused(format!("{} must be true or false, not {}", self.path(name), seen(raw))))
    }

    /// Takes an array.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn array(&mut self, name: &str) -> Result<Option<Vec<&'a RawValue>>> {
        self.take(name).map(|raw| array(raw, &self.path(name))).transpose()
    }

    /// Takes an array of strings.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        self.take(name).map(|raw| strings(raw, &self.path(name))).transpose()
    }

    /// Takes an object.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn object(&mut self, name: &str) -> Result<Option<Object<'a>>> {
        self.take(name).map(|raw| Object::of(raw, &self.path(name))).transpose()
    }

    /// The fields that were not taken.
    pub fn rest(self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.fields.into_iter()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a field was not taken: it means nothing here.
    pub fn finish(self) -> Result<()> {
        match self.fields.iter().map(|(name, _)| name).min() {
            None => Ok(()),
            Some(name) => {
                let field = self.path(&shown(name.as_bytes()));
                Err(Error::refused(format!("{field} is not a known field: remove it, or check its spelling")))
            }
        }
    }
}

/// Reads an object's fields without looking into their values.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        #[derive(serde::Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut fields = Vec::new();
        while let Some((Name(name), raw)) = map.next_entry()? {
            fields.push((name, raw));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        parse(text.as_bytes(), "input").unwrap_err().to_string()
    }

    #[test]
    fn documents_are_kept_byte_for_byte() {
        for text in ["{\"n\": 123456789012345678901234567890.10, \"e\": 1e999}", "[ ]", "\"\\u00e9\"", "-0"] {
            assert_eq!(parse(text.as_bytes(), "input").unwrap().get(), text);
        }
    }

    #[test]
    fn a_repeated_key_is_named_at_any_depth() {
        assert_eq!(error(r#"{"a":1,"a":2}"#), "ERR input: the key 'a' stands twice in an object");
        assert_eq!(
            error(r#"{"x":[{"b":{"c":1 , "\u0063" : 2}}]}"#),
            "ERR input: the key 'c' stands twice in an object"
        );
        for text in [r#"[{"a":1},{"a":1}]"#, r#"{"a":{"a":"a"}}"#, r#"{"a":"a","b":["a","a"]}"#, r#"{"a\"":1,"a":2}"#] {
            parse(text.as_bytes(), "input").unwrap();
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        parse(nested(MAX_DEPTH).as_bytes(), "input").unwrap();
        assert!(error(&nested(MAX_DEPTH + 1)).contains("more than 64 deep"));
        assert!(error(&nested(500_000)).contains("more than 64 deep"));
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        assert!(error("").starts_with("ERR input is not valid JSON: "));
        assert!(error("{} {}").contains("trailing characters"));
        assert!(error(r#"{"a":"\ud800"}"#).contains("half a surrogate pair"));
        assert!(error("NaN").contains("not valid JSON"));
        assert!(parse(b"\"\xff\"", "input").is_err());
    }

    #[test]
    fn fields_are_typed_and_errors_name_them() {
        let text = br#"{"s":"a","n":5,"b":true,"l":["x"],"o":{"p":null},"z":null,"w":{"v":-1}}"#;
        let mut object = Object::parse(text, "plan").unwrap();
        assert_eq!(object.string("s").unwrap().as_deref(), Some("a"));
        assert_eq!(object.integer("n", 1..=5).unwrap(), Some(5));
        assert_eq!(object.boolean("b").unwrap(), Some(true));
        assert_eq!(object.strings("l").unwrap(), Some(vec!["x".to_owned()]));
        assert!(object.object("o").unwrap().unwrap().take("p").is_none());
        assert_eq!(object.string("z").unwrap(), None);
        assert_eq!(object.string("absent").unwrap(), None);
        let mut inner = object.object("w").unwrap().unwrap();
        let error = inner.integer("v", 0..=9).unwrap_err().to_string();
        assert_eq!(error, "ERR plan.w.v must be an integer from 0 to 9, not -1");
        object.finish().unwrap();
    }

    #[test]
    fn wrong_types_and_unknown_fields_are_refused() {
        let object = || Object::parse(br#"{"a":[1],"b":"1","c":1.5}"#, "job").unwrap();
        let texts = [
            object().string("a").unwrap_err().to_string(),
            object().integer("b", 0..=1).unwrap_err().to_string(),
            object().integer("c", 0..=1).unwrap_err().to_string(),
            object().strings("a").unwrap_err().to_string(),
            object().boolean("b").unwrap_err().to_string(),
            object().finish().unwrap_err().to_string(),
            Object::parse(b"[]", "job").unwrap_err().to_string(),
        ];
        assert_eq!(
            texts,
            [
                "ERR job.a must be a string, not an array",
                "ERR job.b must be an integer from 0 to 1, not \"1\"",
                "ERR job.c must be an integer from 0 to 1, not 1.5",
                "ERR job.a[0] must be a string, not 1",
                "ERR job.b must be true or false, not \"1\"",
                "ERR job.a is not a known field: remove it, or check its spelling",
                "ERR job must be an object, not an array",
            ]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::parse(&bytes, "input").map(Object::finish);
        }

        #[test]
        fn text_like_json_never_panics(text in r#"([\[\]{},:]|"[a-c\\\\u0d8]{0,4}"|[0-9.e-]{1,3}|null| ){0,40}"#) {
            let _ = Object::parse(text.as_bytes(), "input").map(Object::finish);
        }
    }
}
