//! DUMP and RESTORE between AGQ and a real Redis, and payloads that nobody in his senses would send.

mod hostile;
mod old;

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::script::redis_or_note;
use crate::support::random;
use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

/// A connection to each of the two.
struct Both {
    redis: Wire,
    agq: Wire,
}

fn call(wire: &mut Wire, command: &[&[u8]]) -> Frame {
    wire.send(&[command.iter().map(|word| word.to_vec()).collect()]).unwrap();
    wire.read().unwrap()
}

pub(crate) fn dump(wire: &mut Wire, name: &str) -> Vec<u8> {
    match call(wire, &[b"DUMP", name.as_bytes()]) {
        Frame::Blob(b'$', payload) => payload,
        other => panic!("DUMP {name} answered {other}"),
    }
}

pub(crate) fn restore(wire: &mut Wire, name: &str, payload: &[u8]) -> String {
    call(wire, &[b"RESTORE", name.as_bytes(), b"0", payload, b"REPLACE"]).to_string()
}

/// All that stands under a name, as text; what has no order is put into one.
pub(crate) fn content(wire: &mut Wire, name: &str) -> String {
    let kind = call(wire, &[b"TYPE", name.as_bytes()]).to_string();
    let name = name.as_bytes();
    let found = match kind.as_str() {
        "+string" => call(wire, &[b"GET", name]),
        "+list" => call(wire, &[b"LRANGE", name, b"0", b"-1"]),
        "+hash" => call(wire, &[b"HGETALL", name]),
        "+set" => call(wire, &[b"SMEMBERS", name]),
        "+zset" => call(wire, &[b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"]),
        other => panic!("TYPE answered {other}"),
    };
    let mut items = match found {
        Frame::Many(_, items) => items.iter().map(Frame::to_string).collect(),
        other => vec![other.to_string()],
    };
    match kind.as_str() {
        "+set" => items.sort(),
        "+hash" => {
            let mut pairs: Vec<_> = items.chunks(2).map(|pair| pair.join(" ")).collect();
            pairs.sort();
            items = pairs;
        }
        _ => {}
    }
    format!("{kind} {}", items.join(" "))
}

/// What a key is made with: the command, and the words behind the name.
type Made = (&'static str, Vec<Vec<u8>>);

fn element() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop::sample::select(vec![0_usize, 1, 11, 20, 21, 44, 63, 64, 65, 200, 4096]);
    prop_oneof![
        3 => prop::sample::select(old::elements()),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        2 => any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        1 => (lengths.clone(), any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
        1 => lengths.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length)),
        1 => (0_usize..3, "[ab]{1,4}").prop_map(|(times, word)| word.repeat(times * 700).into_bytes()),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let several =
        || prop_oneof![4 => prop::collection::vec(element(), 1..20), 1 => prop::collection::vec(element(), 100..600)];
    let short = || prop::collection::vec(any::<i16>().prop_map(|number| number.to_string().into_bytes()), 1..700);
    let score = prop_oneof![
        3 => any::<i32>().prop_map(|score| score.to_string()),
        2 => any::<f64>().prop_filter("", |score| !score.is_nan() && *score != 0.0).prop_map(|score| format!("{score:e}")),
        1 => prop::sample::select(vec!["inf", "-inf", "0"]).prop_map(str::to_owned),
    ];
    let scored = (score, element()).prop_map(|(score, member)| [score.into_bytes(), member]);
    prop_oneof![
        2 => element().prop_map(|value| ("SET", vec![value])),
        2 => several().prop_map(|elements| ("RPUSH", elements)),
        1 => several().prop_map(|elements| ("SADD", elements)),
        1 => short().prop_map(|elements| ("SADD", elements)),
        2 => several().prop_map(|elements| ("HSET", elements.iter().flat_map(|e| [e.clone(), e.clone()]).collect())),
        2 => prop::collection::vec(scored, 1..200).prop_map(|scored| ("ZADD", scored.concat())),
    ]
}

impl Both {
    fn new(redis: &Server, agq: &Server) -> Both {
        Both { redis: redis.connect(), agq: agq.connect() }
    }

    fn make(&mut self, (command, words): &Made) {
        for wire in [&mut self.redis, &mut self.agq] {
            call(wire, &[b"DEL", b"k"]);
            let words = words.iter().map(|word| &word[..]);
            let command: Vec<&[u8]> = [command.as_bytes(), b"k"].into_iter().chain(words).collect();
            let reply = call(wire, &command).to_string();
            assert!(!reply.starts_with('-'), "{reply}");
        }
    }

    /// Takes the key across, both ways and back to where it was; the content stays. Returns what Redis dumped.
    fn cross(&mut self) -> Vec<u8> {
        let expected = content(&mut self.redis, "k");
        assert_eq!(content(&mut self.agq, "k"), expected);
        let (theirs, ours) = (dump(&mut self.redis, "k"), dump(&mut self.agq, "k"));
        for (payload, into_redis, what) in
            [(&theirs, false, "of Redis here"), (&ours, true, "of AGQ in Redis"), (&ours, false, "of AGQ here")]
        {
            let wire = if into_redis { &mut self.redis } else { &mut self.agq };
            assert_eq!(restore(wire, "copy", payload), "+OK", "a payload {what}");
            assert_eq!(content(wire, "copy"), expected, "a payload {what}");
        }
        theirs
    }
}

#[test]
fn payloads_cross_both_ways() {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&["--durability", "none"]);
    let both = RefCell::new(Both::new(&redis, &agq));
    let (mut runner, seed) = random::differential(400);
    let result = runner.run(&made(), |made| {
        both.borrow_mut().make(&made);
        both.borrow_mut().cross();
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("with the seed {seed}: {failure}"));
}

#[test]
fn every_form_that_redis_writes_is_read() {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&["--durability", "none"]);
    let mut both = Both::new(&redis, &agq);
    let words = |count: usize, word: &str| -> Vec<Vec<u8>> {
        (0..count).map(|number| format!("{word}{number}").into_bytes()).collect()
    };
    let scored = |count| words(count, "").into_iter().zip(words(count, "m")).flat_map(|(s, m)| [s, m]).collect();
    let made: Vec<Made> = vec![
        ("SET", vec![b"12".to_vec()]),
        ("SET", vec![b"-1200".to_vec()]),
        ("SET", vec![b"2000000000".to_vec()]),
        ("SET", vec![b"plain".to_vec()]),
        ("SET", vec![b"again and ".repeat(3000)]),
        // More than one chunk, and past the bound for the core thread.
        ("SET", vec![(0..1_500_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()]),
        ("RPUSH", words(5, "e")),
        ("RPUSH", words(20_000, "element ")),
        ("RPUSH", vec![b"x".repeat(100_000), b"y".to_vec()]),
        ("SADD", words(5, "")),
        ("SADD", words(5, "m")),
        ("SADD", words(20_000, "m")),
        ("HSET", words(10, "f")),
        ("HSET", words(20_000, "f")),
        ("ZADD", scored(5)),
        ("ZADD", scored(20_000)),
    ];
    let mut forms = BTreeSet::new();
    for made in &made {
        both.make(made);
        forms.insert(both.cross()[0]);
    }
    // String, set, hash, sorted set, intset, hash and sorted set as listpacks, list: all that Redis 7.0 writes.
    assert_eq!(forms.into_iter().collect::<Vec<_>>(), [0, 2, 4, 5, 11, 16, 17, 18]);
}

#[test]
fn every_form_that_redis_reads_is_read_alike() {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&["--durability", "none"]);
    let mut both = Both::new(&redis, &agq);
    both.redis.call("CONFIG SET sanitize-dump-payload yes").unwrap();
    for (name, payload) in old::all() {
        assert_eq!(restore(&mut both.redis, "k", &payload), "+OK", "{name} in Redis");
        assert_eq!(restore(&mut both.agq, "k", &payload), "+OK", "{name}");
        assert_eq!(content(&mut both.agq, "k"), content(&mut both.redis, "k"), "{name}");
        both.cross();
    }
}
