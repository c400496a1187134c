//! Sorted sets against a map and a sorted vector: whatever is added, moved, popped and removed, they hold and find the
//! same.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;

use agq::data::zsets::{AddRule, Direction, MemberRange, Presence, ScoreRange, Scored, Window};
use agq::data::{Edit, Error, Kind};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::store::Store;

/// The score of each member.
type Model = BTreeMap<Bytes, f64>;

#[derive(Debug, Clone)]
enum Op {
    Add(AddRule, Vec<(f64, Bytes)>),
    Remove(Vec<Bytes>),
    Pop(u64, bool),
    RemoveByScore(ScoreRange),
    Places(u64, u64, bool),
    ByScore(ScoreRange, Window),
    ByMember(MemberRange, Window),
    Score(Bytes),
}

/// Few scores and members, so that there are ties and members are met again.
fn score() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![f64::NEG_INFINITY, -1.5, -0.0, 0.0, 5e-324, 1.0, 2.0, f64::MAX, f64::INFINITY])
}

fn member() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b""[..], b"\0", b"a", b"a\0", b"ab", b"b", b"\xff", b"\xff\xff"])
        .prop_map(Bytes::from_static)
}

fn bound<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = Bound<T>> {
    prop_oneof![Just(Bound::Unbounded), value.clone().prop_map(Bound::Included), value.prop_map(Bound::Excluded)]
}

fn scores() -> impl Strategy<Value = ScoreRange> {
    let scores = prop::sample::select(vec![f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1.0, 2.0, f64::INFINITY]);
    (bound(scores.clone()), bound(scores)).prop_map(|(min, max)| ScoreRange { min, max })
}

fn members() -> impl Strategy<Value = MemberRange> {
    let members = prop::sample::select(vec![&b""[..], b"a", b"ab", b"b", b"\xff"]).prop_map(Bytes::from_static);
    (bound(members.clone()), bound(members)).prop_map(|(min, max)| MemberRange { min, max })
}

fn window() -> impl Strategy<Value = Window> {
    let take = prop_oneof![0_u64..4, Just(u64::MAX)];
    (any::<bool>(), 0_u64..3, take).prop_map(|(reverse, skip, take)| Window { reverse, skip, take })
}

fn rule() -> impl Strategy<Value = AddRule> {
    let presence = prop::sample::select(vec![Presence::Any, Presence::New, Presence::Existing]);
    let direction = prop::sample::select(vec![Direction::Any, Direction::Up, Direction::Down]);
    (presence, direction, prop::bool::weighted(0.2)).prop_map(|(presence, direction, increment)| AddRule {
        presence,
        direction,
        increment,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (rule(), prop::collection::vec((score(), member()), 1..6)).prop_map(|(rule, pairs)| Op::Add(rule, pairs)),
        1 => prop::collection::vec(member(), 1..4).prop_map(Op::Remove),
        1 => (prop_oneof![0_u64..3, Just(100)], any::<bool>()).prop_map(|(count, reverse)| Op::Pop(count, reverse)),
        1 => scores().prop_map(Op::RemoveByScore),
        2 => (0_u64..9, 0_u64..9, any::<bool>()).prop_map(|(start, stop, reverse)| Op::Places(start, stop, reverse)),
        3 => (scores(), window()).prop_map(|(range, window)| Op::ByScore(range, window)),
        2 => (members(), window()).prop_map(|(range, window)| Op::ByMember(range, window)),
        1 => member().prop_map(Op::Score),
    ]
}

/// All members in order.
fn ordered(model: &Model) -> Vec<Scored> {
    let mut all: Vec<Scored> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    // Stable: equal scores stay in the order of their members.
    all.sort_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap());
    all
}

fn inside<T: PartialOrd>(value: &T, min: Bound<&T>, max: Bound<&T>) -> bool {
    let above = match min {
        Bound::Unbounded => true,
        Bound::Included(min) => value >= min,
        Bound::Excluded(min) => value > min,
    };
    above
        && match max {
            Bound::Unbounded => true,
            Bound::Included(max) => value <= max,
            Bound::Excluded(max) => value < max,
        }
}

fn through<T>(mut all: Vec<T>, window: Window) -> Vec<T> {
    if window.reverse {
        all.reverse();
    }
    let take = usize::try_from(window.take).unwrap_or(usize::MAX);
    all.into_iter().skip(window.skip as usize).take(take).collect()
}

/// What a ZADD does; `None` when it must be refused.
fn add(model: &mut Model, rule: AddRule, pairs: &[(f64, Bytes)]) -> Option<(u64, u64, Option<f64>)> {
    let (mut added, mut changed, mut last) = (0, 0, None);
    for (given, member) in pairs {
        let old = model.get(member).copied();
        let new = if rule.increment { given + old.unwrap_or(0.0) } else { *given };
        let skipped = match old {
            None => rule.presence == Presence::Existing,
            Some(_) if rule.presence == Presence::New => true,
            Some(_) if new.is_nan() => return None,
            Some(old) => match rule.direction {
                Direction::Any => false,
                Direction::Up => new <= old,
                Direction::Down => new >= old,
            },
        };
        last = (!skipped).then_some(new);
        if !skipped {
            added += u64::from(old.is_none());
            changed += u64::from(old.is_some_and(|old| old != new));
            model.insert(member.clone(), new);
        }
    }
    Some((added, changed, last))
}

