//! A sound store has no finding; each broken one has the finding that says what was broken.

use super::*;
use crate::clock::Millis;
use crate::data::lists::End;
use crate::data::zsets::AddRule;
use crate::data::{Edit, Touched, View};
use crate::storage::{Batch, Db, Options};

const NOW: Millis = Millis(1_800_000_000_000);

fn with_batch(test: impl FnOnce(&mut Batch<'_>)) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&Options::new(dir.path())).unwrap();
    let mut batch = db.batch().unwrap();
    test(&mut batch);
}

fn edit<'a, 'txn>(batch: &'a mut Batch<'txn>, touched: &'a mut Touched, keyspace: Keyspace) -> Edit<'a, 'txn> {
    Edit { batch, keyspace, now: NOW, touched }
}

/// A value of every kind, small and large, with and without deadlines, and things in the trash.
fn fill(batch: &mut Batch<'_>) {
    let mut touched = Touched::default();
    let mut edit = edit(batch, &mut touched, 0);
    edit.set_string(b"small", None, Bytes::from_static(b"text"), Some(NOW.plus(1))).unwrap();
    edit.set_string(b"large", None, Bytes::from(vec![7; 100_000]), None).unwrap();
    // Zero bytes that nobody wrote have no chunk.
    edit.write_string_part(b"sparse", 200_000, &Bytes::from_static(b"end")).unwrap();
    let elements = (0..40_u8).map(|value| Bytes::copy_from_slice(&[value % 3]));
    edit.list_push(b"list", End::Right, elements).unwrap();
    edit.list_remove(b"list", 0, &[1]).unwrap();
    edit.list_pop(b"list", End::Left, 3).unwrap();
    edit.list_push(b"short", End::Right, [Bytes::from_static(b"only")]).unwrap();
    edit.hash_set(b"hash", [("a", "1"), ("b", "2")].map(|(field, value)| (field.into(), value.into())), false).unwrap();
    edit.set_add(b"set", [&b"x"[..], b"y"]).unwrap();
    let members: Vec<_> = (0..3000_u32).map(|n| (f64::from(n / 2), Bytes::from(format!("m{n}")))).collect();
    for (name, indexed) in [(&b"zset"[..], u64::MAX), (b"unfinished", 100), (b"plain", 0)] {
        edit.zadd(name, AddRule::default(), &members).unwrap();
        let set = edit.sorted_set(name).unwrap().unwrap();
        if indexed > 0 {
            edit.zindex(name, &set, indexed).unwrap();
        }
    }
    edit.hash_set(b"gone", [(Bytes::from_static(b"a"), Bytes::new())], false).unwrap();
    let gone = edit.record(b"gone").unwrap().unwrap();
    edit.delete(b"gone", &gone).unwrap();
    for keyspace in [3, 4] {
        let mut edit = Edit { keyspace, ..edit_of(&mut edit) };
        edit.set_add(b"other", [&b"x"[..]]).unwrap();
        let old = edit.record(b"other").unwrap().unwrap();
        edit.set_deadline(b"other", old, Some(NOW.plus(keyspace.into()))).unwrap();
    }
    keyspaces::flush(batch, 4, 4).unwrap();
}

fn edit_of<'a, 'txn>(edit: &'a mut Edit<'_, 'txn>) -> Edit<'a, 'txn> {
    Edit { batch: edit.batch, keyspace: edit.keyspace, now: edit.now, touched: edit.touched }
}

/// The id that a key's elements stand under.
fn id_of(batch: &Batch<'_>, name: &[u8]) -> [u8; 8] {
    let view = View { rows: batch, keyspace: 0, now: NOW };
    trash::elements_of(&view.record(name).unwrap().unwrap()).unwrap()[0].1
}

fn first_under(batch: &Batch<'_>, table: Table, prefix: &[u8]) -> (Bytes, Bytes) {
    let end = tables::prefix_end(prefix).unwrap();
    batch.first(table, Bound::Included(prefix), Bound::Excluded(&end), false).unwrap().unwrap()
}

#[test]
fn a_sound_store_has_no_finding() {
    with_batch(|batch| {
        assert_eq!(check(batch).unwrap(), [""; 0]);
        fill(batch);
        assert_eq!(check(batch).unwrap(), [""; 0]);
        for owners_at_once in [2, 3, 5] {
            assert_eq!(check_in_turns(batch, owners_at_once).unwrap(), [""; 0]);
        }
        while trash::slice(batch, 1).unwrap() {
            assert_eq!(check(batch).unwrap(), [""; 0]);
        }
    });
}

/// What is put, or removed (`None`), and a part of the finding that it makes.
type Break = fn(&mut Batch<'_>) -> (Table, Vec<u8>, Option<Vec<u8>>);

fn record_of(batch: &Batch<'_>, name: &[u8]) -> Vec<u8> {
    batch.get(Table::Keys, &record_key(0, name)).unwrap().unwrap().to_vec()
}

/// A key's row with one byte of its body changed, counted from its end.
fn with_byte(batch: &Batch<'_>, name: &[u8], from_end: usize, change: u8) -> (Table, Vec<u8>, Option<Vec<u8>>) {
    let mut row = record_of(batch, name);
    let place = row.len() - from_end;
    row[place] ^= change;
    (Table::Keys, record_key(0, name), Some(row))
}

fn under(id: [u8; 8], rest: &[u8]) -> Vec<u8> {
    [&id[..], rest].concat()
}

const RECORDS: &[(&str, Break)] = &[
    ("keys: 'small' of keyspace 0: a record of", |batch| {
        with_byte(batch, b"small", record_of(batch, b"small").len(), 0x40)
    }),
    ("keys: \\x00\\x01 is no keyspace and name", |_| (Table::Keys, vec![0, 1], Some(vec![1, 0]))),
    ("keys: 'x' of keyspace 77: no database", |_| (Table::Keys, record_key(77, b"x"), Some(vec![1, 0]))),
    ("keys: string 'x' of keyspace 0: has 16385 bytes in its record", |_| {
        (
            Table::Keys,
            record_key(0, b"x"),
            Some(vec![1; 16_387].into_iter().enumerate().map(|(n, b)| if n == 1 { 0 } else { b }).collect()),
        )
    }),
    ("hashes: hash 'hash' of keyspace 0: has 2 rows, its record says 3", |batch| with_byte(batch, b"hash", 1, 1)),
    ("sets: set 'set' of keyspace 0: has 2 rows, its record says 3", |batch| with_byte(batch, b"set", 1, 1)),
    ("keys: 'short' of keyspace 0: a list record of 32 bytes", |batch| with_byte(batch, b"short", 1, 2)),
    ("holes: list 'list' of keyspace 0: has", |batch| with_byte(batch, b"list", 2, 0x80)),
    ("zmembers: zset 'plain' of keyspace 0: has 3000 rows, its record says 3001", |batch| {
        with_byte(batch, b"plain", 1, 1)
    }),
    ("keys: 'zset' of keyspace 0: a sorted set's record is not an id and a length", |batch| {
        with_byte(batch, b"zset", 1, 2)
    }),
];

const ELEMENTS: &[(&str, Break)] = &[
    ("blobs: string 'large' of keyspace 0: has 32768 bytes in its chunk", |batch| {
        let (_, chunk) = first_under(batch, Table::Blobs, &id_of(batch, b"large"));
        (Table::Blobs, under(id_of(batch, b"large"), &[0, 0, 0, 9]), Some(chunk.to_vec()))
    }),
    ("lists: list 'list' of keyspace 0: lacks", |batch| {
        let end = tables::prefix_end(&id_of(batch, b"list")).unwrap();
        let from = id_of(batch, b"list");
        let mut keys = Vec::new();
        rows_under(batch, Table::Lists, &from, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(())
        })
        .unwrap();
        assert!(end > from.to_vec());
        (Table::Lists, under(from, &keys[keys.len() / 2]), None)
    }),
    ("lists: list 'short' of keyspace 0: has an element at", |batch| {
        (Table::Lists, under(id_of(batch, b"short"), &[0xff; 8]), Some(vec![1]))
    }),
    ("lists: list 'list' of keyspace 0: has no element at its head", |batch| {
        (Table::Lists, first_under(batch, Table::Lists, &id_of(batch, b"list")).0.to_vec(), None)
    }),
    ("holes: list 'list' of keyspace 0: has", |batch| {
        (Table::Holes, first_under(batch, Table::Holes, &id_of(batch, b"list")).0.to_vec(), None)
    }),
    ("counts: list 'list' of keyspace 0: level 1 has", |batch| {
        (Table::Counts, under(id_of(batch, b"list"), &[1]), Some(vec![1; 12]))
    }),
    ("sets: set 'set' of keyspace 0: has the member 'x' at", |batch| {
        (Table::Sets, under(id_of(batch, b"set"), &[0, 0, 0, 0, 0, 1, b'x']), Some(vec![]))
    }),
    ("zscores: zset 'zset' of keyspace 0: lacks 'm0' at its score 0", |batch| {
        (Table::ZScores, first_under(batch, Table::ZScores, &id_of(batch, b"zset")).0.to_vec(), None)
    }),
    ("zscores: zset 'plain' of keyspace 0: has 'm0' at", |batch| {
        (Table::ZMembers, under(id_of(batch, b"plain"), b"m0"), None)
    }),
    ("zmembers: zset 'plain' of keyspace 0: has the score NaN of 'm0'", |batch| {
        (Table::ZMembers, under(id_of(batch, b"plain"), b"m0"), Some(vec![0xff; 8]))
    }),
    ("counts: zset 'zset' of keyspace 0: has no bucket on level 2", |batch| {
        (Table::Counts, under(id_of(batch, b"zset"), &[2]), None)
    }),
    ("counts: zset 'plain' of keyspace 0: has", |batch| {
        (Table::Counts, under(id_of(batch, b"plain"), &[1]), Some(vec![0; 12]))
    }),
    ("counts: zset 'unfinished' of keyspace 0: level 1 has", |batch| {
        (Table::Counts, under(id_of(batch, b"unfinished"), &[1]), Some(vec![0; 12]))
    }),
];

const AROUND: &[(&str, Break)] = &[
    ("deadlines: string 'small' of keyspace 0: has no row", |_| {
        (Table::Deadlines, deadline_key(NOW.plus(1), 0, b"small"), None)
    }),
    ("deadlines: 'hash' of keyspace 0 at 5: no record has this deadline", |_| {
        (Table::Deadlines, deadline_key(Millis(5), 0, b"hash"), Some(vec![]))
    }),
    ("meta: keyspace 0 has 10 keys, 'count:\\x00\\x00\\x00\\x00' says 11", |_| {
        (Table::Meta, count_key(0), Some(11_u64.to_be_bytes().to_vec()))
    }),
    ("meta: keyspace 3 has 1 keys with a deadline, 'expiring:\\x00\\x00\\x00\\x03' says 0", |_| {
        (Table::Meta, expiring_key(3), None)
    }),
    ("meta: 'count:\\x00\\x00\\x00c' counts keys of no database", |_| (Table::Meta, count_key(99), Some(vec![0; 8]))),
    ("meta: database 1 has keyspace 0, as another has", |_| (Table::Meta, b"database:1".to_vec(), Some(vec![0; 8]))),
    ("meta: database 1 has keyspace 200, the last one given is 16", |_| {
        (Table::Meta, b"database:1".to_vec(), Some(200_u64.to_be_bytes().to_vec()))
    }),
    ("meta: 'database:16' is no database", |_| (Table::Meta, b"database:16".to_vec(), Some(vec![0; 8]))),
    ("meta: 'next_id' is no number of 8 bytes", |_| (Table::Meta, b"next_id".to_vec(), Some(vec![1]))),
    ("trash: \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff: a row of 1 bytes", |_| {
        (Table::Trash, vec![0xff; 8], Some(vec![9]))
    }),
    ("trash: \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01 removes keyspace 3, which a database has", |_| {
        (Table::Trash, 1_u64.to_be_bytes().to_vec(), Some(vec![0, 0, 0, 0, 3]))
    }),
    ("keys: hash 'hash' of keyspace 0: its id", |batch| {
        let id = id_of(batch, b"hash");
        (Table::Trash, 1_u64.to_be_bytes().to_vec(), Some([&[3][..], &id].concat()))
    }),
    ("keys: hash 'hash' of keyspace 0: its id 5 was never given (last given: 1)", |_| {
        (Table::Meta, b"next_id".to_vec(), Some(1_u64.to_be_bytes().to_vec()))
    }),
    ("hashes: \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00f stands under the id 0, which nobody owns", |_| {
        (Table::Hashes, under([0; 8], b"f"), Some(vec![]))
    }),
    (
        "lists: \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff stands under the id 18446744073709551615, which nobody owns",
        |_| (Table::Lists, vec![0xff; 8], Some(vec![])),
    ),
    ("counts: \\x00\\x01 has no id", |_| (Table::Counts, vec![0, 1], Some(vec![]))),
    ("sets: \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x05 is no element of what owns the id 5", |batch| {
        (Table::Sets, id_of(batch, b"hash").to_vec(), Some(vec![]))
    }),
];

#[test]
fn each_broken_invariant_is_found() {
    with_batch(|batch| {
        fill(batch);
        batch.release();
        for (expected, breaks) in [RECORDS, ELEMENTS, AROUND].concat() {
            let mark = batch.mark();
            match breaks(batch) {
                (table, key, Some(value)) => batch.put(table, key, value).unwrap(),
                (table, key, None) => batch.remove(table, key).unwrap(),
            }
            for owners_at_once in [2, owners::AT_ONCE] {
                let found = check_in_turns(batch, owners_at_once).unwrap();
                assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}\nis not in {found:#?}");
            }
            batch.rollback(mark);
        }
        assert_eq!(check(batch).unwrap(), [""; 0]);
    });
}

#[test]
fn many_findings_are_counted_and_not_all_told() {
    with_batch(|batch| {
        for id in 0..1500_u64 {
            batch.put(Table::Hashes, id.to_be_bytes().to_vec(), Bytes::new()).unwrap();
        }
        let found = check(batch).unwrap();
        assert_eq!((found.len(), &found[1000][..]), (1001, "and 500 more findings"));
    });
}
