//! Runs the scripts in `tests/it/scripts`; their README describes the format.

mod expect;
mod parse;
mod run;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::server::Server;
use parse::Script;

/// What scripts run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The built `agq`, one for each script.
    Agq,
    /// A real `redis-server`, one for all, flushed between.
    Redis,
}

/// Runs every script, or those whose path contains `AGQ_SCRIPTS`, and tells of all that fail.
pub(crate) fn run_all(against: Against) {
    let mut shared = None;
    if against == Against::Redis {
        shared = redis_or_note();
        if shared.is_none() {
            return;
        }
    }
    let only = std::env::var("AGQ_SCRIPTS").unwrap_or_default();
    let mut failures = Vec::new();
    let mut ran = 0;
    for path in script_paths() {
        let shown = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path).display().to_string();
        if !shown.contains(&only) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let result = Script::parse(&text).and_then(|script| {
            if against == Against::Redis && script.agq_only {
                return Ok(());
            }
            ran += 1;
            match &shared {
                Some(server) => run::run(&script, server),
                None => {
                    let arguments: Vec<&str> = script.server_arguments.iter().map(String::as_str).collect();
                    run::run(&script, &Server::agq(&arguments))
                }
            }
        });
        if let Err(failure) = result {
            failures.push(format!("{shown}:{failure}"));
        }
    }
    assert!(ran > 0, "no script ran; AGQ_SCRIPTS is '{only}'");
    assert!(
        failures.is_empty(),
        "{} of {ran} scripts fail against {against:?}:\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// A real Redis to compare with. Without one people are told, but in CI it is a failure.
pub(crate) fn redis_or_note() -> Option<Server> {
    let server = Server::redis();
    if server.is_none() {
        assert!(std::env::var("CI").is_err(), "redis-server is not installed: CI must compare with it");
        note("redis-server is not installed: nothing is compared with a real Redis");
    }
    server
}

/// Tells people something even when the test passes: what the print macros write would be swallowed.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

fn script_paths() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scripts"), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
}
