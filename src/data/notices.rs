//! Keyspace notices: what happened to which key, for who asked to be told (`notify-keyspace-events`).

use bytes::Bytes;

use crate::data::{Edit, Keyspace};

/// Which events are told, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(u16);

impl Classes {
    /// Told on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Classes = Classes(1);
    /// Told on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Classes = Classes(1 << 1);
    /// DEL, EXPIRE, RENAME and what else knows any type.
    pub const GENERIC: Classes = Classes(1 << 2);
    /// Strings.
    pub const STRING: Classes = Classes(1 << 3);
    /// Lists.
    pub const LIST: Classes = Classes(1 << 4);
    /// Sets.
    pub const SET: Classes = Classes(1 << 5);
    /// Hashes.
    pub const HASH: Classes = Classes(1 << 6);
    /// Sorted sets.
    pub const ZSET: Classes = Classes(1 << 7);
    /// A key has expired.
    pub const EXPIRED: Classes = Classes(1 << 8);
    /// Evictions, of which there are none.
    pub const EVICTED: Classes = Classes(1 << 9);
    /// Streams, of which there are none.
    pub const STREAM: Classes = Classes(1 << 10);
    /// Modules, of which there are none.
    pub const MODULE: Classes = Classes(1 << 11);
    /// A key is new.
    pub const NEW: Classes = Classes(1 << 12);
    /// A key was asked for that is not there.
    pub const MISS: Classes = Classes(1 << 13);

    /// What `A` stands for.
    const ALL: Classes = Classes(0b1111_1111_1100);

    const LETTERS: [(char, Classes); 14] = [
        ('g', Classes::GENERIC),
        ('$', Classes::STRING),
        ('l', Classes::LIST),
        ('s', Classes::SET),
        ('h', Classes::HASH),
        ('z', Classes::ZSET),
        ('x', Classes::EXPIRED),
        ('e', Classes::EVICTED),
        ('t', Classes::STREAM),
        ('d', Classes::MODULE),
        ('n', Classes::NEW),
        ('K', Classes::KEYSPACE),
        ('E', Classes::KEYEVENT),
        ('m', Classes::MISS),
    ];

    /// Reads letters, as the parameter has them; `None` for a letter that there is not.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Classes> {
        let mut classes = 0;
        for byte in text {
            classes |= match char::from(*byte) {
                'A' => Classes::ALL.0,
                letter => Classes::LETTERS.iter().find(|(known, _)| *known == letter)?.1.0,
            };
        }
        Some(Classes(classes))
    }

    /// The letters, in Redis's order.
    #[must_use]
    pub fn text(self) -> String {
        let all = self.has(Classes::ALL);
        // Redis shows `n` only where it does not show `A`.
        let covered = Classes(Classes::ALL.0 | Classes::NEW.0);
        let shown = |(_, class): &(char, Classes)| self.has(*class) && !(all && covered.has(*class));
        let mut text = if all { "A".to_owned() } else { String::new() };
        text.extend(Classes::LETTERS.iter().filter(|row| shown(row)).map(|(letter, _)| *letter));
        text
    }

    /// True when all of `other` are among them.
    #[must_use]
    pub fn has(self, other: Classes) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where the key stands.
    pub keyspace: Keyspace,
    /// What happened, as Redis names it.
    pub event: &'static str,
    /// The key's name.
    pub name: Bytes,
}

impl Edit<'_, '_> {
    /// Notes what happened to a key, if events of this class are asked for.
    pub fn notice(&mut self, class: Classes, event: &'static str, name: &[u8]) {
        let asked = self.touched.classes;
        if asked.has(class) && (asked.has(Classes::KEYSPACE) || asked.has(Classes::KEYEVENT)) {
            let notice = Notice { keyspace: self.keyspace, event, name: Bytes::copy_from_slice(name) };
            self.touched.notices.push(notice);
        }
    }

    /// Notes that a key is gone.
    pub fn notice_gone(&mut self, name: &[u8]) {
        self.notice(Classes::GENERIC, "del", name);
    }
}

#[cfg(test)]
mod tests {
    use super::Classes;

    #[test]
    fn letters_are_read_and_written_as_in_redis() {
        for (given, kept) in
            [("", ""), ("KEA", "AKE"), ("Kgx", "gxK"), ("AKEn", "AKE"), ("gnKE", "gnKE"), ("g$lshzxetdKE", "AKE")]
        {
            assert_eq!(Classes::parse(given.as_bytes()).unwrap().text(), kept, "{given}");
        }
        assert_eq!(Classes::parse(b"KEm").unwrap().text(), "KEm");
        assert_eq!(Classes::parse(b"KQ"), None);
    }
}
