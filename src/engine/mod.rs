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
mod measure;
mod messages;
#[cfg(test)]
mod model_tests;
pub mod sim;
#[cfg(test)]
mod tests;
mod transaction;
mod waiters;
mod wake;

use std::collections::{BTreeSet, HashMap, VecDeque};

use agq_resp::{Reply, Request};
use bytes::BytesMut;

use crate::clock::Millis;
use crate::command::cursors::Cursors;
use crate::command::{
    Changeable, Channels, Command, CommandError, Config, Flags, Message, NotSet, Replies, Server, Session, Settings,
    Shutdown, Statistics, Transaction, Tuning, Wait, Watches, lookup,
};
use crate::data::{Keyspace, Touched, keyspaces};
use crate::jobs::{JobsView, Reported};
use crate::storage::{self, Batch};
use dispatch::Step;
use waiters::{Parked, Waiters};

pub use heavy::HeavyRead;

/// A unit whose replies pass this many bytes ends early: the rest runs once the client has taken them.
const REPLY_BYTES: usize = 1 << 20;

/// A unit in a batch of so many rows or bytes ends early too: its rest comes with a later batch, so that one pipeline
/// does not hold up everybody for as long as all of it takes, nor fill the memory.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 16 << 20;

/// The number of a connection.
pub type ConnId = u64;

/// What the core loop hands in.
pub enum Input {
    /// A connection was accepted.
    Open(Box<Session>),
    /// Commands of a connection, in order.
    Unit(Unit),
    /// The connection sent something while a command of it is parked.
    Interrupt(ConnId),
    /// A heavy read ended on its helper thread.
    Resume(Box<HeavyRead>, Reply),
    /// What became of a change of settings that [`Settings`] asked for.
    Changed(u64, Result<(), NotSet>),
    /// The connection is gone.
    Close(ConnId),
}

impl Input {
    /// True when it may change data, so that it has to wait while the log takes no more.
    #[must_use]
    pub fn writes(&self) -> bool {
        let unit = match self {
            Input::Unit(unit) => unit,
            Input::Resume(read, _) => &read.unit,
            Input::Open(_) | Input::Interrupt(_) | Input::Changed(..) | Input::Close(_) => return false,
        };
        unit.requests.iter().any(|request| {
            lookup(request.arg(0)).is_some_and(|command| command.flags.has(Flags::WRITE) || command.name == "EXEC")
        })
    }
}

/// A run of pipelined commands of one connection, and the replies to those that ran.
pub struct Unit {
    /// The connection.
    pub conn: ConnId,
    /// What is still to run.
    pub requests: VecDeque<Request>,
    /// An error to answer after them, which closes the connection: what followed could not be read.
    pub protocol_error: Option<String>,
    /// The encoded replies so far.
    pub out: BytesMut,
}

/// A unit that ran to its end; its replies may leave once the batch is durable.
pub struct Finished {
    /// The connection.
    pub conn: ConnId,
    /// The encoded replies.
    pub out: BytesMut,
    /// What did not run yet: the connection hands it in again after the replies.
    pub rest: VecDeque<Request>,
    /// The unit's protocol error, if it still has to be answered.
    pub protocol_error: Option<String>,
    /// Close the connection after them.
    pub closing: bool,
    /// The connection has given the key, or none is asked.
    pub authenticated: bool,
    /// It is subscribed to something, or watches commands.
    pub subscribed: bool,
    /// Wrong keys that were given in the unit; its replies are those to their commands alone.
    pub wrong_keys: u32,
    /// What tells the last of them from others.
    pub last_wrong_key: u32,
    /// Bytes that the engine keeps for the connection: what it has queued, and what it is subscribed to.
    pub kept: usize,
}

