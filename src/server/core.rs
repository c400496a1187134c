//! The core loop: run what has come in, append its rows to the log, one flush, release the replies.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use agq_resp::Reply;

use crate::clock::Millis;
use crate::command::{Config, Excess, Shutdown};
use crate::engine::{Engine, HeavyRead, Input, Output};
use crate::server::Options;
use crate::server::backups::Backups;
use crate::server::compactions::Compactions;
use crate::server::disk::DiskWatch;
use crate::server::drain::DrainWatch;
use crate::server::ended::Ended;
use crate::server::gather::Gather;
use crate::server::inbox::Inbox;
use crate::server::notify::{Notify, Watchdog};
use crate::server::process::Process;
use crate::server::reload::Changes;
use crate::server::rules::Rules;
use crate::server::warnings::{Figures, Watch};
use crate::server::{start_engine, webhooks};
use crate::storage::{Db, Pace, WriteSet};
use crate::wall_clock::WallClock;

#[cfg(test)]
mod tests;

/// A batch takes no more units past so many rows …
const BATCH_ROWS: usize = 2000;
/// … bytes …
const BATCH_BYTES: usize = 4 << 20;
/// … or time.
const BATCH_TIME: Duration = Duration::from_millis(2);
/// Pause between two batches while a checkpoint cannot keep up.
const SLOWED: Duration = Duration::from_millis(1);
/// How often is looked at what is due while a page waits for space.
const HELD: Duration = Duration::from_millis(200);
/// After so long without a command a checkpoint is made.
const IDLE: Duration = Duration::from_secs(1);

/// Ends the process without touching the store again: what was acknowledged is in the log, and nothing else may become
/// durable.
fn give_up(reason: &str) -> ! {
    tracing::error!(
        "the store failed, nothing more can be acknowledged: {reason}. Everything acknowledged so far is in the log; \
         mend the cause and start again"
    );
    std::process::exit(EXIT_STORE_FAILED)
}

/// The exit code when the store fails.
pub(super) const EXIT_STORE_FAILED: i32 = 74;

/// The engine and the store, driven by inputs.
pub(super) struct Core {
    engine: Engine,
    db: Db,
    clock: WallClock,
    last_busy: Instant,
    /// [`BATCH_TIME`], where no test says otherwise.
    batch_time: Duration,
    /// Units with writes that wait until a checkpoint has drained.
    held: Vec<Input>,
    /// Large reads under way on other threads.
    reading: Rc<Cell<usize>>,
    /// The deliveries of webhooks have begun.
    delivers: bool,
    process: Process,
    disk: DiskWatch,
    warnings: Watch,
    backups: Backups,
    compactions: Compactions,
    changes: Changes,
    gather: Gather,
    watchdog: Watchdog,
    notify: Notify,
    drain: DrainWatch,
}

impl Core {
    /// Starts the engine over an open store.
    pub(super) fn new(
        mut db: Db,
        config: Config,
        mut clock: WallClock,
        (disk, warnings): (DiskWatch, Watch),
        options: &Options,
        changes: Changes,
        notify: &Notify,
    ) -> anyhow::Result<Core> {
        let now = clock.read();
        let mut engine = start_engine(&mut db, config, now)?;
        engine.server().settings.changeable = changes.changeable();
        engine.bound(options.clients.sends());
        let backups = Backups::new(options.backups.clone(), db.stats().store_id, now, &mut engine.server().backups);
        Ok(Core {
            engine,
            db,
            clock,
            last_busy: Instant::now(),
            batch_time: BATCH_TIME,
            held: Vec::new(),
            reading: Rc::default(),
            delivers: false,
            process: Process::default(),
            disk,
            warnings,
            backups,
            compactions: Compactions::new(options.compact_rate),
            changes,
            gather: Gather::default(),
            watchdog: Watchdog::new(notify),
            notify: notify.clone(),
            drain: DrainWatch::new(notify),
        })
    }

