//! The engine without a server: units in, replies out.

use agq_resp::Request;
use bytes::BytesMut;

use super::*;
use crate::engine::run::BATCH_BYTES;
use crate::storage::{Bound, Db, Options, Refusal};

/// An engine over an empty store, with an open batch.
pub(super) struct Bench<'a> {
    pub(super) engine: Engine,
    pub(super) batch: Batch<'a>,
    pub(super) now: Millis,
}

pub(super) fn with_engine(test: impl FnOnce(&mut Bench<'_>)) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&Options::new(dir.path())).unwrap();
    let mut batch = db.batch().unwrap();
    let config = Config {
        key: None,
        parameters: Vec::new(),
        sweep_interval_ms: 1000,
        jobs: crate::jobs::Settings::default(),
        system: crate::command::System { nanos: || 0, secret },
        webhooks: crate::command::WebhookRules::default(),
    };
    let now = Millis(1_000_000);
    let engine = Engine::new(&mut batch, config, 1, now).unwrap();
    test(&mut Bench { engine, batch, now });
}

/// Other bytes each time, the same in every run of a test.
fn secret(bytes: &mut [u8]) -> bool {
    thread_local!(static CALLS: std::cell::Cell<u8> = const { std::cell::Cell::new(0) });
    let call = CALLS.get().wrapping_add(1);
    CALLS.set(call);
    bytes.iter_mut().zip(call..).for_each(|(byte, n)| *byte = n.wrapping_mul(167));
    true
}

impl Bench<'_> {
    pub(super) fn open(&mut self, conn: ConnId) {
        self.take(Input::Open(Box::new(Session::new(conn, String::new(), true))));
    }

    pub(super) fn take(&mut self, input: Input) {
        self.engine.take(&mut self.batch, input, self.now).unwrap();
    }

    /// Hands in commands as one unit.
    pub(super) fn send(&mut self, conn: ConnId, commands: &[&str]) {
        let requests = commands.iter().map(|command| Request::from_args(command.split(' '))).collect();
        self.take(Input::Unit(Unit { conn, requests, protocol_error: None, out: BytesMut::new() }));
    }

    /// The units that finished since the last call: connection and replies, line ends as `|`.
    pub(super) fn finished(&mut self) -> Vec<(ConnId, String)> {
        let text = |out: &[u8]| String::from_utf8_lossy(out).replace("\r\n", "|");
        let told = |output| match output {
            Output::Finished(finished) => (finished.conn, text(&finished.out)),
            Output::Pushed(conn, out) => (conn, text(&out)),
            Output::Keeps(conn, bytes) => (conn, format!("keeps {bytes}")),
            Output::TooMuch(conn, excess) => (conn, format!("too much for {excess:?}")),
            Output::Killed(conn) => (conn, "killed".to_owned()),
        };
        self.engine.take_outputs().into_iter().map(told).collect()
    }
}

fn replies(pairs: &[(ConnId, &str)]) -> Vec<(ConnId, String)> {
    pairs.iter().map(|(conn, text)| (*conn, (*text).to_owned())).collect()
}

#[test]
fn a_pushed_element_goes_to_the_oldest_waiter_before_the_pushers_next_command() {
    with_engine(|bench| {
        (1..=3).for_each(|conn| bench.open(conn));
        bench.send(2, &["BLPOP a 0"]);
        bench.send(1, &["BLPOP a 0"]);
        bench.send(3, &["LPUSH a x", "LPOP a"]);
        assert_eq!(bench.finished(), replies(&[(3, ":1|$-1|"), (2, "*2|$1|a|$1|x|")]));
        assert_eq!(bench.engine.waiters.len(), 1);
    });
}

#[test]
fn of_several_keys_the_one_written_first_serves() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        bench.send(1, &["BLPOP a b 0"]);
        bench.engine.touched.wanted = true;
        // Two writes before anybody is woken, as in the body of an EXEC.
        for (name, value) in [("b", "1"), ("a", "2")] {
            let (batch, now) = (&mut bench.batch, bench.now);
            let mut edit = crate::data::Edit { batch, keyspace: 0, now, touched: &mut bench.engine.touched };
            edit.list_push(name.as_bytes(), crate::data::lists::End::Left, [value.into()]).unwrap();
        }
        bench.send(2, &["PING"]);
        assert_eq!(bench.finished(), replies(&[(2, "+PONG|"), (1, "*2|$1|b|$1|1|")]));
    });
}

