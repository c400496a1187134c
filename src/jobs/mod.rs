//! Jobs: plans, jobs, actions, queues and workers over rows, and every rule of their lives.
//!
//! Typed functions, split by verb; no RESP, no clock, no redb. A [`JobsView`] reads the one domain that there is,
//! whatever database a connection has selected; a [`Jobs`] changes it within the open batch. What a job may become,
//! and which rows follow from its state, is decided in one place: [`state`].

pub mod actions;
mod after;
mod backoff;
mod body;
pub mod browse;
pub mod bulk;
mod cancel;
pub mod check;
pub mod checkpoint;
mod claim;
pub(crate) mod codec;
mod connection;
mod control;
pub mod cron;
mod definition;
pub mod deliveries;
mod endings;
pub mod error;
pub mod events;
mod expand;
mod firing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod ids;
mod incarnation;
pub mod job;
mod job_row;
pub mod json;
mod lanes;
pub mod limits;
mod list;
mod log;
pub mod names;
pub mod output;
pub mod plan;
pub mod plan_store;
mod queue;
mod repeats;
pub mod report;
mod retention;
mod rows;
pub mod schedules;
pub mod show;
pub mod show_feed;
mod stamps;
mod state;
pub mod submit;
mod task_order;
pub mod template;
mod tenants;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod ticks;
pub mod time;
pub mod timers;
pub mod transfer;
pub mod update;
pub mod url;
pub mod webhooks;
pub mod workers;

use crate::clock::Millis;
use crate::data::{Keyspace, Touched};
use crate::storage::{Batch, Rows};

pub use claim::Claim;
pub use connection::{Connection, Reported};
pub use definition::Definition;
pub use error::{Error, Result};
pub use ids::Id;
pub use incarnation::{begin_incarnation, refuse_old_claims};
pub use job::{Job, Status, Work};
pub use lanes::Takes;
pub use limits::{Limits, Rate};
pub use list::{Filter, LONGEST_CURSOR, Page, Shows, from_hex};
pub use log::{Log, LogCursor};
pub use output::Stream;
pub use queue::{Counts, PRIVATE_PREFIX, Queue, queue_name};
pub use state::{TRANSITIONS, Transition};
pub use submit::Submit;
pub use terms::MAX_DELAY_MS;
pub use update::Update;

/// What the operator chose for jobs; does not change while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a lease lasts unless the claim says otherwise.
    pub lease_ms: u64,
    /// How often workers are to be heard.
    pub heartbeat_ms: u64,
    /// The most bytes kept of one output stream of a job.
    pub max_output: u64,
    /// How long a connection of the list contract may be silent and yet keep the lease of its claim.
    pub list_claim_silence_ms: u64,
    /// A pending job counts as one priority higher for each time that it has waited so long; 0: never.
    pub ageing_ms: u64,
    /// Until this moment no lease runs out: one full lease after a start, so that live workers can reconnect.
    pub grace_until: Millis,
    /// That holds for the leases of claims up to this number, those that were there at the start.
    pub grace_claims: u64,
    /// A claim finds nothing: the server comes to its end.
    pub grants_nothing: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            lease_ms: 30_000,
            heartbeat_ms: 10_000,
            max_output: 16 << 20,
            list_claim_silence_ms: 600_000,
            ageing_ms: 300_000,
            grace_until: Millis(0),
            grace_claims: 0,
            grants_nothing: false,
        }
    }
}

/// The shortest lease.
pub const MIN_LEASE_MS: u64 = 1_000;
/// The longest lease.
pub const MAX_LEASE_MS: u64 = 12 * 3_600_000;
/// The most bytes of a payload, an input, a meta or a result.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// The domain as of one moment.
#[derive(Clone, Copy)]
pub struct JobsView<'a> {
    /// The rows to read.
    pub rows: &'a dyn Rows,
    /// The moment.
    pub now: Millis,
}

/// The domain, to be changed within the open batch.
pub struct Jobs<'a, 'txn> {
    /// The open batch.
    pub batch: &'a mut Batch<'txn>,
    /// The batch's time.
    pub now: Millis,
    /// What was changed, for parked commands.
    pub touched: &'a mut Touched,
    /// Randomness, seeded by the core loop.
    pub random: &'a mut fastrand::Rng,
    /// What the operator chose.
    pub settings: Settings,
    /// The keyspace of database 0, where domain names are views: an ordinary key there keeps its name.
    pub database_0: Keyspace,
    /// The access key that changes are made with; `None` for who may do everything.
    pub access_key: Option<&'a Id>,
}

impl Jobs<'_, '_> {
    /// The same domain, to be read.
    #[must_use]
    pub fn view(&self) -> JobsView<'_> {
        JobsView { rows: self.batch, now: self.now }
    }

    /// True when something of another queue may be named to who has a right to `queue`: only to who may do everything.
    fn tells_of(&self, queue: &Id, other: Option<&Id>) -> bool {
        self.access_key.is_none() || other == Some(queue)
    }
}
