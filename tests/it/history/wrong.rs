//! The checkers find what is wrong: histories made by hand, each with one thing that must not be, beside one that may;
//! and real ones with one answer changed.

use fastrand::Rng;

use super::feed::{Event, Feed};
use super::jobs::Calls;
use super::life::{Ending, Plan};
use super::linear::{Checker, Violation};
use super::record::{Answer, Entry, Outcome, parse};
use super::round::{Round, by_group};

fn keys(text: &str) -> Result<(), Violation> {
    Checker::default().check(&parse(text).unwrap())
}

fn jobs(text: &str) -> Result<(), Violation> {
    Calls::of(&parse(text).unwrap()).check()
}

/// The first history is right, the second is not, and is told so with these words.
#[track_caller]
fn tells(check: fn(&str) -> Result<(), Violation>, right: &str, wrong: &str, words: &str) {
    if let Err(Violation(what)) = check(right) {
        panic!("this is right:\n{right}\n{what}");
    }
    match check(wrong) {
        Ok(()) => panic!("this is wrong, and not found:\n{wrong}"),
        Err(Violation(what)) => assert!(what.contains(words), "'{words}' is not what it says: {what}"),
    }
}

#[test]
fn a_stale_read() {
    let right = "0..1 c1 SET g:a v1 => OK\n2..5 c1 SET g:a v2 => OK\n3..4 c2 GET g:a => \"v1\"";
    let wrong = "0..1 c1 SET g:a v1 => OK\n2..3 c1 SET g:a v2 => OK\n4..5 c2 GET g:a => \"v1\"";
    tells(keys, right, wrong, "4..5 c2 GET g:a");
}

#[test]
fn a_read_that_goes_back() {
    let right = "0..9 c1 SET g:a v1 => OK\n1..2 c2 GET g:a => nil\n3..4 c3 GET g:a => \"v1\"";
    let wrong = "0..9 c1 SET g:a v1 => OK\n1..2 c2 GET g:a => \"v1\"\n3..4 c3 GET g:a => nil";
    tells(keys, right, wrong, "3..4 c3 GET g:a");
}

#[test]
fn a_lost_update() {
    let right = "0..2 c1 INCR g:n => :2\n1..3 c2 INCR g:n => :1\n4..5 c1 GET g:n => \"2\"";
    let wrong = "0..2 c1 INCR g:n => :1\n1..3 c2 INCR g:n => :1\n4..5 c1 GET g:n => \"1\"";
    tells(keys, right, wrong, "INCR g:n");
}

#[test]
fn an_acknowledged_write_that_is_gone() {
    let right = "0..1 c1 SET g:a v1 => OK\n2..9 c1 SET g:a v2 => ?\n10..11 c1 GET g:a => \"v1\"";
    let wrong = "0..1 c1 SET g:a v1 => OK\n2..9 c1 SET g:a v2 => OK\n10..11 c1 GET g:a => \"v1\"";
    tells(keys, right, wrong, "10..11");
}

#[test]
fn a_write_of_unknown_outcome_that_comes_and_goes() {
    let right = "0..9 c1 SET g:a v1 => ?\n1..2 c2 GET g:a => nil\n3..4 c2 GET g:a => \"v1\"";
    let wrong = "0..9 c1 SET g:a v1 => ?\n1..2 c2 GET g:a => \"v1\"\n3..4 c2 GET g:a => nil";
    tells(keys, right, wrong, "3..4");
    let right = "0..9 c1 SET g:a v1 => ?\n10..11 c2 GET g:a => nil\n12..13 c2 GET g:a => nil";
    let wrong = "0..9 c1 SET g:a v1 => ?\n10..11 c2 GET g:a => nil\n12..13 c2 GET g:a => \"v1\"";
    tells(keys, right, wrong, "12..13");
}

#[test]
fn a_refused_write_that_was_done() {
    let right = "0..1 c1 SET g:a v1 => !MISCONF\n2..3 c1 GET g:a => nil";
    let wrong = "0..1 c1 SET g:a v1 => !MISCONF\n2..3 c1 GET g:a => \"v1\"";
    tells(keys, right, wrong, "2..3");
}

#[test]
fn a_torn_transaction() {
    let write = "0..5 c1 EXEC{ SET g:a v1 ; SET g:b v1 } => ";
    let right = format!("{write}[OK OK]\n1..2 c2 MGET g:a g:b => [nil nil]\n3..4 c2 MGET g:a g:b => [\"v1\" \"v1\"]");
    let wrong = format!("{write}[OK OK]\n1..2 c2 MGET g:a g:b => [\"v1\" nil]");
    tells(keys, &right, &wrong, "1..2 c2 MGET");
    let wrong = format!("{write}?\n6..7 c2 GET g:a => \"v1\"\n8..9 c2 GET g:b => nil");
    tells(keys, &right, &wrong, "8..9");
}

