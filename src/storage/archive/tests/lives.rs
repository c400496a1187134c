//! Simulated lives of a store with an archive on a disk of its own. Both disks may stop at any I/O; the archive's fails, is full
//! or late. After every crash what the archive restores on top of a backup is the state of a moment that was, no record
//! of it is one that the store has lost, and once the store is open again every moment can be restored.
//!
//! `AGQ_ARCHIVE_SEEDS` gives how many lives are tried in each mode, `AGQ_ARCHIVE_FROM` where they begin.

use super::*;
use crate::storage::sim::{Crash, Stage, Tally};

/// What is said of a promise that was broken.
type Check<T> = std::result::Result<T, String>;

struct Life {
    world: World,
    /// The last record that a power cut must not take.
    floor: u64,
    /// The last record that must be found as long as no power cut comes before the next opening.
    written: u64,
    stage: Stage,
    tally: Tally,
}

impl Life {
    fn new(seed: u64, durability: DurabilityMode) -> Life {
        let mut world = World::new(seed, u64::MAX, false);
        world.options.durability = durability;
        Life { world, floor: 0, written: 0, stage: Stage::Making, tally: Tally::default() }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.world.rng.u8(..100) < percent
    }

    fn live(mut self) -> Check<Tally> {
        for _ in 0..self.world.rng.usize(2..7) {
            let mut db = self.open()?;
            self.check_all_moments()?;
            if self.work(&mut db).is_ok() && self.chance(25) {
                self.stage = Stage::Closing;
                let appended = db.stats().seq;
                match db.close() {
                    Ok(()) => {
                        (self.floor, self.written) = (appended, appended);
                        self.tally.count("clean stops");
                        continue;
                    }
                    Err(_) => self.crash(appended),
                }
            } else {
                let appended = db.stats().seq;
                self.crash(appended);
                drop(db);
            }
            self.check_what_the_archive_has()?;
        }
        self.open()?.close().map_err(|error| error.to_string())?;
        self.check_all_moments()?;
        Ok(self.tally)
    }

    /// The power goes, or the process dies; nothing that it still does reaches a disk.
    fn crash(&mut self, appended: u64) {
        let crash = Crash::ALL[usize::from(self.chance(40))];
        self.tally.crash(self.stage, crash);
        let disks = [&mut self.world.disk, &mut self.world.archive];
        match crash {
            Crash::PowerCut => disks.into_iter().for_each(|disk| *disk = disk.crash()),
            Crash::Kill => disks.into_iter().for_each(|disk| *disk = disk.kill()),
        }
        self.written = if crash == Crash::Kill { appended } else { self.floor };
    }

    /// Opens until it is not cut short, and checks that what is found was promised.
    fn open(&mut self) -> Check<Db> {
        self.stage = if self.world.history.is_empty() { Stage::Making } else { Stage::Opening };
        loop {
            let at = self.world.rng.u64(..60);
            match self.world.rng.u8(..10) {
                0..3 => self.world.disk.set_faults(Faults::stop_at(at)),
                3 => self.world.archive.set_faults(Faults::stop_at(at / 4)),
                4 => self.world.archive.set_faults(Faults::failing(Operation::Sync, at / 20)),
                _ => {}
            }
            let world = &self.world;
            let opened = Db::open_stepped_with(&shared(&world.disk), &shared(&world.archive), &world.options);
            match opened {
                Ok(db) => {
                    [&world.disk, &world.archive].iter().for_each(|disk| disk.set_faults(Faults::default()));
                    return self.found(db);
                }
                Err(Error::Refused { found, expected, .. }) => {
                    return Err(format!("a start is refused: found {found}; expected {expected}"));
                }
                Err(_) => {
                    let written = self.written;
                    self.crash(written);
                    self.stage = Stage::Reopening;
                }
            }
        }
    }

    fn found(&mut self, db: Db) -> Check<Db> {
        let seq = db.stats().seq;
        if seq < self.written || seq > self.world.history.len() as u64 {
            return Err(format!("found record {seq}, promised {}, of {}", self.written, self.world.history.len()));
        }
        if let Some((name, _)) = self.world.made.iter().find(|(_, backup)| backup.seq > seq) {
            return Err(format!("{name} has records that the store, at record {seq}, has lost"));
        }
        self.world.history.truncate(usize::try_from(seq).map_err(|error| error.to_string())?);
        (self.floor, self.written) = (seq, seq);
        Ok(db)
    }

    /// Batches, checkpoints, syncs, backups, work in the background, and disks that fail.
    fn work(&mut self, db: &mut Db) -> Result<()> {
        if self.chance(40) {
            self.world.disk.set_faults(Faults::stop_at(self.world.rng.u64(..300)));
        }
        for _ in 0..self.world.rng.usize(1..60) {
            self.batch(db)?;
            self.stage = Stage::Idle;
            match self.world.rng.u8(0..18) {
                0 => {
                    self.world.backup(db)?;
                    self.floor = self.floor.max(db.stats().seq);
                }
                1 => self.checkpoint(db)?,
                2 => self.break_archive(),
                3 => self.world.archive.set_faults(Faults::default()),
                4 | 5 => {
                    self.stage = Stage::Syncing;
                    db.sync_log()?;
                    self.floor = db.stats().seq;
                }
                _ => {}
            }
            if db.checkpoint_due(0) {
                self.checkpoint(db)?;
            }
            self.stage = Stage::Checkpoint;
            for _ in 0..self.world.rng.usize(0..6) {
                db.step()?;
            }
            let stats = db.stats();
            if !stats.checkpoint_draining {
                self.floor = self.floor.max(stats.checkpoint_seq);
            }
        }
        self.stage = Stage::Idle;
        Ok(())
    }

