//! Lists tell nothing of what their reader may not see: neither by what they show, nor by how they are paged.

use super::{ADMIN, granted, with_access};
use crate::engine::ConnId;
use crate::engine::tests::Bench;

const READER: ConnId = 2;

impl Bench<'_> {
    /// A page: its cursor, and the rest of the answer.
    fn page(&mut self, conn: ConnId, command: &str) -> (String, String) {
        let reply = self.say(conn, command);
        let rest = reply.strip_prefix("*2|$").unwrap_or_else(|| panic!("{reply}"));
        let mut parts = rest.splitn(3, '|').skip(1).map(str::to_owned);
        (parts.next().unwrap(), parts.next().unwrap())
    }

    /// Submits an action of so many jobs, and waits until all are there.
    fn submit_action(&mut self, id: &str, queue: &str, jobs: usize) {
        let inputs = vec!["{}"; jobs].join(",");
        let plan = r#"{"tasks":[{"task_number":1,"command":"true"}]}"#;
        let json = format!(r#"{{"action_id":"{id}","queue":"{queue}","plan":{plan},"inputs":[{inputs}]}}"#);
        granted(&self.ask(ADMIN, &["ACTION.SUBMIT", &json]));
        self.engine.tick(&mut self.batch, self.now, true).unwrap();
        while self.engine.next_deadline().is_some_and(|at| at <= self.now) {
            self.engine.tick(&mut self.batch, self.now, true).unwrap();
        }
    }
}

/// The bytes that a cursor of hexadecimal digits stands for, as text.
fn read(cursor: &str) -> String {
    let digits = cursor.get(1..).unwrap_or_default().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap_or_default();
    String::from_utf8_lossy(&digits.chunks(2).map(byte).collect::<Vec<_>>()).into_owned() + cursor
}

