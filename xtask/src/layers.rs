//! The layers of src/: which part may use which, and where each name from outside may stand.
//!
//! ARCHITECTURE.md draws them; this is what keeps the drawing true. Test modules may reach anywhere.

use std::path::Path;

use crate::Finding;
use crate::source::{self, Source};

/// A part of src/ and the parts below it. A part that is not listed here is refused: say where it stands.
const PARTS: &[(&str, &[&str])] = &[
    // What fuzz targets do: they reach for what is read anywhere.
    ("fuzzing", &["cli", "jobs", "data", "storage", "clock"]),
    (
        "cli",
        &["worker", "http", "server", "engine", "command", "access", "jobs", "data", "storage", "wall_clock", "clock"],
    ),
    ("worker", &["jobs", "clock"]),
    ("http", &["engine", "command", "access", "jobs", "data", "storage", "clock"]),
    ("server", &["engine", "command", "access", "jobs", "data", "storage", "wall_clock", "clock"]),
    ("engine", &["command", "access", "jobs", "data", "storage", "clock"]),
    ("command", &["access", "jobs", "data", "storage", "clock"]),
    ("access", &["jobs", "data", "storage", "clock"]),
    ("jobs", &["data", "storage", "clock"]),
    ("data", &["storage", "clock"]),
    ("storage", &["clock"]),
    ("wall_clock", &["clock"]),
    ("clock", &[]),
];

/// Where code runs that may block, wait or look around; below it stands what must be deterministic.
const EDGE: &[&str] = &["cli", "worker", "http", "server"];
const EDGE_AND_STORAGE: &[&str] = &["cli", "worker", "http", "server", "storage"];

/// A name from outside, the parts that may use it, and why no other may.
struct Outside {
    name: &'static str,
    parts: &'static [&'static str],
    why: &'static str,
}

const fn outside(name: &'static str, parts: &'static [&'static str], why: &'static str) -> Outside {
    Outside { name, parts, why }
}

const DETERMINISM: &str = "what runs below the server is a function of its inputs";
const OUTSIDE: &[Outside] = &[
    outside("redb", &["storage"], "storage wraps redb, and nothing else knows it"),
    outside("tokio", EDGE, "what runs below the server knows no runtime"),
    outside("hyper", EDGE, "what runs below the server knows no HTTP"),
    outside("rustls", EDGE, "what runs below the server knows no TLS"),
    outside("agq_tls", EDGE, "what runs below the server knows no TLS"),
    outside("agq_client", &["cli", "worker"], "the server is no client"),
    outside(
        "agq_resp",
        &["cli", "worker", "http", "server", "engine", "command", "fuzzing"],
        "data and jobs know no protocol",
    ),
    outside("anyhow", EDGE, "below the server errors are typed, so that each can be answered in its own way"),
    outside("getrandom", EDGE_AND_STORAGE, DETERMINISM),
    outside("fastrand::Rng::new", EDGE, DETERMINISM),
    outside("std::env", EDGE, DETERMINISM),
    outside("std::fs", EDGE_AND_STORAGE, DETERMINISM),
    outside("std::net", EDGE, DETERMINISM),
    outside("std::process", EDGE_AND_STORAGE, DETERMINISM),
    outside("std::thread", EDGE_AND_STORAGE, DETERMINISM),
    // Storage times its own syncs and checkpoints; nothing of that goes into a row.
    outside("std::time::Instant", &["cli", "worker", "http", "server", "storage", "wall_clock"], DETERMINISM),
    outside("std::time::SystemTime", &["cli", "worker", "http", "server", "wall_clock"], DETERMINISM),
    outside("jiff::Timestamp::now", EDGE, DETERMINISM),
    outside("jiff::Zoned::now", EDGE, DETERMINISM),
    outside("jiff::tz::TimeZone::system", EDGE, DETERMINISM),
    outside("jiff::tz::TimeZone::get", EDGE, "zones come with the program: TimeZoneDatabase::bundled"),
    outside("uuid::Uuid::now_v7", EDGE, DETERMINISM),
    outside("uuid::Uuid::new_v4", EDGE, DETERMINISM),
];

/// Names under those above that are constants of the build.
const HARMLESS: &[&str] = &["std::env::consts"];

/// A path in code, as `a::b::c`, and where it stands.
#[derive(Debug, PartialEq, Eq)]
struct PathUse {
    segments: Vec<String>,
    place: usize,
}

/// Checks every import and every qualified name under src/, and that the codec does no I/O.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for source in source::sources(root, "src")? {
        let module = module_path(&source.path);
        if let Some(part) = module.first() {
            check_source(&source, part, &module, &mut findings);
        }
    }
    for source in source::sources(root, "crates/resp/src")? {
        check_outside(&source, "crates/resp", &paths(&source.code), &mut findings);
    }
    Ok(findings)
}