#[test]
fn who_waits_for_a_key_follows_its_database_to_another_keyspace() {
    with_engine(|bench| {
        (1..=3).for_each(|conn| bench.open(conn));
        bench.send(1, &["BLPOP a 0"]);
        bench.send(2, &["FLUSHALL", "LPUSH a x"]);
        assert_eq!(bench.finished(), replies(&[(2, "+OK|:1|"), (1, "*2|$1|a|$1|x|")]));
    });
}

#[test]
fn a_waiter_whose_client_has_gone_takes_nothing() {
    with_engine(|bench| {
        (1..=3).for_each(|conn| bench.open(conn));
        bench.send(1, &["BLPOP a 0"]);
        bench.send(2, &["BLPOP a 0"]);
        bench.take(Input::Close(1));
        bench.send(3, &["RPUSH a x y", "LLEN a"]);
        assert_eq!(bench.finished(), replies(&[(3, ":2|:1|"), (2, "*2|$1|a|$1|x|")]));
    });
}

#[test]
fn a_deadline_stands_however_often_its_command_runs_in_vain() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        bench.send(1, &["BLPOP a b 10", "PING"]);
        // Behind the whole of the deadline's millisecond.
        let deadline = bench.now.plus(10_001);
        bench.now = bench.now.plus(6000);
        // A key of another type wakes it in vain.
        bench.send(2, &["SET a x"]);
        assert_eq!(bench.finished(), replies(&[(2, "+OK|")]));
        assert_eq!(bench.engine.waiters.next_deadline(), Some(deadline));
        bench.now = deadline;
        bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        assert_eq!(bench.finished(), replies(&[(1, "*-1|+PONG|")]));
    });
}

#[test]
fn a_unit_ends_early_when_its_batch_is_full_and_its_rest_is_handed_back() {
    with_engine(|bench| {
        bench.open(1);
        let large = format!("SET a {}", "x".repeat(BATCH_BYTES));
        bench.send(1, &[&large, "SET b y", "GET b"]);
        let outputs = bench.engine.take_outputs();
        let [Output::Finished(finished)] = &outputs[..] else { panic!("{} outputs", outputs.len()) };
        assert_eq!((&finished.out[..], finished.rest.len()), (&b"+OK\r\n"[..], 2));
    });
}

#[test]
fn work_in_the_background_waits_while_it_may_not_write_and_forgets_nothing() {
    with_engine(|bench| {
        bench.open(1);
        bench.send(1, &["SET a x PX 1000"]);
        bench.engine.tick(&mut bench.batch, bench.now, false).unwrap();
        bench.now = bench.now.plus(120_000);
        let before = bench.batch.rows_written();
        bench.engine.tick(&mut bench.batch, bench.now, false).unwrap();
        assert_eq!(bench.batch.rows_written(), before);
        // Once it may, it looks first at what is due, and then does it.
        while bench.batch.rows_written() == before {
            bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
            assert!(
                bench.engine.next_deadline().is_some_and(|at| at <= bench.now) || bench.batch.rows_written() > before
            );
        }
        bench.send(1, &["DBSIZE"]);
        assert_eq!(bench.finished(), replies(&[(1, "+OK|"), (1, ":0|")]));
    });
}

#[test]
fn who_waits_for_a_list_does_not_stand_in_the_way_of_who_waits_for_a_sorted_set() {
    with_engine(|bench| {
        (1..=3).for_each(|conn| bench.open(conn));
        bench.send(1, &["BLPOP a 0"]);
        bench.send(2, &["BZPOPMIN a 0"]);
        bench.send(3, &["ZADD a 1 m"]);
        assert_eq!(bench.finished(), replies(&[(3, ":1|"), (2, "*3|$1|a|$1|m|$1|1|")]));
        bench.send(3, &["LPUSH a x"]);
        assert_eq!(bench.finished(), replies(&[(3, ":1|"), (1, "*2|$1|a|$1|x|")]));
    });
}

fn no_room(reason: &str, everything: bool) -> Option<Refusal> {
    Some(Refusal { bound: Bound::Disk, reason: reason.to_owned(), everything })
}

#[test]
fn a_full_disk_refuses_writes_but_not_a_parked_pop() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        bench.send(1, &["BLPOP a 0"]);
        bench.engine.touched.wanted = true;
        let (batch, now) = (&mut bench.batch, bench.now);
        let mut edit = crate::data::Edit { batch, keyspace: 0, now, touched: &mut bench.engine.touched };
        edit.list_push(b"a", crate::data::lists::End::Left, ["x".into()]).unwrap();
        bench.engine.server().refusal = no_room("no room", false);
        bench.send(2, &["LPUSH a y"]);
        assert_eq!(bench.finished(), replies(&[(2, "-MISCONF no room|"), (1, "*2|$1|a|$1|x|")]));
    });
}

