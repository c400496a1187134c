//! What is gathered by name over a walk, a bounded number of names at a time.
//!
//! A walk may bring any number of names in any order. Kept are the smallest; where one more would be too many, the
//! largest goes, and with it every name behind it: the next turn begins there and walks again. So each name that is
//! kept at the end was met from the beginning, and each is of one turn.

use std::collections::BTreeMap;

/// Names of a turn: with what is kept of each about 64 MiB.
pub(super) const AT_ONCE: usize = 1 << 18;

/// The names of one turn.
#[derive(Debug)]
pub(super) struct Turn<K, V> {
    /// The first name that may be of this turn.
    first: Option<K>,
    /// The first that is not; `None` while all are.
    end: Option<K>,
    kept: BTreeMap<K, V>,
    at_once: usize,
}

impl<K: Ord + Clone, V: Default> Turn<K, V> {
    /// The turn that begins with the very first name.
    pub(super) fn first(at_once: usize) -> Turn<K, V> {
        Turn { first: None, end: None, kept: BTreeMap::new(), at_once: at_once.max(1) }
    }

    /// The turn after this one, if there is one.
    pub(super) fn next(self) -> Option<Turn<K, V>> {
        let first = Some(self.end?);
        Some(Turn { first, end: None, kept: BTreeMap::new(), at_once: self.at_once })
    }

    pub(super) fn is_first(&self) -> bool {
        self.first.is_none()
    }

    /// True when the name is of this turn, as far as is known.
    pub(super) fn covers(&self, name: &K) -> bool {
        self.first.as_ref().is_none_or(|first| first <= name) && self.end.as_ref().is_none_or(|end| name < end)
    }

    /// The first name that may be of this turn, and the first that is not.
    pub(super) fn bounds(&self) -> (Option<&K>, Option<&K>) {
        (self.first.as_ref(), self.end.as_ref())
    }

    /// Changes what is kept of a name, if it is of this turn.
    pub(super) fn with<E>(&mut self, name: K, change: impl FnOnce(&mut V) -> Result<(), E>) -> Result<(), E> {
        if !self.covers(&name) {
            return Ok(());
        }
        change(self.kept.entry(name).or_default())?;
        if self.kept.len() > self.at_once {
            self.end = self.kept.pop_last().map(|(last, _)| last);
        }
        Ok(())
    }

    /// Takes what was kept of a name.
    pub(super) fn take(&mut self, name: &K) -> Option<V> {
        self.kept.remove(name)
    }

    /// What is kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = &V> {
        self.kept.values()
    }

    /// What was kept and not taken.
    pub(super) fn rest(&mut self) -> BTreeMap<K, V> {
        std::mem::take(&mut self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_counted_once_however_few_fit_into_a_turn() {
        let names = [5, 3, 9, 3, 1, 5, 7, 3, 1, 9];
        for at_once in 1..7 {
            let (mut turn, mut counted, mut turns) = (Some(Turn::<u32, u32>::first(at_once)), Vec::new(), 0);
            while let Some(mut now) = turn {
                for name in names {
                    let counted: Result<(), ()> = now.with(name, |count| {
                        *count += 1;
                        Ok(())
                    });
                    counted.unwrap();
                }
                let rest = now.rest();
                assert!(rest.len() <= at_once && rest.keys().all(|name| now.covers(name)));
                counted.extend(rest);
                turns += 1;
                turn = now.next();
            }
            assert_eq!(counted, [(1, 2), (3, 3), (5, 2), (7, 1), (9, 2)], "{at_once} at once");
            assert_eq!(turns, 5_usize.div_ceil(at_once), "{at_once} at once");
        }
    }
}
