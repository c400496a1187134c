//! Tests that take a number of tries, run for longer than the suite has time for.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// A test, and how it is told what to do.
struct LongTest {
    /// What cargo needs to find it.
    arguments: &'static [&'static str],
    /// The variables of how much is tried, and of where what is random begins.
    variables: [&'static str; 2],
    /// How much is tried when nobody says.
    tries: u64,
}

/// The test of that name.
fn long_test(name: &str) -> Option<LongTest> {
    Some(match name {
        "kills" => LongTest {
            arguments: &["--test", "it", "history::kills_under_load_break_no_promise"],
            variables: ["AGQ_KILLS", "AGQ_SEED"],
            tries: 1000,
        },
        "lives" => LongTest {
            // A little optimised, with all assertions: it takes a third of the time.
            arguments: &["--config", "profile.dev.package.agq.opt-level=1", "--lib", "engine::model_tests"],
            variables: ["AGQ_MODEL_CASES", "AGQ_MODEL_SEED"],
            tries: 100_000,
        },
        "chaos" => LongTest {
            arguments: &["--test", "it", "chaos::"],
            variables: ["AGQ_CHAOS_SECONDS", "AGQ_SEED"],
            tries: 600,
        },
        _ => return None,
    })
}

/// Runs the test of that name, with how much is to be tried and a seed if they are given.
///
/// # Errors
/// When it fails, there is none of that name, or the arguments are not numbers.
pub(crate) fn run(root: &Path, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let test = long_test(name).with_context(|| format!("there is no long test '{name}'"))?;
    let (tries, seed) = numbers(name, arguments)?;
    let tries = tries.unwrap_or(test.tries);
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["test", "--package", "agq"]).args(test.arguments).args(["--", "--nocapture"]);
    command.env(test.variables[0], tries.to_string());
    // Somewhere else each time; the test says where when it fails.
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
    command.env(test.variables[1], seed.to_string());
    if !command.status().context("cannot start cargo")?.success() {
        bail!("{name} {tries} did not go well: the output above says which, and how to repeat it");
    }
    Ok(())
}

fn numbers(name: &str, arguments: &[&str]) -> anyhow::Result<(Option<u64>, Option<u64>)> {
    let number = |text: &&str| text.parse::<u64>().with_context(|| format!("'{text}' is not a whole number"));
    if arguments.len() > 2 {
        bail!("cargo xtask {name} [count] [seed]");
    }
    Ok((arguments.first().map(number).transpose()?, arguments.get(1).map(number).transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_and_seed_may_be_left_out() {
        assert_eq!(numbers("kills", &[]).unwrap(), (None, None));
        assert_eq!(numbers("kills", &["7"]).unwrap(), (Some(7), None));
        assert_eq!(numbers("kills", &["7", "18446744073709551615"]).unwrap(), (Some(7), Some(u64::MAX)));
        for wrong in [&["x"][..], &["1", "-2"], &["1", "2", "3"]] {
            assert!(numbers("kills", wrong).is_err());
        }
    }

    #[test]
    fn every_name_that_is_offered_is_a_test() {
        assert!(["kills", "lives", "chaos"].into_iter().all(|name| long_test(name).is_some()));
    }
}
