//! A batch against a model: whatever is written, taken back, read and scanned, it behaves as an ordered map.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use proptest::prelude::*;

use super::sim_disk::SimDisk;
use super::*;
use crate::clock::Millis;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    /// Begins a command that will be taken back or kept.
    Mark,
    Rollback,
    Release,
    Get(Vec<u8>),
    Scan {
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        reverse: bool,
        limit: usize,
    },
    /// Ends the batch; the next begins over redb's open transaction.
    Finish,
    Checkpoint,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0..4u8, 0..4)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (key(), proptest::collection::vec(any::<u8>(), 0..6)).prop_map(|(key, value)| Step::Put(key, value)),
        3 => key().prop_map(Step::Remove),
        1 => Just(Step::Mark),
        1 => Just(Step::Rollback),
        1 => Just(Step::Release),
        2 => key().prop_map(Step::Get),
        4 => (bound(), bound(), any::<bool>(), 1..9usize)
            .prop_map(|(from, to, reverse, limit)| Step::Scan { from, to, reverse, limit }),
        1 => Just(Step::Finish),
        1 => Just(Step::Checkpoint),
    ]
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn scan(
    table: Table,
    rows: &impl Rows,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    reverse: bool,
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    rows.scan(table, from, to, reverse, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        if found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    found
}

fn wanted(model: &Model, from: Bound<&[u8]>, to: Bound<&[u8]>, reverse: bool, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    // Filtered, not ranged: a range of an ordered map panics on bounds that cross.
    let inside = model.iter().filter(|(key, _)| {
        let above = match from {
            Bound::Included(from) => &key[..] >= from,
            Bound::Excluded(from) => &key[..] > from,
            Bound::Unbounded => true,
        };
        let below = match to {
            Bound::Included(to) => &key[..] <= to,
            Bound::Excluded(to) => &key[..] < to,
            Bound::Unbounded => true,
        };
        above && below
    });
    let rows = inside.map(|(key, value)| (key.clone(), value.clone()));
    if reverse { rows.rev().take(limit).collect() } else { rows.take(limit).collect() }
}

fn finish(db: &mut Db, rows: &WriteSet) {
    db.append(rows, Millis(1)).unwrap();
    db.flush().unwrap();
    db.apply(rows).unwrap();
}

/// Runs steps in one batch until it ends; returns what it changed, and whether a checkpoint follows.
fn run_batch(
    table: Table,
    db: &Db,
    model: &mut Model,
    steps: &mut impl Iterator<Item = Step>,
) -> std::result::Result<Option<(WriteSet, bool)>, TestCaseError> {
    let mut batch = db.batch().unwrap();
    let mut marks: Vec<(Mark, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Put(key, value) => {
                batch.put(table, key.clone(), value.clone()).unwrap();
                model.insert(key, value);
            }
            Step::Remove(key) => {
                batch.remove(table, key.clone()).unwrap();
                model.remove(&key);
            }
            Step::Mark => marks.push((batch.mark(), model.clone())),
            Step::Rollback => {
                if let Some((mark, before)) = marks.pop() {
                    batch.rollback(mark);
                    *model = before;
                }
            }
            Step::Release => {
                batch.release();
                marks.clear();
            }
            Step::Get(key) => {
                let found = batch.get(table, &key).unwrap();
                prop_assert_eq!(found, model.get(&key).cloned().map(Bytes::from));
            }
            Step::Scan { from, to, reverse, limit } => {
                let (from, to) = (as_slice(&from), as_slice(&to));
                prop_assert_eq!(scan(table, &batch, from, to, reverse, limit), wanted(model, from, to, reverse, limit));
            }
            Step::Finish => return Ok(Some((batch.finish(), false))),
            Step::Checkpoint => return Ok(Some((batch.finish(), true))),
        }
    }
    Ok(None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_an_ordered_map(
        // One whose rows are kept in the row cache, and one whose are not.
        table in prop_oneof![Just(Table::Keys), Just(Table::Hashes)],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let disk: std::sync::Arc<dyn files::Disk> = std::sync::Arc::new(SimDisk::new(1));
        let options = Options { cache_size: 1 << 20, ..Options::new(std::path::Path::new("simulated")) };
        let mut db = Db::open_stepped(&disk, &options).unwrap();
        let mut model = Model::new();
        let mut steps = steps.into_iter();
        while let Some((rows, checkpoint)) = run_batch(table, &db, &mut model, &mut steps)? {
            finish(&mut db, &rows);
            if checkpoint {
                db.checkpoint().unwrap();
            }
            let snapshot = db.snapshot().unwrap();
            let all = (Bound::Unbounded, Bound::Unbounded);
            prop_assert_eq!(scan(table, &snapshot, all.0, all.1, true, 1000), wanted(&model, all.0, all.1, true, 1000));
        }
    }
}
