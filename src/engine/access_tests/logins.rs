//! Keys that are given: one at a time, since a wrong one waits for its answer before the next is tried.

use super::{ADMIN, with_access};
use crate::engine::Output;
use crate::engine::tests::Bench;

/// Hands in commands as one unit. Returns whether it ended at a wrong key, and how many commands did not run yet.
fn guess(bench: &mut Bench<'_>, commands: &[&str]) -> (bool, usize) {
    bench.send(ADMIN, commands);
    let finished = |output| match output {
        Output::Finished(finished) => Some((finished.wrong_key.is_some(), finished.rest.len())),
        _ => None,
    };
    bench.engine.take_outputs().into_iter().find_map(finished).unwrap()
}

#[test]
fn no_key_is_given_within_a_transaction() {
    with_access(|bench| {
        for login in ["AUTH x", "AUTH default x", "HELLO 3 AUTH default x", "HELLO 3"] {
            assert_eq!(bench.say(ADMIN, "MULTI"), "+OK|");
            assert_eq!(bench.say(ADMIN, login), "-ERR Command not allowed inside a transaction|");
            assert_eq!(bench.say(ADMIN, "SET a 1"), "+QUEUED|");
            assert_eq!(bench.say(ADMIN, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.|");
        }
        assert_eq!(bench.say(ADMIN, "EXISTS a"), ":0|");
    });
}

#[test]
fn a_unit_ends_at_a_wrong_key() {
    with_access(|bench| {
        bench.open_with(2, "app", "KEYS a");
        let wrong = ["AUTH x y", "HELLO 3 AUTH x y", "PING", "AUTH x z"];
        assert_eq!(guess(bench, &wrong), (true, 3), "what follows runs when the answer has left");
        assert_eq!(guess(bench, &wrong[1..]), (true, 2));
        assert_eq!(guess(bench, &wrong[2..]), (true, 0));
    });
}