    fn batch(&mut self, db: &mut Db) -> Result<()> {
        let rows = self.world.changes(db)?;
        self.world.history.push((self.world.now, rows.clone()));
        self.stage = Stage::Appending;
        db.append(&rows, self.world.now)?;
        self.stage = Stage::Syncing;
        db.flush()?;
        if self.world.options.durability == DurabilityMode::Always {
            self.floor = db.stats().seq;
        }
        self.stage = Stage::Applying;
        db.apply(&rows)?;
        self.tally.count("batches");
        Ok(())
    }

    fn checkpoint(&mut self, db: &mut Db) -> Result<()> {
        self.stage = Stage::Checkpoint;
        db.checkpoint()?;
        self.tally.count("checkpoints");
        Ok(())
    }

    fn break_archive(&mut self) {
        let after = self.world.rng.u64(..8);
        let (faults, what) = match self.world.rng.u8(..4) {
            0 => (Faults::failing(Operation::Write, after), "failed writes of the archive"),
            1 => (Faults::failing(Operation::Sync, after), "failed syncs of the archive"),
            2 => {
                let capacity = Some(self.world.archive.allocated() + after * 1024);
                (Faults { capacity, ..Faults::default() }, "full archives")
            }
            _ => (Faults::stop_at(after), "archives that were cut off"),
        };
        self.tally.count(what);
        self.world.archive.set_faults(faults);
    }

    /// Right behind a crash, as if the store were lost: what the archive has is a part of what was, from the beginning.
    fn check_what_the_archive_has(&mut self) -> Check<()> {
        if archive_ranges(&self.world.archive).map_err(|error| error.to_string())?.is_empty() {
            return Ok(());
        }
        let Some((name, backup, to)) = self.a_moment() else { return Ok(()) };
        let restored = self.restore(&name, to)?;
        let (wanted, seq) = (self.world.record_at(to), restored.seq);
        // A record that the store itself lost would be one too many: it must be found when the store is opened.
        self.written = self.written.max(seq);
        if seq > wanted || seq < backup.seq {
            return Err(format!("{name} to {to:?} is record {seq}, wanted is {wanted}"));
        }
        self.tally.count("restores without the store");
        if restored.unfinished.is_some() {
            self.tally.count("archives with an unfinished end");
        }
        Ok(())
    }

    /// While the store stands: whatever the moment, it is restored.
    fn check_all_moments(&mut self) -> Check<()> {
        let Some((name, _, to)) = self.a_moment() else { return Ok(()) };
        let restored = self.restore(&name, to)?;
        let wanted = self.world.record_at(to);
        if restored.seq != wanted {
            return Err(format!("{name} to {to:?} is record {}, wanted is {wanted}", restored.seq));
        }
        self.tally.count("restores");
        self.tally.count_many("records replayed", restored.replayed);
        Ok(())
    }

    /// Any backup, and any moment from it on.
    fn a_moment(&mut self) -> Option<(String, Backup, Millis)> {
        let World { made, rng, now, .. } = &mut self.world;
        let (name, backup) = made.get(rng.usize(..made.len().max(1)))?.clone();
        let to = Millis(rng.u64(backup.time.0..=now.0 + 5));
        Some((name, backup, to))
    }

    /// Restores a moment; the state is that of the record that it reaches.
    fn restore(&self, name: &str, to: Millis) -> Check<Restored> {
        let restored = self.world.restore(name, to, false);
        let (restored, state) = restored.map_err(|error| format!("{name} to {to:?}: {error}"))?;
        if restored.seq > self.world.history.len() as u64 || state != self.world.fold(restored.seq) {
            return Err(format!("{name} to {to:?}: the state of record {} is another one", restored.seq));
        }
        Ok(restored)
    }
}

fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn lives(durability: DurabilityMode) {
    let from = given("AGQ_ARCHIVE_FROM").unwrap_or(1);
    let mut sum = Tally::default();
    let lives = given("AGQ_ARCHIVE_SEEDS").unwrap_or(20);
    for seed in from..from + lives {
        match Life::new(seed, durability).live() {
            Ok(tally) => sum.add(&tally),
            Err(broken) => panic!("{broken}; AGQ_ARCHIVE_SEEDS=1 AGQ_ARCHIVE_FROM={seed} repeats it"),
        }
    }
    if lives >= 20 {
        for (what, least) in [
            ("restores", 30),
            ("restores without the store", 15),
            ("records replayed", 200),
            ("checkpoints", 50),
            ("archives with an unfinished end", 1),
            ("failed writes of the archive", 5),
            ("failed syncs of the archive", 5),
            ("full archives", 5),
            ("archives that were cut off", 5),
        ] {
            assert!(sum.times(what) >= least, "too few {what}: {sum}");
        }
        for stage in [Stage::Opening, Stage::Reopening, Stage::Idle] {
            for crash in Crash::ALL {
                assert!(sum.crashes_at(stage, crash) >= 1, "too few of {crash:?} while {stage:?}: {sum}");
            }
        }
    }
    if given("AGQ_ARCHIVE_SEEDS").is_some() {
        println!("{sum}");
    }
}

#[test]
fn any_moment_is_restored_from_any_backup_with_durability_always() {
    lives(DurabilityMode::Always);
}

#[test]
fn any_moment_is_restored_from_any_backup_with_durability_interval() {
    lives(DurabilityMode::Interval(10_000));
}

#[test]
fn any_moment_is_restored_from_any_backup_with_durability_none() {
    lives(DurabilityMode::None);
}
