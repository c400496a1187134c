//! What somebody may do to the files of a store between two runs, and what the store then has to do.

use std::sync::Arc;

use fastrand::Rng;

use super::{Check, DATA, LOGS, Life, Tally, open_stepped};
use crate::storage::files::Disk;
use crate::storage::sim_disk::{Faults, Operation};
use crate::storage::{DurabilityMode, Error, discard_log_on};

/// What may be found at the next opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// What was promised, or more.
    Promise,
    /// A refusal, nothing else.
    Refusal,
    /// Any state that was.
    Past,
    /// A refusal, or what was promised but for the last record: nothing tells one that is damaged from one that was
    /// never acknowledged.
    AllButOneOrRefusal,
    /// Any state that was, or a refusal: somebody did what nothing can notice for certain.
    PastOrRefusal,
}

impl Life {
    /// Somebody loses, damages or mixes up files; then the store is opened once. A refusal is answered by putting
    /// everything back.
    pub(super) fn tamper(&mut self) -> Check<()> {
        let untouched = self.disk.fork();
        let before = self.ledger.clone();
        let Some(expect) = self.tamper_with_files()? else { return Ok(()) };
        self.tally.count("files lost, damaged or mixed up");
        match (self.open(), expect) {
            (Ok(db), Expect::Promise) => self.found(&db, before.written)?,
            (Ok(db), Expect::AllButOneOrRefusal) => self.found(&db, before.floor.saturating_sub(1))?,
            (Ok(db), Expect::Past | Expect::PastOrRefusal) => self.found(&db, 0)?,
            (Ok(_), Expect::Refusal) => return Err("opened what had to be refused".to_owned()),
            (Err(Error::Refused { .. }), Expect::Refusal | Expect::AllButOneOrRefusal | Expect::PastOrRefusal) => {
                self.tally.count("refusals");
                self.ledger = before;
                self.disk = untouched;
                return Ok(());
            }
            (Err(error), _) => return Err(format!("after {expect:?} was set up: {error}")),
        }
        self.disk = self.disk.crash();
        Ok(())
    }

    /// What to expect after it; `None` when nothing was done.
    fn tamper_with_files(&mut self) -> Check<Option<Expect>> {
        let required = self.log_is_required()?;
        let log = LOGS[self.rng.usize(..2)];
        Ok(match self.rng.u8(..8) {
            0 => {
                self.disk.lose(log);
                Some(if required { Expect::Refusal } else { Expect::Promise })
            }
            1 => {
                let mut other = Life::new(self.rng.u64(..), false);
                other.options.durability = DurabilityMode::Always;
                let mut db = other.open().map_err(|error| error.to_string())?;
                while other.ledger.history.is_empty() {
                    other.batch(&mut db).map_err(|_| "another store failed".to_owned())?;
                }
                drop(db);
                self.disk.put(LOGS[0], &other.disk.contents(LOGS[0]).unwrap_or_default());
                Some(if required { Expect::Refusal } else { Expect::Promise })
            }
            2 => self.damage(log, required),
            3 if required => {
                self.disk.set_faults(Faults::failing_always(Operation::Read, log));
                Some(Expect::Refusal)
            }
            4 | 5 if !self.copies.is_empty() => {
                self.mix_up();
                Some(Expect::PastOrRefusal)
            }
            6 => {
                self.take_twins_log()?;
                Some(Expect::PastOrRefusal)
            }
            7 if required => self.discard_log()?,
            _ => None,
        })
    }

    /// Runs the store and a copy of it for a while, each by itself, and puts the copy's log beside the store.
    fn take_twins_log(&mut self) -> Check<()> {
        let mut twin = Life {
            rng: Rng::with_seed(self.rng.u64(..)),
            options: self.options.clone(),
            disk: self.disk.fork(),
            ledger: self.ledger.clone(),
            copies: Vec::new(),
            tally: Tally::default(),
            ..*self
        };
        for life in [&mut *self, &mut twin] {
            let mut db = life.open().map_err(|error| error.to_string())?;
            life.found(&db, life.ledger.written)?;
            for _ in 0..life.rng.u32(..5) {
                life.batch(&mut db).map_err(|_| "a batch failed on a sound disk".to_owned())?;
            }
            drop(db);
            life.disk = life.disk.kill();
        }
        for log in LOGS {
            self.disk.put(log, &twin.disk.contents(log).unwrap_or_default());
        }
        Ok(())
    }

    /// Puts an old copy of the store's file in place, and of its log all, some or none, from that copy or another.
    fn mix_up(&mut self) {
        let data = self.rng.usize(..self.copies.len());
        let log = if self.rng.bool() { data } else { self.rng.usize(..self.copies.len()) };
        for name in [LOGS[0], LOGS[1], DATA] {
            let copy = &self.copies[if name == DATA { data } else { log }];
            if (name == DATA || self.rng.bool())
                && let Some((_, bytes)) = copy.files.iter().find(|(found, _)| *found == name)
            {
                self.disk.put(name, bytes);
            }
        }
        self.ledger.history.clone_from(&self.copies[data].history);
    }

    /// Damages one bit of a log, or some of its bytes.
    fn damage(&mut self, log: &str, required: bool) -> Option<Expect> {
        let mut bytes = self.disk.contents(log)?;
        let at = self.rng.usize(..bytes.len());
        let one_bit = self.chance(50);
        if one_bit {
            bytes[at] ^= 1 << self.rng.u8(..8);
        } else {
            let len = self.rng.usize(1..600).min(bytes.len() - at);
            self.rng.fill(&mut bytes[at..at + len]);
        }
        self.disk.put(log, &bytes);
        Some(match (required, one_bit, self.options.durability) {
            (false, ..) => Expect::Promise,
            (true, true, DurabilityMode::Always) => Expect::AllButOneOrRefusal,
            (true, ..) => Expect::PastOrRefusal,
        })
    }

    /// Damages or loses a log, and has it discarded.
    fn discard_log(&mut self) -> Check<Option<Expect>> {
        let log = LOGS[self.rng.usize(..2)];
        if self.chance(50) {
            self.disk.lose(log);
        } else {
            self.damage(log, true);
        }
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let told =
            discard_log_on(&disk, &self.options, "now").map_err(|error| format!("discarding the log: {error}"))?;
        for copy in &told.copies {
            self.disk.lose(copy);
        }
        if self.log_is_required()? {
            return Err(format!("the log is still required: {told}"));
        }
        // What was found and could not be kept is told, record by record.
        let beyond =
            told.lost.iter().all(|lost| *lost > told.last_kept + 1 && *lost <= self.ledger.history.len() as u64);
        if !beyond || told.last_kept > self.ledger.history.len() as u64 {
            return Err(format!("{} records were written: {told}", self.ledger.history.len()));
        }
        Ok(Some(Expect::Past))
    }

    /// Whether the file says that it is nothing without its log; asked of a copy of the disk.
    pub(super) fn log_is_required(&self) -> Check<bool> {
        let disk = self.disk.fork();
        for log in LOGS {
            disk.lose(log);
        }
        match open_stepped(&disk, &self.options) {
            Ok(_) => Ok(false),
            Err(Error::Refused { .. }) => Ok(true),
            Err(error) => Err(format!("asking whether the log is required: {error}")),
        }
    }
}
