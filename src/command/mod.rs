//! What a client may say: one function and one table row a command.
//!
//! A row carries name, arity, flags, key positions and documentation; the gate in front of every command, COMMAND,
//! and the generated pages all read it. A function parses arguments, calls `data` or `jobs`, and builds a reply: it
//! validates everything before it changes anything. Nothing here knows redb, sockets or a runtime.

mod absent;
mod access_keys;
mod acl;
mod actions;
pub mod args;
pub mod backups;
mod bitfield;
mod bitmaps;
mod catalog;
mod channels;
mod client_list;
mod clients;
pub mod compactions;
pub(crate) mod config;
mod connection;
mod context;
mod control;
pub mod cursors;
mod databases;
mod debug;
mod dump;
mod error;
pub(crate) mod grants;
mod hashes;
mod info;
mod jobs;
mod keys;
mod latency;
mod lcs;
mod lists;
mod messages;
pub(crate) mod monitor;
mod mpop;
pub mod needs;
mod object;
mod pages;
mod plans;
pub(crate) mod pubsub;
mod queues;
mod random_elements;
mod scans;
mod schedules;
mod seals;
mod server;
mod session;
mod set_algebra;
mod sets;
mod settings;
mod shutdown;
mod slowlog;
mod sort;
pub mod statistics;
mod strings;
pub(crate) mod subcommand;
pub mod table;
mod transactions;
pub(crate) mod views;
pub mod warnings;
mod watches;
pub mod webhooks;
mod work;
mod workers;
mod zset_algebra;
mod zset_ranges;
mod zsets;

pub use channels::{Channels, Topic};
pub use client_list::{Filter, Held, Standing, line as client_line};
pub use clients::{Ask, Replies};
pub use config::{FIXED as FIXED_PARAMETERS, Tuned, Tuning};
pub use context::{Changeable, Config, Context, Endings, Facts, HeldOf, ProcessFacts, Sends, Server, System, Wait};
pub use error::{CommandError, Halt, Outcome};
pub use messages::{Excess, Message, Messages, News};
pub use needs::Needs;
pub use seals::Seal;
pub use session::{Session, Vouched};
pub use settings::{Begun, Change, NotSet, Settings};
pub use shutdown::{Drain, MAX_DRAIN_SECONDS, Shutdown};
pub use statistics::Statistics;
pub use table::{Command, Flags, Group, KeySpec, Run, lookup};
pub use transactions::Transaction;
pub use watches::Watches;
pub use webhooks::WebhookRules;

use agq_resp::Protocol;

use crate::access::{AccessKey, Role};
use crate::data::View;
use crate::jobs::{Id, JobsView};

/// The Redis whose commands, replies and errors these are.
const REDIS_VERSION: &str = "7.0.15";

/// What a reading command sees: it may run on the core thread or, when it is heavy, on a snapshot elsewhere.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    /// The database that the connection selected.
    pub view: View<'a>,
    /// How the reply will be encoded, for commands whose shape depends on it.
    pub protocol: Protocol,
    /// A random number, another one for each command: what picks at random starts from it.
    pub seed: u64,
    /// The access key of the connection; `None` for who may do everything.
    pub access: Option<&'a AccessKey>,
    /// Seals cursors that are to say nothing.
    pub seal: Seal,
}

impl<'a> ReadContext<'a> {
    /// True when jobs of a queue are shown to this connection.
    #[must_use]
    pub fn shows(&self, roles: &[Role], queue: &Id) -> bool {
        grants::shows(self.access, roles, queue)
    }

    /// True when jobs of every queue are.
    #[must_use]
    pub fn shows_all(&self, roles: &[Role]) -> bool {
        self.access.is_none_or(|key| roles.iter().any(|role| key.scopes.has_all(*role)))
    }

    /// The jobs, which are the same in every database.
    #[must_use]
    pub fn jobs(&self) -> JobsView<'a> {
        JobsView { rows: self.view.rows, now: self.view.now }
    }
}
