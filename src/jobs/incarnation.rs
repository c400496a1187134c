//! Incarnations: what makes the claims of a store that was copied stale in the copy.
//!
//! A backup and what has become of its store since know other claims of the same jobs. In a store that was restored
//! every further epoch is above all that the old one can have given, and a claim that the backup holds is nobody's any
//! more: its job runs until its lease is over, as after a crash, but no worker of before may report on it.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::Touched;
use crate::data::keys::meta_number;
use crate::data::keyspaces;
use crate::jobs::job::{Reason, Status};
use crate::jobs::{Jobs, JobsView, Result, Settings};
use crate::storage::{self, Batch, Rows, Table};

pub(super) const INCARNATION: &[u8] = b"incarnation";

/// Raises the store's incarnation by one. Returns the new one.
///
/// # Errors
/// When the store fails.
pub fn begin_incarnation(batch: &mut Batch<'_>) -> storage::Result<u64> {
    let incarnation = meta_number(batch, INCARNATION)? + 1;
    batch.put(Table::Meta, Bytes::from_static(INCARNATION), incarnation.to_be_bytes().to_vec())?;
    Ok(incarnation)
}

/// Gives every job that a worker of before could report on an epoch of this incarnation: those that run, and those whose
/// lease ran out and that nobody has claimed since. Returns how many there were.
///
/// # Errors
/// When the store fails, or a row cannot be read.
pub fn refuse_old_claims(batch: &mut Batch<'_>, now: Millis) -> Result<u64> {
    let mut ids = Vec::new();
    batch.scan(Table::Jobs, Bound::Unbounded, Bound::Unbounded, false, &mut |id, _| {
        ids.push(Bytes::copy_from_slice(id));
        ControlFlow::Continue(())
    })?;
    let database_0 = keyspaces::load(batch)?[0];
    // Nobody waits for anything, and nothing is drawn.
    let (mut touched, mut random) = (Touched::default(), fastrand::Rng::with_seed(0));
    let mut raised = 0;
    for id in ids {
        let old = JobsView { rows: batch, now }.need_job(&id)?;
        let is_lost = old.status == Status::Pending && old.reason == Reason::Lost;
        if old.status != Status::Running && !is_lost {
            continue;
        }
        let settings = Settings::default();
        let mut jobs =
            Jobs { batch, now, touched: &mut touched, random: &mut random, settings, database_0, access_key: None };
        let mut job = old.clone();
        job.epoch = jobs.next_epoch(job.epoch)?;
        jobs.write(Some(&old), &job)?;
        raised += 1;
        // The rows of one job are far below what a unit may write; those of all may not be.
        batch.release();
    }
    Ok(raised)
}
