//! Tenants: what a key has in a queue. The keys with pending jobs take turns, one job each, so that one with a million
//! jobs does not hold up another with one; and a key whose running jobs have reached their limit stands aside.
//!
//! - `job_index` (`k`, queue, key) → the tenant's row
//! - `job_index` (`t`, queue, lane, turn) → key: who is next; a key stands there once for each lane in which it has
//!   pending jobs, unless it has reached its limit

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::Touch;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::Result;
use crate::jobs::job::{Job, Status};
use crate::jobs::lanes::Lane;
use crate::jobs::rows::{tenant_key, turn_key};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Table, tables};

const VERSION: u8 = 1;

/// A tenant's pending jobs of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) lane: Lane,
    pub(super) pending: u64,
    /// Where the tenant stands in the lane's row of keys; 0 while it stands aside.
    pub(super) turn: u64,
}

/// What a key has in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tenant {
    pub(super) running: u64,
    pub(super) shares: Vec<Share>,
}

impl Tenant {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.number(self.running);
        out.number(self.shares.len() as u64);
        for share in &self.shares {
            share.lane.write(&mut out);
            out.number(share.pending);
            out.number(share.turn);
        }
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Tenant> {
        let mut from = Reader::new(Table::JobIndex, row, VERSION)?;
        let mut tenant = Tenant { running: from.number()?, shares: Vec::new() };
        for _ in 0..from.number()? {
            let lane = Lane::read(&mut from)?;
            tenant.shares.push(Share { lane, pending: from.number()?, turn: from.number()? });
        }
        from.finish()?;
        Ok(tenant)
    }

    /// A job comes (`1`) or goes (`-1`) as what its status says.
    pub(super) fn shift(&mut self, job: &Job, change: i64) -> storage::Result<()> {
        let count = match job.status {
            Status::Running => &mut self.running,
            Status::Pending => {
                let lane = Lane::of(job);
                let place = match self.shares.binary_search_by_key(&lane, |share| share.lane) {
                    Ok(place) => place,
                    Err(place) => {
                        self.shares.insert(place, Share { lane, pending: 0, turn: 0 });
                        place
                    }
                };
                &mut self.shares[place].pending
            }
            _ => return Ok(()),
        };
        *count = count.checked_add_signed(change).ok_or_else(|| {
            storage::Error::corrupt(
                Table::JobIndex,
                format!("a key's jobs in queue '{}' would be below zero", job.queue),
            )
        })?;
        Ok(())
    }
}

impl JobsView<'_> {
    /// Every key that has pending or running jobs in a queue.
    pub(super) fn tenants(&self, queue: &Id) -> storage::Result<Vec<(String, Tenant)>> {
        let prefix = tenant_key(queue, "");
        let end = tables::prefix_end(&prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut tenants = Vec::new();
        self.rows.scan(Table::JobIndex, Bound::Included(&prefix), end, false, &mut |row, value| {
            let key = String::from_utf8_lossy(&row[prefix.len()..]).into_owned();
            tenants.push(Tenant::decode(&Bytes::copy_from_slice(value)).map(|tenant| (key, tenant)));
            ControlFlow::Continue(())
        })?;
        tenants.into_iter().collect()
    }

    /// What a key has in a queue.
    pub(super) fn tenant(&self, queue: &Id, key: &str) -> storage::Result<Tenant> {
        let row = self.rows.get(Table::JobIndex, &tenant_key(queue, key))?;
        Ok(row.as_ref().map(Tenant::decode).transpose()?.unwrap_or_default())
    }
}

impl Jobs<'_, '_> {
    /// Counts a job's change in what its key has in a queue. A key that got a job takes its next turn behind all others.
    pub(super) fn count_tenant(
        &mut self,
        queue: &Id,
        (old, new): (Option<&Job>, Option<&Job>),
        limit: Option<u64>,
    ) -> Result<()> {
        let Some(key) = old.or(new).and_then(|job| job.key.clone()) else { return Ok(()) };
        let mut tenant = self.view().tenant(queue, &key)?;
        let before = tenant.clone();
        if let Some(old) = old {
            tenant.shift(old, -1)?;
        }
        if let Some(new) = new {
            tenant.shift(new, 1)?;
        }
        let served = (tenant.running > before.running).then(|| old.map(Lane::of)).flatten();
        self.place_tenant(queue, &key, &before, tenant, (served, limit))
    }

    /// Puts a tenant where its counts and the limit say that it stands, behind all others in the lane that it was
    /// `served` from.
    pub(super) fn place_tenant(
        &mut self,
        queue: &Id,
        key: &str,
        before: &Tenant,
        mut tenant: Tenant,
        (served, limit): (Option<Lane>, Option<u64>),
    ) -> Result<()> {
        let stands_aside = limit.is_some_and(|limit| tenant.running >= limit);
        let mut came_back = false;
        for share in &mut tenant.shares {
            let wanted = share.pending > 0 && !stands_aside;
            let goes_on = share.turn != 0 && served != Some(share.lane);
            if share.turn != 0 && !(wanted && goes_on) {
                self.batch.remove(Table::JobIndex, turn_key(queue, share.lane, share.turn))?;
                share.turn = 0;
            }
            if wanted && share.turn == 0 {
                share.turn = self.next_number()?;
                let row = turn_key(queue, share.lane, share.turn);
                self.batch.put(Table::JobIndex, row, Bytes::copy_from_slice(key.as_bytes()))?;
                came_back = true;
            }
        }
        tenant.shares.retain(|share| share.pending > 0);
        if came_back {
            self.touched.add(|| Touch::Queue(Bytes::copy_from_slice(queue.as_bytes())));
        }
        let row = tenant_key(queue, key);
        if tenant == Tenant::default() {
            if *before != tenant {
                self.batch.remove(Table::JobIndex, row)?;
            }
        } else if *before != tenant {
            self.batch.put(Table::JobIndex, row, tenant.encode())?;
        }
        Ok(())
    }
}
