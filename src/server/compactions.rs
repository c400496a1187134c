//! Compactions while the server serves: one at a time, begun where somebody asks for one.

use std::time::Instant;

use crate::clock::Millis;
use crate::command::compactions::{Compactions as Facts, EndedCompaction, RunningCompaction};
use crate::storage::{self, CompactionEnd, CompactionProgress, Db};

/// The compactions of a running server.
#[derive(Debug)]
pub(super) struct Compactions {
    /// Bytes of rows that are copied in a second.
    rate: u64,
    began: Instant,
}

impl Compactions {
    pub(super) fn new(rate: u64) -> Compactions {
        Compactions { rate, began: Instant::now() }
    }

    /// Between two batches: ends and begins them, and notes how far one is.
    pub(super) fn turn(&mut self, facts: &mut Facts, db: &mut Db, now: Millis) -> storage::Result<()> {
        if let Some(end) = db.turn_compaction()? {
            self.note(facts, end);
        }
        if std::mem::take(&mut facts.stopped) {
            if std::mem::take(&mut facts.asked) {
                self.note(facts, Err("it was stopped".to_owned()));
            } else {
                // One that is about to end in a moment does so.
                db.stop_compaction("it was stopped");
            }
        }
        if std::mem::take(&mut facts.asked) {
            self.began = Instant::now();
            tracing::info!(file_bytes = db.stats().file_bytes, "a compaction begins");
            match db.begin_compaction(self.rate) {
                Ok(_) => {
                    facts.running = Some(RunningCompaction { since: now, progress: CompactionProgress::default() });
                }
                // Nothing was begun, and nothing of the store was touched.
                Err(error) => self.note(facts, Err(error.to_string())),
            }
        }
        if let (Some(running), Some(progress)) = (&mut facts.running, db.compaction()) {
            running.progress = progress;
        }
        Ok(())
    }

    /// Writes down how one ended.
    fn note(&self, facts: &mut Facts, end: CompactionEnd) {
        facts.running = None;
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &end {
            Ok(done) => tracing::info!(
                rows = done.rows,
                bytes_before = done.before,
                bytes_after = done.after,
                took_ms,
                "a compaction is done"
            ),
            Err(error) => {
                facts.failed += 1;
                tracing::warn!(%error, took_ms, "a compaction ended without a result; the store is as it was");
            }
        }
        facts.last = Some(EndedCompaction { number: facts.begun, outcome: end, took_ms });
    }
}
