//! The index of ranks against a sorted set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::storage::{Db, Options};

const SMALL: Limits = Limits { elements: 4, buckets: 4 };

#[derive(Debug, Clone)]
enum Step {
    Add(u16),
    Remove(u16),
    RemoveFrom(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..400_u16).prop_map(Step::Add),
        3 => (0..400_u16).prop_map(Step::Remove),
        1 => (0..400_u16).prop_map(Step::RemoveFrom),
    ]
}

fn with_batch(test: impl FnOnce(&mut Batch<'_>)) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&Options::new(dir.path())).unwrap();
    let mut batch = db.batch().unwrap();
    test(&mut batch);
}

/// Every bucket says how many elements and children lie in it.
fn check(ranks: &Ranks, rows: &dyn Rows, elements: &BTreeSet<u16>) {
    let mut children: Vec<(Bytes, u64)> =
        elements.iter().map(|key| (Bytes::copy_from_slice(&key.to_be_bytes()), 1)).collect();
    for level in 1..=ranks.height {
        let mut buckets = Vec::new();
        ranks
            .visit(rows, level, &[], Bound::Unbounded, &mut |bucket| {
                buckets.push(bucket);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(buckets.first().unwrap().first.is_empty(), "level {level}");
        assert!(level < ranks.height || buckets.len() == 1, "level {level}");
        for (place, bucket) in buckets.iter().enumerate() {
            let end = buckets.get(place + 1).map(|next| &next.first);
            let inside = children.iter().filter(|(key, _)| *key >= bucket.first && end.is_none_or(|end| key < end));
            let (count, sum) = inside.fold((0, 0), |(count, sum), (_, weight)| (count + 1, sum + weight));
            let counted = ranks.counted().contains(&level);
            assert_eq!((bucket.children, if counted { bucket.elements } else { sum }), (count, sum), "level {level}");
            let most = if level == 1 { SMALL.elements } else { SMALL.buckets };
            assert!(bucket.children <= most, "level {level}: {} children", bucket.children);
        }
        children = buckets.into_iter().map(|bucket| (bucket.first, bucket.elements)).collect();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranks_are_those_of_a_sorted_set(
        built in prop::collection::btree_set(0..400_u16, 0..60),
        steps in prop::collection::vec(step(), 1..150),
        // How many elements are indexed before each step, until all are.
        slices in prop::collection::vec(0..30_u64, 150),
    ) {
        with_batch(|batch| {
            let mut elements = built;
            let mut ranks = Ranks { id: [7; 8], table: Table::ZScores, height: 0, limits: SMALL };
            let other = Ranks { id: [6, 255, 255, 255, 255, 255, 255, 255], ..ranks };
            for id in [ranks.id, other.id, [8; 8]] {
                for key in &elements {
                    batch.put(Table::ZScores, [&id[..], &key.to_be_bytes()].concat(), Bytes::new()).unwrap();
                }
            }
            let mut until = ranks.extend(batch, &[], slices[0]).unwrap();
            for (step, slice) in steps.into_iter().zip(slices) {
                if let Some(from) = &until {
                    until = ranks.extend(batch, from, slice).unwrap();
                }
                let is_indexed = |key: &[u8]| until.as_ref().is_none_or(|until| key < until);
                let (add, keys) = match step {
                    Step::Add(key) => (true, vec![key]),
                    Step::Remove(key) => (false, vec![key]),
                    Step::RemoveFrom(key) => (false, elements.range(key..).take(20).copied().collect()),
                };
                for key in keys {
                    let bytes = key.to_be_bytes();
                    if add && elements.insert(key) {
                        batch.put(Table::ZScores, ranks.element(&bytes), Bytes::new()).unwrap();
                        if is_indexed(&bytes) {
                            ranks.add(batch, &bytes).unwrap();
                        }
                    } else if !add && elements.remove(&key) {
                        batch.remove(Table::ZScores, ranks.element(&bytes)).unwrap();
                        if is_indexed(&bytes) {
                            ranks.remove(batch, &bytes).unwrap();
                        }
                    }
                }
            }
            if let Some(from) = until {
                assert!(!ranks.is_finished());
                assert_eq!(ranks.extend(batch, &from, u64::MAX).unwrap(), None);
            }
            check(&ranks, batch, &elements);
            for key in (0..400).step_by(7) {
                let expected = elements.range(..key).count() as u64;
                assert_eq!(ranks.before(batch, &key.to_be_bytes()).unwrap(), expected);
            }
            for (place, key) in elements.iter().enumerate() {
                assert_eq!(ranks.at(batch, place as u64).unwrap().unwrap(), &key.to_be_bytes()[..]);
            }
            assert_eq!(ranks.at(batch, elements.len() as u64).unwrap(), None);
            ranks.remove_all(batch).unwrap();
            assert!(batch.first(Table::Counts, Bound::Unbounded, Bound::Unbounded, false).unwrap().is_none());
        });
    }
}
