//! What a command function is given.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use agq_resp::{Protocol, Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::backups::Backups;
use crate::command::compactions::Compactions;
use crate::command::cursors::Cursors;
use crate::command::warnings::Warning;
use crate::command::{
    Channels, Halt, Held, Messages, ReadContext, Seal, Session, Settings, Shutdown, Statistics, Tuning, Watches,
    WebhookRules,
};
use crate::data::keyspaces::DATABASES;
use crate::data::{Edit, Keyspace, Touch, Touched, View};
use crate::jobs::{self, Id, Jobs, Reported};
use crate::storage::{Batch, Refusal, Stats};

/// What the operator chose.
#[derive(Clone)]
pub struct Config {
    /// The session key; `None` asks for none.
    pub key: Option<Arc<str>>,
    /// Names and values that CONFIG GET shows.
    pub parameters: Vec<(String, String)>,
    /// Most milliseconds between two sweeps of expired keys.
    pub sweep_interval_ms: u64,
    /// Leases, heartbeats, output; the engine adds the grace that leases have after its start.
    pub jobs: jobs::Settings,
    /// What the system is asked for.
    pub system: System,
    /// Where webhooks may be sent.
    pub webhooks: WebhookRules,
}

/// What of a [`Config`] may change while the server runs.
#[derive(Clone)]
pub struct Changeable {
    /// Names and values that CONFIG GET shows.
    pub parameters: Vec<(String, String)>,
    /// Most milliseconds between two sweeps of expired keys.
    pub sweep_interval_ms: u64,
    /// Leases, heartbeats, output.
    pub jobs: jobs::Settings,
    /// Where webhooks may be sent.
    pub webhooks: WebhookRules,
}

impl Config {
    /// Takes other settings. The grace that leases have after the start stays.
    pub fn change(&mut self, settings: Changeable) {
        let Changeable { parameters, sweep_interval_ms, jobs, webhooks } = settings;
        let (grace_until, grace_claims) = (self.jobs.grace_until, self.jobs.grace_claims);
        self.parameters = parameters;
        self.sweep_interval_ms = sweep_interval_ms;
        self.jobs = jobs::Settings { grace_until, grace_claims, ..jobs };
        self.webhooks = webhooks;
    }
}

/// What commands and their measuring ask of the system; changes no data.
#[derive(Clone, Copy)]
pub struct System {
    /// Nanoseconds since some moment; never goes back.
    pub nanos: fn() -> u64,
    /// Fills the bytes with randomness fit for secrets; false when there is none.
    pub secret: fn(&mut [u8]) -> bool,
}

impl System {
    /// Knows no time and no secrets: every run of it is the same.
    pub const NONE: System = System { nanos: || 0, secret: |_| false };
}

/// Tells what is held for the connection of a number.
pub type HeldOf = Box<dyn Fn(u64) -> Held>;

/// What commands know and change of the server itself.
pub struct Server {
    /// What the operator chose.
    pub config: Config,
    /// The keyspace of each database.
    pub keyspaces: [Keyspace; DATABASES],
    /// What CONFIG SET changes.
    pub tuning: Tuning,
    /// What is held for a connection outside of the engine, for CLIENT LIST; `None` where nobody can tell.
    pub held: Option<HeldOf>,
    /// Changes of settings that CONFIG SET asks for.
    pub settings: Settings,
    /// Facts for INFO and the like, refreshed by the core loop.
    pub facts: Facts,
    /// Why no command that adds data may run now, or none that writes at all, and what helps; `None` when all may.
    pub refusal: Option<Refusal>,
    /// Backups, and who asked for one.
    pub backups: Backups,
    /// Compactions, and who asked for one.
    pub compactions: Compactions,
    /// Set by SAVE: a checkpoint is made before the batch's replies leave.
    pub save_requested: bool,
    /// Jobs that were reported through lists.
    pub reported: Reported,
    /// There may be webhooks: somebody has to make their deliveries.
    pub has_webhooks: bool,
    /// Whether and how the server comes to its end.
    pub shutdown: Shutdown,
    /// Who is subscribed to what.
    pub channels: Channels,
    /// Messages that the running command sent, oldest first.
    pub messages: Messages,
    /// What connections watch.
    pub watches: Watches,
    /// Where SCANs stand.
    pub cursors: Cursors,
    /// Seals cursors that are to say nothing, until the server ends.
    pub seal: Seal,
    /// How commands did.
    pub statistics: Statistics,
    /// Sorted sets whose index of ranks is being made.
    pub indexing: VecDeque<(Keyspace, Bytes)>,
    /// Connections that watch every command.
    pub monitors: BTreeSet<u64>,
    /// Keys that the running command revoked: their connections end with it.
    pub revoked: Vec<Id>,
    /// How much a client may be sent.
    pub sends: Sends,
}