    /// Runs until asked to stop; returns itself to be closed once the last replies are out.
    pub(super) async fn run(mut self, inbox: &Inbox, rules: &Rules) -> Core {
        self.db.on_wake(inbox.waker());
        let mailboxes = inbox.clone();
        self.engine.server().held = Some(Box::new(move |conn| mailboxes.held(conn)));
        // The first turn finds out what is due, and whether there are webhooks, before any client comes.
        inbox.waker()();
        while self.turn(inbox, rules).await {}
        self.backups.abandon();
        self.notify.stopping();
        inbox.abandon_waiting();
        self
    }

    /// One turn: sleeps until there is something to do, and runs a batch. False once everything has come to its end.
    async fn turn(&mut self, inbox: &Inbox, rules: &Rules) -> bool {
        self.watchdog.beat();
        self.hand_in_held(inbox);
        if inbox.is_empty() && !(inbox.is_stopping() && self.owes_nothing()) {
            self.sleep(inbox).await;
        }
        // One turn of the scheduler: every connection that is ready hands in its unit first.
        tokio::task::yield_now().await;
        self.gather.wait(inbox).await;
        let pace = self.db.pace();
        self.hand_in_held(inbox);
        let result = self.run_batch(inbox, rules).await;
        self.start_deliveries(inbox);
        if let Some(reason) = inbox.failure() {
            self.db.stop(&reason);
        }
        if let Some(reason) = self.db.stopped() {
            give_up(reason);
        }
        if let Err(error) = result {
            self.db.stop(&format!("{error:#}"));
            give_up(&format!("{error:#}"));
        }
        if inbox.is_stopping() && inbox.is_empty() && self.owes_nothing() {
            return false;
        }
        if pace == Pace::Slow {
            tokio::time::sleep(SLOWED).await;
        }
        true
    }

    /// Starts the deliveries of webhooks with the first that there is.
    fn start_deliveries(&mut self, inbox: &Inbox) {
        if self.engine.server().has_webhooks && !self.delivers {
            self.delivers = true;
            if let Err(error) = webhooks::start(inbox) {
                tracing::error!(%error, "webhooks are not delivered: there is no thread for them");
            }
        }
    }

    /// Makes a last checkpoint and closes the store.
    pub(super) fn close(self) {
        let Core { db, notify, .. } = self;
        match notify.patiently("writing the last checkpoint", || db.close()) {
            Ok(()) => {}
            Err(error) if error.is_refusal() => {
                tracing::error!(
                    "stopped without a last checkpoint, since there is no room for it: {error}. Everything acknowledged is \
                     in data.redb and its log together; make room and start again, and copy neither alone"
                );
                std::process::exit(EXIT_STORE_FAILED)
            }
            Err(error) => give_up(&format!("{error:#}")),
        }
    }

    /// True when every unit that was taken has run, and the store can be closed: none is held, no large read is under way, and
    /// no backup reads the store.
    fn owes_nothing(&self) -> bool {
        self.held.is_empty() && self.reading.get() == 0 && !self.backups.hold_snapshot()
    }

    /// True when units with writes wait for a checkpoint to drain.
    fn holds_writes(&self) -> bool {
        self.db.pace() == Pace::Wait
    }

    /// Hands in again what was held, once it may run.
    fn hand_in_held(&mut self, inbox: &Inbox) {
        if self.held.is_empty() || self.holds_writes() {
            return;
        }
        let now = self.clock.read();
        if self.paused(inbox, now).is_none() {
            self.held.drain(..).for_each(|input| inbox.push(input));
        }
    }

    /// Until when CLIENT PAUSE holds up what connections send; a server that stops holds up nothing.
    fn paused(&self, inbox: &Inbox, now: Millis) -> Option<(Millis, bool)> {
        if inbox.is_stopping() { None } else { self.engine.paused(now) }
    }

    /// True when work in the background may write.
    fn may_work(&self) -> bool {
        self.db.pace() != Pace::Wait && !self.db.is_held()
    }