#[test]
fn a_watch_that_did_not_see() {
    let writes = "0..1 c1 SET g:a v1 => OK\n2..3 c2 GET g:a => \"v1\"\n4..5 c1 SET g:a v2 => OK\n";
    let right = format!("{writes}6..7 c2 EXEC(g:a=\"v1\"){{ SET g:a v3 }} => nil\n8..9 c2 GET g:a => \"v2\"");
    let wrong = format!("{writes}6..7 c2 EXEC(g:a=\"v1\"){{ SET g:a v3 }} => [OK]");
    tells(keys, &right, &wrong, "6..7");
}

#[test]
fn an_element_given_twice_and_one_given_out_of_order() {
    let push = "0..1 c1 RPUSH g:l v1 v2 => :2\n2..9 c2 BLPOP g:l 0 => [\"g:l\" \"v1\"]\n";
    let right = format!("{push}3..4 c3 LPOP g:l => \"v2\"");
    tells(keys, &right, &format!("{push}3..4 c3 LPOP g:l => \"v1\""), "g:l");
    tells(keys, &right, &format!("{push}10..11 c3 LPOP g:l => \"v2\"\n12..13 c3 LPOP g:l => \"v2\""), "12..13");
    let early = "0..1 c1 RPUSH g:l v1 v2 => :2\n2..3 c2 LPOP g:l => \"v2\"";
    tells(keys, &right, early, "2..3");
    let lost = "0..1 c1 RPUSH g:l v1 => :1\n2..3 c2 BLPOP g:l 0.02 => nil";
    tells(keys, &right, lost, "2..3");
}

#[test]
fn a_pipeline_that_is_done_out_of_order() {
    let pipeline = "0..9 c1 SET g:a v1 => ?\n1..9 c1 SET g:b v1 after 0 => ?\n";
    let right = format!("{pipeline}2..3 c2 GET g:a => \"v1\"\n4..5 c2 GET g:b => nil");
    let wrong = format!("{pipeline}2..3 c2 GET g:b => \"v1\"\n4..5 c2 GET g:a => nil");
    tells(keys, &right, &wrong, "4..5");
}

const SUBMITS: &str = "0..1 c1 JOB.SUBMIT {\"job_id\":\"a\",\"queue\":\"q0\"} => \"a\"\n\
                       2..3 c1 JOB.SUBMIT {\"job_id\":\"b\",\"queue\":\"q0\"} => \"b\"\n";

fn claim(times: &str, grants: &[(&str, u64)]) -> String {
    let grant = |(job, epoch): &(&str, u64)| format!("\"{{\"job_id\":\"{job}\",\"epoch\":{epoch}}}\"");
    let grants: Vec<String> = grants.iter().map(grant).collect();
    format!("{times} c2 JOB.CLAIM w COUNT 2 LEASE 1000 QUEUES q0 => [{}]\n", grants.join(" "))
}

#[test]
fn a_double_grant_and_an_epoch_that_falls() {
    let right = [SUBMITS, &claim("4..5", &[("a", 1)]), &claim("6..7", &[("a", 2)])].concat();
    let twice = [SUBMITS, &claim("4..5", &[("a", 1)]), &claim("6..7", &[("a", 1)])].concat();
    tells(jobs, &right, &twice, "given twice at epoch 1");
    let falls = [SUBMITS, &claim("4..5", &[("a", 2)]), &claim("6..7", &[("a", 1)])].concat();
    tells(jobs, &right, &falls, "epoch of a fell");
}

#[test]
fn an_overtaking() {
    let right = [SUBMITS, &claim("4..5", &[("a", 1)]), &claim("6..7", &[("b", 1)])].concat();
    let wrong = [SUBMITS, &claim("4..5", &[("b", 1)]), &claim("6..7", &[("a", 1)])].concat();
    tells(jobs, &right, &wrong, "b was submitted after a, and claimed before it");
    let right = [SUBMITS, &claim("4..5", &[("a", 1), ("b", 1)])].concat();
    let wrong = [SUBMITS, &claim("4..5", &[("b", 1), ("a", 1)])].concat();
    tells(jobs, &right, &wrong, "b was submitted after a");
}

#[test]
fn a_second_completion_a_late_report_and_a_claim_after_the_end() {
    let begin = [SUBMITS, &claim("4..5", &[("a", 1)])].concat();
    let complete = "6..7 c2 JOB.COMPLETE a 1 {\"by\":\"x\"} => OK\n";
    let again = complete.replace("6..7", "8..9");
    let right = format!("{begin}{complete}{again}");
    tells(jobs, &right, &format!("{begin}{complete}{}", again.replace('x', "y")), "completed twice");
    tells(jobs, &right, &format!("{begin}{complete}{}", claim("8..9", &[("a", 2)])), "claimed after it was completed");
    let look = "8..9 c1 QUEUE.PEEK q0 3 => [\"{\"job_id\":\"a\",\"epoch\":1}\"]";
    tells(jobs, &right, &format!("{begin}{complete}{look}"), "pending after it was completed");
    let late = format!("{begin}{}7..8 c2 JOB.FAIL a 1 {{}} => OK", claim("5..6", &[("a", 2)]));
    tells(jobs, &right, &late, "at an old epoch");
}

