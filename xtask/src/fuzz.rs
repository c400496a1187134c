//! Fuzz targets, one after the other or one alone, for a time each.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// How long each target runs when nobody says, in seconds.
const SECONDS: u64 = 600;

/// Runs the target of that name, or all of them, for a time each.
///
/// # Errors
/// When one finds something, there is none of that name, or what is needed is missing.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let known = targets(root)?;
    let (chosen, seconds) = choose(&known, arguments)?;
    check_tools()?;
    let mut failed = Vec::new();
    for name in chosen {
        // What is new goes into the first folder, which is not kept.
        let found = root.join("fuzz/corpus").join(name);
        fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
        let mut command = nightly();
        command.current_dir(root.join("fuzz")).args(["fuzz", "run", "--sanitizer", "none", name]);
        command.arg(&found).arg(root.join("fuzz/corpus-kept").join(name));
        command.arg("--").arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        println!("fuzz: {name} for {seconds} s");
        if !command.status().context("cannot start cargo fuzz")?.success() {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} found something: the input lies in fuzz/artifacts/<target>; once it is mended, put it into \
             fuzz/corpus-kept/<target>",
            failed.join(", ")
        );
    }
    Ok(())
}

/// Cargo of the nightly toolchain: cargo-fuzz needs what the compiler offers nowhere else.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn check_tools() -> anyhow::Result<()> {
    let runs = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !runs(nightly().arg("--version")) {
        bail!("fuzzing needs a nightly toolchain: rustup toolchain install nightly --profile minimal");
    }
    if !runs(nightly().args(["fuzz", "--version"])) {
        bail!("fuzzing needs cargo-fuzz, and a C++ compiler for libFuzzer: cargo install --locked cargo-fuzz");
    }
    Ok(())
}

/// The names of the targets, in order.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets")).context("fuzz/fuzz_targets")? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// The targets that are meant, and for how long each runs.
fn choose<'a>(known: &'a [String], arguments: &[&str]) -> anyhow::Result<(Vec<&'a str>, u64)> {
    let (names, seconds) = match arguments {
        [rest @ .., last] if last.parse::<u64>().is_ok() => (rest, last.parse()?),
        rest => (rest, SECONDS),
    };
    match names {
        [] => Ok((known.iter().map(String::as_str).collect(), seconds)),
        [name] => match known.iter().find(|known| known == name) {
            Some(known) => Ok((vec![known], seconds)),
            None => bail!("there is no target '{name}'; there are {}", known.join(", ")),
        },
        _ => bail!("cargo xtask fuzz [target] [seconds]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_and_seconds_may_be_left_out() {
        let known = ["cron".to_owned(), "url".to_owned()];
        assert_eq!(choose(&known, &[]).unwrap(), (vec!["cron", "url"], SECONDS));
        assert_eq!(choose(&known, &["5"]).unwrap(), (vec!["cron", "url"], 5));
        assert_eq!(choose(&known, &["url"]).unwrap(), (vec!["url"], SECONDS));
        assert_eq!(choose(&known, &["url", "5"]).unwrap(), (vec!["url"], 5));
        assert!(choose(&known, &["no"]).is_err() && choose(&known, &["url", "5", "6"]).is_err());
    }

    #[test]
    fn the_targets_are_found() {
        let names = targets(&crate::root().unwrap()).unwrap();
        assert!(names.contains(&"request".to_owned()), "{names:?}");
    }
}
