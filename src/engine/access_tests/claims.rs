//! A claim stays its key's, even where its worker's id goes to another.

use super::{ADMIN, granted, refused, with_access};
use crate::engine::ConnId;
use crate::engine::tests::Bench;

const REGISTER: [&str; 2] = ["WORKER.REGISTER", r#"{"worker_id":"host1"}"#];
const HELD: [&str; 3] = ["WORKER.HEARTBEAT", "host1", r#"{"jobs":[{"job_id":"order-7","epoch":1}]}"#];
const NOTHING: &str = r#"{"cancel":[],"stale":[]}"#;
const STALE: &str = r#"{"cancel":[],"stale":["order-7"]}"#;

/// A bulk string as it comes.
fn bulk(text: &str) -> String {
    format!("${}|{text}|", text.len())
}

impl Bench<'_> {
    fn status(&mut self, job: &str) -> String {
        let job = self.say(ADMIN, &format!("JOB.GET {job}"));
        let status = job.split("\"status\":\"").nth(1).and_then(|rest| rest.split('"').next());
        status.unwrap_or_default().to_owned()
    }

    /// Time passes, and what is due then is done.
    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        // It looks what is due, and then does it.
        self.engine.tick(&mut self.batch, self.now, true).unwrap();
        while self.engine.next_deadline().is_some_and(|at| at <= self.now) {
            self.engine.tick(&mut self.batch, self.now, true).unwrap();
        }
    }
}

/// Alice (2) claimed `order-7` as `host1` and was silent until the job was lost; bob (3) has the worker's id since.
fn with_lost_claim(test: impl FnOnce(&mut Bench<'_>, ConnId, ConnId)) {
    with_access(|bench| {
        bench.open_with(2, "alice", "WORK al-*");
        bench.open_with(3, "bob", "WORK bob-*");
        granted(&bench.submit(ADMIN, "order-7", "al-orders"));
        assert!(bench.say(2, "JOB.CLAIM host1 QUEUES al-orders").contains("\"epoch\":1,"));
        refused(&bench.ask(3, &REGISTER));
        bench.wait(60_000);
        assert_eq!(bench.status("order-7"), "pending");
        granted(&bench.ask(3, &REGISTER));
        test(bench, 2, 3);
    });
}

#[test]
fn who_takes_over_a_silent_workers_id_takes_none_of_its_lost_claims() {
    with_lost_claim(|bench, alice, bob| {
        assert_eq!(bench.ask(bob, &HELD), bulk(STALE));
        assert_eq!(bench.status("order-7"), "pending");
        for command in
            ["EXTEND order-7 1 5000", "PROGRESS order-7 1 1", "APPEND order-7 1 stdout x", "RELEASE order-7 1"]
        {
            refused(&bench.say(bob, &format!("JOB.{command}")));
        }
        // Whose claim it is goes on with it, and who may do everything may do this too.
        granted(&bench.say(alice, "JOB.EXTEND order-7 1 5000"));
        assert_eq!(bench.status("order-7"), "running");
        assert_eq!(bench.ask(ADMIN, &HELD), bulk(NOTHING));
    });
}

#[test]
fn a_claim_under_an_id_that_is_anothers_by_now_is_neither_renewed_nor_given_back_by_it() {
    with_lost_claim(|bench, alice, bob| {
        granted(&bench.say(alice, "JOB.EXTEND order-7 1 5000"));
        granted(&bench.say(ADMIN, "JOB.CANCEL order-7"));
        assert_eq!(bench.ask(bob, &HELD), bulk(STALE), "nor is it told whether the job runs");
        assert_eq!(bench.say(bob, "WORKER.HEARTBEAT host1"), bulk(NOTHING), "nor that it is to be stopped");
        assert_eq!(bench.say(bob, "WORKER.UNREGISTER host1"), ":0|");
        assert_eq!(bench.status("order-7"), "running");
        // It runs out when its own worker is silent, whatever bob says.
        granted(&bench.ask(bob, &REGISTER));
        bench.wait(20_000);
        bench.say(bob, "WORKER.HEARTBEAT host1");
        bench.wait(20_000);
        assert_eq!(bench.status("order-7"), "cancelled");
    });
}

#[test]
fn a_new_key_of_the_same_name_goes_on_only_where_it_may_work() {
    with_access(|bench| {
        bench.open_with(2, "alice", "WORK *");
        granted(&bench.submit(ADMIN, "order-7", "al-orders"));
        assert!(bench.say(2, "JOB.CLAIM host1 QUEUES al-orders").contains("\"epoch\":1,"));
        assert_eq!(bench.ask(2, &HELD), bulk(NOTHING));
        granted(&bench.say(ADMIN, "KEY.REVOKE alice"));
        bench.open_with(3, "alice", "WORK other");
        assert_eq!(bench.ask(3, &HELD), bulk(STALE));
        assert_eq!(bench.say(3, "WORKER.UNREGISTER host1"), ":0|");
        granted(&bench.say(ADMIN, "KEY.REVOKE alice"));
        bench.open_with(4, "alice", "WORK al-orders");
        granted(&bench.ask(4, &REGISTER));
        assert_eq!(bench.ask(4, &HELD), bulk(NOTHING));
        assert_eq!(bench.say(4, "WORKER.UNREGISTER host1"), ":1|");
        assert_eq!(bench.status("order-7"), "pending");
    });
}