fn check_source(source: &Source, part: &str, module: &[String], findings: &mut Vec<Finding>) {
    let Some((_, below)) = PARTS.iter().find(|(name, _)| *name == part) else {
        let message = format!("'{part}' stands in no layer: add it to xtask/src/layers.rs and ARCHITECTURE.md");
        findings.push(Finding::new(&source.path, 0, message));
        return;
    };
    let paths = paths(&source.code);
    for path in &paths {
        let Some(target) = target(path, module) else { continue };
        if target != part && !below.contains(&target) {
            let line = source::line_of(&source.code, path.place);
            let message = format!("{part} may not use {target}: it does not stand below it");
            findings.push(Finding::new(&source.path, line, message));
        }
    }
    check_outside(source, part, &paths, findings);
}

fn check_outside(source: &Source, part: &str, paths: &[PathUse], findings: &mut Vec<Finding>) {
    for path in paths.iter().filter(|path| !HARMLESS.iter().any(|name| names(path, name))) {
        for outside in OUTSIDE.iter().filter(|outside| !outside.parts.contains(&part)) {
            if names(path, outside.name) {
                let line = source::line_of(&source.code, path.place);
                let message = format!("{part} may not use {}: {}", outside.name, outside.why);
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
}

/// True when a path begins with `name`, written whole or after an import of its front part (`time::Instant`).
fn names(path: &PathUse, name: &str) -> bool {
    let name: Vec<&str> = name.split("::").collect();
    let begins =
        |name: &[&str]| name.len() <= path.segments.len() && name.iter().eq(path.segments[..name.len()].iter());
    let short = name.len().saturating_sub(2);
    begins(&name) || (name.len() > 2 && begins(&name[short..]))
}

/// The modules a file stands in: `src/a/b.rs` is a::b, `src/a/mod.rs` is a, `src/lib.rs` the root.
fn module_path(path: &Path) -> Vec<String> {
    let stem = path.with_extension("");
    let mut names: Vec<String> = stem.iter().skip(1).map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| matches!(name.as_str(), "mod" | "lib" | "main")) {
        names.pop();
    }
    names
}

/// The part of src/ that a path leads into, if it is one of ours.
fn target<'a>(path: &'a PathUse, module: &'a [String]) -> Option<&'a str> {
    match path.segments.first()?.as_str() {
        "crate" | "agq" => path.segments.get(1).map(String::as_str),
        "super" => {
            let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
            if ups < module.len() { None } else { path.segments.get(ups).map(String::as_str) }
        }
        _ => None,
    }
}

/// Every import and every name of more than one segment.
fn paths(code: &str) -> Vec<PathUse> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let continues = at > 0 && matches!(tokens[at - 1].1, "::" | ".");
        if tokens[at].1 == "use" {
            at = tree(&tokens, at + 1, &[], &mut found);
        } else if is_name(tokens[at].1) && !continues && tokens.get(at + 1).is_some_and(|token| token.1 == "::") {
            at = tree(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads `a::b`, `a::*` or `a::{b, c::d as e}` from `at` on; returns the place behind it.
fn tree(tokens: &[(usize, &str)], mut at: usize, front: &[String], found: &mut Vec<PathUse>) -> usize {
    let Some(&(place, _)) = tokens.get(at) else { return at };
    let mut segments = front.to_vec();
    if tokens[at].1 == "::" {
        at += 1;
    }
    while let Some(&(_, token)) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token.1 != "}") {
                let next = tree(tokens, at, &segments, found);
                // Past `as name` and the comma; at least one token, so that odd code cannot hold this up.
                at = next.max(at + 1);
                while tokens.get(at).is_some_and(|token| !matches!(token.1, "," | "}")) {
                    at += 1;
                }
                if tokens.get(at).is_some_and(|token| token.1 == ",") {
                    at += 1;
                }
            }
            return at + 1;
        }
        if !is_name(token) {
            break;
        }
        if token != "self" {
            segments.push(token.to_owned());
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token.1 != "::") {
            break;
        }
        at += 1;
    }
    if segments.len() > front.len() || !front.is_empty() {
        found.push(PathUse { segments, place });
    }
    at
}

fn is_name(token: &str) -> bool {
    token.bytes().next().is_some_and(source::is_word)
}

/// Words, `::`, and every other character by itself, with their places.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = match bytes[at] {
            byte if source::is_word(byte) => bytes[at..].iter().take_while(|byte| source::is_word(**byte)).count(),
            b':' if bytes.get(at + 1) == Some(&b':') => 2,
            _ => 1,
        };
        if let Some(token) = code.get(at..at + length)
            && !token.trim().is_empty()
        {
            found.push((at, token));
        }
        at += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(code: &str) -> Vec<String> {
        paths(code).into_iter().map(|path| path.segments.join("::")).collect()
    }

    fn findings(path: &str, code: &str) -> Vec<String> {
        let source = Source { path: path.into(), code: code.to_owned() };
        let module = module_path(&source.path);
        let mut found = Vec::new();
        check_source(&source, &module[0], &module, &mut found);
        found.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn imports_are_taken_apart() {
        assert_eq!(texts("use crate::data;"), ["crate::data"]);
        assert_eq!(
            texts("use crate::{data::{self, View as V}, storage::Db}; x"),
            ["crate::data", "crate::data::View", "crate::storage::Db"]
        );
        assert_eq!(texts("pub(super) use a::*; use redb;"), ["a", "redb"]);
        assert_eq!(texts("let x = std::env::var(k); y.a(); z::<u8>(); <T as U>::v()"), ["std::env::var", "z"]);
    }

    #[test]
    fn an_upward_import_is_found_with_its_line() {
        let found = findings("src/data/keys.rs", "use crate::storage::Db;\nuse crate::{clock, engine::Engine};\n");
        assert_eq!(found, ["2: data may not use engine: it does not stand below it"]);
    }

    #[test]
    fn an_import_through_super_is_followed() {
        assert_eq!(findings("src/data/keys.rs", "use super::super::server::Options;").len(), 1);
        assert_eq!(findings("src/data/mod.rs", "use super::server::Options;").len(), 1);
        assert!(findings("src/data/keys.rs", "use super::server::Options;").is_empty());
    }

    #[test]
    fn names_from_outside_stay_where_they_belong() {
        assert_eq!(findings("src/command/keys.rs", "use redb::Table;").len(), 1);
        assert_eq!(findings("src/engine/mod.rs", "use std::{time::{Duration, Instant}, env};").len(), 2);
        assert_eq!(findings("src/jobs/mod.rs", "use std::time;\nfn f() { time::SystemTime::now(); }").len(), 1);
        assert_eq!(
            findings("src/jobs/mod.rs", "fn f() { fastrand::Rng::with_seed(1); jiff::Timestamp::now(); }").len(),
            1
        );
        assert!(findings("src/command/info.rs", "fn f() { std::env::consts::OS; }").is_empty());
        assert!(findings("src/storage/db.rs", "use redb::Table; use std::time::Instant;").is_empty());
    }

    #[test]
    fn a_part_that_nobody_placed_is_refused() {
        assert_eq!(findings("src/misc.rs", "").len(), 1);
    }

    #[test]
    fn every_part_stands_below_those_that_use_it() {
        for (place, (name, below)) in PARTS.iter().enumerate() {
            for part in *below {
                let lower = PARTS.iter().position(|(name, _)| name == part);
                assert!(lower.is_some_and(|lower| lower > place), "{name} uses {part}, which is not listed below it");
            }
        }
    }
}
