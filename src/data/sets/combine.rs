//! What several sets have in common, together, or not in common.

use std::collections::HashSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::data::sets::Set;
use crate::data::{Result, View};
use crate::storage::{self, Rows};

/// How sets are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// The members of all of them.
    Intersection,
    /// The members of any of them.
    Union,
    /// The members of the first that are in none of the others.
    Difference,
}

/// A set that members are looked up in: row by row, or, when it is the smaller one, all of it in memory.
enum Lookup<'a> {
    Stored(&'a Set),
    Loaded(HashSet<Bytes>),
}

impl Lookup<'_> {
    fn has(&self, rows: &dyn Rows, member: &[u8]) -> storage::Result<bool> {
        match self {
            Lookup::Stored(set) => set.has(rows, member),
            Lookup::Loaded(members) => Ok(members.contains(member)),
        }
    }
}

impl View<'_> {
    /// The sets of some keys, `None` for a key that does not exist.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when a key holds another type.
    pub fn sets<'n>(&self, names: impl IntoIterator<Item = &'n [u8]>) -> Result<Vec<Option<Set>>> {
        names.into_iter().map(|name| self.set(name)).collect()
    }

    /// The members of a combination, up to `limit` of them.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_combine(&self, how: Combination, sets: &[Option<Set>], limit: u64) -> Result<Vec<Bytes>> {
        match how {
            Combination::Union => self.union(sets, limit),
            Combination::Intersection => {
                let Some(mut sets) = sets.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
                    return Ok(Vec::new());
                };
                sets.sort_by_key(|set| set.len());
                self.filter(sets, true, limit)
            }
            Combination::Difference => match sets.split_first() {
                Some((Some(first), others)) => {
                    self.filter([first].into_iter().chain(others.iter().flatten()).collect(), false, limit)
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    fn union(&self, sets: &[Option<Set>], limit: u64) -> Result<Vec<Bytes>> {
        let (mut seen, mut found, mut failed) = (HashSet::new(), Vec::new(), None);
        for set in sets.iter().flatten() {
            set.walk(self.rows, 0, &mut |_, member| {
                if found.len() as u64 >= limit {
                    return ControlFlow::Break(());
                }
                if !seen.contains(member) {
                    if let Err(error) = self.rows.collect(member.len()) {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                    let member = Bytes::copy_from_slice(member);
                    seen.insert(member.clone());
                    found.push(member);
                }
                ControlFlow::Continue(())
            })?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok(found)
    }

    /// The members of the first set that are in each of the others (`wanted`) or in none.
    fn filter(&self, sets: Vec<&Set>, wanted: bool, limit: u64) -> Result<Vec<Bytes>> {
        let mut found = Vec::new();
        let Some((first, others)) = sets.split_first() else { return Ok(found) };
        let mut lookups = Vec::with_capacity(others.len());
        for other in others {
            lookups.push(if other.len() < first.len() {
                Lookup::Loaded(self.working(|view| view.set_members(other))?.into_iter().collect())
            } else {
                Lookup::Stored(other)
            });
        }
        let mut failed = None;
        first.walk(self.rows, 0, &mut |_, member| {
            if found.len() as u64 >= limit {
                return ControlFlow::Break(());
            }
            for lookup in &lookups {
                match lookup.has(self.rows, member) {
                    Ok(has) if has == wanted => {}
                    Ok(_) => return ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            if let Err(error) = self.rows.collect(member.len()) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            found.push(Bytes::copy_from_slice(member));
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(found), |error| Err(error.into()))
    }
}
