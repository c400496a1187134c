//! Checks and generators that cargo has no command for: `cargo xtask help` lists them.
//!
//! A check prints what it found as `path:line: message`, one a line, and makes the program end with 1.

mod docs;
mod fuzz;
mod layers;
mod length;
mod long_tests;
mod scripts;
mod sim;
mod source;
mod texts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

const HELP: &str = "\
cargo xtask <task>

  check          every check below; what .ci/run runs
  layers         no import in src/ points upwards, and each outside name stays where it belongs
  long           lists long files and functions; fails past the hard bounds
  docs           writes docs/commands.md, COMPAT.md and docs/jobs-state-machine.md from tables in the code
  docs --check   fails when they are not what the tables say
  scripts        every command is sent by some script under tests/it/scripts
  texts          README, .ci/run and the workflow agree; links in the pages lead somewhere; docs/operations.md
                 names the variables that the program reads
  sim [--seeds N] [--from S]
                 simulated crashes: lives of a store and of an engine over one, 10,000 of each unless told otherwise
  sim --points   a crash at every I/O of opening, checkpoint, change of segment and close, and of the opening after it
  kills [count] [seed]
                 kills of the real program under load, 1,000 unless told otherwise; the history of
                 what its clients were answered must be one that it can have promised
  lives [count] [seed]
                 random lives of the job system against its reference model, 100,000 unless told otherwise
  fuzz [target] [seconds]
                 one fuzz target or all of them, ten minutes each unless told otherwise
  chaos [seconds] [seed]
                 kills of server and workers while jobs run, ten minutes unless told otherwise
";

/// Something that a check does not accept.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: PathBuf,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in &findings {
                match finding.line {
                    0 => eprintln!("{}: {}", finding.path.display(), finding.message),
                    line => eprintln!("{}:{line}: {}", finding.path.display(), finding.message),
                }
            }
            eprintln!("xtask: {} found", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[&str]) -> anyhow::Result<Vec<Finding>> {
    let root = root()?;
    match arguments {
        ["check"] => check(&root),
        ["layers"] => layers::check(&root),
        ["long"] => length::check(&root, true),
        ["docs"] => docs::write(&root).map(|()| Vec::new()),
        ["docs", "--check"] => docs::check(&root),
        ["scripts"] => scripts::check(&root),
        ["texts"] => texts::check(&root),
        ["fuzz", choice @ ..] => fuzz::run(&root, choice).map(|()| Vec::new()),
        ["sim", seeds @ ..] => sim::run(seeds).map(|()| Vec::new()),
        [name @ ("kills" | "lives" | "chaos"), numbers @ ..] => {
            long_tests::run(&root, name, numbers).map(|()| Vec::new())
        }
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(Vec::new())
        }
        _ => bail!("no such task: '{}'\n\n{HELP}", arguments.join(" ")),
    }
}

fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = layers::check(root)?;
    findings.extend(length::check(root, false)?);
    findings.extend(docs::check(root)?);
    findings.extend(scripts::check(root)?);
    findings.extend(texts::check(root)?);
    println!("xtask: layers, lengths, generated pages, scripts and texts looked at");
    Ok(findings)
}

/// The root of the repository.
fn root() -> anyhow::Result<PathBuf> {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?;
    Ok(parent.to_owned())
}
