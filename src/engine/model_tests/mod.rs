//! Random lives of the whole job system against a simple reference model: commands as clients send them, claims that
//! wait, the clock, dying workers, and a disk on which power cuts, kills and failing syncs fall where they like. After
//! each batch the store shows what the model shows, every answer is the model's, and all invariants of the rows hold;
//! after each crash it shows what was acknowledged, with or without the one batch that was under way.
//!
//! `AGQ_MODEL_CASES` gives how many lives are tried, `AGQ_MODEL_SEED` where they begin.

mod compare;
mod reference;
mod steps;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use world::World;

/// Lives of a run when nobody says.
const CASES: u64 = 5_000;
/// Where they begin then: the suite is the same each time, `cargo xtask lives` begins somewhere else.
const SEED: u64 = 30_769;

/// Lives of one half of the seeds, so that two run side by side.
fn live(half: u64) {
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let cases = u32::try_from(given("AGQ_MODEL_CASES").unwrap_or(CASES).div_ceil(2)).unwrap();
    let seed = given("AGQ_MODEL_SEED").unwrap_or(SEED);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let random = [seed, half, seed, half].map(u64::to_le_bytes).concat();
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &random));
    let lives = (any::<u64>(), proptest::collection::vec(steps::step(), 1..40));
    let result = runner.run(&lives, |(disk, steps)| {
        let mut world = World::new(disk);
        steps.iter().for_each(|step| world.step(step));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("with AGQ_MODEL_SEED={seed}: {error}"));
}

#[test]
fn random_lives_are_as_the_model_says() {
    live(0);
}

#[test]
fn more_random_lives_are_as_the_model_says() {
    live(1);
}
