//! SIGKILL under load loses nothing that was acknowledged: the real program is killed and started again, over and
//! over, on one store.
//!
//! `AGQ_KILLS` is how often, `AGQ_SEED` what the load and the moments are drawn from. The machine's own timing takes
//! part, so a seed repeats what was sent, not what had come of it when the kill came.

mod load;
mod queue;
mod writer;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use agq_client::{Client, Reply};
use fastrand::Rng;
use tempfile::TempDir;

use crate::support::server::Server;
use load::{Ending, World};

/// Kills when nobody says.
const KILLS: u32 = 20;
/// The modes take turns: a process that is killed loses nothing in any of them.
const MODES: [&str; 3] = ["always", "interval=50", "none"];
/// With the first, checkpoints and changes of the segment happen all the time; with the second there is more to replay.
const CHECKPOINT_SIZES: [&str; 2] = ["64KiB", "512KiB"];
/// A kill comes after so many acknowledgements.
const ACKNOWLEDGEMENTS: std::ops::Range<u64> = 50..1500;

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: '{text}' is not a whole number")))
}

/// Says how to repeat a run that fails, and keeps its files.
struct Witness {
    seed: u64,
    what: String,
    dir: TempDir,
}

impl Witness {
    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("AGQ_SEED={} failed {}; the files are in {}", self.seed, self.what, self.dir.path().display());
        }
    }
}

/// What the store did, over all lives.
#[derive(Debug, Default)]
struct Totals {
    acknowledged: u64,
    /// Records that a start found in the log only.
    replayed: u64,
    /// Records that a checkpoint had put into the file before the kill.
    checkpointed: u64,
    killed_while_opening: u64,
}

#[test]
fn twenty_kills_under_load_lose_nothing_acknowledged() {
    let kills = number_of("AGQ_KILLS").map_or(KILLS, |kills| u32::try_from(kills).unwrap());
    let seed = number_of("AGQ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut witness = Witness { seed, what: String::new(), dir: tempfile::tempdir().unwrap() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut rng, mut totals) = (Rng::with_seed(seed), Totals::default());
    let (mut world, mut records) = (World::new(seed), 0);
    for kill in 0..=kills {
        let mode = MODES[kill as usize % MODES.len()];
        witness.what = format!("in life {kill} with --durability {mode}");
        let size = CHECKPOINT_SIZES[rng.usize(..CHECKPOINT_SIZES.len())];
        let arguments = ["--durability", mode, "--checkpoint-size", size];
        if kill > 0 && rng.u8(..4) == 0 {
            kill_while_opening(&witness.store(), &arguments, &mut rng);
            totals.killed_while_opening += 1;
        }
        let server = Server::agq_in(&witness.store(), &arguments);
        runtime.block_on(async {
            let mut client = server.client().await;
            records = opened_well(&mut client, records, &mut totals).await;
            world.check(&mut client).await;
        });
        let ending = if kill < kills { Ending::Kill } else { Ending::Stop };
        totals.acknowledged += runtime.block_on(world.live(server, &mut rng, ACKNOWLEDGEMENTS, ending));
    }
    witness.what = "after the last stop".to_owned();
    alone_it_is_the_whole_database(&witness, &mut world, &runtime);
    println!("AGQ_SEED={seed}, {kills} kills: {totals:?}");
    assert!(totals.replayed > 0 && totals.checkpointed > 0, "log and checkpoints took part: {totals:?}");
}

/// Checks that the start needed no repair, and notes what it found in the log. Returns the records there are.
async fn opened_well(client: &mut Client, before: u64, totals: &mut Totals) -> u64 {
    let info = info(client).await;
    let field = |name: &str| -> u64 {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no number '{name}':\n{info}"))
    };
    assert_eq!(field("store_repaired"), 0, "redb had to walk the whole file");
    let (records, replayed) = (field("log_last_record"), field("store_replayed_records"));
    assert!(records >= before, "the log went back from record {before} to {records}");
    totals.replayed += replayed;
    totals.checkpointed += (records - before).saturating_sub(replayed);
    records
}

async fn info(client: &mut Client) -> String {
    match client.call(&["INFO", "persistence"]).await.unwrap() {
        Reply::Bulk(text) => String::from_utf8(text.to_vec()).unwrap(),
        reply => panic!("INFO: {reply:?}"),
    }
}

/// Starts the server and kills it while it opens the store, or soon after.
fn kill_while_opening(dir: &Path, arguments: &[&str], rng: &mut Rng) {
    let mut child = Server::command(dir, arguments).stderr(Stdio::null()).spawn().unwrap();
    let own = format!("{}\n", child.id());
    // It writes its process id into the lock file, then opens the store.
    while !std::fs::read_to_string(dir.join("lock")).is_ok_and(|text| text.starts_with(&own)) {
        assert_eq!(child.try_wait().unwrap(), None, "the server ended before it opened the store");
        std::thread::yield_now();
    }
    for _ in 0..rng.u32(..3000) {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// After a clean stop, `data.redb` without anything else has it all.
fn alone_it_is_the_whole_database(witness: &Witness, world: &mut World, runtime: &tokio::runtime::Runtime) {
    let copy = witness.dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(witness.store().join("data.redb"), copy.join("data.redb")).unwrap();
    let server = Server::agq_in(&copy, &[]);
    runtime.block_on(async {
        let mut client = server.client().await;
        world.check(&mut client).await;
    });
    assert!(server.stop(), "a clean stop ends with exit code 0");
}
