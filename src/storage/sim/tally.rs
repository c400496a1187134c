//! What simulated lives have reached: for a summary, and to see that a set of seeds reaches everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was going on when a life was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A new store was made.
    Making,
    /// A store was opened, and recovered where it had to be.
    Opening,
    /// A store was opened again after such an opening was cut short.
    Reopening,
    /// A record was written to the log.
    Appending,
    /// The log was synced.
    Syncing,
    /// Rows went into the open transaction.
    Applying,
    /// A checkpoint was made, or its pages were written.
    Checkpoint,
    /// The file was compacted.
    Compacting,
    /// The log went from one segment to the other.
    Segment,
    /// The store was closed.
    Closing,
    /// Nothing: it stood between two batches.
    Idle,
}

/// How a life is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crash {
    /// The power went: what was not synced is lost, kept or torn.
    PowerCut,
    /// The process died: what was written stays.
    Kill,
}

impl Crash {
    /// Both.
    pub const ALL: [Crash; 2] = [Crash::PowerCut, Crash::Kill];
}

/// Crashes by stage and kind, and how often else something happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    crashes: BTreeMap<(Stage, Crash), u64>,
    counts: BTreeMap<&'static str, u64>,
    /// Names of commands that succeeded.
    reached: BTreeSet<&'static str>,
}

impl Tally {
    /// Counts a crash.
    pub fn crash(&mut self, stage: Stage, crash: Crash) {
        *self.crashes.entry((stage, crash)).or_default() += 1;
    }

    /// Counts something else.
    pub fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    /// Counts something that happened so often.
    pub fn count_many(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    /// Notes that a command succeeded.
    pub fn reach(&mut self, command: &'static str) {
        self.reached.insert(command);
    }

    /// The commands that succeeded.
    #[must_use]
    pub fn reached(&self) -> &BTreeSet<&'static str> {
        &self.reached
    }

    /// Adds what happened in another life.
    pub fn add(&mut self, other: &Tally) {
        other.crashes.iter().for_each(|(key, times)| *self.crashes.entry(*key).or_default() += times);
        other.counts.iter().for_each(|(what, times)| self.count_many(what, *times));
        self.reached.extend(&other.reached);
    }

    /// Crashes in all.
    #[must_use]
    pub fn crashes(&self) -> u64 {
        self.crashes.values().sum()
    }

    /// Crashes of a kind at a stage.
    #[must_use]
    pub fn crashes_at(&self, stage: Stage, crash: Crash) -> u64 {
        self.crashes.get(&(stage, crash)).copied().unwrap_or(0)
    }

    /// How often something else happened.
    #[must_use]
    pub fn times(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>9} crashes", self.crashes())?;
        for ((stage, crash), times) in &self.crashes {
            let crash = match crash {
                Crash::PowerCut => "power cut",
                Crash::Kill => "kill",
            };
            writeln!(f, "{times:>9}   {stage:?}, {crash}")?;
        }
        for (what, times) in &self.counts {
            writeln!(f, "{times:>9} {what}")?;
        }
        match self.reached.len() {
            0 => Ok(()),
            names => writeln!(f, "{names:>9} different commands that succeeded"),
        }
    }
}
