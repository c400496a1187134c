//! Long simulations: more lives of a store than the tests have time for.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use agq::storage::sim::{self, Outcome};
use anyhow::{Context as _, bail};

/// How many lives when nobody says.
const LIVES: u64 = 10_000;
/// Broken promises after which the run ends.
const ENOUGH: usize = 10;

/// Lives the lives of `count` seeds from `first` on, on every core.
///
/// # Errors
/// When a promise was broken; each is printed with the seed that breaks it again.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let (first, count) = seeds(arguments)?;
    let began = Instant::now();
    let (next, total, broken) = (AtomicU64::new(first), Mutex::new(Outcome::default()), Mutex::new(Vec::new()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= count || broken.lock().unwrap_or_else(PoisonError::into_inner).len() >= ENOUGH {
                        return;
                    }
                    match sim::run_seed(seed) {
                        Ok(outcome) => total.lock().unwrap_or_else(PoisonError::into_inner).add(&outcome),
                        Err(text) => {
                            eprintln!("{text}");
                            broken.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
                        }
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{count} lives from seed {first} on, in {:.1} s: {total:#?}", began.elapsed().as_secs_f64());
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !broken.is_empty() {
        bail!("promises were broken with the seeds {broken:?}");
    }
    Ok(())
}

fn seeds(arguments: &[&str]) -> anyhow::Result<(u64, u64)> {
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("'{text}' is not a whole number"));
    match arguments {
        [] => Ok((0, LIVES)),
        [first] => Ok((number(first)?, LIVES)),
        [first, count] => Ok((number(first)?, number(count)?)),
        _ => bail!("cargo xtask sim [first seed] [count]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_have_defaults() {
        assert_eq!(seeds(&[]).unwrap(), (0, LIVES));
        assert_eq!(seeds(&["7", "2"]).unwrap(), (7, 2));
        assert!(seeds(&["x"]).is_err() && seeds(&["1", "2", "3"]).is_err());
    }

    #[test]
    fn a_few_lives_keep_their_promises() {
        run(&["0", "3"]).unwrap();
    }
}
