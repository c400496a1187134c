//! Where SCAN, HSCAN and ZSCAN stand: numbers for names.
//!
//! They walk keys, fields and members in the order of their names, so that one that is there all the time is met whatever
//! is added or removed around it. A cursor must be a number of 64 bits and a name does not fit into one: so the server keeps a
//! bounded table. A cursor that it does not know (any more) begins anew: names may then come twice, as SCAN always
//! allows, but none is left out. Numbers are drawn at random, so that one from before a restart is not mistaken.

use std::collections::HashMap;

use bytes::Bytes;

use crate::data::Keyspace;

/// What is walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// The keys of a keyspace.
    Keys(Keyspace),
    /// The elements of the collection with this id.
    Elements([u8; 8]),
}

/// Cursors kept at most.
const MAX_CURSORS: usize = 4096;
/// Bytes of their names kept at most.
const MAX_BYTES: usize = 16 << 20;
/// Numbers stay below 2^53, which every client can hold.
const NUMBERS: std::ops::Range<u64> = 1..1 << 53;

struct Place {
    walk: Walk,
    name: Bytes,
    /// The cursor that led here: forgotten at the next step, as nobody asks for it twice then.
    previous: u64,
    /// When it was used last, counted in uses.
    used: u64,
}

/// The places that clients may go on from.
#[derive(Default)]
pub struct Cursors {
    places: HashMap<u64, Place>,
    bytes: usize,
    uses: u64,
}

impl Cursors {
    /// The last name that was visited before `cursor` was given out; `None` to begin at the first name.
    pub fn find(&mut self, cursor: u64, walk: Walk) -> Option<Bytes> {
        self.uses += 1;
        let place = self.places.get_mut(&cursor).filter(|place| place.walk == walk)?;
        place.used = self.uses;
        let (previous, name) = (place.previous, place.name.clone());
        self.remove(previous);
        Some(name)
    }

    /// A cursor to go on behind `name`; `previous` led there.
    pub fn keep(&mut self, walk: Walk, name: Bytes, previous: u64, random: &mut fastrand::Rng) -> u64 {
        self.uses += 1;
        let cursor = random.u64(NUMBERS);
        self.remove(cursor);
        self.bytes += name.len();
        self.places.insert(cursor, Place { walk, name, previous, used: self.uses });
        if self.places.len() > MAX_CURSORS || self.bytes > MAX_BYTES {
            self.make_room(cursor);
        }
        cursor
    }

    /// Forgets those that were not used for the longest time, down to half of what may be kept.
    fn make_room(&mut self, newest: u64) {
        let mut by_use: Vec<(u64, u64)> = self.places.iter().map(|(cursor, place)| (place.used, *cursor)).collect();
        by_use.sort_unstable();
        for (_, cursor) in by_use {
            if cursor == newest || (self.places.len() <= MAX_CURSORS / 2 && self.bytes <= MAX_BYTES / 2) {
                break;
            }
            self.remove(cursor);
        }
    }

    fn remove(&mut self, cursor: u64) {
        if let Some(place) = self.places.remove(&cursor) {
            self.bytes -= place.name.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_a_second_try_but_not_for_ever() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut cursors = Cursors::default();
        let first = cursors.keep(Walk::Keys(0), Bytes::from_static(b"a"), 0, &mut random);
        assert_eq!(cursors.find(first, Walk::Keys(0)).unwrap(), "a");
        let second = cursors.keep(Walk::Keys(0), Bytes::from_static(b"b"), first, &mut random);
        assert_eq!(cursors.find(first, Walk::Keys(0)).unwrap(), "a");
        assert_eq!(cursors.find(second, Walk::Keys(0)).unwrap(), "b");
        assert_eq!(cursors.find(first, Walk::Keys(0)), None);
        assert_eq!(cursors.find(second, Walk::Keys(1)), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut cursors = Cursors::default();
        let mut last = 0;
        for n in 0..MAX_CURSORS * 3 {
            last = cursors.keep(Walk::Keys(0), Bytes::from(n.to_string()), 0, &mut random);
            assert!(cursors.places.len() <= MAX_CURSORS);
        }
        assert!(cursors.find(last, Walk::Keys(0)).is_some());
        let large = Bytes::from(vec![b'x'; MAX_BYTES]);
        let first = cursors.keep(Walk::Keys(0), large.clone(), 0, &mut random);
        let second = cursors.keep(Walk::Keys(0), large, 0, &mut random);
        assert!(cursors.find(first, Walk::Keys(0)).is_none() && cursors.find(second, Walk::Keys(0)).is_some());
        assert!(cursors.bytes <= MAX_BYTES);
    }
}