fn apply(edit: &mut Edit<'_, '_>, name: &[u8], model: &mut Model, op: &Op) -> Result<(), TestCaseError> {
    match op {
        Op::Add(rule, pairs) => {
            let mark = edit.batch.mark();
            let mut after = model.clone();
            match (add(&mut after, *rule, pairs), edit.zadd(name, *rule, pairs)) {
                (Some(expected), Ok(done)) => {
                    prop_assert_eq!((done.added, done.changed, done.score), expected);
                    *model = after;
                }
                (None, Err(Error::ScoreIsNan)) => edit.batch.rollback(mark),
                (expected, done) => prop_assert!(false, "{expected:?} was expected, {done:?} came"),
            }
        }
        Op::Remove(members) => {
            let removed = members.iter().filter(|member| model.remove(*member).is_some()).count() as u64;
            prop_assert_eq!(edit.zrem(name, members.iter().map(|member| &member[..])).unwrap(), removed);
        }
        Op::Pop(count, reverse) => {
            let expected = through(ordered(model), Window { reverse: *reverse, skip: 0, take: *count });
            model.retain(|member, _| expected.iter().all(|(popped, _)| popped != member));
            if let Some(set) = edit.sorted_set(name).unwrap() {
                prop_assert_eq!(edit.zpop(name, &set, *count, *reverse).unwrap(), expected);
            }
        }
        Op::RemoveByScore(range) => {
            let before = model.len();
            model.retain(|_, score| !inside(score, range.min.as_ref(), range.max.as_ref()));
            prop_assert_eq!(edit.zremove_by_score(name, *range).unwrap(), (before - model.len()) as u64);
        }
        query => return ask(edit, name, model, query),
    }
    Ok(())
}

fn ask(edit: &Edit<'_, '_>, name: &[u8], model: &Model, query: &Op) -> Result<(), TestCaseError> {
    let view = edit.view();
    let Some(set) = view.sorted_set(name).unwrap() else {
        prop_assert!(model.is_empty());
        return Ok(());
    };
    match query {
        Op::Places(start, stop, reverse) => {
            let take = (stop + 1).saturating_sub(*start);
            let expected = through(ordered(model), Window { reverse: *reverse, skip: *start, take });
            prop_assert_eq!(view.zrange(&set, *start, *stop, *reverse).unwrap(), expected);
        }
        Op::ByScore(range, window) => {
            let mut all = ordered(model);
            all.retain(|(_, score)| inside(score, range.min.as_ref(), range.max.as_ref()));
            prop_assert_eq!(view.zcount(&set, *range).unwrap(), all.len() as u64);
            prop_assert_eq!(view.zrange_by_score(&set, *range, *window).unwrap(), through(all, *window));
        }
        Op::ByMember(range, window) => {
            let mut all: Vec<Bytes> = model.keys().cloned().collect();
            all.retain(|member| inside(member, range.min.as_ref(), range.max.as_ref()));
            prop_assert_eq!(view.zrange_by_member(&set, range, *window).unwrap(), through(all, *window));
        }
        Op::Score(member) => {
            prop_assert_eq!(view.zscore(&set, member).unwrap(), model.get(member).copied());
        }
        change => prop_assert!(false, "{change:?} is no query"),
    }
    Ok(())
}

fn check(edit: &Edit<'_, '_>, name: &[u8], model: &Model) -> Result<(), TestCaseError> {
    let view = edit.view();
    let record = view.record(name).unwrap();
    prop_assert_eq!(record.map(|record| record.kind), (!model.is_empty()).then_some(Kind::SortedSet));
    if let Some(set) = view.sorted_set(name).unwrap() {
        prop_assert_eq!(set.len(), model.len() as u64);
        let all = ScoreRange { min: Bound::Unbounded, max: Bound::Unbounded };
        prop_assert_eq!(view.zrange_by_score(&set, all, Window::ALL).unwrap(), ordered(model));
    }
    Ok(())
}

#[test]
fn sorted_sets_are_as_their_model() {
    let store = RefCell::new(Store::new());
    let cases = Cell::new(0);
    let batches = prop::collection::vec(prop::collection::vec(op(), 1..12), 1..6);
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&batches, |batches| {
        cases.set(cases.get() + 1);
        // The sets on either side must stay what they are: bounds that reach too far would be seen.
        let [before, name, after] = ["a", "b", "c"].map(|part| format!("{part}{}", cases.get()).into_bytes());
        let neighbour = [(1.0, Bytes::from_static(b"neighbour"))];
        let mut model = Model::new();
        store.borrow_mut().batch(|edit| {
            edit.zadd(&before, AddRule::default(), &neighbour).unwrap();
            edit.zadd(&name, AddRule::default(), &neighbour).unwrap();
            edit.zadd(&after, AddRule::default(), &neighbour).unwrap();
        });
        model.insert(neighbour[0].1.clone(), 1.0);
        for ops in &batches {
            store.borrow_mut().batch(|edit| {
                ops.iter().try_for_each(|op| apply(edit, &name, &mut model, op))?;
                check(edit, &name, &model)
            })?;
        }
        let alone = Model::from([(neighbour[0].1.clone(), 1.0)]);
        store.borrow_mut().batch(|edit| check(edit, &before, &alone).and_then(|()| check(edit, &after, &alone)))
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