/// What connections are to be told once the batch is durable.
pub enum Output {
    /// The replies of a unit.
    Finished(Finished),
    /// Encoded messages that a connection did not ask for just now.
    Pushed(ConnId, BytesMut),
    /// A connection is to end at once.
    Killed(ConnId),
}

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
    shown: Vec<Message>,
    heavy: Vec<HeavyRead>,
    background: background::Background,
    refusals: audit::Refusals,
    /// When the first of the access keys that connections use expires, or earlier.
    key_expires: Option<Millis>,
    /// The commands that run are those of an EXEC.
    in_transaction: bool,
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
            messages: Vec::new(),
            watches: Watches::default(),
            cursors: Cursors::default(),
            statistics: Statistics::default(),
            indexing: VecDeque::new(),
            monitors: BTreeSet::new(),
            revoked: Vec::new(),
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
            shown: Vec::new(),
            heavy: Vec::new(),
            background: background::Background::default(),
            refusals: audit::Refusals::default(),
            key_expires: None,
            in_transaction: false,
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

    /// What is to be written since the last call, in this order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
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

    fn run_ready(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        while let Some(unit) = self.ready.pop_front() {
            self.run_unit(batch, unit, now)?;
        }
        Ok(())
    }

    fn run_unit(&mut self, batch: &mut Batch<'_>, mut unit: Unit, now: Millis) -> storage::Result<()> {
        while let Some(request) = unit.requests.pop_front() {
            let Some(session) = self.sessions.get(&unit.conn) else { return Ok(()) };
            if session.closing {
                break;
            }
            let step = self.run_command(batch, &unit, &request, now)?;
            self.send_messages(Some(&mut unit));
            match step {
                Step::Reply(reply) => self.answer(&mut unit, &reply),
                Step::Several(replies) => replies.iter().for_each(|reply| self.answer(&mut unit, reply)),
                Step::Ask(ask) => {
                    let reply = self.ask(unit.conn, ask, now);
                    self.answer(&mut unit, &reply);
                }
                Step::Execute(queued) => {
                    let reply = self.run_transaction(batch, &unit, &request, &queued, now)?;
                    self.answer(&mut unit, &reply);
                }
                Step::Parked(wait) => {
                    self.answer_so_far(&mut unit);
                    self.waiters.park(Parked { unit, request, wait });
                    return self.wake(batch, now);
                }
                Step::Heavy(run) => {
                    self.answer_so_far(&mut unit);
                    let (keyspace, protocol) = self.selected(unit.conn);
                    let seed = self.random.u64(..);
                    let nanos = self.server.config.system.nanos;
                    let access = self.sessions.get(&unit.conn).and_then(|session| session.access.clone());
                    let read = HeavyRead { unit, request, run, keyspace, now, protocol, access, seed, nanos, took: 0 };
                    self.heavy.push(read);
                    return Ok(());
                }
            }
            self.show_commands(Some(&mut unit));
            self.wake(batch, now)?;
            let gave_wrong_key = self.sessions.get(&unit.conn).is_some_and(|session| session.wrong_keys > 0);
            let full = batch.rows_written() >= BATCH_ROWS || batch.bytes_written() >= BATCH_BYTES;
            if full || gave_wrong_key || unit.out.len() >= REPLY_BYTES {
                break;
            }
        }
        let Some(session) = self.sessions.get_mut(&unit.conn) else { return Ok(()) };
        if unit.requests.is_empty()
            && let Some(text) = unit.protocol_error.take()
        {
            session.closing = true;
            Reply::error(text).encode(session.protocol, &mut unit.out);
        }
        let Unit { conn, requests: rest, protocol_error, out } = unit;
        let queued = session.transaction.as_ref().map_or(0, Transaction::bytes);
        let finished = Finished {
            conn,
            out,
            rest,
            protocol_error,
            closing: session.closing,
            authenticated: session.authenticated,
            subscribed: session.subscriptions > 0 || self.server.monitors.contains(&conn),
            wrong_keys: std::mem::take(&mut session.wrong_keys).into(),
            last_wrong_key: session.last_wrong_key,
            kept: queued + self.server.channels.bytes(conn),
        };
        self.outputs.push(Output::Finished(finished));
        Ok(())
    }

    fn selected(&self, conn: ConnId) -> (Keyspace, agq_resp::Protocol) {
        self.sessions.get(&conn).map_or((0, agq_resp::Protocol::Resp2), |session| {
            (self.server.keyspaces[usize::from(session.database)], session.protocol)
        })
    }

    fn answer(&mut self, unit: &mut Unit, reply: &Reply) {
        let Some(session) = self.sessions.get_mut(&unit.conn) else { return };
        if session.wrong_keys > 0 && !unit.out.is_empty() {
            // The answer to a wrong key may be held back, and nothing else with it.
            self.outputs.push(Output::Pushed(unit.conn, unit.out.split()));
        }
        match session.replies {
            Replies::Off if !matches!(reply, Reply::Push(_)) => {}
            Replies::SkipNext => session.replies = Replies::On,
            Replies::On | Replies::Off => reply.encode(session.protocol, &mut unit.out),
        }
    }

    /// Answers a parked command that gives up; what follows it runs before the batch ends.
    fn unpark(&mut self, mut parked: Parked) {
        self.answer(&mut parked.unit, &parked.wait.timeout_reply);
        self.ready.push_back(parked.unit);
    }

    fn run_command(
        &mut self,
        batch: &mut Batch<'_>,
        unit: &Unit,
        request: &Request,
        now: Millis,
    ) -> storage::Result<Step> {
        self.server.facts.commands_processed += 1;
        let Some(session) = self.sessions.get_mut(&unit.conn) else { return Ok(Step::Reply(Reply::Null)) };
        let queues = session.transaction.is_some();
        let command = match gate::admit(request, session, &self.server) {
            Ok(command) => command,
            Err(error) => {
                self.server.statistics.rejected(lookup(request.arg(0)), error.0.as_bytes());
                if gate::is_http(request) {
                    session.closing = true;
                    return Ok(Step::Several(Vec::new()));
                }
                self.fail_transaction(unit.conn);
                return Ok(Step::Reply(error.reply()));
            }
        };
        if let Some(error) = gate::permit(batch, command, request, session, &self.server, now)? {
            self.fail_transaction(unit.conn);
            return self.refuse(batch, unit.conn, command, request, &error, now).map(Step::Reply);
        }
        session.note_command(command, request);
        if queues && let Some(reply) = self.queue(unit.conn, command, request) {
            return Ok(Step::Reply(reply));
        }
        self.execute(batch, unit, command, request, now, None)
    }
}

impl Engine {
    /// Answers what a key has no permissions for.
    fn refuse(
        &mut self,
        batch: &mut Batch<'_>,
        conn: ConnId,
        command: &'static Command,
        request: &Request,
        error: &CommandError,
        now: Millis,
    ) -> storage::Result<Reply> {
        self.server.statistics.rejected(Some(command), error.0.as_bytes());
        self.audit_refusal(batch, conn, Some(request), error, now)?;
        Ok(error.reply())
    }
}

impl Wait {
    /// The same wait after another vain attempt: the first deadline and answer stand.
    fn renewed(self, again: Wait) -> Wait {
        Wait { on: again.on, drained: again.drained, ..self }
    }
}
