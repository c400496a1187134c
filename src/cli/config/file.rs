//! The text of an `agq.toml`: which keys stand where, and what they are given. What they mean is not known here.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use toml::de::{DeTable, DeValue};

/// A file that was read.
#[derive(Debug)]
pub(in crate::cli) struct File {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// What stands in it, in the order of its lines.
    pub(super) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The table that it stands in; empty above the first.
    pub(super) table: String,
    /// The key.
    pub(super) key: String,
    /// The number of its line, from 1.
    pub(super) line: usize,
    /// The value.
    pub(super) value: Given,
}

/// A value, as a command line would have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// `true` or `false`.
    Switch(bool),
    /// A text or a number.
    One(String),
    /// A list of them.
    List(Vec<String>),
}

impl Given {
    /// The values as texts.
    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Given::Switch(on) => vec![on.to_string()],
            Given::One(text) => vec![text.clone()],
            Given::List(texts) => texts.clone(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.table.as_str() {
            "" => f.write_str(&self.key),
            table => write!(f, "[{table}] {}", self.key),
        }
    }
}

impl File {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not TOML with tables of texts, numbers, switches and lists; with the line.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<File>> {
        match std::fs::read_to_string(path) {
            Ok(text) => File::parse(path, &text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn parse(path: &Path, text: &str) -> anyhow::Result<File> {
        let line = |span: Range<usize>| text.as_bytes()[..span.start].iter().filter(|byte| **byte == b'\n').count() + 1;
        let wrong = |span: Range<usize>, what: &str| anyhow!("{}:{}: {what}", path.display(), line(span));
        let document =
            DeTable::parse(text).map_err(|error| wrong(error.span().unwrap_or_default(), error.message()))?;
        let mut entries = Vec::new();
        for (name, value) in document.get_ref() {
            let name_text = name.get_ref().to_string();
            if let DeValue::Table(table) = value.get_ref() {
                for (key, value) in table {
                    let (line, key) = (line(key.span()), key.get_ref().to_string());
                    let entry = |value| Entry { table: name_text.clone(), key: key.clone(), line, value };
                    let given = given(value.get_ref());
                    entries.push(entry(
                        given.map_err(|what| wrong(value.span(), &format!("[{name_text}] {key} {what}")))?,
                    ));
                }
            } else {
                let given = given(value.get_ref());
                let value = given.map_err(|what| wrong(value.span(), &format!("{name_text} {what}")))?;
                entries.push(Entry { table: String::new(), key: name_text, line: line(name.span()), value });
            }
        }
        entries.sort_by_key(|entry| entry.line);
        Ok(File { path: path.to_owned(), entries })
    }

    /// An error about an entry, with its place.
    pub(super) fn wrong(&self, entry: &Entry, what: impl fmt::Display) -> anyhow::Error {
        anyhow!("{}: {entry}: {what}", self.place(entry))
    }

    /// Where an entry stands.
    pub(super) fn place(&self, entry: &Entry) -> String {
        format!("{}:{}", self.path.display(), entry.line)
    }
}

fn given(value: &DeValue<'_>) -> Result<Given, String> {
    let one = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        _ => None,
    };
    match value {
        DeValue::Boolean(on) => Ok(Given::Switch(*on)),
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| one(value.get_ref())).collect::<Option<_>>();
            texts.map(Given::List).ok_or_else(|| "holds something else than texts and whole numbers".to_owned())
        }
        value => one(value).map(Given::One).ok_or_else(|| {
            format!("is a {}: expected a text, a whole number, true or false, or a list", value.type_str())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, usize, Given)>, String> {
        let file = File::parse(Path::new("a.toml"), text).map_err(|error| error.to_string())?;
        Ok(file.entries.into_iter().map(|entry| (entry.to_string(), entry.line, entry.value)).collect())
    }

    #[test]
    fn entries_know_their_lines() {
        let text =
            "# first\ndata-dir = '/d'\n\n[worker]\nconcurrency = 1_000\ntools = ['a', 2]\n[serve]\nno-auth = true\n";
        let list = Given::List(vec!["a".to_owned(), "2".to_owned()]);
        assert_eq!(
            parse(text).unwrap(),
            [
                ("data-dir".to_owned(), 2, Given::One("/d".to_owned())),
                ("[worker] concurrency".to_owned(), 5, Given::One("1000".to_owned())),
                ("[worker] tools".to_owned(), 6, list),
                ("[serve] no-auth".to_owned(), 8, Given::Switch(true)),
            ]
        );
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        for (text, expected) in [
            ("[a\n", "a.toml:1: "),
            ("\n[a]\nx = 1\nx = 2\n", "a.toml:4: "),
            ("\n[a]\nx = 1.5\n", "a.toml:3: [a] x is a float: expected a text"),
            ("x = 2026-01-01\n", "a.toml:1: x is a datetime: expected"),
            ("[a]\nx = [1, true]\n", "a.toml:2: [a] x holds something else"),
            ("[a.b]\nx = 1\n", "a.toml:1: [a] b is a table: expected"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
