//! Reads that would hold up the core: they run on a snapshot, on another thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use agq_resp::{Protocol, Reply, Request};

use crate::access::AccessKey;
use crate::clock::Millis;
use crate::command::{Halt, Outcome, ReadContext, Seal};
use crate::data::{Keyspace, View};
use crate::engine::Unit;
use crate::engine::execute::too_large;
use crate::storage::{self, Allowance, Allowed, Rows, Share};

/// A read that is to run on a snapshot taken after this batch.
pub struct HeavyRead {
    /// The unit it stands in, with what follows it.
    pub unit: Unit,
    pub(super) request: Request,
    pub(super) run: fn(&ReadContext<'_>, &Request) -> Outcome,
    pub(super) keyspace: Keyspace,
    pub(super) now: Millis,
    pub(super) protocol: Protocol,
    pub(super) access: Option<Arc<AccessKey>>,
    pub(super) seed: u64,
    pub(super) seal: Seal,
    pub(super) nanos: fn() -> u64,
    /// Bytes that its reply may take.
    pub(super) most: usize,
    /// What it collects counts among all that are read, until it is answered.
    pub(super) share: Share,
    /// Nanoseconds that it ran.
    pub(super) took: u64,
}

impl HeavyRead {
    /// Runs the command on a snapshot.
    ///
    /// # Errors
    /// When the store fails.
    pub fn run(&mut self, rows: &dyn Rows) -> storage::Result<Reply> {
        let began = (self.nanos)();
        let reply = self.read(rows);
        self.took = (self.nanos)() - began;
        reply
    }

    fn read(&self, rows: &dyn Rows) -> storage::Result<Reply> {
        let rows = Allowed { rows, allowance: Allowance::new(self.most, self.most), share: &self.share };
        let view = View { rows: &rows, keyspace: self.keyspace, now: self.now };
        let ctx = ReadContext {
            view,
            protocol: self.protocol,
            seed: self.seed,
            access: self.access.as_deref(),
            seal: self.seal,
        };
        match catch_unwind(AssertUnwindSafe(|| (self.run)(&ctx, &self.request))) {
            Ok(Ok(reply)) if reply.size() > self.most => Ok(too_large(rows.allowance.refusal())),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Halt::Error(error))) => Ok(error.reply()),
            Ok(Err(Halt::Block(wait) | Halt::KeepAndBlock(wait))) => Ok(wait.timeout_reply),
            // No reading command ends so.
            Ok(Err(Halt::Execute(_) | Halt::Several(_) | Halt::Heavy(_) | Halt::Ask(_))) => Ok(Reply::Null),
            Ok(Err(Halt::Fatal(error))) => Err(error),
            Err(_panic) => Ok(panicked(&String::from_utf8_lossy(self.request.arg(0)))),
        }
    }
}

/// The answer to a command that panicked.
pub(super) fn panicked(command: &str) -> Reply {
    tracing::error!(command, "a command panicked; it was taken back");
    Reply::error(format!("ERR internal error in '{command}': nothing was changed, please report it"))
}
