//! The engine: runs units of commands in the open batch, in order, one at a time.
//!
//! It knows no socket, no runtime and no clock, and it neither flushes nor replies: the core loop hands it inputs and
//! the time, appends what the batch changed to the log, and only then releases [`Engine::take_outputs`]. A command
//! that fails or panics is taken back; one that has to wait is parked ([`waiters`]) and run again, oldest first, as
//! soon as something it waits for is touched.

#[cfg(test)]
mod access_matrix;
#[cfg(test)]
mod access_tests;
mod audit;
mod background;
mod clients;
#[cfg(test)]
mod contract_tests;
mod dispatch;
mod drain;
mod execute;
mod gate;
mod heavy;
#[cfg(test)]
mod kept_tests;
mod measure;
#[cfg(test)]
mod message_tests;
mod messages;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod reply_tests;
mod run;
pub mod sim;
#[cfg(test)]
mod tests;
mod transaction;
mod units;
mod waiters;
mod wake;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::Millis;
use crate::command::cursors::Cursors;
use crate::command::{
    Changeable, Channels, Config, Messages, Seal, Sends, Server, Session, Settings, Shutdown, Statistics, Tuning, Wait,
    Watches,
};
use crate::data::{Touched, keyspaces};
use crate::jobs::{JobsView, Reported};
use crate::storage::{self, Batch, Reading};
use waiters::Waiters;

pub use heavy::HeavyRead;
pub use units::{ConnId, Finished, Input, Output, Unit};

/// The engine.
pub struct Engine {
    sessions: HashMap<ConnId, Session>,
    /// The server's own connection, which is no client.
    own: Option<ConnId>,
    server: Server,
    waiters: Waiters,
    touched: Touched,
    random: fastrand::Rng,
    /// Units whose parked command was answered; their rest runs before the batch ends.
    ready: VecDeque<Unit>,
    outputs: Vec<Output>,
    /// Commands that ran, for connections that watch, behind their replies.
    shown: Messages,
    heavy: Vec<HeavyRead>,
    /// Bytes that large reads have collected and that are not encoded yet.
    reading: Arc<Reading>,
    background: background::Background,
    refusals: audit::Refusals,
    /// When the first of the access keys that connections use expires, or earlier.
    key_expires: Option<Millis>,
    /// The commands that run are those of an EXEC.
    in_transaction: bool,
    /// Bytes of the replies of an EXEC so far.
    replied: usize,
    /// CLIENT PAUSE: until when, and whether reading commands wait too.
    paused: Option<(Millis, bool)>,
}

