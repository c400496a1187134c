//! The check itself: whatever single row is lost, changed or added, it says so, and says the same in turns of any size.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::*;
use crate::jobs::check::check_in_turns;

/// Jobs of several queues, plans, actions and keys, in most states, with events, waits, timers and bodies.
fn fill(bench: &mut Bench<'_>) {
    let plan = r#"{"tasks":[{"task_number":1,"command":"true","args":[]}]}"#;
    for name in ["first", "second", "third"] {
        let action = format!(
            r#"{{"action_id":"{name}","plan":{plan},"inputs":[{{}},{{}}],"max_parallel":1,"queue":"q{name}"}}"#
        );
        let submit = SubmitAction::parse(action.as_bytes()).unwrap();
        bench.command(|jobs| jobs.submit_action(&submit)).unwrap();
    }
    bench.submit(&format!(r#"{{"kind":"a","delay_ms":5,"payload":"{}"}}"#, "x".repeat(1_000)));
    for key in ["k1", "k2", "k3"] {
        bench.submit(&format!(
            r#"{{"job_id":"of-{key}","kind":"a","key":"{key}","labels":["l"],"unique_key":"u-{key}","idempotency_key":"i-{key}"}}"#
        ));
    }
    bench.submit(r#"{"job_id":"later","kind":"a","after":["of-k1","of-k2"]}"#);
    let done = bench.claim("w").unwrap();
    bench.command(|jobs| jobs.complete(done.id.as_bytes(), done.epoch, OK)).unwrap();
    bench.claim("w").unwrap();
}

fn rows_of(bench: &Bench<'_>, table: Table) -> Vec<(Bytes, Bytes)> {
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    };
    bench.batch.scan(table, Bound::Unbounded, Bound::Unbounded, false, visit).unwrap();
    rows
}

const TABLES: [Table; 8] = [
    Table::Pending,
    Table::Timers,
    Table::JobIndex,
    Table::Queues,
    Table::Actions,
    Table::Jobs,
    Table::JobData,
    Table::Events,
];

/// What is found, which has to be the same in turns of any size.
fn found(bench: &Bench<'_>) -> Option<Vec<String>> {
    let found_in = |at_once| {
        check_in_turns(&bench.batch, at_once).ok().map(|mut found| {
            found.sort();
            found
        })
    };
    let found = found_in(usize::MAX);
    for at_once in [1, 2, 3] {
        assert_eq!(found_in(at_once), found, "{at_once} names at once");
    }
    found
}

#[test]
fn a_row_that_is_lost_is_found() {
    with_bench(|bench| {
        fill(bench);
        assert_eq!(found(bench), Some(Vec::new()));
        for table in TABLES {
            let rows = rows_of(bench, table);
            assert!(!rows.is_empty(), "{table}");
            for (place, (key, _)) in rows.iter().enumerate() {
                // The feed's beginning goes by itself when it is old.
                if table == Table::Events && place == 0 {
                    continue;
                }
                let mark = bench.batch.mark();
                bench.batch.remove(table, key.clone()).unwrap();
                assert_ne!(found(bench), Some(Vec::new()), "{table} without {}", key.escape_ascii());
                bench.batch.rollback(mark);
            }
        }
    });
}

#[test]
fn a_row_that_is_one_too_many_is_found() {
    with_bench(|bench| {
        fill(bench);
        for table in [Table::Pending, Table::Timers, Table::JobIndex, Table::JobData] {
            for (key, value) in rows_of(bench, table) {
                let mut other = key.to_vec();
                // Another number, or another job's data.
                let place = if table == Table::JobData { 4 } else { key.len() - 1 };
                other[place] ^= 0x40;
                // What an idempotency key is called follows from nothing.
                if bench.batch.get(table, &other).unwrap().is_some() || key.starts_with(b"i") {
                    continue;
                }
                let mark = bench.batch.mark();
                bench.batch.put(table, other.clone(), value).unwrap();
                assert_ne!(found(bench), Some(Vec::new()), "{table} with {}", other.escape_ascii());
                bench.batch.rollback(mark);
            }
        }
    });
}

#[test]
fn counts_of_names_in_different_turns_are_all_found() {
    with_bench(|bench| {
        fill(bench);
        let wrong = [(Table::Jobs, "of-k3"), (Table::Actions, "first"), (Table::Queues, "qthird")];
        for (table, key) in wrong {
            assert!(bench.batch.get(table, key.as_bytes()).unwrap().is_some(), "{key}");
            bench.batch.remove(table, Bytes::from(key)).unwrap();
        }
        // Two jobs more than two actions have, and an event that is another's.
        let found = found(bench).unwrap();
        for part in
            ["of-k3", "action first has jobs and no row", "queue qthird has jobs and no row", "all queues count"]
        {
            assert!(found.iter().any(|line| line.contains(part)), "nothing says {part}: {found:#?}");
        }
    });
}
