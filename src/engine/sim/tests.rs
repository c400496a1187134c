//! The lives of the suite: the same each time.

use super::*;
use crate::storage::{DurabilityMode, Table};

/// Of the script's I/Os one in so many is crashed at, unless `AGQ_POINTS_STRIDE` says otherwise.
const STRIDE: u64 = 3;

/// The seeds of one durability mode; together 180.
fn run_mode(mode: u64) {
    let mut sum = Tally::default();
    for seed in (0..60).map(|n| n * 3 + mode) {
        match run_seed(seed) {
            Ok(tally) => sum.add(&tally),
            Err(broken) => panic!("{broken}; cargo xtask sim --seeds 1 --from {seed} repeats it"),
        }
    }
    // Were the simulation to miss one of these, it would prove nothing about it.
    assert!(sum.crashes() >= 400, "{sum}");
    let stages = [Stage::Opening, Stage::Reopening, Stage::Appending, Stage::Checkpoint, Stage::Closing, Stage::Idle];
    for (stage, crash) in stages.into_iter().flat_map(|stage| Crash::ALL.map(|crash| (stage, crash))) {
        assert!(sum.crashes_at(stage, crash) >= 5, "too few of {crash:?} while {stage:?}: {sum}");
    }
    for (what, least) in [
        ("crashes after which a client saw what it had seen", 80),
        ("transactions", 1000),
        ("jobs granted", 500),
        ("jobs completed", 50),
        ("elements popped by commands that may wait", 100),
        ("clocks set forwards", 20),
        ("clocks set back", 20),
        ("clocks set back over a restart", 5),
        ("clocks far back that were accepted", 5),
        ("checkpoints", 200),
        ("deliveries to webhooks", 1000),
        ("deliveries that were made again", 50),
        ("webhooks that were told everything", 60),
        ("units of clients that were paused", 50),
        ("large reads on snapshots", 50),
        ("keys and jobs of one transaction", 20),
        ("ticks of schedules", 50),
    ] {
        assert!(sum.times(what) >= least, "too few {what}: {sum}");
    }
    assert!(sum.reached().len() >= 85, "{:?}", sum.reached());
}

#[test]
fn crashes_break_no_promise_of_an_engine_with_durability_always() {
    run_mode(0);
}

#[test]
fn crashes_break_no_promise_of_an_engine_with_durability_interval() {
    run_mode(1);
}

#[test]
fn crashes_break_no_promise_of_an_engine_with_durability_none() {
    run_mode(2);
}

#[test]
fn a_seed_is_one_life_of_an_engine() {
    assert_eq!(run_seed(11), run_seed(11));
}

#[test]
fn what_does_not_hold_of_keys_or_jobs_is_found() {
    let disk = SimDisk::new(1);
    let db = open_stepped(&disk, &options(&mut Rng::with_seed(1), DurabilityMode::Always)).unwrap();
    let mut batch = db.batch().unwrap();
    assert!(check::check(&batch).is_ok());
    for table in [Table::Hashes, Table::JobIndex, Table::Access] {
        batch.put(table, [9_u8; 8].as_slice(), "v").unwrap();
        assert!(matches!(check::check(&batch), Err(Stop::Broken(_))), "{table}");
        batch.remove(table, [9_u8; 8].as_slice()).unwrap();
    }
}

#[test]
fn no_io_of_a_script_of_commands_is_a_bad_one_to_crash_at() {
    let modes = [DurabilityMode::Always, DurabilityMode::Interval(10_000), DurabilityMode::None];
    let stride = std::env::var("AGQ_POINTS_STRIDE").map_or(STRIDE, |stride| stride.parse().unwrap());
    let mut sum = Tally::default();
    for (first, mode) in (0..).zip(modes) {
        match points::crash_everywhere(mode, first % stride, stride) {
            Ok(tally) => sum.add(&tally),
            Err(broken) => panic!("{broken}; cargo xtask sim --points repeats it"),
        }
    }
    for stage in [Stage::Appending, Stage::Checkpoint] {
        for crash in Crash::ALL {
            assert!(sum.crashes_at(stage, crash) >= 15, "too few of {crash:?} while {stage:?}: {sum}");
        }
    }
    assert!(sum.crashes_at(Stage::Syncing, Crash::PowerCut) >= 3, "{sum}");
    assert!(sum.times("scripts that came to the same end") >= 120, "{sum}");
}
