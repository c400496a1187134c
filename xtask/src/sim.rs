//! Long simulations: more lives of stores and engines than the tests have time for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use agq::storage::DurabilityMode;
use agq::storage::sim::points::{Scene, crash_everywhere};
use agq::storage::sim::{self, Tally};
use anyhow::{Context as _, bail};

/// How many seeds when nobody says.
const SEEDS: u64 = 10_000;
/// Broken promises after which the run ends.
const ENOUGH: usize = 10;
/// What a seed is: one life of each.
const LIVES: [Life; 2] = [sim::run_seed, agq::engine::sim::run_seed];

type Life = fn(u64) -> Result<Tally, String>;
type Job<'a> = Box<dyn Fn() -> Result<Tally, String> + Send + Sync + 'a>;

/// What is to be simulated.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// The lives of so many seeds, from one on.
    Seeds { first: u64, count: u64 },
    /// A crash at every I/O, and at every I/O of the opening after it.
    Points,
}

/// What is crashed at every I/O: what a store does, or one I/O in [`PARTS`] of a script of commands.
#[derive(Clone, Copy)]
enum Points {
    Store(Scene, DurabilityMode),
    Engine(DurabilityMode, u64),
}

/// Parts of the script's I/Os.
const PARTS: u64 = 4;

/// Lives the lives that the arguments ask for, on every core.
///
/// # Errors
/// When a promise was broken; each is printed with the command that breaks it again.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    match wanted(arguments)? {
        Wanted::Seeds { first, count } => run_all("lives", count * LIVES.len() as u64, |number| {
            let seed = first + number / LIVES.len() as u64;
            let life = LIVES[(number % LIVES.len() as u64) as usize];
            Box::new(move || {
                life(seed).map_err(|text| format!("{text}\n  again: cargo xtask sim --seeds 1 --from {seed}"))
            })
        }),
        Wanted::Points => {
            let modes = [DurabilityMode::Always, DurabilityMode::Interval(10_000), DurabilityMode::None];
            let scenes = modes.into_iter().flat_map(|mode| Scene::ALL.map(|scene| Points::Store(scene, mode)));
            // Those of the script in parts, which take about as long as a scene.
            let scripts = modes.into_iter().flat_map(|mode| (0..PARTS).map(move |part| Points::Engine(mode, part)));
            let points: Vec<_> = scripts.chain(scenes).collect();
            run_all("scenes", points.len() as u64, |number| {
                let points = points[number as usize];
                Box::new(move || match points {
                    Points::Store(scene, mode) => crash_everywhere(scene, mode, 1),
                    Points::Engine(mode, part) => agq::engine::sim::points::crash_everywhere(mode, part, PARTS),
                })
            })
        }
    }
}

/// Runs `count` jobs on every core, and prints what they reached.
fn run_all<'a>(what: &str, count: u64, job: impl Fn(u64) -> Job<'a> + Sync) -> anyhow::Result<()> {
    let began = Instant::now();
    let (next, total, broken) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || *broken.lock().unwrap_or_else(PoisonError::into_inner) >= ENOUGH {
                        return;
                    }
                    match job(number)() {
                        Ok(tally) => total.lock().unwrap_or_else(PoisonError::into_inner).add(&tally),
                        Err(text) => {
                            eprintln!("{text}");
                            *broken.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                        }
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    print!("{count} {what} in {:.1} s:\n{total}", began.elapsed().as_secs_f64());
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if broken > 0 {
        bail!("promises were broken: {broken}");
    }
    Ok(())
}

fn wanted(arguments: &[&str]) -> anyhow::Result<Wanted> {
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("'{text}' is not a whole number"));
    let (mut first, mut count) = (0, SEEDS);
    let mut rest = arguments;
    loop {
        rest = match rest {
            [] => return Ok(Wanted::Seeds { first, count }),
            ["--points"] if rest.len() == arguments.len() => return Ok(Wanted::Points),
            ["--seeds", seeds, rest @ ..] => {
                count = number(seeds)?;
                rest
            }
            ["--from", seed, rest @ ..] => {
                first = number(seed)?;
                rest
            }
            [other, ..] => bail!("'{other}': expected cargo xtask sim [--seeds N] [--from S], or --points"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_have_defaults() {
        assert_eq!(wanted(&[]).unwrap(), Wanted::Seeds { first: 0, count: SEEDS });
        assert_eq!(wanted(&["--from", "7", "--seeds", "2"]).unwrap(), Wanted::Seeds { first: 7, count: 2 });
        assert_eq!(wanted(&["--points"]).unwrap(), Wanted::Points);
        for wrong in [&["--seeds", "x"][..], &["--seeds"], &["7"], &["--seeds", "1", "--points"]] {
            assert!(wanted(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_few_lives_keep_their_promises() {
        run(&["--from", "0", "--seeds", "3"]).unwrap();
    }
}
