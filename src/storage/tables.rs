//! Every table of the store and the bytes of its keys.
//!
//! redb sees byte slices. Keys are order-preserving tuples: integers big-endian, a name that is followed by more
//! escaped and terminated ([`put_name`]), so that a name may hold any byte.

use std::fmt;

/// A table of the store. The number is part of the log format: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Single values: format, ids, generation, counters.
    Meta = 0,
    /// (keyspace u32, name) → record: kind, deadline, body.
    Keys = 1,
    /// (id u64, n u32) → a chunk of a large string.
    Blobs = 2,
    /// (id u64, index i64 order-preserving) → list element.
    Lists = 3,
    /// (id u64, field) → hash value.
    Hashes = 4,
    /// (id u64, score f64 order-preserving, member) → ().
    ZScores = 5,
    /// (id u64, member) → score.
    ZMembers = 6,
    /// (id u64, place u48, member) → ().
    Sets = 7,
    /// (at_ms u64, keyspace u32, name) → (): keys that expire.
    Deadlines = 8,
    /// (id u64) → what is detached and removed in slices.
    Trash = 9,
    /// plan id → plan record.
    Plans = 10,
    /// job id → job record.
    Jobs = 11,
    /// job id → rows beside the record: input, result, output chunks.
    JobData = 12,
    /// Queue name → queue record (counts, paused).
    Queues = 13,
    /// Pending jobs in claim order.
    Pending = 14,
    /// Timers of the job system: scheduled jobs, leases, retention.
    Timers = 15,
    /// Secondary indexes of jobs: by status, plan, action, queue.
    JobIndex = 16,
    /// action id → action record.
    Actions = 17,
    /// worker id → worker record.
    Workers = 18,
    /// event number → event.
    Events = 19,
    /// (id u64, level u8, first key) → how many elements a part of a large collection has.
    Counts = 20,
    /// (id u64, index i64 order-preserving) → (): where a list has no element between others.
    Holes = 21,
    /// webhook id → webhook record, with its place among the events.
    Webhooks = 22,
    /// schedule id → schedule record; 00, schedule id → what its jobs are submitted as.
    Schedules = 23,
    /// Access: 0, name → key record; 1, public id → name; 2 and 3, number → what was done and what was refused.
    Access = 24,
}

impl Table {
    /// Every table, in the order of its number.
    pub const ALL: [Table; 25] = [
        Table::Meta,
        Table::Keys,
        Table::Blobs,
        Table::Lists,
        Table::Hashes,
        Table::ZScores,
        Table::ZMembers,
        Table::Sets,
        Table::Deadlines,
        Table::Trash,
        Table::Plans,
        Table::Jobs,
        Table::JobData,
        Table::Queues,
        Table::Pending,
        Table::Timers,
        Table::JobIndex,
        Table::Actions,
        Table::Workers,
        Table::Events,
        Table::Counts,
        Table::Holes,
        Table::Webhooks,
        Table::Schedules,
        Table::Access,
    ];

    /// How many tables there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name the table has in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Keys => "keys",
            Table::Blobs => "blobs",
            Table::Lists => "lists",
            Table::Hashes => "hashes",
            Table::ZScores => "zscores",
            Table::ZMembers => "zmembers",
            Table::Sets => "sets",
            Table::Deadlines => "deadlines",
            Table::Trash => "trash",
            Table::Plans => "plans",
            Table::Jobs => "jobs",
            Table::JobData => "job_data",
            Table::Queues => "queues",
            Table::Pending => "pending",
            Table::Timers => "timers",
            Table::JobIndex => "job_index",
            Table::Actions => "actions",
            Table::Workers => "workers",
            Table::Events => "events",
            Table::Counts => "counts",
            Table::Holes => "holes",
            Table::Webhooks => "webhooks",
            Table::Schedules => "schedules",
            Table::Access => "access",
        }
    }

    /// The table of a number read from a log record.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Table> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Appends `name` so that it may be followed by more: a zero byte becomes `00 ff`, the end is `00 01`. The order of
/// encoded names is the order of names.
pub fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

/// Reads what [`put_name`] wrote: the name and the rest. `None` when the bytes are not such a name.
#[must_use]
pub fn take_name(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (0, Some(0xff)) => {
                name.push(0);
                at += 2;
            }
            (0, Some(1)) => return Some((name, bytes.get(at + 2..)?)),
            (0, _) => return None,
            (&byte, _) => {
                name.push(byte);
                at += 1;
            }
        }
    }
}

/// The first key after all keys that begin with `prefix`; `None` when there is none (all bytes are `ff`).
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_numbers_are_their_places() {
        for (place, table) in Table::ALL.iter().enumerate() {
            assert_eq!(*table as usize, place);
            assert_eq!(Table::from_number(*table as u8), Some(*table));
        }
        assert_eq!(Table::from_number(Table::COUNT as u8), None);
    }

    #[test]
    fn names_round_trip_in_order() {
        let names: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0a", b"a", b"a\0", b"ab"];
        let mut encoded: Vec<Vec<u8>> = Vec::new();
        for name in names {
            let mut out = Vec::new();
            put_name(&mut out, name);
            assert_eq!(take_name(&out), Some((name.to_vec(), &[][..])));
            encoded.push(out);
        }
        assert!(encoded.is_sorted());
    }

    #[test]
    fn prefix_end_is_above_every_extension() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff, 0xff]), None);
    }
}
