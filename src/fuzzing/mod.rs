//! What each fuzz target does with its bytes: the targets in `fuzz/` call these, and so does a test of the stable
//! toolchain with every file of `fuzz/corpus-kept`.
//!
//! A body panics when something is wrong. What is not sound must be refused by an error; what is read must be read again
//! the same from its own encoding.

mod codec;
mod inputs;

pub use crate::cli::{fuzz_settings, fuzz_transfer};
pub use crate::data::fuzz as data;
pub use crate::jobs::fuzz as jobs;
pub use crate::storage::fuzz as storage;
pub use codec::{reply, request};
pub use inputs::{cron, dump, json_inputs, template, url};

/// A target's name, which is that of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus-kept`, and its
/// body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("cron", cron),
    ("dump", dump),
    ("job_keys", jobs::job_keys),
    ("job_rows", jobs::job_rows),
    ("json_inputs", json_inputs),
    ("log_record", storage::log_record),
    ("log_segment", storage::log_segment),
    ("record", data::record),
    ("record_keys", data::keys),
    ("reply", reply),
    ("request", request),
    ("settings", fuzz_settings),
    ("store_row", storage::store_row),
    ("table_keys", storage::table_keys),
    ("template", template),
    ("transfer", fuzz_transfer),
    ("url", url),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.map(|name| name.strip_suffix(extension).unwrap_or(&name).to_owned()).collect()
    }

    #[test]
    fn kept_inputs_do_no_harm_any_more() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-kept");
        for (name, body) in TARGETS {
            let files: Vec<PathBuf> = fs::read_dir(folder.join(name))
                .unwrap_or_else(|error| panic!("fuzz/corpus-kept/{name}: {error}"))
                .map(|entry| entry.unwrap().path())
                .collect();
            assert!(!files.is_empty(), "fuzz/corpus-kept/{name} is empty");
            for file in files {
                let data = fs::read(&file).unwrap();
                if std::panic::catch_unwind(|| body(&data)).is_err() {
                    panic!("{name} fails on {}: the panic stands above", file.display());
                }
            }
        }
    }

    /// Small changes of what is kept: bytes that are another, come or go, and pieces of other inputs.
    fn changed(data: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut data = data.to_vec();
        for _ in 0..random.usize(1..=4) {
            let place = random.usize(..=data.len());
            match random.u8(..5) {
                0 if place < data.len() => data[place] = random.u8(..),
                1 if place < data.len() => data[place] ^= 1 << random.u8(..8),
                2 => data.insert(place, random.u8(..)),
                3 => drop(data.drain(place..random.usize(place..=data.len()))),
                _ if !other.is_empty() => {
                    let from = random.usize(..other.len());
                    let piece = other[from..random.usize(from..=other.len())].to_vec();
                    data.splice(place..place, piece);
                }
                _ => {}
            }
        }
        data
    }

    /// A fuzzer without a compiler's help, for every toolchain: `AGQ_FUZZ_CASES` changes of each input from
    /// `AGQ_FUZZ_SEED` on.
    #[test]
    fn changed_inputs_do_no_harm() {
        let number = |name: &str, else_: u64| std::env::var(name).map_or(else_, |text| text.parse().unwrap());
        let (cases, seed) = (number("AGQ_FUZZ_CASES", 30), number("AGQ_FUZZ_SEED", 1));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-kept");
        for (name, body) in TARGETS {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut files: Vec<_> = fs::read_dir(folder.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
            files.sort();
            let inputs: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
            for input in &inputs {
                for _ in 0..cases {
                    let other = &inputs[random.usize(..inputs.len())];
                    let data = changed(input, other, &mut random);
                    if std::panic::catch_unwind(|| body(&data)).is_err() {
                        panic!("{name} fails on b\"{}\": the panic stands above", data.escape_ascii());
                    }
                }
            }
        }
    }

    #[test]
    fn every_target_has_its_program_and_its_corpus_and_there_is_none_without() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(&root.join("fuzz_targets"), ".rs"), known);
        assert_eq!(names(&root.join("corpus-kept"), ""), known);
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        for name in &known {
            assert!(
                manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
                "{name} stands in fuzz/Cargo.toml"
            );
        }
    }
}
