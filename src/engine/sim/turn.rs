//! What the core loop does, one batch after the other, and what happens beside it.

use std::collections::BTreeSet;

use agq_resp::Reply;

use super::facts::Heard;
use super::{Life, Running, check, deliveries, seen};
use crate::engine::{ConnId, Engine, HeavyRead, Input, Output};
use crate::jobs::JobsView;
use crate::storage::sim::ledger::Stop;
use crate::storage::sim::{Check, Stage};
use crate::storage::sim_disk::Faults;
use crate::storage::{Db, DurabilityMode, Error, Pace, Snapshot};

/// Batches after which everybody has been told everything that there is to tell.
const ENOUGH: usize = 5_000;

/// A large read on another thread: what it reads, and what it has to answer.
pub(super) struct Reading {
    snapshot: Snapshot,
    read: HeavyRead,
    expected: Reply,
}

/// Takes a snapshot for the large reads that came up. What they would answer now, they answer whenever they run.
fn begin_reads(db: &mut Db, engine: &mut Engine, reading: &mut Vec<Reading>) -> Result<(), Stop> {
    for mut read in engine.take_heavy() {
        let expected = read.run(&db.batch()?)?;
        reading.push(Reading { snapshot: db.snapshot()?, read, expected });
    }
    Ok(())
}

/// Checks that nobody was answered who was `paused` when the batch began.
fn check_pause(outputs: &[Output], paused: &BTreeSet<ConnId>) -> Result<(), Stop> {
    for output in outputs {
        if let Output::Finished(finished) = output
            && paused.contains(&finished.conn)
        {
            return Err(Stop::Broken(format!("connection {} is paused, and was answered", finished.conn)));
        }
    }
    Ok(())
}

impl Life {
    /// Runs batches until something ends the run.
    pub(super) fn work(&mut self, running: &mut Running) -> Result<(), Stop> {
        for _ in 0..self.rng.u32(2..40) {
            self.batch(running).map_err(|stop| match stop {
                Stop::Failed(error @ Error::Corrupt { .. }) => Stop::Broken(error.to_string()),
                stop => stop,
            })?;
            if let Some(reason) = running.db.stopped() {
                return Err(Error::Stopped { reason: reason.to_owned() }.into());
            }
        }
        self.stage = Stage::Idle;
        let now = self.clock.now();
        self.disk.set_faults(Faults::default());
        let seen = seen::see(&mut running.engine, &running.db, now).map_err(Stop::Broken)?;
        self.seen = Some((running.db.stats().seq, seen));
        Ok(())
    }

    /// One batch, as the core loop runs it.
    fn batch(&mut self, running: &mut Running) -> Result<(), Stop> {
        let change = self.clock.read(&mut self.rng);
        self.count_clock(change, false);
        let mut inputs = std::mem::take(&mut running.held);
        self.end_reads(running, &mut inputs)?;
        inputs.extend(self.clients.inputs(&mut self.rng));
        self.batch_of(running, inputs)?;
        self.behind(running)
    }

    /// One batch of these inputs.
    fn batch_of(&mut self, running: &mut Running, inputs: Vec<Input>) -> Result<(), Stop> {
        let now = self.clock.now();
        let Running { db, engine, held, reading } = running;
        self.stage = Stage::Idle;
        db.look_at_space()?;
        engine.server().facts.storage = Some(db.stats());
        engine.server().refusal = db.refusal();
        let holds_writes = db.pace() == Pace::Wait;
        let may_work = !holds_writes && !db.is_held();
        let paused = engine.paused(now);
        let told_to_wait = self.clients.paused(&inputs, now);
        let mut batch = db.batch()?;
        if self.clock.take_step() {
            engine.clock_stepped(&mut batch, now)?;
        }
        for input in inputs {
            if input.is_paused(paused) || holds_writes && input.writes() {
                held.push(input);
            } else {
                engine.take(&mut batch, input, now)?;
            }
        }
        engine.tick(&mut batch, now, may_work)?;
        if self.rng.u8(..100) < 5 {
            check::check(&batch)?;
        }
        let rows = batch.finish();
        if !rows.is_empty() {
            let seq = self.ledger.write(&rows);
            self.times.push(now);
            self.stage = Stage::Appending;
            match db.append(&rows, now) {
                // What found no room was refused before it was part of the batch.
                Err(error) if error.is_refusal() => {
                    return Err(Stop::Broken(format!("a record found no room: {error}")));
                }
                appended => appended?,
            }
            self.stage = Stage::Syncing;
            db.flush()?;
            if self.options.durability == DurabilityMode::Always {
                self.ledger.promise(seq);
            }
        }
        let (outputs, record) = (engine.take_outputs(), self.ledger.history.len() as u64);
        check_pause(&outputs, &told_to_wait)?;
        self.tally.count_many("units of clients that were paused", told_to_wait.len() as u64);
        self.clients.hear(outputs, Heard { record, at: now }, &mut self.tally).map_err(Stop::Broken)?;
        self.stage = Stage::Applying;
        db.apply(&rows)?;
        let after = db.batch()?;
        let facts = &mut self.clients.facts;
        let checked = facts.deliveries.check_fresh(&after, now);
        let checked = checked
            .and_then(|()| self.written.check(&rows, &self.ledger.state, &after, record, facts, &mut self.tally));
        drop(after);
        checked?;
        self.ledger.apply(&rows);
        self.tally.count("batches");
        if engine.has_heavy() {
            begin_reads(db, engine, reading)?;
        }
        Ok(())
    }

