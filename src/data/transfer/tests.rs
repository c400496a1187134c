//! What comes out of a store and goes into an empty one comes out of that the same.

use proptest::prelude::*;

use super::*;
use crate::data::check;
use crate::storage::{Db, Options};

#[derive(Debug, Clone)]
struct Step {
    what: u8,
    key: u8,
    database: u8,
    value: u16,
}

fn step() -> impl Strategy<Value = Step> {
    (0..16_u8, 0..4_u8, 0..3_u8, any::<u16>()).prop_map(|(what, key, database, value)| Step {
        what,
        key,
        database,
        value,
    })
}

/// Changes one key, as far as its type lets it.
fn change(batch: &mut Batch<'_>, keyspaces: &mut [crate::data::Keyspace; DATABASES], step: &Step) {
    let mut touched = Touched::default();
    let database = usize::from(step.database);
    let mut edit = Edit { batch, keyspace: keyspaces[database], now: Millis(5), touched: &mut touched };
    let (name, value) = (&[step.key, 0, 255][..], Bytes::copy_from_slice(&step.value.to_be_bytes()));
    let old = edit.record(name).unwrap();
    // What a key of another type refuses leaves it as it is.
    let _ = match step.what {
        0 => edit.set_string(name, old.as_ref(), Bytes::from(vec![step.key; usize::from(step.value)]), None).map(drop),
        1 => edit.write_string_part(name, u64::from(step.value) * 3, &value).map(drop),
        2..=4 => edit.list_push(name, End::Left, (0..=step.value % 50).map(|n| Bytes::from(n.to_string()))).map(drop),
        5 => edit.list_remove(name, 1, (step.value % 50).to_string().as_bytes()).map(drop),
        6 | 7 => edit.hash_set(name, [(value.clone(), value)], false).map(drop),
        8 | 9 => edit.set_add(name, [&value[..], b"x"]).map(drop),
        10 | 11 => edit.zadd(name, AddRule::default(), &[(f64::from(step.value).sqrt(), value)]).map(drop),
        12 => edit.zadd(name, AddRule::default(), &[(f64::NEG_INFINITY, value)]).map(drop),
        13 => old.map_or(Ok(()), |old| edit.set_deadline(name, old, Some(Millis(6 + u64::from(step.value))))),
        14 => old.map_or(Ok(()), |old| edit.delete(name, &old)),
        _ if !step.value.is_multiple_of(8) => Ok(()),
        _ => {
            keyspaces[database] = keyspaces::flush(batch, database, keyspaces[database]).unwrap();
            Ok(())
        }
    };
}

fn items(rows: &dyn Rows) -> Vec<Item> {
    let mut items = Vec::new();
    export(rows, &mut |item| {
        items.push(item);
        Ok(())
    })
    .unwrap();
    items
}

fn with_batch(test: impl FnOnce(&mut Batch<'_>)) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&Options::new(dir.path())).unwrap();
    test(&mut db.batch().unwrap());
}

fn import(batch: &mut Batch<'_>, items: &[Item]) -> Result<(), Refused> {
    let mut import = Import::default();
    items.iter().try_for_each(|item| import.take(batch, item.clone()))?;
    import.finish(batch)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_trip_changes_nothing(steps in prop::collection::vec(step(), 0..80)) {
        let mut exported = Vec::new();
        with_batch(|batch| {
            let mut keyspaces = keyspaces::load(batch).unwrap();
            for step in &steps {
                change(batch, &mut keyspaces, step);
            }
            assert_eq!(check::check(batch).unwrap(), [""; 0]);
            exported = items(batch);
        });
        with_batch(|batch| {
            import(batch, &exported).unwrap();
            assert_eq!(items(batch), exported);
            assert_eq!(check::check(batch).unwrap(), [""; 0]);
        });
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let key = |kind| Item::Key(Key { database: 0, name: Bytes::from_static(b"k"), kind, deadline: None });
    let a = || Bytes::from_static(b"a");
    let cases = [
        (vec![Item::Elements(vec![a()])], "content comes before any key"),
        (vec![key(Kind::String), key(Kind::String)], "the key 'k' a second time"),
        (vec![key(Kind::List)], "the list 'k' is empty"),
        (vec![key(Kind::List), Item::Elements(vec![])], "an element that was there already, or nothing"),
        (vec![key(Kind::List), Item::Fields(vec![])], "content that is not that of a list"),
        (vec![key(Kind::Set), Item::Elements(vec![a(), a()])], "an element that was there already, or nothing"),
        (vec![key(Kind::Hash), Item::Fields(vec![(a(), a()), (a(), a())])], "an element that was there already"),
        (vec![key(Kind::SortedSet), Item::Members(vec![(a(), f64::NAN)])], "a score that is not a number"),
        (vec![key(Kind::String), Item::Bytes(1 << 40, a())], "ERR string exceeds maximum allowed size"),
        (
            vec![Item::Key(Key { database: 16, name: a(), kind: Kind::Set, deadline: None })],
            "database 16, there are 16 from 0 on",
        ),
        (
            vec![Item::Key(Key { database: 0, name: a(), kind: Kind::Set, deadline: Some(Millis(0)) })],
            "a key that expires at 0",
        ),
    ];
    for (items, expected) in cases {
        with_batch(|batch| {
            let refused = import(batch, &items).unwrap_err().to_string();
            assert!(refused.starts_with(expected), "{refused}, not {expected}");
        });
    }
}
