//! Lists against a `VecDeque`: whatever is pushed, popped, moved and removed, they hold and find the same.

use std::cell::RefCell;
use std::collections::VecDeque;

use agq::data::lists::{End, Search};
use agq::data::{Edit, Kind};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::store::Store;

#[derive(Debug, Clone)]
enum Op {
    Push(bool, Vec<u8>),
    Pop(bool, u64),
    Rotate(bool, bool),
    Move(bool, bool),
    Remove(i64, u8),
    Range(i64, i64),
    At(i64),
    Positions { value: u8, skip: u64, backwards: bool, matches: u64, compare: u64 },
}

/// Few values, so that removals hit; often enough many elements at once, so that whole lists are detached.
fn op() -> impl Strategy<Value = Op> {
    let values = prop_oneof![
        4 => prop::collection::vec(0_u8..4, 1..8),
        1 => prop::collection::vec(0_u8..4, 60..80),
    ];
    let count = prop_oneof![3 => 0_u64..4, 1 => Just(1000)];
    let index = -12_i64..12;
    let limit = prop_oneof![0_u64..5, Just(u64::MAX)];
    prop_oneof![
        4 => (any::<bool>(), values).prop_map(|(left, values)| Op::Push(left, values)),
        2 => (any::<bool>(), count).prop_map(|(left, count)| Op::Pop(left, count)),
        1 => any::<(bool, bool)>().prop_map(|(from, to)| Op::Rotate(from, to)),
        1 => any::<(bool, bool)>().prop_map(|(from, to)| Op::Move(from, to)),
        3 => (-3_i64..4, 0_u8..4).prop_map(|(count, value)| Op::Remove(count, value)),
        2 => (index.clone(), index.clone()).prop_map(|(start, stop)| Op::Range(start, stop)),
        1 => index.prop_map(Op::At),
        2 => (0_u8..4, 0_u64..3, any::<bool>(), limit.clone(), limit).prop_map(
            |(value, skip, backwards, matches, compare)| Op::Positions { value, skip, backwards, matches, compare }
        ),
    ]
}

fn end(left: bool) -> End {
    if left { End::Left } else { End::Right }
}

fn element(value: u8) -> Bytes {
    Bytes::from(vec![b'v', value])
}

type Model = VecDeque<u8>;

fn push(model: &mut Model, left: bool, value: u8) {
    if left { model.push_front(value) } else { model.push_back(value) }
}

fn pop(model: &mut Model, left: bool) -> Option<u8> {
    if left { model.pop_front() } else { model.pop_back() }
}

/// Removes as LREM does, and says how many.
fn remove(model: &mut Model, count: i64, value: u8) -> u64 {
    let mut places: Vec<usize> = (0..model.len()).filter(|&place| model[place] == value).collect();
    if count < 0 {
        places.reverse();
    }
    if count != 0 {
        places.truncate(count.unsigned_abs() as usize);
    }
    places.sort_unstable();
    for place in places.iter().rev() {
        model.remove(*place);
    }
    places.len() as u64
}

/// The positions that Redis's signed, inclusive range names.
fn range(model: &Model, start: i64, stop: i64) -> Vec<Bytes> {
    let length = model.len() as i64;
    let from_head = |index: i64| if index < 0 { index + length } else { index };
    let (start, stop) = (from_head(start).max(0), from_head(stop));
    let inside = |place: &i64| (start..=stop).contains(place);
    (0..length).filter(inside).map(|place| element(model[place as usize])).collect()
}

/// Does one operation on both; `names` are the list and the one that elements move to.
fn apply(edit: &mut Edit<'_, '_>, names: &[String; 2], models: &mut [Model; 2], op: &Op) -> Result<(), TestCaseError> {
    let [name, other] = [names[0].as_bytes(), names[1].as_bytes()];
    let [model, target] = models;
    match *op {
        Op::Push(left, ref values) => {
            values.iter().for_each(|value| push(model, left, *value));
            let length = edit.list_push(name, end(left), values.iter().map(|value| element(*value))).unwrap();
            prop_assert_eq!(length, model.len() as u64);
        }
        Op::Pop(left, count) => {
            let expected = (!model.is_empty())
                .then(|| (0..count).map_while(|_| pop(model, left)).map(element).collect::<Vec<_>>());
            prop_assert_eq!(edit.list_pop(name, end(left), count).unwrap(), expected);
        }
        Op::Rotate(from, to) => {
            let value = pop(model, from);
            value.into_iter().for_each(|value| push(model, to, value));
            prop_assert_eq!(edit.list_move(name, end(from), name, end(to)).unwrap(), value.map(element));
        }
        Op::Move(from, to) => {
            let value = pop(model, from);
            value.into_iter().for_each(|value| push(target, to, value));
            prop_assert_eq!(edit.list_move(name, end(from), other, end(to)).unwrap(), value.map(element));
        }
        Op::Remove(count, value) => {
            let removed = remove(model, count, value);
            prop_assert_eq!(edit.list_remove(name, count, &element(value)).unwrap(), removed);
        }
        Op::Range(start, stop) => {
            prop_assert_eq!(edit.view().list_range(name, start, stop).unwrap(), range(model, start, stop));
        }
        Op::At(index) => {
            let expected = range(model, index, index).pop();
            prop_assert_eq!(edit.view().list_at(name, index).unwrap(), expected);
        }
        Op::Positions { value, skip, backwards, matches, compare } => {
            let mut places: Vec<usize> = (0..model.len()).collect();
            if backwards {
                places.reverse();
            }
            places.truncate(usize::try_from(compare).unwrap_or(usize::MAX));
            let found = places.into_iter().filter(|&place| model[place] == value).skip(skip as usize);
            let expected: Vec<u64> =
                found.take(usize::try_from(matches).unwrap_or(usize::MAX)).map(|place| place as u64).collect();
            let search = Search { value: &element(value), skip, backwards, matches, compare };
            prop_assert_eq!(edit.view().list_positions(name, &search).unwrap(), expected);
        }
    }
    Ok(())
}

fn check(edit: &mut Edit<'_, '_>, name: &str, model: &Model) -> Result<(), TestCaseError> {
    let view = edit.view();
    let record = view.record(name.as_bytes()).unwrap();
    prop_assert_eq!(record.map(|record| record.kind), (!model.is_empty()).then_some(Kind::List));
    prop_assert_eq!(view.list_len(name.as_bytes()).unwrap(), model.len() as u64);
    prop_assert_eq!(view.list_range(name.as_bytes(), 0, -1).unwrap(), range(model, 0, -1));
    Ok(())
}

#[test]
fn lists_are_as_their_model() {
    let store = RefCell::new(Store::new());
    let cases = std::cell::Cell::new(0);
    let batches = prop::collection::vec(prop::collection::vec(op(), 1..12), 1..6);
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&batches, |batches| {
        cases.set(cases.get() + 1);
        let names = [format!("a{}", cases.get()), format!("b{}", cases.get())];
        let mut models = [Model::new(), Model::new()];
        for ops in &batches {
            store.borrow_mut().batch(|edit| {
                ops.iter().try_for_each(|op| apply(edit, &names, &mut models, op))?;
                check(edit, &names[0], &models[0])?;
                check(edit, &names[1], &models[1])
            })?;
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
