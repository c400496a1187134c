//! Hashes against a `BTreeMap`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use agq::data::{Edit, Error};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::store::Store;

#[derive(Debug, Clone)]
enum Op {
    Set(Vec<(Bytes, Bytes)>, bool),
    Remove(Vec<Bytes>),
    Add(Bytes, i64),
    Get(Vec<Bytes>),
}

/// Few fields, so that they meet again; empty ones and such with any byte among them.
fn field() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b""[..], b"a", b"b", b"\0", b"\xff", b"a\0", b"long field"]).prop_map(Bytes::from_static)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b""[..], b"1", b"-7", b"9223372036854775807", b"x"]).prop_map(Bytes::from_static)
}

fn op() -> impl Strategy<Value = Op> {
    let fields = || prop::collection::vec(field(), 1..5);
    let change = prop::sample::select(vec![1, -1, i64::MIN, i64::MAX]);
    prop_oneof![
        3 => (prop::collection::vec((field(), value()), 1..5), any::<bool>())
            .prop_map(|(entries, only_new)| Op::Set(entries, only_new)),
        2 => fields().prop_map(Op::Remove),
        2 => (field(), change).prop_map(|(field, change)| Op::Add(field, change)),
        1 => fields().prop_map(Op::Get),
    ]
}

type Model = BTreeMap<Bytes, Bytes>;

fn set(model: &mut Model, field: &Bytes, value: &Bytes, only_new: bool) -> bool {
    let is_new = !model.contains_key(field);
    if is_new || !only_new {
        model.insert(field.clone(), value.clone());
    }
    is_new
}

/// The sum that HINCRBY makes: an error's text otherwise.
fn add(model: &mut Model, field: &Bytes, change: i64) -> Result<i64, String> {
    let text = model.get(field).map_or("0".to_owned(), |value| String::from_utf8_lossy(value).into_owned());
    let number: i64 = text.parse().map_err(|_| Error::HashValueNotAnInteger.to_string())?;
    let sum = number.checked_add(change).ok_or_else(|| Error::CounterOverflow.to_string())?;
    model.insert(field.clone(), sum.to_string().into());
    Ok(sum)
}

fn apply(edit: &mut Edit<'_, '_>, name: &[u8], model: &mut Model, op: &Op) -> Result<(), TestCaseError> {
    match op {
        Op::Set(entries, only_new) => {
            let added = entries.iter().filter(|(field, value)| set(model, field, value, *only_new)).count();
            prop_assert_eq!(edit.hash_set(name, entries.clone(), *only_new).unwrap(), added as u64);
        }
        Op::Remove(fields) => {
            let removed = fields.iter().filter(|field| model.remove(*field).is_some()).count();
            prop_assert_eq!(edit.hash_remove(name, fields.iter().map(|field| &field[..])).unwrap(), removed as u64);
        }
        Op::Add(field, change) => {
            let sum = edit.hash_add(name, field.clone(), *change).map_err(|error| error.to_string());
            prop_assert_eq!(sum, add(model, field, *change));
        }
        Op::Get(fields) => {
            let expected: Vec<_> = fields.iter().map(|field| model.get(field).cloned()).collect();
            prop_assert_eq!(edit.view().hash_values(name, fields.iter().map(|field| &field[..])).unwrap(), expected);
        }
    }
    prop_assert_eq!(edit.view().record(name).unwrap().is_some(), !model.is_empty());
    prop_assert_eq!(edit.view().hash_len(name).unwrap(), model.len() as u64);
    let expected: Vec<_> = model.iter().map(|(field, value)| (field.clone(), value.clone())).collect();
    prop_assert_eq!(edit.view().hash_entries(name).unwrap(), expected);
    Ok(())
}

#[test]
fn hashes_are_as_their_model() {
    let store = RefCell::new(Store::new());
    let cases = Cell::new(0);
    let batches = prop::collection::vec(prop::collection::vec(op(), 1..10), 1..5);
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&batches, |batches| {
        cases.set(cases.get() + 1);
        let name = format!("h{}", cases.get());
        let mut model = Model::new();
        for ops in &batches {
            store
                .borrow_mut()
                .batch(|edit| ops.iter().try_for_each(|op| apply(edit, name.as_bytes(), &mut model, op)))?;
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