impl Server {
    /// True when nothing may be written, not even by what frees space.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.everything)
    }
}

/// How many bytes a client may be sent at once.
#[derive(Debug, Clone, Copy)]
pub struct Sends {
    /// In one reply: a command whose reply would be larger is refused.
    pub reply: usize,
    /// In messages that are on their way: a subscriber who would get more is ended.
    pub messages: usize,
    /// In messages that are on their way to all: whoever would get more is ended.
    pub all_messages: usize,
}

impl Sends {
    /// As much as there is.
    pub const ALL: Sends = Sends { reply: usize::MAX, messages: usize::MAX, all_messages: usize::MAX };
}

/// Facts that the engine cannot know by itself.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// When the server started.
    pub started: Millis,
    /// Connections open now.
    pub clients: usize,
    /// Commands parked now.
    pub blocked: usize,
    /// Connections accepted since the start.
    pub connections_received: u64,
    /// Commands run since the start.
    pub commands_processed: u64,
    /// When the last backup was done, or SAVE was asked for last.
    pub last_save: Millis,
    /// What became of clients that asked too much.
    pub endings: Endings,
    /// The store's figures.
    pub storage: Option<Stats>,
    /// What the operating system knows of the process, where it tells.
    pub process: Option<ProcessFacts>,
    /// While the server drains: jobs that run.
    pub drain_waits_for: u64,
    /// What an operator is warned of.
    pub warnings: Vec<Warning>,
    /// There is less room left than `--disk-warning`.
    pub disk_is_low: bool,
    /// There is no room left but what was deleted, if that.
    pub disk_is_full: bool,
}

/// How often the server refused or ended connections since its start, and why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Endings {
    /// Refused: there were as many as may be.
    pub refused: u64,
    /// Ended: no key came in time.
    pub auth_timeouts: u64,
    /// Ended: half a request came, and the rest not in time.
    pub request_timeouts: u64,
    /// Ended: nothing came.
    pub idle_timeouts: u64,
    /// Ended: nothing of what waited was taken.
    pub write_timeouts: u64,
    /// Ended: too much waited to be taken.
    pub output: u64,
    /// Ended: all clients held too much, and this one most.
    pub evicted: u64,
    /// Wrong keys that were given.
    pub wrong_keys: u64,
    /// Bytes that all clients hold now.
    pub memory: usize,
}

/// What the operating system knows of the process, not older than a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    /// The process's number.
    pub id: u32,
    /// Bytes of memory in use.
    pub resident_bytes: u64,
    /// Processor time used by the program itself.
    pub cpu_user_ms: u64,
    /// Processor time used by the operating system for it.
    pub cpu_system_ms: u64,
}

/// What a parked command waits for.
#[derive(Debug)]
pub struct Wait {
    /// The command runs again when one of these is touched.
    pub on: Vec<Touch>,
    /// When it gives up; `None` never.
    pub deadline: Option<Millis>,
    /// What it answers then.
    pub timeout_reply: Reply,
    /// True when nobody else who waits for the same things would get anything now either: others behind it need not
    /// be tried.
    pub drained: bool,
    /// True for a list claim of a multiplexing worker: when another command of its connection comes, it gives up.
    pub yields: bool,
}

