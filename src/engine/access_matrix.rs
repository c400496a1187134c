//! Random scopes against random commands: what the gate lets through is what a simple predicate says, which knows
//! nothing of the command table.

use agq_resp::Request;
use bytes::BytesMut;

use super::Input;
use super::Unit;
use super::tests::{Bench, with_engine};
use crate::command::Session;

const NAMES: [&str; 5] = ["a", "ab", "b", "abc", "c"];
const PATTERNS: [&str; 7] = ["*", "a", "a*", "?", "*b", "a?c", "b"];
const ROLES: [&str; 7] = ["SUBMIT", "WORK", "READ", "KEYS", "READ-KEYS", "WRITE-KEYS", "CHANNELS"];

/// What a command of a life needs: any one of the rows, of which each holds altogether.
type Wanted = Vec<Vec<(&'static str, String)>>;

/// True when a pattern of letters, `?` and `*` matches.
fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) if fits(&pattern[1..], name) => true,
        (Some('*'), Some(_)) => fits(pattern, &name[1..]),
        (Some('?'), Some(_)) => fits(&pattern[1..], &name[1..]),
        (Some(p), Some(n)) if p == n => fits(&pattern[1..], &name[1..]),
        _ => false,
    }
}

/// True when the scopes have a role for a name; `*` as name: for every name, `.` for some.
fn has(scopes: &[(&str, &str)], role: &str, name: &str) -> bool {
    scopes.iter().any(|(own, pattern)| match name {
        _ if *own != role => false,
        "*" => *pattern == "*",
        "." => true,
        name => fits(pattern, name),
    })
}

fn may(scopes: &[(&str, &str)], wanted: &Wanted) -> bool {
    wanted.is_empty() || wanted.iter().any(|row| row.iter().all(|(role, name)| has(scopes, role, name)))
}

