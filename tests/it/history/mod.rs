//! Whether the server kept its word: clients put a random load on the real program and write down what they asked and
//! what they were answered; meanwhile it is killed, frozen, cut off, and runs out of disk. Then the histories are held
//! against what is promised: keys are linearizable, transactions whole, no acknowledged job is lost, no claim is given
//! twice, first come is first served.
//!
//! `AGQ_KILLS` is how often it is killed, `AGQ_SEED` what load and moments are drawn from. The machine's own timing takes
//! part, so a seed repeats what is asked, not what had come of it when the kill came. A history that is wrong is kept.

mod client;
mod data;
mod disk;
mod feed;
mod jobs;
mod life;
mod linear;
mod model;
mod pace;
mod proxy;
mod record;
mod round;
mod work;
mod wrong;

use std::time::Duration;

use fastrand::Rng;

use life::{Ending, Plan};
use round::Round;

/// Kills when nobody says.
const KILLS: u64 = 30;
/// Where what is random begins then.
const SEED: u64 = 30_769;
/// Kills of one store. After them its jobs are worked to their ends, and everything is looked at.
const KILLS_OF_A_STORE: u64 = 10;
/// The modes take turns: a process that is killed loses nothing in any of them.
const MODES: [&str; 3] = ["always", "interval=50", "none"];
/// With the first, checkpoints and changes of the segment happen all the time; with the second there is more to replay.
const CHECKPOINT_SIZES: [&str; 2] = ["64KiB", "512KiB"];
/// How long a server is frozen: longer than a lease.
const FROZEN: Duration = Duration::from_millis(1_300);

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: '{text}' is not a whole number")))
}

#[test]
fn kills_under_load_break_no_promise() {
    let kills = number_of("AGQ_KILLS").unwrap_or(KILLS);
    let seed = number_of("AGQ_SEED").unwrap_or(SEED);
    let mut rng = Rng::with_seed(seed);
    let mut totals = round::Totals::default();
    let mut left = kills;
    while left > 0 {
        let of_this = left.min(KILLS_OF_A_STORE);
        left -= of_this;
        let mut round = Round::new(seed, &mut rng);
        for kill in 0..of_this {
            let mode = MODES[(left + kill) as usize % MODES.len()];
            let size = CHECKPOINT_SIZES[rng.usize(..CHECKPOINT_SIZES.len())];
            let arguments = ["--durability", mode, "--checkpoint-size", size];
            if rng.u8(..4) == 0 {
                round.kill_while_opening(&arguments, &mut rng);
            }
            let ending = if rng.bool() { Ending::Kill } else { Ending::KillAtAnswer };
            let enough = if rng.u8(..5) == 0 { rng.u64(1..30) } else { rng.u64(100..2_500) };
            let frozen = (kill % KILLS_OF_A_STORE == 5).then_some(FROZEN);
            round.live(&arguments, Plan { enough, frozen, ending }, &mut rng);
        }
        let plan = Plan { enough: 200, frozen: None, ending: Ending::Stop };
        round.live(&["--durability", "always"], plan, &mut rng);
        totals.add(&round.finish());
    }
    println!("AGQ_SEED={seed}, {kills} kills: {totals:?}");
    assert!(kills < 5 || totals.replayed > 0 && totals.checkpointed > 0, "log and checkpoints took part: {totals:?}");
    assert!(kills < 5 || totals.unanswered > 0 && totals.cuts > 0, "kills and cuts met calls: {totals:?}");
}