    /// What happens between two batches, and behind the core's back.
    fn behind(&mut self, running: &mut Running) -> Result<(), Stop> {
        let db = &mut running.db;
        self.stage = Stage::Checkpoint;
        if !db.is_held() && (db.checkpoint_due(0) || self.rng.u8(..100) < 4) {
            db.checkpoint()?;
            self.tally.count("checkpoints");
        }
        for _ in 0..self.rng.u32(..12) {
            if !db.step()? {
                break;
            }
        }
        if self.options.durability != DurabilityMode::Always && self.rng.u8(..100) < 10 {
            self.stage = Stage::Syncing;
            db.sync_log()?;
            self.ledger.promise(db.stats().seq);
        }
        if self.rng.u8(..100) < 3 {
            // As for a large read.
            drop(db.snapshot()?);
        }
        if db.compaction().is_none() && self.rng.u8(..100) < 3 {
            db.begin_compaction(u64::MAX)?;
        }
        match db.turn_compaction()? {
            None => {}
            Some(Ok(_)) => self.tally.count("compactions done"),
            Some(Err(_)) => self.tally.count("compactions failed"),
        }
        if db.refusal().is_some() && self.rng.u8(..100) < 30 {
            self.disk.set_capacity(None);
            self.tally.count("full disks that had room again");
        }
        let stats = db.stats();
        if !stats.checkpoint_draining {
            self.ledger.promise(stats.checkpoint_seq);
        }
        Ok(())
    }

    /// Some of the large reads end: their answers go back to the core.
    fn end_reads(&mut self, running: &mut Running, inputs: &mut Vec<Input>) -> Result<(), Stop> {
        for Reading { snapshot, mut read, expected } in std::mem::take(&mut running.reading) {
            if self.rng.u8(..100) < 60 {
                running.reading.push(Reading { snapshot, read, expected });
                continue;
            }
            let reply = read.run(&snapshot)?;
            if reply != expected {
                return Err(Stop::Broken(format!(
                    "a large read answered {reply:?}, and it was {expected:?} when it began"
                )));
            }
            self.tally.count("large reads on snapshots");
            inputs.push(Input::Resume(Box::new(read), reply));
        }
        Ok(())
    }

    /// Lets everything that is due happen on a sound disk, and everybody be told: nothing may be left then.
    pub(super) fn rest(&mut self, running: &mut Running) -> Check<()> {
        self.disk.set_faults(Faults::default());
        self.clients.facts.deliveries.all_is_taken = true;
        // A clock that was set back may be a day behind a retry.
        let rows = running.db.batch().map_err(|error| error.to_string())?;
        self.clock.pass(deliveries::last_retry(&rows, self.clock.now())?.since(self.clock.now()));
        drop(rows);
        for _ in 0..ENOUGH {
            self.clock.pass(100);
            let mut inputs = std::mem::take(&mut running.held);
            inputs.extend(self.clients.deliver(&mut self.rng));
            let ran = self.batch_of(running, inputs).and_then(|()| self.behind(running));
            ran.map_err(|stop| format!("on a sound disk: {stop:?}"))?;
            let now = self.clock.now();
            let is_quiet = running.held.is_empty() && running.engine.next_deadline().is_none_or(|at| at > now);
            if !is_quiet || !self.clients.facts.deliveries.are_done() {
                continue;
            }
            let rows = running.db.batch().map_err(|error| error.to_string())?;
            if deliveries::behind(&rows, now)?.is_empty() {
                self.tally.count("webhooks that were told everything");
                let view = JobsView { rows: &rows, now };
                let schedules = view.schedules(None, usize::MAX).map_err(|error| error.to_string())?;
                let late = schedules.iter().find(|(_, schedule)| schedule.next_at.is_some_and(|at| at <= now));
                return late
                    .map_or(Ok(()), |late| Err(format!("nothing is due, and {late:?} stands at a tick that is past")));
            }
        }
        let rows = running.db.batch().map_err(|error| error.to_string())?;
        Err(format!("it does not come to rest: {:?}", deliveries::behind(&rows, self.clock.now())?))
    }
}
