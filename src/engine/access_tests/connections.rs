//! What a connection may do as its key ends, becomes another, or stands in its certificate.

use super::{ADMIN, granted, refused, with_access};
use crate::command::{Session, Vouched};
use crate::engine::tests::Bench;
use crate::engine::{ConnId, Input};

#[test]
fn within_a_transaction_each_command_is_asked_about_when_it_runs() {
    with_access(|bench| {
        bench.open_with(2, "app", "KEYS job:* SUBMIT mine");
        bench.say(2, "MULTI");
        refused(&bench.say(2, "GET other"));
        assert_eq!(bench.say(2, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.|");
        granted(&bench.say(2, "SET job:free x"));
        bench.say(2, "MULTI");
        granted(&bench.submit(2, "j", "mine"));
        // It is a key's name now, and a view of a job that nobody claimed with this key when it runs.
        assert_eq!(bench.say(2, "SET job:j:status completed"), "+QUEUED|");
        let reply = bench.say(2, "EXEC");
        assert!(reply.starts_with("*2|$1|j|-NOPERM "), "{reply}");
    });
}

#[test]
fn a_revoked_key_ends_its_connections_and_takes_nothing_any_more() {
    with_access(|bench| {
        let secret = bench.open_with(2, "app", "KEYS * WORK q CHANNELS *");
        bench.take(Input::Open(Box::new(Session::new(3, String::new(), true))));
        bench.say(3, &format!("AUTH {secret}"));
        bench.say(3, "SUBSCRIBE c");
        assert_eq!(bench.say(2, "BLPOP list 0"), "parked");
        // In one transaction, so that nothing comes in between.
        bench.say(ADMIN, "MULTI");
        for command in ["KEY.REVOKE app", "RPUSH list x", "PUBLISH c hello"] {
            bench.say(ADMIN, command);
        }
        bench.send(ADMIN, &["EXEC"]);
        let finished = bench.finished();
        let killed: Vec<_> = finished.iter().filter(|(_, text)| text == "killed").map(|(conn, _)| *conn).collect();
        assert_eq!(killed.iter().copied().collect::<std::collections::BTreeSet<_>>(), [2, 3].into());
        let exec = finished.iter().find(|(conn, _)| *conn == ADMIN).unwrap();
        assert_eq!(exec.1, "*3|+OK|:1|:0|");
        assert!(finished.iter().all(|(_, text)| !text.contains("hello")), "{finished:?}");
        assert_eq!(bench.say(ADMIN, "LRANGE list 0 -1"), "*1|$1|x|");
        assert_eq!(bench.say(2, "GET a"), "parked", "nothing of it runs");
        bench.open(4);
        assert!(bench.say(4, &format!("AUTH {secret}")).starts_with("-WRONGPASS"));
        assert_eq!(bench.say(ADMIN, "KEY.REVOKE app"), "-ERR Key not found: app|");
    });
}

#[test]
fn who_revokes_its_own_key_still_hears_of_it() {
    with_access(|bench| {
        bench.open_with(2, "boss", "ADMIN");
        bench.send(2, &["KEY.REVOKE boss", "PING"]);
        assert_eq!(bench.finished(), [(2, "+OK|".to_owned())]);
    });
}

#[test]
fn a_key_ends_when_it_expires_whatever_its_connections_do() {
    with_access(|bench| {
        let secret = bench.open_with(2, "app", "KEYS * EXPIRES 1000");
        assert_eq!(bench.say(2, "BLPOP list 0"), "parked");
        let at = bench.now.plus(1000);
        assert!(bench.engine.next_deadline().is_some_and(|deadline| deadline <= at));
        bench.now = at;
        bench.engine.tick(&mut bench.batch, at, true).unwrap();
        assert_eq!(bench.finished(), [(2, "killed".to_owned())]);
        granted(&bench.say(ADMIN, "RPUSH list x"));
        assert_eq!(bench.say(ADMIN, "LLEN list"), ":1|");
        bench.open(3);
        assert!(bench.say(3, &format!("AUTH {secret}")).starts_with("-WRONGPASS"));
        assert!(bench.say(ADMIN, "KEY.LIST").contains("\"expired\":true"));
    });
}

/// Opens a connection whose certificate says who it is.
fn open_vouched(bench: &mut Bench<'_>, conn: ConnId, vouched: Vouched) {
    bench.take(Input::Open(Box::new(Session::of(conn, "10.0.0.1:5000".to_owned(), vouched))));
}

fn key(name: &str) -> Vouched {
    Vouched::Key(crate::jobs::Id::sound(name.as_bytes()).unwrap())
}

#[test]
fn who_is_vouched_for_has_that_key_while_it_counts() {
    with_access(|bench| {
        bench.make_key("app", "KEYS a EXPIRES 1000");
        open_vouched(bench, 2, key("app"));
        granted(&bench.say(2, "GET a"));
        refused(&bench.say(2, "GET b"));
        assert_eq!(bench.say(2, "ACL WHOAMI"), "$3|app|");
        let at = bench.now.plus(1000);
        assert!(bench.engine.next_deadline().is_some_and(|deadline| deadline <= at), "its end is foreseen");
        bench.now = at;
        bench.engine.tick(&mut bench.batch, at, true).unwrap();
        assert_eq!(bench.finished(), [(2, "killed".to_owned())]);
        open_vouched(bench, 3, key("app"));
        let reply = bench.say(3, "GET a");
        assert!(
            reply.starts_with("-NOAUTH the certificate names the access key 'app', which has expired: "),
            "{reply}"
        );
    });
}

#[test]
fn who_is_vouched_for_in_vain_is_told_why_and_may_give_a_key() {
    with_access(|bench| {
        let secret = bench.make_key("app", "KEYS a");
        bench.make_key("gone", "KEYS a");
        open_vouched(bench, 2, key("gone"));
        assert_eq!(bench.say(2, "BLPOP a 0"), "parked");
        bench.send(ADMIN, &["KEY.REVOKE gone"]);
        assert!(bench.finished().contains(&(2, "killed".to_owned())));
        open_vouched(bench, 3, key("gone"));
        open_vouched(bench, 4, Vouched::Unclear("the certificate is odd".into()));
        let told = "-NOAUTH the certificate names the access key 'gone', and there is none of this name: connect with \
                    another certificate, or give a key with AUTH|";
        for command in ["GET a", "HELLO 3", "MULTI"] {
            assert_eq!(bench.say(3, command), told, "{command}");
        }
        assert!(bench.say(4, "PING").starts_with("-NOAUTH the certificate is odd: "));
        let log = bench.say(ADMIN, "AUDIT.LIST");
        assert_eq!(log.matches(r#""key":"","connection":"#).count(), 2, "{log}");
        let entry = r#""connection":3,"address":"10.0.0.1:5000","command":"(connecting)","outcome":"NOAUTH the certificate names the access key 'gone'"#;
        assert!(log.contains(entry), "{log}");
        assert_eq!(bench.say(3, &format!("AUTH {secret}")), "+OK|");
        granted(&bench.say(3, "GET a"));
    });
}

#[test]
fn another_key_counts_until_a_reset_and_then_the_certificates_again() {
    with_access(|bench| {
        bench.make_key("app", "KEYS a");
        let other = bench.make_key("other", "KEYS b");
        open_vouched(bench, 2, key("app"));
        assert_eq!(bench.say(2, &format!("AUTH {other}")), "+OK|");
        granted(&bench.say(2, "GET b"));
        bench.send(ADMIN, &["KEY.REVOKE other"]);
        assert!(bench.finished().contains(&(2, "killed".to_owned())), "it acts as the key that was revoked");
        open_vouched(bench, 3, key("app"));
        assert_eq!(bench.say(3, "RESET"), "+RESET|");
        assert_eq!(bench.say(3, "ACL WHOAMI"), "$3|app|");
        bench.send(ADMIN, &["KEY.REVOKE app"]);
        assert!(bench.finished().contains(&(3, "killed".to_owned())));
    });
}

#[test]
fn a_lesser_key_ends_what_it_may_not_follow_and_says_so() {
    with_access(|bench| {
        let lesser = bench.make_key("lesser", "CHANNELS news.* KEYS a");
        bench.open(2);
        bench.say(2, "HELLO 3");
        bench.send(2, &["SUBSCRIBE news.a other", "PSUBSCRIBE news.* *", "SSUBSCRIBE news.a secret"]);
        bench.finished();
        assert_eq!(
            bench.say(2, &format!("AUTH {lesser}")),
            ">3|$11|unsubscribe|$5|other|:3|>3|$12|punsubscribe|$1|*|:2|>3|$12|sunsubscribe|$6|secret|:1|+OK|"
        );
        bench.send(ADMIN, &["PUBLISH other x", "SPUBLISH secret x", "SPUBLISH news.a x", "PUBLISH news.a y"]);
        let heard: String = bench.finished().into_iter().filter(|(to, _)| *to == 2).map(|(_, text)| text).collect();
        assert_eq!(
            heard,
            ">3|$8|smessage|$6|news.a|$1|x|>3|$7|message|$6|news.a|$1|y|>4|$8|pmessage|$6|news.*|$6|news.a|$1|y|"
        );
        // The same again ends nothing, and a greeting that fails changes nothing.
        let all = bench.make_key("all", "CHANNELS news.b KEYS a");
        assert_eq!(bench.say(2, &format!("AUTH {lesser}")), "+OK|");
        let reply = bench.ask(2, &["HELLO", "3", "AUTH", "all", &all, "SETNAME", "a b"]);
        assert!(reply.starts_with("-ERR Client names cannot contain spaces"), "{reply}");
        assert_eq!(bench.say(2, "ACL WHOAMI"), "$6|lesser|");
        assert!(bench.say(ADMIN, "CLIENT LIST").contains(" sub=1 psub=1 ssub=1 "));
    });
}

#[test]
fn what_was_watched_with_another_key_counts_as_changed() {
    with_access(|bench| {
        let secret = bench.open_with(2, "app", "KEYS a");
        let other = bench.make_key("other", "KEYS c");
        let exec = |bench: &mut Bench<'_>, key: &str| {
            bench.say(2, "WATCH a");
            assert_eq!(bench.say(2, &format!("AUTH {key}")), "+OK|");
            bench.say(2, "MULTI");
            bench.say(2, "PING");
            bench.say(2, "EXEC")
        };
        assert_eq!(exec(bench, &secret), "*1|+PONG|", "the same key");
        assert_eq!(exec(bench, &other), "*-1|");
        bench.say(2, "MULTI");
        assert_eq!(bench.say(2, "EXEC"), "*0|", "that was once");
    });
}
