//! Many kills of the real program: more than the tests have time for.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// The test that kills.
const TEST: &str = "kill::twenty_kills_under_load_lose_nothing_acknowledged";
/// How many kills when nobody says.
const KILLS: u32 = 1000;

/// Runs the kill test with more kills, and with a seed if one is given.
///
/// # Errors
/// When something acknowledged was lost, or the arguments are not numbers.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let (kills, seed) = numbers(arguments)?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["test", "--package", "agq", "--test", "it", TEST, "--", "--exact", "--nocapture"]);
    command.env("AGQ_KILLS", kills.to_string());
    if let Some(seed) = seed {
        command.env("AGQ_SEED", seed.to_string());
    }
    if !command.status().context("cannot start cargo")?.success() {
        bail!("{kills} kills did not go well: the output above says which, and how to repeat it");
    }
    Ok(())
}

fn numbers(arguments: &[&str]) -> anyhow::Result<(u32, Option<u64>)> {
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("'{text}' is not a whole number"));
    let kills = |text: &str| text.parse::<u32>().with_context(|| format!("'{text}' is not a number of kills"));
    match arguments {
        [] => Ok((KILLS, None)),
        [count] => Ok((kills(count)?, None)),
        [count, seed] => Ok((kills(count)?, Some(number(seed)?))),
        _ => bail!("cargo xtask kills [count] [seed]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_and_seed_may_be_left_out() {
        assert_eq!(numbers(&[]).unwrap(), (KILLS, None));
        assert_eq!(numbers(&["7"]).unwrap(), (7, None));
        assert_eq!(numbers(&["7", "18446744073709551615"]).unwrap(), (7, Some(u64::MAX)));
        assert!(numbers(&["x"]).is_err() && numbers(&["1", "-2"]).is_err() && numbers(&["1", "2", "3"]).is_err());
    }
}