    /// Sleeps until something comes in or is due.
    async fn sleep(&mut self, inbox: &Inbox) {
        let now = self.clock.read();
        let backup = self.backups.next(&self.engine.server().backups);
        let deadline = self.engine.next_deadline().into_iter().chain(backup).min();
        let mut pause = deadline.map(|at| Duration::from_millis(at.since(now)));
        if let Some((until, _)) = self.paused(inbox, now) {
            let left = Duration::from_millis(until.since(now));
            pause = Some(pause.map_or(left, |pause| pause.min(left)));
        }
        if !self.may_work() {
            // What is due by now waits for the disk.
            pause = pause.map(|pause| pause.max(if self.db.is_held() { HELD } else { SLOWED }));
        }
        if self.db.checkpoint_due(u64::MAX) {
            let idle = IDLE.saturating_sub(self.last_busy.elapsed());
            pause = Some(pause.map_or(idle, |pause| pause.min(idle)));
        }
        if let Some(left) = self.watchdog.left() {
            pause = Some(pause.map_or(left, |pause| pause.min(left)));
        }
        match pause {
            Some(pause) => drop(tokio::time::timeout(pause, inbox.arrived()).await),
            None => inbox.arrived().await,
        }
    }

    /// One batch: run, append, flush, release the replies; the rows go into redb while the clients read.
    async fn run_batch(&mut self, inbox: &Inbox, rules: &Rules) -> anyhow::Result<()> {
        let now = self.clock.read();
        if let Some(settings) = inbox.new_settings() {
            self.engine.reconfigure(settings);
        }
        if let Some(time) = inbox.asked_drain() {
            self.engine.drain(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), now);
        }
        if !inbox.is_empty() {
            self.last_busy = Instant::now();
        }
        self.look_around(inbox, rules, now)?;
        let rows = self.execute(inbox, now)?;
        let mut sync = Duration::ZERO;
        if !rows.is_empty() {
            self.last_busy = Instant::now();
            self.db.append(&rows, now)?;
            let began = Instant::now();
            self.db.flush()?;
            sync = began.elapsed();
            self.warnings.synced(sync);
        }
        let save = std::mem::take(&mut self.engine.server().save_requested);
        if !save {
            self.gather.synced(sync);
            self.release(inbox);
        }
        if !rows.is_empty() {
            // The connections write their replies first: the clients work while the rows are applied.
            tokio::task::yield_now().await;
            self.db.apply(&rows)?;
        }
        let idle_ms = u64::try_from(self.last_busy.elapsed().as_millis()).unwrap_or(u64::MAX);
        if save || self.db.checkpoint_due(idle_ms) {
            match self.db.checkpoint() {
                Ok(()) if save => self.engine.server().facts.last_save = now,
                Ok(()) => {}
                // The disk is full: the log answers for what was asked to be saved.
                Err(error) if error.is_refusal() => tracing::warn!(%error, "no checkpoint is made now"),
                Err(error) => return Err(error.into()),
            }
        }
        if save {
            // The checkpoint is still on its way to the disk: until it is there, the log answers for it.
            self.db.sync_log()?;
            self.release(inbox);
        }
        if self.engine.has_heavy() {
            self.start_heavy(inbox)?;
        }
        self.turn_backups(inbox, now)?;
        self.changes.hand_out(std::mem::take(&mut self.engine.server().settings.asked), inbox);
        self.drain.note(self.engine.server(), now);
        if self.engine.server().shutdown == Shutdown::Now {
            inbox.stop();
        }
        Ok(())
    }

    /// Begins and ends backups and compactions; no backup begins in a server that stops, and none holds it up.
    fn turn_backups(&mut self, inbox: &Inbox, now: Millis) -> anyhow::Result<()> {
        let server = self.engine.server();
        if inbox.is_stopping() {
            self.db.let_pass();
            server.backups.next = None;
            server.backups.cancelled |= server.backups.in_progress();
        }
        self.backups.turn(&mut server.backups, &mut server.facts.last_save, &mut self.db, now, inbox)?;
        // One that a stop cuts short is ended when the store is closed.
        self.compactions.turn(&mut server.compactions, &mut self.db, now)?;
        Ok(())
    }

    /// Refreshes what commands know of the world, and finds what an operator is to be warned of.
    fn look_around(&mut self, inbox: &Inbox, rules: &Rules, now: Millis) -> anyhow::Result<()> {
        self.db.look_at_space()?;
        let (stats, shortage) = (self.db.stats(), self.db.shortage());
        self.disk.note(&stats, shortage.as_ref());
        let server = self.engine.server();
        server.facts.disk_is_low = self.disk.is_low();
        server.facts.disk_is_full = shortage.is_some();
        server.facts.endings = inbox.endings();
        if let Some(process) = self.process.refreshed() {
            server.facts.process = process;
        }
        let found = self.warnings.look(&Figures {
            now,
            started: server.facts.started,
            stats: &stats,
            shortage: shortage.as_ref(),
            disk_is_low: self.disk.is_low(),
            disk_warning: self.disk.warning(),
            backups: &server.backups,
            backup_overdue: self.backups.overdue(server.backups.newest.unwrap_or(server.facts.started)),
            clients: inbox.clients(),
            max_clients: rules.max_clients.get(),
            client_memory: server.facts.endings.memory,
            max_client_memory: rules.limits.max_memory,
            open_files: rules.descriptors.in_use(),
            max_open_files: rules.descriptors.limit(),
            clock_ahead_ms: self.clock.ahead_ms(),
            certificate_ends: rules.certificate_ends.get(),
        });
        if let Some(warnings) = found {
            server.facts.warnings = warnings;
        }
        server.facts.storage = Some(stats);
        server.refusal = self.db.refusal();
        Ok(())
    }

    fn release(&mut self, inbox: &Inbox) {
        for output in self.engine.take_outputs() {
            match output {
                Output::Finished(finished) => {
                    self.gather.answered(finished.conn);
                    inbox.deliver(finished);
                }
                Output::Pushed(conn, out) => inbox.push_out(conn, &out),
                Output::Keeps(conn, bytes) => inbox.keeps(conn, bytes),
                Output::TooMuch(conn, Excess::One) => inbox.end(conn, Ended::Output),
                Output::TooMuch(conn, Excess::All) => inbox.end(conn, Ended::Memory),
                Output::Killed(conn) => inbox.kill(conn),
            }
        }
    }

    /// Runs what has come in, up to the limits of a batch, and what is due.
    fn execute(&mut self, inbox: &Inbox, now: Millis) -> anyhow::Result<WriteSet> {
        let (began, holds_writes, paused) = (Instant::now(), self.holds_writes(), self.paused(inbox, now));
        let mut batch = self.db.batch()?;
        if self.clock.take_step() {
            tracing::warn!("the system's clock was set forwards: leases that run get a full one of grace");
            self.engine.clock_stepped(&mut batch, now)?;
        }
        while let Some(input) = inbox.pop() {
            if input.is_paused(paused) || (holds_writes && input.writes()) {
                self.held.push(input);
                continue;
            }
            self.engine.take(&mut batch, input, now)?;
            let full = batch.rows_written() >= BATCH_ROWS || batch.bytes_written() >= BATCH_BYTES;
            if full || self.engine.has_heavy() || began.elapsed() >= self.batch_time {
                break;
            }
        }
        let may_work = self.may_work();
        self.engine.tick(&mut batch, now, may_work)?;
        Ok(batch.finish())
    }

    /// Runs this turn's heavy reads on one snapshot, on a thread of their own.
    fn start_heavy(&mut self, inbox: &Inbox) -> anyhow::Result<()> {
        let snapshot = self.db.snapshot()?;
        let reads = self.engine.take_heavy();
        let (inbox, reading, count) = (inbox.clone(), Rc::clone(&self.reading), reads.len());
        reading.set(reading.get() + count);
        let work = tokio::task::spawn_blocking(move || {
            let run = |mut read: HeavyRead| (catch_unwind(AssertUnwindSafe(|| read.run(&snapshot))), Box::new(read));
            reads.into_iter().map(run).collect::<Vec<_>>()
        });
        tokio::task::spawn_local(async move {
            let results = work.await;
            reading.set(reading.get() - count);
            // The closure catches what it runs; it is not cancelled.
            let Ok(results) = results else { return };
            for (result, read) in results {
                match result {
                    Ok(Ok(reply)) => inbox.push(Input::Resume(read, reply)),
                    Ok(Err(error)) => inbox.fail(&error.to_string()),
                    Err(_panic) => {
                        let text = "ERR internal error in a large read: nothing was changed, please report it";
                        inbox.push(Input::Resume(read, Reply::error(text)));
                    }
                }
            }
        });
        Ok(())
    }
}
