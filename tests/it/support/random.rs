//! Where random tests begin: at the same place in the suite each time, elsewhere when told so.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Where they begin when nobody says.
const SEED: u64 = 30_769;

/// What runs the sequences of a differential test, and its seed: as many as `AGQ_DIFFERENTIAL_CASES` says, else `cases`,
/// from `AGQ_DIFFERENTIAL_SEED` on.
pub(crate) fn differential(cases: u32) -> (TestRunner, u64) {
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let cases =
        given("AGQ_DIFFERENTIAL_CASES").map_or(cases, |cases| u32::try_from(cases).expect("fewer cases than 2^32"));
    let seed = given("AGQ_DIFFERENTIAL_SEED").unwrap_or(SEED);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    (TestRunner::new_with_rng(config, random), seed)
}
