//! Access keys in the engine: what each lets in, when it ends, and what the audit log says.

mod audit;
mod claims;
mod connections;
mod keys;
mod lists;
mod logins;

use agq_resp::Request;

use super::tests::{Bench, with_engine};
use super::{ConnId, Input};
use crate::command::Session;

const ADMIN: ConnId = 1;

impl Bench<'_> {
    /// The reply to a command of words; "parked" when there is none yet.
    fn ask(&mut self, conn: ConnId, words: &[&str]) -> String {
        let requests = [Request::from_args(words)].into();
        let unit = super::Unit { conn, requests, protocol_error: None, out: bytes::BytesMut::new() };
        self.take(Input::Unit(unit));
        for mut read in self.engine.take_heavy() {
            let reply = read.run(&self.batch).unwrap();
            self.take(Input::Resume(Box::new(read), reply));
        }
        let finished = self.finished();
        let reply = finished.into_iter().filter(|(to, text)| *to == conn && text != "killed").map(|(_, text)| text);
        let reply: String = reply.collect();
        if reply.is_empty() { "parked".to_owned() } else { reply }
    }

    /// The same, for words with no blanks in them.
    fn say(&mut self, conn: ConnId, command: &str) -> String {
        self.ask(conn, &command.split(' ').collect::<Vec<_>>())
    }

    /// Makes a key. Returns its secret.
    fn make_key(&mut self, name: &str, terms: &str) -> String {
        let reply = self.say(ADMIN, &format!("KEY.CREATE {name} {terms}"));
        let secret = reply.split('|').nth(1).unwrap_or_default().to_owned();
        assert!(secret.starts_with("agq_"), "{reply}");
        secret
    }

    /// Opens a connection with a new key.
    fn open_with(&mut self, conn: ConnId, name: &str, terms: &str) -> String {
        let secret = self.make_key(name, terms);
        self.take(Input::Open(Box::new(Session::new(conn, "10.0.0.1:5000".to_owned(), true))));
        assert_eq!(self.say(conn, &format!("AUTH {secret}")), "+OK|");
        secret
    }

    fn submit(&mut self, conn: ConnId, id: &str, queue: &str) -> String {
        self.ask(conn, &["JOB.SUBMIT", &format!(r#"{{"job_id":"{id}","kind":"k","queue":"{queue}"}}"#)])
    }
}

fn with_access(test: impl FnOnce(&mut Bench<'_>)) {
    with_engine(|bench| {
        bench.open(ADMIN);
        test(bench);
    });
}

#[track_caller]
fn refused(reply: &str) {
    assert!(reply.starts_with("-NOPERM "), "{reply}");
}

#[track_caller]
fn granted(reply: &str) {
    assert!(!reply.starts_with('-'), "{reply}");
}

#[test]
fn a_key_says_who_it_is_and_what_it_lacks() {
    with_access(|bench| {
        let secret = bench.open_with(2, "ci", "SUBMIT build-* READ build-*");
        assert_eq!(bench.say(2, "ACL WHOAMI"), "$2|ci|");
        assert_eq!(
            bench.say(2, "JOB.CLAIM w QUEUES build-x"),
            "-NOPERM the key 'ci' has no permissions to run the 'job.claim' command on the queue 'build-x': it needs \
             WORK build-x, and has SUBMIT build-*, READ build-*|"
        );
        refused(&bench.say(2, "KEY.CREATE other ADMIN"));
        refused(&bench.say(2, "GET a"));
        // Another name, another secret, and none of them are let in; the connection stays who it is.
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.|";
        assert_eq!(bench.say(2, &format!("AUTH other {secret}")), wrong);
        let end = if secret.ends_with('0') { "1" } else { "0" };
        assert_eq!(bench.say(2, &format!("AUTH ci {}{end}", &secret[..secret.len() - 1])), wrong);
        assert_eq!(bench.say(2, "ACL WHOAMI"), "$2|ci|");
        assert_eq!(bench.say(2, &format!("AUTH ci {secret}")), "+OK|");
        assert!(bench.say(2, &format!("HELLO 2 AUTH default {secret}")).contains("|server|"));
        assert_eq!(bench.say(2, "ACL WHOAMI"), "$2|ci|", "the secret says which key it is");
    });
}

#[test]
fn who_works_touches_only_its_own_jobs() {
    with_access(|bench| {
        bench.open_with(2, "alice", "WORK q");
        bench.open_with(3, "bob", "WORK q");
        for id in ["a", "b", "c"] {
            granted(&bench.submit(ADMIN, id, "q"));
        }
        assert!(bench.say(2, "JOB.CLAIM wa QUEUES q").contains("\"job_id\":\"a\""));
        assert!(bench.say(3, "JOB.CLAIM wb QUEUES q").contains("\"job_id\":\"b\""));
        granted(&bench.say(2, "JOB.GET a"));
        for command in ["COMPLETE a 1 1", "FAIL a 1 1", "PROGRESS a 1 1", "APPEND a 1 stdout x", "EXTEND a 1 5000"] {
            refused(&bench.say(3, &format!("JOB.{command}")));
        }
        refused(&bench.say(3, "JOB.UPDATE a {\"epoch\":1}"));
        refused(&bench.say(3, "JOB.RELEASE a 1"));
        for command in ["JOB.GET a", "JOB.RESULT a", "JOB.LOG a", "JOB.WAIT a 0", "GET job:a", "GET job:a:stdout"] {
            refused(&bench.say(3, command));
        }
        for command in
            ["SET job:a:status completed", "SET job:a:stdout x", "LPUSH queue:q a", "LREM queue:processing 0 a"]
        {
            refused(&bench.say(3, command));
        }
        // Neither by the other's name.
        for command in ["JOB.CLAIM wa QUEUES q", "WORKER.HEARTBEAT wa", "WORKER.UNREGISTER wa", "PING wa"] {
            refused(&bench.say(3, command));
        }
        refused(&bench.ask(3, &["WORKER.REGISTER", r#"{"worker_id":"wa"}"#]));
        refused(&bench.say(3, "SET worker:wa:tags x"));
        granted(&bench.say(2, "JOB.APPEND a 1 stdout x"));
        granted(&bench.say(2, "JOB.COMPLETE a 1 1"));
        refused(&bench.say(2, "JOB.GET a"));
        assert!(!bench.say(3, "WORKERS.LIST").contains("\"wa\""));
        assert!(bench.say(3, "WORKERS.LIST").contains("\"wb\""));
    });
}

#[test]
fn the_list_contract_is_held_to_the_same() {
    with_access(|bench| {
        bench.open_with(2, "alice", "WORK q");
        bench.open_with(3, "bob", "WORK q SUBMIT other");
        bench.say(2, "PING wa");
        for id in ["a", "b"] {
            granted(&bench.ask(
                ADMIN,
                &[
                    "JOB.SUBMIT",
                    &format!(
                        r#"{{"job_id":"{id}","plan":{{"tasks":[{{"task_number":1,"command":"true"}}]}},"queue":"q"}}"#
                    ),
                ],
            ));
        }
        assert_eq!(bench.say(2, "RPOPLPUSH queue:q queue:processing"), "$1|a|");
        refused(&bench.say(2, "RPOPLPUSH queue:other queue:processing"));
        refused(&bench.say(2, "RPOP queue:other"));
        refused(&bench.say(2, "LMOVE queue:q queue:other RIGHT LEFT"));
        refused(&bench.say(3, "SET job:a:status completed"));
        refused(&bench.say(3, "PING wa"));
        granted(&bench.say(2, "SET job:a:stdout x"));
        granted(&bench.say(2, "SET job:a:status completed"));
        assert_eq!(bench.say(2, "LREM queue:processing 0 a"), ":1|");
        for command in
            ["SET job:new x", "SET queue:new x", "LPUSH queue:new x", "DEL job:a", "SET plan:x 1", "RENAME job:a x"]
        {
            refused(&bench.say(2, command));
        }
        for command in [
            "LRANGE queue:processing 0 -1",
            "ZRANGE queue:scheduled 0 -1",
            "GET worker:wb:metadata",
            "EXISTS queue:q queue:z",
        ] {
            refused(&bench.say(2, command));
        }
        granted(&bench.say(2, "LLEN queue:q"));
    });
}

#[test]
fn lists_show_what_may_be_read() {
    with_access(|bench| {
        bench.open_with(2, "reader", "READ a*");
        for (id, queue) in [("j1", "a1"), ("j2", "b"), ("j3", "a2")] {
            bench.submit(ADMIN, id, queue);
        }
        let shows = |reply: &str| ["j1", "j2", "j3"].map(|id| reply.contains(&format!("\"{id}\"")));
        assert_eq!(shows(&bench.say(2, "JOB.LIST")), [true, false, true]);
        assert_eq!(shows(&bench.say(2, "EVENTS.READ FROM 0")), [true, false, true]);
        let queues = bench.say(2, "QUEUE.LIST");
        assert!(queues.contains("\"a1\"") && !queues.contains("\"b\""), "{queues}");
        for command in ["JOB.GET j2", "QUEUE.PEEK b", "QUEUE.STATS", "QUEUE.STATS b", "JOBS.LIST", "JOB.CANCEL j1"] {
            refused(&bench.say(2, command));
        }
        granted(&bench.say(2, "JOB.GET j1"));
        granted(&bench.say(2, "QUEUE.STATS a1"));
    });
}

#[test]
fn a_submission_reaches_no_other_queue() {
    with_access(|bench| {
        bench.open_with(2, "ci", "SUBMIT mine");
        let submit = |more: &str| format!(r#"{{"kind":"k","queue":"mine"{more}}}"#);
        granted(
            &bench.ask(ADMIN, &["JOB.SUBMIT", r#"{"job_id":"theirs","kind":"k","queue":"other","unique_key":"u"}"#]),
        );
        for more in [
            r#","unique_key":"u","on_conflict":"replace""#,
            r#","unique_key":"u","on_conflict":"return""#,
            r#","after":["theirs"]"#,
        ] {
            refused(&bench.ask(2, &["JOB.SUBMIT", &submit(more)]));
            refused(&bench.ask(2, &["JOB.MSUBMIT", &submit(""), &submit(more)]));
        }
        refused(&bench.submit(2, "x", "other"));
        granted(&bench.ask(2, &["JOB.SUBMIT", &submit("")]));
        let schedule = |job: &str| format!(r#"{{"cron":"@daily","job":{job}}}"#);
        granted(&bench.ask(2, &["SCHEDULE.PUT", "s", &schedule(&submit(""))]));
        refused(
            &bench.ask(2, &["SCHEDULE.PUT", "t", &schedule(&submit(r#","unique_key":"v","on_conflict":"replace""#))]),
        );
        granted(&bench.ask(ADMIN, &["SCHEDULE.PUT", "o", &schedule(r#"{"kind":"k","queue":"other"}"#)]));
        for command in ["SCHEDULE.GET o", "SCHEDULE.RUN o", "SCHEDULE.DELETE o", "SCHEDULE.NEXT o 1"] {
            refused(&bench.say(2, command));
        }
        refused(&bench.ask(2, &["SCHEDULE.PUT", "o", &schedule(&submit(""))]));
        let list = bench.say(2, "SCHEDULE.LIST");
        assert!(list.contains("\"s\"") && !list.contains("\"o\""), "{list}");
        // The holder of its unique key came after the schedule.
        let returns = submit(r#","unique_key":"w","on_conflict":"return""#);
        granted(&bench.ask(2, &["SCHEDULE.PUT", "w", &schedule(&returns)]));
        granted(&bench.say(2, "SCHEDULE.RUN s"));
        granted(&bench.ask(ADMIN, &["JOB.SUBMIT", r#"{"job_id":"late","kind":"k","queue":"other","unique_key":"w"}"#]));
        refused(&bench.say(2, "SCHEDULE.RUN w"));
        granted(&bench.say(ADMIN, "JOB.CANCEL late"));
        granted(&bench.say(2, "SCHEDULE.RUN w"));
        refused(&bench.say(2, "JOB.RETRY WHERE KIND k"));
        refused(&bench.say(2, "JOB.RETRY WHERE QUEUE mine QUEUE other"));
        granted(&bench.say(2, "JOB.RETRY WHERE QUEUE mine"));
    });
}

#[test]
fn a_key_that_was_used_up_for_another_queue_does_not_tell_what_for() {
    with_access(|bench| {
        bench.open_with(2, "shop", "SUBMIT pub-*");
        let job = |id: &str, queue: &str, more: &str| {
            format!(r#"{{"job_id":"{id}","kind":"k","queue":"{queue}","idempotency_key":"i"{more}}}"#)
        };
        granted(&bench.ask(ADMIN, &["JOB.SUBMIT", &job("pay_1", "payroll", "")]));
        let used = "-ERR idempotency_key 'i' was used with other content: choose another key|";
        let named = "-ERR idempotency_key 'i' was used for pay_1 with other content: choose another key|";
        let other = job("order_1", "pub-a", "");
        assert_eq!(bench.ask(2, &["JOB.SUBMIT", &other]), used);
        assert_eq!(bench.ask(2, &["JOB.MSUBMIT", &other]), used.replace("-ERR ", "-ERR jobs[0]: "));
        assert_eq!(bench.ask(ADMIN, &["JOB.SUBMIT", &other]), named);
        granted(&bench.say(ADMIN, "JOB.CANCEL pay_1"));
        granted(&bench.say(ADMIN, "JOB.DELETE pay_1"));
        assert_eq!(bench.ask(2, &["JOB.SUBMIT", &other]), used, "though it is gone");
        // Its own it is told of.
        let own = |more: &str| job("order_2", "pub-a", more).replace("\"i\"", "\"own\"");
        granted(&bench.ask(2, &["JOB.SUBMIT", &own("")]));
        let again = bench.ask(2, &["JOB.SUBMIT", &own(r#","priority":1"#)]);
        assert_eq!(again, named.replace("'i'", "'own'").replace("pay_1", "order_2"));
        let action = |id: &str, queue: &str| {
            let plan = r#"{"tasks":[{"task_number":1,"command":"true"}]}"#;
            format!(r#"{{"action_id":"{id}","queue":"{queue}","plan":{plan},"inputs":[],"idempotency_key":"i"}}"#)
        };
        granted(&bench.ask(ADMIN, &["ACTION.SUBMIT", &action("pay_2", "payroll")]));
        assert_eq!(bench.ask(2, &["ACTION.SUBMIT", &action("order_3", "pub-a")]), used);
        let reply = bench.ask(ADMIN, &["ACTION.SUBMIT", &action("order_3", "pub-a")]);
        assert_eq!(reply, named.replace("pay_1", "pay_2"));
    });
}

#[test]
fn a_job_that_cannot_run_again_does_not_tell_which_other_queues_job_is_in_its_way() {
    with_access(|bench| {
        bench.open_with(2, "shop", "SUBMIT pub-*");
        let submit = |bench: &mut Bench<'_>, id: &str, queue: &str| {
            let json = format!(r#"{{"job_id":"{id}","kind":"k","queue":"{queue}","unique_key":"u"}}"#);
            granted(&bench.ask(ADMIN, &["JOB.SUBMIT", &json]));
        };
        submit(bench, "order_1", "pub-a");
        granted(&bench.say(2, "JOB.CANCEL order_1"));
        submit(bench, "pay_1", "payroll");
        let reply = bench.say(2, "JOB.RETRY order_1");
        assert_eq!(reply, "-ERR Job order_1 cannot run again: another job holds its unique_key 'u'|");
        assert!(bench.say(ADMIN, "JOB.RETRY order_1").contains("job pay_1 holds"));
        granted(&bench.say(ADMIN, "JOB.CANCEL pay_1"));
        submit(bench, "order_2", "pub-b");
        granted(&bench.say(2, "JOB.CANCEL order_2"));
        submit(bench, "order_3", "pub-b");
        assert!(bench.say(2, "JOB.RETRY order_2").contains("job order_3 holds"));
    });
}

#[test]
fn no_command_looks_up_keys_that_it_does_not_name() {
    with_access(|bench| {
        bench.open_with(2, "app", "KEYS a* CHANNELS news.* READ q");
        granted(&bench.say(2, "RPUSH a1 1 2"));
        for command in
            ["SORT a1 BY w*", "SORT a1 GET w*", "SORT a1 STORE b", "SORT_RO a1 GET w*->f", "COPY a1 b", "RENAME a1 b"]
        {
            refused(&bench.say(2, command));
        }
        for command in
            ["KEYS *", "SCAN 0", "DBSIZE", "RANDOMKEY", "FLUSHALL", "SWAPDB 0 1", "DEBUG OBJECT a1", "MONITOR"]
        {
            refused(&bench.say(2, command));
        }
        for command in [
            "CLIENT LIST",
            "CLIENT KILL 1",
            "CONFIG GET *",
            "INFO",
            "ACL LIST",
            "SLOWLOG GET",
            "AUDIT.LIST",
            "KEY.LIST",
        ] {
            refused(&bench.say(2, command));
        }
        for command in ["PSUBSCRIBE *", "PSUBSCRIBE news.a*", "SUBSCRIBE news.a other", "PUBLISH other x"] {
            refused(&bench.say(2, command));
        }
        for command in [
            "SORT a1 BY nosort GET #",
            "SORT a1 STORE a2",
            "COPY a1 a3 DB 1",
            "MOVE a2 1",
            "CLIENT ID",
            "PUBLISH news.a x",
        ] {
            granted(&bench.say(2, command));
        }
        refused(&bench.say(2, "ZUNION 9 a1"));
        granted(&bench.say(2, "PSUBSCRIBE news.*"));
    });
}

#[test]
fn dry_runs_answer_as_the_gate_does() {
    with_access(|bench| {
        bench.make_key("app", "KEYS a*");
        assert_eq!(bench.say(ADMIN, "ACL DRYRUN app GET a"), "+OK|");
        assert!(bench.say(ADMIN, "ACL DRYRUN app GET b").contains("the key 'app' has no permissions to run the 'get'"));
        assert_eq!(bench.say(ADMIN, "ACL DRYRUN nobody GET b"), "-ERR User 'nobody' not found|");
        assert!(bench.say(ADMIN, "ACL LIST").contains("user app on #"));
        assert_eq!(bench.say(ADMIN, "ACL USERS"), "*2|$3|app|$7|default|");
        assert!(bench.say(ADMIN, "ACL GETUSER app").contains("~a*"));
    });
}
