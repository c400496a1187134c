//! What people give on the command line: files, `-` for standard input, inputs of jobs.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::value::{RawValue, to_raw_value};

/// The inputs of jobs: pairs, or a file of objects.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct InputArgs {
    /// A field of the input, as a text; may be given several times
    #[arg(long = "input", short, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pairs: Vec<(String, String)>,
    /// File with a JSON object on each line ('-' for standard input): one job for each; --input adds to all
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// When it is none.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// A file's text, or what comes on standard input for `-`.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(text)
}

impl InputArgs {
    /// The JSON of each job's input: one, or one for each line. What is not changed stays as it was written, byte for
    /// byte.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is no JSON object.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Box<RawValue>>> {
        let Some(path) = &self.inputs else { return Ok(vec![self.merge(BTreeMap::new())?]) };
        let text = read_text(path)?;
        let mut inputs = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{} line {}", path.display(), index + 1);
            let object: BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(line).with_context(|| format!("{}: expected a JSON object", place()))?;
            let input = if self.pairs.is_empty() {
                RawValue::from_string(line.trim().to_owned()).with_context(place)?
            } else {
                self.merge(object)?
            };
            inputs.push(input);
        }
        if inputs.is_empty() {
            bail!("{} holds no input: expected a JSON object on each line", path.display());
        }
        Ok(inputs)
    }

    /// An object with the pairs in place of its fields of that name.
    fn merge(&self, mut object: BTreeMap<String, Box<RawValue>>) -> anyhow::Result<Box<RawValue>> {
        for (name, value) in &self.pairs {
            object.insert(name.clone(), to_raw_value(value)?);
        }
        Ok(to_raw_value(&object)?)
    }

    /// True when nothing was given.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.inputs.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(pairs: &[&str], file: Option<&Path>) -> InputArgs {
        InputArgs {
            pairs: pairs.iter().map(|pair| parse_pair(pair).unwrap()).collect(),
            inputs: file.map(Path::to_owned),
        }
    }

    fn texts(args: &InputArgs) -> Vec<String> {
        args.read().unwrap().iter().map(|raw| raw.get().to_owned()).collect()
    }

    #[test]
    fn pairs_make_one_input() {
        assert_eq!(texts(&args(&["file=a=b", "n=1"], None)), [r#"{"file":"a=b","n":"1"}"#]);
        assert_eq!(texts(&args(&[], None)), ["{}"]);
        assert!(parse_pair("file").is_err() && parse_pair("=x").is_err());
    }

    #[test]
    fn lines_are_kept_as_they_are_unless_pairs_change_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("in.jsonl");
        std::fs::write(&file, "{ \"n\": 12345678901234567890.10 }\n\n{\"n\":2,\"m\":null}\n").unwrap();
        assert_eq!(texts(&args(&[], Some(&file))), ["{ \"n\": 12345678901234567890.10 }", r#"{"n":2,"m":null}"#]);
        assert_eq!(
            texts(&args(&["m=x"], Some(&file))),
            [r#"{"m":"x","n":12345678901234567890.10}"#, r#"{"m":"x","n":2}"#]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("in.jsonl");
        std::fs::write(&file, "{}\n[1]\n").unwrap();
        let error = format!("{:#}", args(&[], Some(&file)).read().unwrap_err());
        assert!(error.contains("in.jsonl line 2"), "{error}");
        std::fs::write(&file, "\n").unwrap();
        assert!(args(&[], Some(&file)).read().unwrap_err().to_string().contains("holds no input"));
    }
}