impl Engine {
    /// An engine over the rows of `batch`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new(batch: &mut Batch<'_>, mut config: Config, seed: u64, now: Millis) -> storage::Result<Engine> {
        config.jobs = config.jobs.started(batch, now)?;
        let seal = Seal::new(config.system.secret, &mut fastrand::Rng::with_seed(seed));
        let facts = crate::command::Facts { started: now, last_save: now, ..Default::default() };
        let server = Server {
            config,
            keyspaces: keyspaces::load(batch)?,
            tuning: Tuning::default(),
            settings: Settings::default(),
            held: None,
            facts,
            refusal: None,
            backups: crate::command::backups::Backups::default(),
            compactions: crate::command::compactions::Compactions::default(),
            save_requested: false,
            reported: Reported::default(),
            has_webhooks: JobsView { rows: batch, now }.has_webhooks()?,
            shutdown: Shutdown::No,
            channels: Channels::default(),
            messages: Messages::default(),
            watches: Watches::default(),
            cursors: Cursors::default(),
            seal,
            statistics: Statistics::default(),
            indexing: VecDeque::new(),
            monitors: BTreeSet::new(),
            revoked: Vec::new(),
            sends: Sends::ALL,
        };
        Ok(Engine {
            sessions: HashMap::new(),
            own: None,
            server,
            waiters: Waiters::default(),
            touched: Touched::default(),
            random: fastrand::Rng::with_seed(seed),
            ready: VecDeque::new(),
            outputs: Vec::new(),
            shown: Messages::default(),
            heavy: Vec::new(),
            reading: Arc::default(),
            background: background::Background::default(),
            refusals: audit::Refusals::default(),
            key_expires: None,
            in_transaction: false,
            replied: 0,
            paused: None,
        })
    }

    /// Takes one input and runs what it brings.
    ///
    /// # Errors
    /// When the store fails: nothing may be acknowledged any more.
    pub fn take(&mut self, batch: &mut Batch<'_>, input: Input, now: Millis) -> storage::Result<()> {
        match input {
            Input::Open(session) => self.open(batch, *session, now)?,
            Input::Unit(unit) => {
                if let Some(session) = self.sessions.get_mut(&unit.conn) {
                    session.jobs.heard = now;
                }
                self.ready.push_back(unit);
            }
            Input::Resume(mut read, reply) => {
                self.answer(&mut read.unit, &reply);
                self.note_heavy(&read, &reply, now);
                self.show_commands(Some(&mut read.unit));
                self.ready.push_back(read.unit);
            }
            Input::Interrupt(conn) => {
                if let Some(parked) = self.waiters.take_yielding(conn) {
                    self.unpark(parked);
                }
            }
            Input::Changed(number, outcome) => {
                self.settings_changed(batch, number, outcome, now)?;
            }
            Input::Close(conn) => {
                self.waiters.take(conn);
                self.server.watches.clear(conn);
                self.server.channels.leave(conn);
                self.server.monitors.remove(&conn);
                self.sessions.remove(&conn);
                self.own = self.own.filter(|own| *own != conn);
            }
        }
        self.run_ready(batch, now)
    }

    /// Gives up on parked commands whose time has come, and does a slice of background work if that `may_work`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn tick(&mut self, batch: &mut Batch<'_>, now: Millis, may_work: bool) -> storage::Result<()> {
        while let Some(parked) = self.waiters.take_expired(now) {
            self.unpark(parked);
        }
        self.end_expired(now);
        if may_work {
            self.tell_counted_refusals_if_due(batch, now)?;
        }
        let worked = may_work && self.try_background(batch, now)?;
        self.wake(batch, now)?;
        self.run_ready(batch, now)?;
        self.end_drain_if_due(batch, now)?;
        if may_work {
            self.plan_background(batch, worked, now)?;
        } else {
            self.background.plan_anew();
        }
        self.show_commands(None);
        Ok(())
    }

    /// When [`Engine::tick`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let indexes = !self.server.indexing.is_empty() && self.server.refusal.is_none();
        let indexing = indexes.then_some(Millis(0));
        let access = [self.key_expires, self.next_audit()].into_iter().flatten().min();
        let drain = self.drain_deadline();
        [self.waiters.next_deadline(), self.background.next(), indexing, access, drain].into_iter().flatten().min()
    }

    /// The clock was set forwards: nobody was late by that much, so leases have a full one of grace, as after a start.
    ///
    /// # Errors
    /// When the store fails.
    pub fn clock_stepped(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        self.server.config.jobs = self.server.config.jobs.started(batch, now)?;
        Ok(())
    }

    /// The operator chose other settings: they hold from the next command on.
    pub fn reconfigure(&mut self, settings: Changeable) {
        self.server.config.change(settings);
        self.background.plan_anew();
    }

    /// Chooses how many bytes a client may be sent at once.
    pub fn bound(&mut self, sends: Sends) {
        self.server.sends = sends;
        self.server.messages.set_most(sends.messages, sends.all_messages);
        self.shown.set_most(sends.messages, sends.all_messages);
    }

    /// What is to be written since the last call, in this order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.server.messages.release();
        std::mem::take(&mut self.outputs)
    }

    /// The heavy reads that came up since the last call; the batch should end with one.
    pub fn take_heavy(&mut self) -> Vec<HeavyRead> {
        let mut heavy = std::mem::take(&mut self.heavy);
        for read in &mut heavy {
            // The database may have been flushed after the read came, in the same batch.
            (read.keyspace, _) = self.selected(read.unit.conn);
        }
        heavy
    }

    /// True when a heavy read waits for a snapshot.
    #[must_use]
    pub fn has_heavy(&self) -> bool {
        !self.heavy.is_empty()
    }

    /// What commands know of the server, for the core loop to refresh and to read requests from.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Wait {
    /// The same wait after another vain attempt: the first deadline and answer stand.
    fn renewed(self, again: Wait) -> Wait {
        Wait { on: again.on, drained: again.drained, ..self }
    }
}