/// What a command that changes something is given.
pub struct Context<'a, 'txn> {
    /// The open batch.
    pub batch: &'a mut Batch<'txn>,
    /// What the command changed, for parked commands.
    pub touched: &'a mut Touched,
    /// The connection.
    pub session: &'a mut Session,
    /// The server.
    pub server: &'a mut Server,
    /// Randomness, seeded by the core loop.
    pub random: &'a mut fastrand::Rng,
    /// A random number, another one for each command, for what only reads.
    pub seed: u64,
    /// The batch's time.
    pub now: Millis,
    /// True when the connection has sent another command behind this one.
    pub more_behind: bool,
    /// True within an EXEC: nothing waits, and nothing is read elsewhere.
    pub in_transaction: bool,
    /// For a command that was parked and is tried again: what was touched. A key of another type is then passed over, as
    /// Redis serves a waiting command from keys of its own type alone.
    pub woken_by: Option<&'a Touch>,
}

impl<'txn> Context<'_, 'txn> {
    /// The keyspace of the selected database.
    #[must_use]
    pub fn keyspace(&self) -> Keyspace {
        self.server.keyspaces[usize::from(self.session.database)]
    }

    /// The selected database, to be read.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { rows: self.batch, keyspace: self.keyspace(), now: self.now }
    }

    /// Database 0, where domain names are views, to be read.
    #[must_use]
    pub fn database_0(&self) -> View<'_> {
        View { rows: self.batch, keyspace: self.server.keyspaces[0], now: self.now }
    }

    /// The selected database, to be changed.
    pub fn edit(&mut self) -> Edit<'_, 'txn> {
        let keyspace = self.keyspace();
        Edit { batch: self.batch, keyspace, now: self.now, touched: self.touched }
    }

    /// Whether a blocking pop should look at a key: the first time at every key; when it is woken, only at the one that
    /// was touched, so that of several keys the one that was written first serves it, as in Redis.
    #[must_use]
    pub fn may_be_served_by(&self, name: &[u8]) -> bool {
        match self.woken_by {
            Some(Touch::Key(_, touched)) => touched == name,
            _ => true,
        }
    }

    /// Parks a blocking pop until one of the keys among the arguments `places` is touched.
    #[must_use]
    pub fn wait_for_keys(
        &self,
        request: &Request,
        places: std::ops::Range<usize>,
        deadline: Option<Millis>,
        drained: bool,
    ) -> Halt {
        let key = |place| Touch::Key(self.keyspace(), Bytes::copy_from_slice(request.arg(place)));
        Halt::Block(Wait {
            on: places.map(key).collect(),
            deadline,
            timeout_reply: Reply::NullArray,
            drained,
            yields: false,
        })
    }

    /// The jobs, to be changed.
    pub fn jobs(&mut self) -> Jobs<'_, 'txn> {
        let (mut settings, database_0) = (self.server.config.jobs, self.server.keyspaces[0]);
        settings.grants_nothing = self.server.shutdown.grants_nothing();
        let access_key = self.session.access.as_ref().map(|key| &key.name);
        Jobs {
            batch: self.batch,
            now: self.now,
            touched: self.touched,
            random: self.random,
            settings,
            database_0,
            access_key,
        }
    }

    /// What a reading command of the same connection is given.
    #[must_use]
    pub fn reading(&self) -> ReadContext<'_> {
        ReadContext {
            view: self.view(),
            protocol: self.session.protocol,
            seed: self.seed,
            access: self.session.access.as_deref(),
            seal: self.server.seal,
        }
    }

    /// True when the connection speaks RESP3.
    #[must_use]
    pub fn is_resp3(&self) -> bool {
        self.session.protocol == Protocol::Resp3
    }
}
