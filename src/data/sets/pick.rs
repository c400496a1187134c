//! Picking members at random.
//!
//! A random place is drawn and a short run of members behind it looked at, of which one is picked: places are spread
//! evenly, but the gaps between them are not all alike, and the run evens that out. Redis picks in the same way.

use std::collections::HashSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::data::sets::{PLACES, Set};
use crate::data::{Result, View};
use crate::storage::{self, Table};

/// Members looked at for one pick. A set of no more is picked from evenly.
const RUN: usize = 32;

impl View<'_> {
    /// A random member.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_pick(&self, set: &Set, random: &mut fastrand::Rng) -> Result<Bytes> {
        let from = if set.len() <= RUN as u64 { 0 } else { random.u64(..PLACES) };
        let mut run = self.set_run(set, from)?;
        if run.len() < RUN && from > 0 {
            // Behind the last place comes the first.
            let missing = RUN - run.len();
            run.extend(self.set_run(set, 0)?.into_iter().take(missing));
        }
        if run.is_empty() {
            return Err(storage::Error::corrupt(Table::Sets, "a set has no members").into());
        }
        let member = run.swap_remove(random.usize(..run.len()));
        self.rows.collect(member.len())?;
        Ok(member)
    }

    /// `count` random members, all different; all of them when there are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_sample(&self, set: &Set, count: u64, random: &mut fastrand::Rng) -> Result<Vec<Bytes>> {
        if count >= set.len() {
            return self.set_members(set);
        }
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        if count.saturating_mul(3) > set.len() {
            let mut members = self.set_members(set)?;
            random.shuffle(&mut members);
            members.truncate(wanted);
            return Ok(members);
        }
        let mut picked = HashSet::with_capacity(wanted);
        while picked.len() < wanted {
            picked.insert(self.set_pick(set, random)?);
        }
        Ok(picked.into_iter().collect())
    }

    fn set_run(&self, set: &Set, from: u64) -> Result<Vec<Bytes>> {
        let mut run = Vec::with_capacity(RUN);
        set.walk(self.rows, from, &mut |_, member| {
            run.push(Bytes::copy_from_slice(member));
            if run.len() == RUN { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(run)
    }
}