fn any(choices: &[(&'static str, &str)]) -> Wanted {
    choices.iter().map(|(role, name)| vec![(*role, (*name).to_owned())]).collect()
}

/// Both needs.
fn both(a: &Wanted, b: &Wanted) -> Wanted {
    a.iter().flat_map(|a| b.iter().map(|b| [&a[..], &b[..]].concat())).collect()
}

fn reads(key: &str) -> Wanted {
    any(&[("KEYS", key), ("READ-KEYS", key)])
}

fn writes(key: &str) -> Wanted {
    any(&[("KEYS", key), ("WRITE-KEYS", key)])
}

fn uses(key: &str) -> Wanted {
    both(&reads(key), &writes(key))
}

/// A command's words, and what it needs. `jobs` of each queue are there, `<queue>-job`, due in a year.
fn command(random: &mut fastrand::Rng) -> (String, Wanted) {
    let [x, y, z] = [(); 3].map(|()| NAMES[random.usize(..NAMES.len())]);
    let admin = || any(&[("ADMIN", ".")]);
    match random.u8(..41) {
        0 => (format!("GET {x}"), reads(x)),
        1 => (format!("SET {x} 1"), writes(x)),
        2 => (format!("SET {x} 1 GET"), uses(x)),
        3 => (format!("MGET {x} {y}"), both(&reads(x), &reads(y))),
        4 => (format!("MSET {x} 1 {y} 2"), both(&writes(x), &writes(y))),
        5 => (format!("COPY {x} {y}"), both(&reads(x), &writes(y))),
        6 => (format!("RENAME {x} {y}"), both(&uses(x), &writes(y))),
        7 => (format!("LMOVE {x} {y} LEFT LEFT"), both(&uses(x), &writes(y))),
        8 => (format!("ZUNIONSTORE {x} 2 {y} {z}"), both(&writes(x), &both(&reads(y), &reads(z)))),
        9 => (format!("BITOP AND {x} {y} {z}"), both(&writes(x), &both(&reads(y), &reads(z)))),
        10 => (format!("SORT {x} STORE {y}"), both(&reads(x), &writes(y))),
        11 => (format!("SORT {x} BY w_*"), both(&reads(x), &reads("*"))),
        12 => (format!("LMPOP 2 {x} {y} LEFT"), both(&uses(x), &uses(y))),
        13 => (format!("INCR {x}"), uses(x)),
        14 => (format!("DEL {x} {y}"), both(&writes(x), &writes(y))),
        15 => ("KEYS *".to_owned(), reads("*")),
        16 => ("DBSIZE".to_owned(), reads("*")),
        17 => (format!("PUBLISH {x} 1"), any(&[("CHANNELS", x)])),
        18 => (format!("OBJECT ENCODING {x}"), reads(x)),
        19 => ("FLUSHALL".to_owned(), admin()),
        20 => ("CONFIG GET maxmemory".to_owned(), admin()),
        21 => (format!("QUEUE.PAUSE {x}"), admin()),
        22 => ("CLIENT LIST".to_owned(), admin()),
        23 => ("CLIENT ID".to_owned(), Vec::new()),
        24 => (format!("JOB.SUBMIT {{\"kind\":\"k\",\"queue\":\"{x}\",\"delay_ms\":9999999}}"), any(&[("SUBMIT", x)])),
        25 => (format!("JOB.CLAIM w QUEUES {x} {y}"), both(&any(&[("WORK", x)]), &any(&[("WORK", y)]))),
        26 => (format!("JOB.GET {x}-job"), any(&[("READ", x)])),
        27 => (format!("JOB.RESULT {x}-job"), any(&[("READ", x)])),
        28 => (format!("GET job:{x}-job:stdout"), any(&[("READ", x)])),
        29 => (format!("JOB.CANCEL {x}-job"), any(&[("SUBMIT", x)])),
        30 => (format!("JOB.RETRY WHERE QUEUE {x}"), any(&[("SUBMIT", x)])),
        31 => (format!("JOB.COMPLETE {x}-job 1 1"), admin()),
        32 => (format!("SET job:{x}-job:status completed"), admin()),
        33 => (format!("LLEN queue:{x}"), any(&[("READ", x), ("WORK", x)])),
        34 => (format!("QUEUE.PEEK {x}"), any(&[("READ", x)])),
        35 => ("QUEUE.STATS".to_owned(), any(&[("READ", "*")])),
        36 => (format!("RPOPLPUSH queue:{x} queue:processing"), any(&[("WORK", x)])),
        37 => (format!("RPOPLPUSH queue:{x} queue:{y}"), both(&any(&[("WORK", x)]), &any(&[("SUBMIT", y)]))),
        38 => (format!("SORT {x} STORE {y} GET STORE"), both(&reads(x), &writes(y))),
        39 => ("LRANGE queue:processing 0 -1".to_owned(), any(&[("READ", "*")])),
        _ => ("JOB.LIST".to_owned(), any(&[("READ", ".")])),
    }
}

fn reply(bench: &mut Bench<'_>, conn: u64, words: &str) -> String {
    let requests = [Request::from_args(words.split(' '))].into();
    bench.take(Input::Unit(Unit { conn, requests, protocol_error: None, out: BytesMut::new() }));
    bench.finished().into_iter().map(|(_, text)| text).collect()
}

#[test]
fn the_gate_lets_through_what_a_simple_predicate_says() {
    let lives = std::env::var("AGQ_ACCESS_LIVES").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    let first = std::env::var("AGQ_ACCESS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + lives {
        with_engine(|bench| life(bench, seed));
    }
}

fn life(bench: &mut Bench<'_>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    bench.open(1);
    for queue in NAMES {
        let job = format!("{{\"job_id\":\"{queue}-job\",\"kind\":\"k\",\"queue\":\"{queue}\",\"delay_ms\":9999999}}");
        assert!(reply(bench, 1, &format!("JOB.SUBMIT {job}")).starts_with('$'));
    }
    let count = random.usize(1..6);
    let scope =
        |random: &mut fastrand::Rng| (ROLES[random.usize(..ROLES.len())], PATTERNS[random.usize(..PATTERNS.len())]);
    let scopes: Vec<_> = std::iter::repeat_with(|| scope(&mut random)).take(count).collect();
    let terms: Vec<_> = scopes.iter().map(|(role, pattern)| format!("{role} {pattern}")).collect();
    let made = reply(bench, 1, &format!("KEY.CREATE key {}", terms.join(" ")));
    let secret = made.split('|').nth(1).unwrap_or_default();
    bench.take(Input::Open(Box::new(Session::new(2, String::new(), true))));
    assert_eq!(reply(bench, 2, &format!("AUTH {secret}")), "+OK|");
    for _ in 0..60 {
        let (words, wanted) = command(&mut random);
        let expected = may(&scopes, &wanted);
        // The gate's word for it, and what becomes of it.
        let foretold = reply(bench, 1, &format!("ACL DRYRUN key {words}"));
        assert_eq!(foretold == "+OK|", expected, "seed {seed}, {scopes:?}: DRYRUN of {words}: {foretold}");
        let answer = reply(bench, 2, &words);
        assert_eq!(!answer.starts_with("-NOPERM"), expected, "seed {seed}, {scopes:?}: {words}: {answer}");
    }
}