const PLAN: &str = r#"PLAN.SUBMIT {"plan_id":"p","tasks":[{"task_number":1,"command":"true"}]}"#;
const POP: &str = "BRPOPLPUSH queue:ready queue:processing 0";

#[test]
fn a_worker_that_polls_gets_nil_and_never_an_error_while_the_store_refuses_writes() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        bench.send(1, &[PLAN, r#"JOB.SUBMIT {"job_id":"j","plan_id":"p"}"#]);
        bench.finished();
        bench.engine.server().refusal = no_room("the disk is full", true);
        bench.send(1, &["SET a 1"]);
        assert_eq!(bench.finished(), replies(&[(1, "-MISCONF the disk is full|")]));
        bench.send(2, &[POP]);
        assert_eq!(bench.finished(), []);
        assert_eq!(
            bench.engine.next_deadline(),
            Some(bench.now.plus(5_001)),
            "it asks again soon, whatever it asked for"
        );
        bench.now = bench.now.plus(5_001);
        bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        assert_eq!(bench.finished(), replies(&[(2, "*-1|")]));
        bench.engine.server().refusal = None;
        bench.send(2, &[POP]);
        assert_eq!(bench.finished(), replies(&[(2, "$1|j|")]));
    });
}

#[test]
fn an_interrupt_takes_a_yielding_pop_and_no_other() {
    with_engine(|bench| {
        (1..=3).for_each(|conn| bench.open(conn));
        bench.send(1, &[POP]);
        bench.send(2, &["BRPOP queue:ready 0"]);
        (1..=2).for_each(|conn| bench.take(Input::Interrupt(conn)));
        assert_eq!(bench.finished(), replies(&[(1, "*-1|")]));
        bench.send(3, &[PLAN, r#"JOB.SUBMIT {"job_id":"j","plan_id":"p"}"#]);
        assert_eq!(bench.finished(), replies(&[(3, "$1|p|$1|j|"), (2, "*2|$11|queue:ready|$1|j|")]));
    });
}

#[test]
fn a_connection_is_heard_when_it_sends_and_not_when_its_parked_command_is_tried_again() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        bench.send(1, &["BRPOP queue:ready 0"]);
        let heard = bench.now;
        bench.now = bench.now.plus(60_000);
        bench.send(2, &[r#"JOB.SUBMIT {"job_id":"k","kind":"mail"}"#]);
        assert_eq!(bench.finished(), replies(&[(2, "$1|k|")]));
        assert_eq!(bench.engine.waiters.len(), 1);
        assert_eq!(bench.engine.sessions[&1].jobs.heard, heard);
    });
}

#[test]
fn the_lease_of_a_job_that_came_due_for_a_claim_that_waits_runs_out_by_itself() {
    with_engine(|bench| {
        (1..=2).for_each(|conn| bench.open(conn));
        let tick = |bench: &mut Bench<'_>| bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        bench.send(1, &["JOB.CLAIM w BLOCK 0 QUEUES ready"]);
        bench.send(2, &[r#"JOB.SUBMIT {"job_id":"j","kind":"k","delay_ms":1000}"#]);
        tick(bench);
        bench.finished();
        bench.now = bench.now.plus(1000);
        tick(bench);
        assert!(bench.finished()[0].1.contains("\"job_id\":\"j\""));
        // The batch that serves it ends, and nobody sends anything any more.
        let lease_ms = crate::jobs::Settings::default().lease_ms;
        assert_eq!(bench.engine.next_deadline(), Some(bench.now.plus(lease_ms)));
    });
}

#[test]
fn work_in_the_background_that_panics_is_taken_back_and_rests() {
    with_engine(|bench| {
        bench.open(1);
        bench.send(1, &["SET a x PX 10", "SET b x"]);
        bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        let rows = |bench: &Bench<'_>| crate::data::keys::next_expiry(&bench.batch).unwrap();
        let due = rows(bench);
        assert!(due.is_some());
        bench.now = bench.now.plus(5_000);
        bench.engine.background.panics_in = Some(background::Work::Sweep);
        bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        assert_eq!(rows(bench), due, "what the sweep removed is back");
        bench.engine.background.panics_in = None;
        assert!(bench.engine.next_deadline().unwrap() >= bench.now.plus(60_000), "it does not try again at once");
        bench.finished();
        bench.send(1, &["GET a", "GET b"]);
        assert_eq!(bench.finished(), replies(&[(1, "$-1|$1|x|")]));
        bench.now = bench.now.plus(60_000);
        bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        assert_eq!(rows(bench), None);
    });
}

#[test]
fn work_in_the_background_that_finds_no_room_leaves_nothing_behind() {
    with_engine(|bench| {
        bench.open(1);
        bench.send(1, &["SET a x PX 10", r#"JOB.SUBMIT {"kind":"k","job_id":"j","expires_at":1001000}"#]);
        bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        bench.now = bench.now.plus(5_000);
        let state = |bench: &Bench<'_>| {
            let wrong = crate::jobs::check::check(&bench.batch).unwrap();
            let due = crate::data::keys::next_expiry(&bench.batch).unwrap();
            let view = JobsView { rows: &bench.batch, now: bench.now };
            (wrong, due, view.need_job(b"j").unwrap().status, bench.batch.rows_written())
        };
        let before = state(bench);
        for work in [background::Work::Sweep, background::Work::Jobs] {
            bench.engine.background.no_room_in = Some(work);
            bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
            if work == background::Work::Sweep {
                assert_eq!(state(bench), before, "the sweep is taken back, and nothing follows it");
            }
            let (wrong, _, status, _) = state(bench);
            assert_eq!((wrong, status), (Vec::new(), crate::jobs::Status::Pending), "{work:?}");
        }
        bench.engine.background.no_room_in = None;
        // The sweep tries again once it would have come anyway.
        bench.now = bench.now.plus(1_000);
        bench.engine.tick(&mut bench.batch, bench.now, true).unwrap();
        let (wrong, due, status, _) = state(bench);
        assert_eq!((wrong, due, status), (Vec::new(), None, crate::jobs::Status::Failed));
    });
}

/// The one reply to a command that does not wait.
fn say(bench: &mut Bench<'_>, command: &str) -> String {
    bench.send(1, &[command]);
    bench.finished().into_iter().map(|(_, text)| text).collect()
}

#[test]
fn sort_refuses_more_than_it_could_hold() {
    with_engine(|bench| {
        bench.open(1);
        say(bench, &format!("RPUSH l{}", " x".repeat(40_000)));
        for (command, end) in
            [("SORT_RO l", ""), ("SORT l", " BY a"), ("SORT l", " STORE d"), ("SORT l", " LIMIT 1 400")]
        {
            // Within a transaction it is not read elsewhere.
            let sort = format!("{command}{}{end}", " GET #".repeat(40_000));
            say(bench, "MULTI");
            say(bench, &sort);
            let reply = say(bench, "EXEC");
            assert!(reply.contains("-ERR") && reply.len() < 500, "{end}: {}", reply.len());
        }
        assert_eq!(say(bench, "EXISTS d"), ":0|");
    });
}

#[test]
fn sort_looks_up_the_same_value_so_often_only() {
    with_engine(|bench| {
        bench.open(1);
        let value = format!("1{}", "\0".repeat((1 << 20) - 1));
        say(bench, &format!("RPUSH large {value}"));
        say(bench, &format!("SET w_x {value}"));
        say(bench, &format!("RPUSH l{}", " x".repeat(513)));
        for sort in [format!("SORT large ALPHA{}", " GET #".repeat(513)), "SORT l BY w_*".to_owned()] {
            let reply = say(bench, &sort);
            assert!(
                reply.starts_with("-ERR what BY and GET look up") && reply.contains("536870912"),
                "{}",
                reply.len()
            );
        }
        say(bench, "LPOP l");
        assert!(say(bench, "SORT l BY w_* LIMIT 0 1").starts_with("*1|"));
    });
}

#[test]
fn patterns_are_bounded() {
    with_engine(|bench| {
        bench.open(1);
        for command in [
            "KEYS",
            "SCAN 0 MATCH",
            "HSCAN h 0 MATCH",
            "SSCAN s 0 COUNT 5 MATCH",
            "ZSCAN z 0 MATCH",
            "PUBSUB CHANNELS",
            "CONFIG GET a",
            "COMMAND LIST FILTERBY PATTERN",
            "PLAN.LIST",
            "PSUBSCRIBE a",
        ] {
            ["HSET h a 1", "SADD s a", "ZADD z 1 a"].iter().for_each(|command| drop(say(bench, command)));
            let reply = say(bench, &format!("{command} {}", "*".repeat(1025)));
            let expected = "-ERR the pattern has 1025 bytes, and may have 1024 at most: give a shorter one|";
            assert_eq!(reply, expected, "{command}");
            let reply = say(bench, &format!("{command} {}", "*".repeat(1024)));
            assert!(!reply.starts_with('-'), "{command}: {reply}");
        }
    });
}
