//! What the core loop hands to the engine, and what it gets back.

use std::collections::VecDeque;

use agq_resp::{Reply, Request};
use bytes::BytesMut;

use crate::clock::Millis;
use crate::command::{Excess, Flags, NotSet, Session, lookup};
use crate::engine::HeavyRead;

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
    /// What became of a change of settings that [`crate::command::Settings`] asked for.
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

    /// True when a pause holds it back, of which [`crate::engine::Engine::paused`] tells.
    #[must_use]
    pub fn is_paused(&self, paused: Option<(Millis, bool)>) -> bool {
        match paused {
            Some((_, true)) => matches!(self, Input::Unit(_)),
            Some((_, false)) => self.writes(),
            None => false,
        }
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
    /// What tells the wrong key that was given from others: the unit ended there, and its reply is the one to that alone.
    pub wrong_key: Option<u32>,
    /// Bytes that the engine keeps for the connection: what it has queued, and what it is subscribed to and watches.
    pub kept: usize,
}

/// What connections are to be told once the batch is durable.
pub enum Output {
    /// The replies of a unit.
    Finished(Finished),
    /// Encoded messages that a connection did not ask for just now.
    Pushed(ConnId, BytesMut),
    /// The engine keeps so many bytes for a connection, of which a command waits.
    Keeps(ConnId, usize),
    /// A connection is to end at once: messages to it were not made, since they were too much.
    TooMuch(ConnId, Excess),
    /// A connection is to end at once.
    Killed(ConnId),
}
