//! What the audit log says of refusals, and how much.

use super::{ADMIN, granted, refused, with_access};
use crate::command::NotSet;
use crate::engine::Input;
use crate::engine::tests::Bench;
use crate::storage::{Rows as _, Table};

#[test]
fn what_is_refused_leaves_nothing_but_its_line() {
    with_access(|bench| {
        bench.open_with(2, "app", "KEYS a");
        let rows = |bench: &Bench<'_>| {
            let mut found = Vec::new();
            for table in Table::ALL.into_iter().filter(|table| *table != Table::Access) {
                let (from, to) = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
                let mut visit = |key: &[u8], value: &[u8]| {
                    found.push((table, key.to_vec(), value.to_vec()));
                    std::ops::ControlFlow::Continue(())
                };
                bench.batch.scan(table, from, to, false, &mut visit).unwrap();
            }
            found
        };
        let before = rows(bench);
        for command in ["SET b 1", "FLUSHALL", "JOB.CLAIM w QUEUES q", "QUEUE.PAUSE q", "MSET a 1 b 2", "PLAN.DELETE p"]
        {
            refused(&bench.say(2, command));
        }
        refused(&bench.submit(2, "j", "q"));
        assert_eq!(rows(bench), before);
        let log = bench.say(ADMIN, "AUDIT.LIST LIMIT 8");
        assert_eq!(log.matches("\"kind\":\"refusal\"").count(), 7, "{log}");
        assert!(!log.contains("job_id"), "no payloads: {log}");
        assert!(log.contains("\"key\":\"app\",\"connection\":2,\"address\":\"10.0.0.1:5000\""), "{log}");
    });
}

#[test]
fn the_audit_log_is_bounded_and_holds_no_secrets() {
    with_access(|bench| {
        let secret = bench.open_with(2, "app", "KEYS a");
        bench.say(ADMIN, "CONFIG SET slowlog-log-slower-than 0");
        bench.open(5);
        granted(&bench.say(5, "MONITOR"));
        bench.send(
            2,
            &[&format!("AUTH {secret}"), &format!("AUTH wrong {secret}"), &format!("HELLO 3 AUTH app {secret}")],
        );
        let logins = ["HELLO 3 SETNAME AUTH AUTH app", "HELLO AUTH app", "HELLO 3 AUHT app", "AUTH app x"]
            .map(|words| format!("{words} {secret}"));
        bench.send(2, &logins.each_ref().map(String::as_str));
        let others = [
            format!("CONFIG SET requirepass {secret}"),
            format!("CONFIG SET hz 10 requirepas {secret}"),
            format!("CONFIG SET hz requirepass {secret}"),
            format!("config sett masterauth {secret}"),
            format!("ACL SETUSER bob >{secret}"),
            format!("ACL SETUSR bob >{secret}"),
            format!("ACL DRYRUN default AUTH {secret}"),
            format!("COMMAND GETKEYS AUTH {secret} x"),
            format!("WEBHOOK.PUT {secret}"),
            format!("WEBHOOK.PUT h {secret}"),
        ];
        bench.send(ADMIN, &others.each_ref().map(String::as_str));
        bench.send(ADMIN, &["CONFIG SET hz 20"]);
        let shown =
            bench.finished().into_iter().filter(|(conn, _)| *conn == 5).map(|(_, text)| text).collect::<String>();
        assert!(shown.contains("(redacted)") && !shown.contains(&secret), "{shown}");
        for _ in 0..200 {
            refused(&bench.say(2, "GET b"));
        }
        let log = bench.say(ADMIN, "AUDIT.LIST LIMIT 1000");
        assert_eq!(log.matches("\\\"GET\\\" \\\"b\\\"").count(), 59, "one more was the wrong name: {log}");
        let slow = bench.say(ADMIN, "SLOWLOG GET -1");
        for text in [&log, &slow] {
            assert!(!text.contains(&secret) && !text.contains(&secret[21..]), "{text}");
        }
        assert!(log.contains("\"kind\":\"action\",\"key\":\"default\"") && log.contains("KEY.CREATE"), "{log}");
        assert!(log.contains(r#"\"requirepass\" \"(redacted)\""#) && log.contains(r#"\"hz\" \"20\""#), "{log}");
        // At the end of the minute one line says the rest.
        let at = bench.engine.next_deadline().unwrap();
        assert_eq!(at, bench.now.plus(60_000));
        bench.now = at;
        bench.engine.tick(&mut bench.batch, at, true).unwrap();
        bench.finished();
        assert!(bench.say(ADMIN, "AUDIT.LIST LIMIT 1").contains("141 more refusals, which were only counted"));
        assert!(bench.engine.next_deadline().is_none_or(|next| next > at), "it does not spin");
    });
}

#[test]
fn pages_of_the_audit_log_show_every_entry_once() {
    with_access(|bench| {
        bench.open_with(2, "app", "KEYS a");
        for n in 0..7 {
            bench.now = bench.now.plus(1);
            refused(&bench.say(2, &format!("GET refused{n}")));
            bench.say(ADMIN, &format!("QUEUE.PAUSE queue{n}"));
        }
        let (mut cursor, mut seen) = ("0".to_owned(), String::new());
        loop {
            let page = bench.say(ADMIN, &format!("AUDIT.LIST LIMIT 4 CURSOR {cursor}"));
            seen.push_str(&page);
            cursor = page.split('|').nth(2).unwrap_or_default().to_owned();
            if cursor == "0" {
                break;
            }
        }
        for n in 0..7 {
            assert_eq!(seen.matches(&format!("refused{n}")).count(), 3, "in the command and the error: {seen}");
            assert_eq!(seen.matches(&format!("queue{n}")).count(), 1, "{seen}");
        }
        assert_eq!(bench.say(ADMIN, "ACL LOG RESET"), "+OK|");
        assert_eq!(bench.say(ADMIN, "ACL LOG"), "*0|");
    });
}

#[test]
fn a_change_of_settings_stands_there_even_when_nobody_waits_for_it_any_more() {
    with_access(|bench| {
        bench.engine.server().settings.changeable = vec!["lease"];
        bench.open(2);
        assert_eq!(bench.say(2, "CONFIG SET lease 9 hz 20"), "parked");
        assert_eq!(bench.say(ADMIN, "CONFIG SET lease 8 hz 30"), "parked");
        let asked = std::mem::take(&mut bench.engine.server().settings.asked);
        assert_eq!(asked.iter().map(|change| change.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(asked[0].pairs, [("lease".to_owned(), "9".to_owned())]);
        bench.take(Input::Close(2));
        bench.take(Input::Changed(1, Ok(())));
        let refused = NotSet { parameter: "lease".to_owned(), why: "no".to_owned() };
        bench.take(Input::Changed(2, Err(refused)));
        let told = "-ERR CONFIG SET failed (possibly related to argument 'lease') - no|";
        assert_eq!(bench.finished(), [(ADMIN, told.to_owned())]);
        let log = bench.say(ADMIN, "AUDIT.LIST");
        assert_eq!(log.matches("CONFIG").count(), 3, "one entry each, and the error has the word too: {log}");
        assert!(log.contains(r#""connection":2,"#) && log.contains(r#""outcome":"ok""#), "{log}");
        assert_eq!(bench.say(ADMIN, "CONFIG GET hz"), "*2|$2|hz|$2|20|", "all of what was asked for, or nothing");
    });
}
