//! Rows that were read lately, in front of redb: a descent of its trees costs about a microsecond, a look here a tenth.
//!
//! It holds exactly what the open transaction holds: what a batch applies is written through. Only tables that are
//! read by whole keys are kept ([`is_kept`]), and of those only rows that somebody read. Two generations stand in for
//! an order of use: when the young one is full it becomes the old one, and what is read again moves back.

use std::collections::HashMap;

use bytes::Bytes;

use crate::storage::{Table, WriteSet};

/// Rows larger than this are not kept.
const MAX_ROW_BYTES: usize = 4 << 10;
/// What a row costs beside its bytes.
const ENTRY_BYTES: usize = 160;

type Generation = [HashMap<Bytes, Option<Bytes>>; Table::COUNT];

/// Rows that were read lately; `None` for those that are known to be absent.
#[derive(Debug)]
pub(super) struct RowCache {
    young: Generation,
    old: Generation,
    young_bytes: usize,
    /// Bytes of one generation.
    limit: usize,
}

fn is_kept(table: Table) -> bool {
    use Table::{Actions, Jobs, Keys, Meta, Plans, Queues, Workers, ZMembers};
    matches!(table, Meta | Keys | ZMembers | Plans | Jobs | Queues | Actions | Workers)
}

impl RowCache {
    /// A cache that holds up to about `bytes` bytes.
    pub(super) fn new(bytes: usize) -> RowCache {
        let generation = || std::array::from_fn(|_| HashMap::new());
        RowCache { young: generation(), old: generation(), young_bytes: 0, limit: bytes / 2 }
    }

    /// What is known of a row: `None` nothing, `Some(None)` that there is none.
    pub(super) fn get(&mut self, table: Table, key: &[u8]) -> Option<Option<Bytes>> {
        if !is_kept(table) {
            return None;
        }
        if let Some(row) = self.young[table as usize].get(key) {
            return Some(row.clone());
        }
        let (key, row) = self.old[table as usize].remove_entry(key)?;
        self.keep(table, key, row.clone());
        Some(row)
    }

    /// Notes what redb holds under a key.
    pub(super) fn insert(&mut self, table: Table, key: &[u8], row: Option<&Bytes>) {
        if is_kept(table) && row.is_none_or(|row| row.len() <= MAX_ROW_BYTES) {
            self.keep(table, Bytes::copy_from_slice(key), row.cloned());
        }
    }

    /// Follows what a batch applies.
    pub(super) fn apply(&mut self, rows: &WriteSet) {
        for (table, changes) in rows.iter().filter(|(table, _)| is_kept(*table)) {
            for (key, row) in changes {
                self.change(table, key, row.as_ref());
            }
        }
    }

    fn change(&mut self, table: Table, key: &[u8], row: Option<&Bytes>) {
        // A copy: the batch's bytes may be a slice of a much larger buffer.
        let copy = |row: &Bytes| Bytes::copy_from_slice(row);
        if row.is_some_and(|row| row.len() > MAX_ROW_BYTES) {
            self.young[table as usize].remove(key);
            self.old[table as usize].remove(key);
        } else if let Some(entry) = self.young[table as usize].get_mut(key) {
            let before = entry.as_ref().map_or(0, Bytes::len);
            *entry = row.map(copy);
            self.young_bytes = (self.young_bytes + row.map_or(0, Bytes::len)).saturating_sub(before);
        } else if let Some((key, _)) = self.old[table as usize].remove_entry(key) {
            self.keep(table, key, row.map(copy));
        }
    }

    fn keep(&mut self, table: Table, key: Bytes, row: Option<Bytes>) {
        self.young_bytes += ENTRY_BYTES + key.len() + row.as_ref().map_or(0, Bytes::len);
        self.young[table as usize].insert(key, row);
        if self.young_bytes > self.limit {
            self.old = std::mem::replace(&mut self.young, std::array::from_fn(|_| HashMap::new()));
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, row: Option<&str>) -> WriteSet {
        let mut rows = WriteSet::default();
        rows.insert(Table::Keys, Bytes::copy_from_slice(key.as_bytes()), row.map(|row| row.to_owned().into()));
        rows
    }

    #[test]
    fn what_was_read_follows_what_is_applied_in_both_generations() {
        let mut cache = RowCache::new(2 * 10 * ENTRY_BYTES);
        cache.insert(Table::Keys, b"a", None);
        assert_eq!(cache.get(Table::Keys, b"a"), Some(None));
        cache.apply(&set("a", Some("1")));
        assert_eq!(cache.get(Table::Keys, b"a"), Some(Some("1".into())));
        // Push it into the old generation, change it there, and read it again.
        for n in 0..9 {
            cache.insert(Table::Keys, format!("k{n}").as_bytes(), None);
        }
        assert!(!cache.young[Table::Keys as usize].contains_key(&b"a"[..]));
        cache.apply(&set("a", Some("2")));
        assert_eq!(cache.get(Table::Keys, b"a"), Some(Some("2".into())));
        cache.apply(&set("a", None));
        assert_eq!(cache.get(Table::Keys, b"a"), Some(None));
    }

    #[test]
    fn it_forgets_what_is_too_large_and_what_was_not_read() {
        let mut cache = RowCache::new(1 << 20);
        cache.apply(&set("a", Some("1")));
        assert_eq!(cache.get(Table::Keys, b"a"), None);
        cache.insert(Table::Keys, b"a", None);
        cache.apply(&set("a", Some(&"x".repeat(MAX_ROW_BYTES + 1))));
        assert_eq!(cache.get(Table::Keys, b"a"), None);
        cache.insert(Table::Lists, b"a", None);
        assert_eq!(cache.get(Table::Lists, b"a"), None);
    }

    #[test]
    fn it_stays_within_its_size() {
        let mut cache = RowCache::new(100 * ENTRY_BYTES);
        for n in 0..10_000 {
            cache.insert(Table::Keys, format!("{n}").as_bytes(), None);
        }
        assert!(cache.young[Table::Keys as usize].len() + cache.old[Table::Keys as usize].len() <= 100);
    }
}