#[test]
fn a_lost_job_a_job_from_nowhere_and_a_claim_from_a_paused_queue() {
    let cancel = "4..5 c1 JOB.CANCEL a => ";
    let right = format!("{SUBMITS}{cancel}\"cancelled\"");
    tells(jobs, &right, &format!("{SUBMITS}{cancel}-ERR_Job_not_found"), "lost");
    tells(jobs, &right, &claim("0..1", &[("z", 1)]), "never submitted");
    let paused = format!("{SUBMITS}4..5 c1 QUEUE.PAUSE q0 => OK\n");
    let resumed = format!("{paused}6..9 c1 QUEUE.RESUME q0 => OK\n{}", claim("7..8", &[("a", 1)]));
    tells(jobs, &resumed, &format!("{paused}{}", claim("6..7", &[("a", 1)])), "paused");
}

/// A history of a real server, which is left alone but for connections that are cut.
fn real() -> (Round, super::round::Found) {
    let mut rng = Rng::with_seed(7);
    let mut round = Round::new(7, &mut rng);
    round.live(&[], Plan { enough: 800, frozen: None, ending: Ending::Stop }, &mut rng);
    let found = round.look();
    (round, found)
}

/// Answers that cannot be, one for each call that can have one.
fn forged(entry: &Entry, given: &[&str]) -> Option<Outcome> {
    let forged = match (entry.call.name(), entry.answer()?) {
        ("LPOP" | "RPOP", Answer::Text(text)) => {
            // What somebody else was given before.
            Answer::text(*given.iter().find(|other| **other != &**text)?)
        }
        ("GET" | "GETSET" | "HGET" | "LMOVE" | "RPOPLPUSH", _) => Answer::text("v0"),
        ("INCR" | "LLEN" | "APPEND" | "LPUSH" | "RPUSH", Answer::Number(number)) => Answer::Number(number + 100_000),
        ("EXEC", Answer::Many(answers)) => {
            let changed = answers.iter().map(|answer| match answer {
                Answer::Number(number) => Answer::Number(number + 100_000),
                Answer::Nil => Answer::text("v0"),
                Answer::Okay => Answer::Nil,
                Answer::Many(inner) if inner.is_empty() => Answer::Many(vec![Answer::text("v0")]),
                Answer::Many(inner) => Answer::Many(inner[1..].to_vec()),
                _ => Answer::text("v0"),
            });
            Answer::Many(changed.collect())
        }
        _ => return None,
    };
    Some(Outcome::Answered(forged))
}

#[test]
fn a_real_history_with_one_answer_changed() {
    let (round, found) = real();
    let mut forgeries = 0;
    for group in by_group(round.history()) {
        Checker::default().check(&group).unwrap();
        let popped = group.iter().filter(|entry| ["LPOP", "RPOP"].contains(&entry.call.name()));
        let given: Vec<&str> = popped
            .filter_map(|entry| match entry.answer()? {
                Answer::Text(text) => Some(&**text),
                _ => None,
            })
            .collect();
        for place in (0..group.len()).step_by(3) {
            let Some(outcome) = forged(&group[place], &given) else { continue };
            let mut wrong = group.clone();
            wrong[place].outcome = outcome;
            assert!(Checker::default().check(&wrong).is_err(), "it is not found: {}", wrong[place]);
            forgeries += 1;
        }
    }
    assert!(forgeries > 20, "{forgeries} forgeries");
    let calls = Calls::of(round.history());
    let check = |events: &[Event]| Feed { events, jobs: &found.jobs }.check(&calls);
    check(&found.events).unwrap();
    for place in (0..found.events.len()).step_by(7) {
        let mut wrong = found.events.clone();
        wrong.remove(place);
        assert!(check(&wrong).is_err(), "that {:?} is missing is not found", found.events[place]);
        let mut wrong = found.events.clone();
        wrong[place].epoch += 1;
        assert!(check(&wrong).is_err(), "a wrong epoch is not found: {:?}", wrong[place]);
    }
    for job in found.jobs.keys().take(20) {
        let mut jobs = found.jobs.clone();
        jobs.remove(job);
        assert!(Feed { events: &found.events, jobs: &jobs }.check(&calls).is_err(), "{job} is lost, and not found");
    }
}