#[test]
fn hidden_jobs_neither_count_nor_stand_in_a_cursor_whatever_is_asked_for() {
    with_access(|bench| {
        bench.open_with(READER, "reader", "READ pub-*");
        let submit = |bench: &mut Bench<'_>, id: &str, queue: &str, more: &str| {
            let json = format!(r#"{{"job_id":"{id}","queue":"{queue}",{more}}}"#);
            granted(&bench.ask(ADMIN, &["JOB.SUBMIT", &json]));
        };
        submit(bench, "p1", "pub-a", r#""kind":"k""#);
        bench.submit_action("merger", "secret-q", 1);
        let plan = r#"{"plan_id":"takeover","tasks":[{"task_number":1,"command":"true"}]}"#;
        granted(&bench.ask(ADMIN, &["PLAN.SUBMIT", plan]));
        for n in 0..3 {
            submit(bench, &format!("s{n}"), "secret-q", r#""kind":"layoffs","key":"acme","labels":["due"]"#);
            submit(bench, &format!("t{n}"), "secret-q", r#""plan_id":"takeover","delay_ms":60000"#);
        }
        submit(bench, "p2", "pub-a", r#""kind":"k""#);
        for status in ["", " STATUS pending", " QUEUE pub-a"] {
            let (first, second) = if status.is_empty() { ("p2", "p1") } else { ("p1", "p2") };
            let (first, second) = if status == " QUEUE pub-a" { ("p2", "p1") } else { (first, second) };
            let (cursor, jobs) = bench.page(READER, &format!("JOB.LIST LIMIT 1{status}"));
            assert!(jobs.contains(&format!("\"{first}\"")), "{jobs}");
            assert!(cursor != "0" && !read(&cursor).contains("secret"), "{cursor}");
            let (cursor, jobs) = bench.page(READER, &format!("JOB.LIST LIMIT 1{status} CURSOR {cursor}"));
            assert!(jobs.contains(&format!("\"{second}\"")), "{jobs}");
            let last = bench.page(READER, &format!("JOB.LIST LIMIT 1{status} CURSOR {cursor}"));
            assert_eq!(last, ("0".to_owned(), "*0|".to_owned()), "hidden jobs make no further page");
        }
        let nothing = ("0".to_owned(), "*0|".to_owned());
        for conditions in [
            "KEY acme",
            "LABEL due",
            "QUEUE secret-q",
            "KIND layoffs",
            "PLAN takeover",
            "ACTION merger",
            "STATUS scheduled",
            "KIND layoffs STATUS pending",
            "QUEUE secret-q STATUS pending",
            "KIND layoffs SINCE 1 UNTIL 2000000",
        ] {
            let (cursor, jobs) = bench.page(ADMIN, &format!("JOB.LIST LIMIT 1 {conditions}"));
            assert!(cursor != "0" || jobs != "*0|", "{conditions}: there is one");
            assert_eq!(bench.page(READER, &format!("JOB.LIST LIMIT 1 {conditions}")), nothing, "{conditions}");
        }
    });
}

#[test]
fn a_page_that_ends_among_hidden_jobs_has_a_sealed_cursor() {
    with_access(|bench| {
        bench.open_with(READER, "reader", "READ pub-*");
        granted(&bench.submit(ADMIN, "p1", "pub-a"));
        bench.submit_action("merger", "a-secret", 10_000);
        for conditions in ["", " STATUS pending"] {
            let list = format!("JOB.LIST{conditions}");
            let (cursor, jobs) = bench.page(READER, &list);
            assert!(jobs == "*0|" && cursor.starts_with('.') && !read(&cursor).contains("secret"), "{cursor}");
            let (again, _) = bench.page(READER, &list);
            assert_eq!(cursor.len(), again.len());
            assert_ne!(cursor, again, "whether it is the same place cannot be seen");
            let (end, jobs) = bench.page(READER, &format!("{list} CURSOR {cursor}"));
            assert!(end == "0" && jobs.contains("\"p1\""), "{jobs}");
            let wrong = format!("{list} CURSOR .{}", "0".repeat(cursor.len() - 1));
            let reply = bench.say(READER, &wrong);
            assert!(reply.starts_with("-ERR CURSOR must be 0 or what a page before answered"), "{reply}");
            // Who sees everything sees where it goes on.
            assert!(!bench.page(ADMIN, &format!("{list} LIMIT 1")).0.starts_with('.'));
        }
    });
}

#[test]
fn hidden_actions_and_schedules_neither_count_nor_stand_in_a_cursor() {
    with_access(|bench| {
        bench.open_with(READER, "reader", "READ pub-*");
        let put = |bench: &mut Bench<'_>, id: &str, queue: &str| {
            bench.submit_action(id, queue, 1);
            let json = format!(r#"{{"cron":"@yearly","job":{{"kind":"k","queue":"{queue}"}}}}"#);
            granted(&bench.ask(ADMIN, &["SCHEDULE.PUT", id, &json]));
        };
        put(bench, "b1", "pub-a");
        put(bench, "c-merger", "secret-q");
        put(bench, "d2", "pub-b");
        put(bench, "e-layoffs", "secret-q");
        for list in ["ACTION.LIST", "SCHEDULE.LIST"] {
            let (cursor, things) = bench.page(READER, &format!("{list} LIMIT 1"));
            assert!(cursor == "b1" && things.contains("\"b1\""), "{cursor} {things}");
            let (cursor, things) = bench.page(READER, &format!("{list} LIMIT 1 CURSOR {cursor}"));
            assert!(cursor == "d2" && things.contains("\"d2\""), "{cursor} {things}");
            assert_eq!(bench.page(READER, &format!("{list} LIMIT 1 CURSOR d2")), ("0".to_owned(), "*0|".to_owned()));
            assert_eq!(bench.page(ADMIN, &format!("{list} LIMIT 2")).0, "c-merger");
        }
        (0..1_000).for_each(|n| put(bench, &format!("a{n:04}-merger"), "secret-q"));
        for list in ["ACTION.LIST", "SCHEDULE.LIST"] {
            let (cursor, things) = bench.page(READER, list);
            assert!(things == "*0|" && cursor.starts_with('.') && !read(&cursor).contains("merger"), "{cursor}");
            let (end, things) = bench.page(READER, &format!("{list} CURSOR {cursor}"));
            assert!(end == "0" && things.contains("\"b1\"") && things.contains("\"d2\""), "{things}");
            assert!(bench.say(READER, &format!("{list} CURSOR .00")).starts_with("-ERR CURSOR must be 0"));
        }
    });
}
