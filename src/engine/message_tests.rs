//! How much of messages a client may be sent at once.

use crate::command::{Excess, Sends};
use crate::engine::Output;
use crate::engine::tests::{Bench, with_engine};

/// Bytes that a connection was sent.
type Sent = (u64, usize);

/// What connections were sent, and who is ended.
fn told(bench: &mut Bench<'_>) -> (Vec<Sent>, Vec<(u64, Excess)>) {
    let (mut sent, mut ended) = (Vec::new(), Vec::new());
    for output in bench.engine.take_outputs() {
        match output {
            Output::Pushed(conn, out) => sent.push((conn, out.len())),
            Output::TooMuch(conn, excess) => ended.push((conn, excess)),
            Output::Finished(finished) => sent.push((finished.conn, finished.out.len())),
            Output::Keeps(..) | Output::Killed(_) => panic!("nobody is killed"),
        }
    }
    (sent, ended)
}

fn sum(sent: &[Sent], conn: u64) -> usize {
    sent.iter().filter(|(to, _)| *to == conn).map(|(_, bytes)| bytes).sum()
}

/// Two clients that follow the channel `a` by twenty patterns, one that is subscribed to it, and one more; messages are
/// bounded.
fn with_subscribers(one: usize, all: usize, test: impl FnOnce(&mut Bench<'_>)) {
    with_engine(|bench| {
        (1..=4).for_each(|conn| bench.open(conn));
        let patterns: String = (0..20).map(|n| format!(" {}*", "*".repeat(n))).collect();
        let follow = format!("PSUBSCRIBE{patterns}");
        bench.send(1, &["HELLO 3", &follow]);
        bench.send(2, &[&follow]);
        bench.send(3, &["SUBSCRIBE a"]);
        bench.finished();
        bench.engine.bound(Sends { messages: one, all_messages: all, ..Sends::ALL });
        test(bench);
    });
}

#[test]
fn a_message_that_many_patterns_fit_is_not_made_past_the_bound() {
    with_subscribers(5000, usize::MAX, |bench| {
        bench.send(4, &[&format!("PUBLISH a {}", "x".repeat(1000))]);
        let (sent, ended) = told(bench);
        assert_eq!(ended, [(1, Excess::One), (2, Excess::One)]);
        assert_eq!((sum(&sent, 1), sum(&sent, 2)), (0, 0), "nothing is kept for who is ended");
        assert!(sum(&sent, 3) > 1000, "{sent:?}");
        assert_eq!(sum(&sent, 4), ":41\r\n".len());
    });
}

#[test]
fn who_publishes_to_itself_is_bounded_as_well_and_so_is_an_exec() {
    with_subscribers(5000, usize::MAX, |bench| {
        bench.send(1, &["MULTI"]);
        bench.send(1, &vec![&format!("PUBLISH a {}", "x".repeat(100))[..]; 100]);
        told(bench);
        bench.send(1, &["EXEC"]);
        let (sent, mut ended) = told(bench);
        ended.sort_by_key(|(conn, _)| *conn);
        assert_eq!(ended, [(1, Excess::One), (2, Excess::One), (3, Excess::One)]);
        // The replies that come after are a hundred of five bytes.
        assert!((1..=3).all(|conn| sum(&sent, conn) < 1000), "{sent:?}");
    });
}

#[test]
fn what_is_on_its_way_to_all_together_is_bounded() {
    with_subscribers(usize::MAX, 20_000, |bench| {
        bench.send(4, &[&format!("PUBLISH a {}", "x".repeat(1000))]);
        let (sent, mut ended) = told(bench);
        ended.sort_by_key(|(conn, _)| *conn);
        assert_eq!(ended, [(1, Excess::All), (2, Excess::All)]);
        assert!((1000..2000).contains(&sum(&sent, 3)) && sum(&sent, 1) + sum(&sent, 2) == 0, "{sent:?}");
    });
}

#[test]
fn who_is_sent_little_beside_others_that_are_sent_much_gets_it() {
    with_subscribers(usize::MAX, 30_000, |bench| {
        bench.open(5);
        bench.send(5, &["SSUBSCRIBE notices"]);
        bench.send(1, &["SUBSCRIBE a"]);
        bench.finished();
        // All but used up by the two that follow by patterns, of which one publishes itself; then by small messages,
        // which no pattern fits.
        bench.send(1, &[&format!("PUBLISH a {}", "x".repeat(300))]);
        bench.send(4, &["SPUBLISH notices x"; 30]);
        let (sent, ended) = told(bench);
        assert_eq!(ended, [(1, Excess::All)], "{sent:?}");
        let message = "*3\r\n$8\r\nsmessage\r\n$7\r\nnotices\r\n$1\r\nx\r\n".len();
        assert_eq!(sum(&sent, 5), 30 * message, "{sent:?}");
        assert!(sum(&sent, 2) > 20 * 300, "{sent:?}");
        assert_eq!(sum(&sent, 1), 0, "what was on its way to who is ended is dropped: {sent:?}");
    });
}

#[test]
fn what_clients_watch_with_monitor_is_bounded() {
    with_subscribers(5000, usize::MAX, |bench| {
        bench.send(3, &["RESET", "MONITOR"]);
        told(bench);
        bench.send(4, &vec![&format!("ECHO {}", "x".repeat(100))[..]; 100]);
        let (sent, ended) = told(bench);
        assert_eq!(ended, [(3, Excess::One)]);
        assert_eq!(sum(&sent, 3), 0, "{sent:?}");
    });
}
