//! What the engine says that it keeps for connections.

use crate::engine::Output;
use crate::engine::tests::{Bench, with_engine};

/// What it keeps for a connection by the last that it told.
fn kept(bench: &mut Bench<'_>, of: u64) -> Option<usize> {
    let told = |output| match output {
        Output::Finished(finished) if finished.conn == of => Some(finished.kept),
        Output::Keeps(conn, bytes) if conn == of => Some(bytes),
        _ => None,
    };
    bench.engine.take_outputs().into_iter().filter_map(told).next_back()
}

/// `tot-mem` of CLIENT LIST.
fn total(bench: &mut Bench<'_>, of: u64) -> usize {
    bench.finished();
    bench.send(9, &[&format!("CLIENT LIST ID {of}")]);
    let list = bench.finished().remove(0).1;
    let total = list.split(' ').find_map(|field| field.strip_prefix("tot-mem="));
    total.unwrap().parse().unwrap()
}

fn names(count: usize) -> String {
    (0..count).map(|n| format!(" {n:04}{}", "x".repeat(96))).collect()
}

#[test]
fn what_a_connection_watches_is_counted_until_it_watches_no_more() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        bench.open(9);
        bench.send(1, &[&format!("WATCH{}", names(100)), &format!("WATCH{}", names(50))]);
        let bytes = kept(bench, 1).unwrap();
        assert!((100 * 100..100 * 1000).contains(&bytes), "{bytes}");
        assert_eq!(total(bench, 1), bytes);
        for ends in ["UNWATCH", "MULTI|EXEC", "MULTI|DISCARD", "RESET"] {
            bench.send(1, &[&format!("WATCH{}", names(100))]);
            assert_eq!(kept(bench, 1), Some(bytes));
            bench.send(1, &ends.split('|').collect::<Vec<_>>());
            assert_eq!(kept(bench, 1), Some(0), "{ends}");
        }
    });
}

#[test]
fn what_a_parked_command_waits_for_is_counted_until_it_is_answered() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        bench.open(9);
        bench.send(1, &[&format!("BLPOP{} last 0", names(100))]);
        let bytes = kept(bench, 1).unwrap();
        assert!((100 * 100..100 * 1000).contains(&bytes), "{bytes}");
        assert_eq!(total(bench, 1), bytes);
        bench.send(2, &["LPUSH last x"]);
        assert_eq!(kept(bench, 1), Some(0));
        bench.send(1, &[&format!("JOB.CLAIM w BLOCK 0 QUEUES{}", names(100))]);
        assert!(kept(bench, 1) >= Some(100 * 100));
    });
}
