//! Rows that were read lately, in front of redb: a descent of its trees costs about a microsecond, a look here a tenth.
//!
//! It holds exactly what the open transaction holds: what a batch applies is written through. Only tables that are
//! read by whole keys are kept ([`is_kept`]), and of those only rows that somebody read. Two generations stand in for
//! an order of use: when the young one is full it becomes the old one, and what is read again moves back.
//!
//! The rows of a generation stand one behind the other in one buffer, found through an index of places: what a look
//! costs is fetching memory, and this is the least of it.

use bytes::Bytes;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::storage::{Table, WriteSet};

/// Rows larger than this are not kept.
const MAX_ROW_BYTES: usize = 4 << 10;
/// What a row costs in the index.
const INDEX_BYTES: usize = 16;
/// Stands for the length of a row's value where there is no row.
const ABSENT: u16 = u16::MAX;
/// Table, length of the key, length of the value.
const HEAD: usize = 5;

/// Rows that were read lately; `None` for those that are known to be absent.
#[derive(Debug)]
pub(super) struct RowCache {
    young: Generation,
    old: Generation,
    /// Bytes of one generation.
    limit: usize,
    /// Clients choose keys: with a seed they cannot choose the hashes.
    seed: u64,
}

fn is_kept(table: Table) -> bool {
    use Table::{Actions, Hashes, Jobs, Keys, Meta, Plans, Queues, Workers, ZMembers};
    matches!(table, Meta | Keys | Hashes | ZMembers | Plans | Jobs | Queues | Actions | Workers)
}

impl RowCache {
    /// A cache that holds up to about `bytes` bytes; `seed` is random.
    pub(super) fn new(bytes: usize, seed: u64) -> RowCache {
        RowCache { young: Generation::default(), old: Generation::default(), limit: bytes / 2, seed }
    }

    fn name<'a>(&self, table: Table, key: &'a [u8]) -> Name<'a> {
        let hash = xxh3_64_with_seed(key, self.seed ^ table as u64);
        Name { hash, table: table as u8, key }
    }

    /// What is known of a row: `None` nothing, `Some(None)` that there is none.
    pub(super) fn get(&mut self, table: Table, key: &[u8]) -> Option<Option<Bytes>> {
        if !is_kept(table) {
            return None;
        }
        let name = self.name(table, key);
        let copy = |row: Option<&[u8]>| row.map(Bytes::copy_from_slice);
        if let Some(row) = self.young.get(&name) {
            return Some(copy(row));
        }
        let row = self.old.get(&name).map(copy)?;
        self.old.forget(&name);
        self.keep(&name, row.as_deref());
        Some(row)
    }

    /// Notes what redb holds under a key.
    pub(super) fn insert(&mut self, table: Table, key: &[u8], row: Option<&[u8]>) {
        if is_kept(table) && is_small(key, row) {
            self.keep(&self.name(table, key), row);
        }
    }

    /// Follows what a batch applies; best before redb does, while the rows read for it are still near.
    pub(super) fn apply(&mut self, rows: &WriteSet) {
        for (table, changes) in rows.iter().filter(|(table, _)| is_kept(*table)) {
            for (key, row) in changes {
                self.change(table, key, row.as_deref());
            }
        }
    }

    fn change(&mut self, table: Table, key: &[u8], row: Option<&[u8]>) {
        let name = self.name(table, key);
        if !is_small(key, row) {
            self.young.forget(&name);
            self.old.forget(&name);
        } else if self.young.replace(&name, row) {
            self.turn();
        } else if self.old.forget(&name) {
            self.keep(&name, row);
        }
    }

    fn keep(&mut self, name: &Name, row: Option<&[u8]>) {
        self.young.put(name, row);
        self.turn();
    }

    /// Lets the young generation grow old when it is full.
    fn turn(&mut self) {
        if self.young.bytes() > self.limit {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
    }
}

fn is_small(key: &[u8], row: Option<&[u8]>) -> bool {
    key.len() + row.map_or(0, <[u8]>::len) <= MAX_ROW_BYTES
}

/// A row to look for.
struct Name<'a> {
    hash: u64,
    table: u8,
    key: &'a [u8],
}

/// Rows in one buffer: each a head, its key, its value.
#[derive(Debug, Default)]
struct Generation {
    index: HashTable<Place>,
    rows: Vec<u8>,
}

/// Where a row stands, and half of its hash: most looks that find nothing end there.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u32,
    at: u32,
}

impl Place {
    /// What the index knows of a hash: both halves of it steer hashbrown.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn is(self, rows: &[u8], name: &Name) -> bool {
        self.hash == name.hash as u32 && {
            let (table, key, _) = row_at(rows, self.at);
            table == name.table && key == name.key
        }
    }
}

/// Table, key and value of the row that stands at a place.
fn row_at(rows: &[u8], at: u32) -> (u8, &[u8], Option<&[u8]>) {
    let row = &rows[at as usize..];
    let key_len = u16::from_le_bytes([row[1], row[2]]) as usize;
    let value_len = u16::from_le_bytes([row[3], row[4]]);
    let (key, rest) = row[HEAD..].split_at(key_len);
    (row[0], key, (value_len != ABSENT).then(|| &rest[..value_len as usize]))
}

impl Generation {
    fn bytes(&self) -> usize {
        self.rows.len() + self.index.len() * INDEX_BYTES
    }

    fn clear(&mut self) {
        self.index.clear();
        self.rows.clear();
    }

    fn find(&self, name: &Name) -> Option<Place> {
        self.index.find(Place::spread(name.hash as u32), |place| place.is(&self.rows, name)).copied()
    }

    fn get(&self, name: &Name) -> Option<Option<&[u8]>> {
        self.find(name).map(|place| row_at(&self.rows, place.at).2)
    }

    /// True when the row was known.
    fn forget(&mut self, name: &Name) -> bool {
        let rows = &self.rows;
        match self.index.find_entry(Place::spread(name.hash as u32), |place| place.is(rows, name)) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// Notes a row, in place of what was known of it.
    fn put(&mut self, name: &Name, row: Option<&[u8]>) {
        if !self.replace(name, row) {
            let place = Place { hash: name.hash as u32, at: append(&mut self.rows, name, row) };
            self.index.insert_unique(Place::spread(place.hash), place, |place| Place::spread(place.hash));
        }
    }

    /// Notes a row if something was known of it, else returns false.
    fn replace(&mut self, name: &Name, row: Option<&[u8]>) -> bool {
        let rows = &self.rows;
        let Some(place) = self.index.find_mut(Place::spread(name.hash as u32), |place| place.is(rows, name)) else {
            return false;
        };
        let at = place.at;
        if let (Some(old), Some(new)) = (row_at(rows, at).2, row)
            && old.len() == new.len()
        {
            let value_at = at as usize + HEAD + name.key.len();
            self.rows[value_at..value_at + new.len()].copy_from_slice(new);
        } else {
            place.at = append(&mut self.rows, name, row);
        }
        true
    }
}

/// Puts a row behind the others and returns where it stands.
fn append(rows: &mut Vec<u8>, name: &Name, row: Option<&[u8]>) -> u32 {
    // A generation is far smaller than 4 GiB, and `is_small` bounds the lengths.
    let at = rows.len() as u32;
    rows.push(name.table);
    rows.extend((name.key.len() as u16).to_le_bytes());
    rows.extend(row.map_or(ABSENT, |row| row.len() as u16).to_le_bytes());
    rows.extend(name.key);
    rows.extend(row.unwrap_or_default());
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, row: Option<&str>) -> WriteSet {
        let mut rows = WriteSet::default();
        rows.insert(Table::Keys, Bytes::copy_from_slice(key.as_bytes()), row.map(|row| row.to_owned().into()));
        rows
    }

    fn is_young(cache: &RowCache, key: &str) -> bool {
        cache.young.find(&cache.name(Table::Keys, key.as_bytes())).is_some()
    }

    #[test]
    fn what_was_read_follows_what_is_applied_in_both_generations() {
        let mut cache = RowCache::new(2 * 10 * (INDEX_BYTES + HEAD + 2), 1);
        cache.insert(Table::Keys, b"a", None);
        assert_eq!(cache.get(Table::Keys, b"a"), Some(None));
        for value in ["1", "2", "longer", ""] {
            cache.apply(&set("a", Some(value)));
            assert_eq!(cache.get(Table::Keys, b"a"), Some(Some(value.to_owned().into())));
        }
        // Push it into the old generation, change it there, and read it again.
        for n in 0.. {
            if !is_young(&cache, "a") {
                break;
            }
            cache.insert(Table::Keys, format!("k{n}").as_bytes(), None);
        }
        cache.apply(&set("a", Some("3")));
        assert_eq!(cache.get(Table::Keys, b"a"), Some(Some("3".into())));
        cache.apply(&set("a", None));
        assert_eq!(cache.get(Table::Keys, b"a"), Some(None));
    }

    #[test]
    fn it_forgets_what_is_too_large_and_what_was_not_read() {
        let mut cache = RowCache::new(1 << 20, 1);
        cache.apply(&set("a", Some("1")));
        assert_eq!(cache.get(Table::Keys, b"a"), None);
        cache.insert(Table::Keys, b"a", None);
        cache.apply(&set("a", Some(&"x".repeat(MAX_ROW_BYTES + 1))));
        assert_eq!(cache.get(Table::Keys, b"a"), None);
        cache.insert(Table::Lists, b"a", None);
        assert_eq!(cache.get(Table::Lists, b"a"), None);
    }

    #[test]
    fn the_same_key_of_two_tables_is_two_rows() {
        let mut cache = RowCache::new(1 << 20, 1);
        cache.insert(Table::Keys, b"a", Some(b"1"));
        cache.insert(Table::Jobs, b"a", Some(b"2"));
        assert_eq!(cache.get(Table::Keys, b"a"), Some(Some("1".into())));
        assert_eq!(cache.get(Table::Jobs, b"a"), Some(Some("2".into())));
    }

    #[test]
    fn it_stays_within_its_size() {
        let mut cache = RowCache::new(10_000, 1);
        for n in 0..10_000 {
            cache.insert(Table::Keys, format!("{n}").as_bytes(), None);
            cache.apply(&set(&format!("{n}"), Some(&"x".repeat(n % 100))));
            // The row that fills a generation may stand over its edge.
            assert!(cache.young.bytes() + cache.old.bytes() <= 10_000 + 2 * 150);
        }
    }
}
