//! The keys that the gate is told of are those that a command touches, wherever among its words they stand.

use std::ops::{Bound, ControlFlow};

use super::{ADMIN, granted, refused, with_access};
use crate::command::{Command, Flags, table};
use crate::data::View;
use crate::engine::tests::Bench;

#[test]
fn the_target_of_sort_is_what_the_command_takes_for_it() {
    with_access(|bench| {
        bench.open_with(2, "app", "KEYS app:*");
        bench.say(2, "RPUSH app:l 2 1");
        for command in ["SORT app:l STORE victim GET STORE", "SORT app:l STORE app:m STORE victim BY store"] {
            refused(&bench.say(2, command));
        }
        granted(&bench.say(2, "SORT app:l STORE victim STORE app:m GET STORE"));
        granted(&bench.say(2, "SORT app:l GET STORE BY STORE"));
        assert_eq!(bench.say(ADMIN, "EXISTS victim app:m"), ":1|", "the last one is the target");
        assert_eq!(bench.say(ADMIN, "COMMAND GETKEYS SORT l STORE t GET STORE"), "*2|$1|l|$1|t|");
        bench.submit(ADMIN, "j", "q");
        let reply = bench.say(ADMIN, "SORT app:l STORE job:j GET STORE");
        assert!(reply.starts_with("-ERR") && reply.contains("job:j"), "{reply}");
        assert_eq!(others(bench, &["app:l", "app:m"]), Vec::<String>::new());
    });
}

#[test]
fn whatever_the_words_a_key_changes_and_tells_nothing_but_its_own() {
    let has_keys = |command: &&Command| command.keys.first > 0 || command.counted > 0;
    with_access(|bench| {
        bench.open_with(2, "app", "KEYS a");
        let mut random = fastrand::Rng::with_seed(1);
        // WATCH would go on beyond its trial.
        for command in table::all().filter(has_keys).filter(|command| !command.flags.has(Flags::NOT_QUEUED)) {
            let options = options(command);
            let is_movable = command.flags.has(Flags::MOVABLE_KEYS);
            let trials = if is_movable { 1500 } else { 100 };
            let mut ran = 0;
            for make in ["SET", "RPUSH", "SADD", "ZADD", "HSET"] {
                fill(bench, make, &options);
                let before = others(bench, &["a"]);
                for _ in 0..trials {
                    let words = words(&mut random, command, &options);
                    let reply = bench.ask(2, &words);
                    ran += usize::from(!reply.starts_with('-'));
                    assert!(!reply.contains("marker"), "{words:?}: {reply}");
                    if reply == "parked" {
                        bench.say(ADMIN, "CLIENT UNBLOCK 2");
                        bench.finished();
                    } else if !reply.starts_with('-') {
                        assert_eq!(others(bench, &["a"]), before, "{words:?}: {reply}");
                        // It may have become another kind of thing, or be gone.
                        fill_one(bench, make, "a", "1");
                    }
                }
            }
            // FCALL is refused to everybody.
            assert!(ran > 0 || !is_movable || command.name.starts_with("FCALL"), "{} never ran", command.name);
        }
    });
}

/// The words in capitals of a command's usage.
fn options(command: &Command) -> Vec<&'static str> {
    let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    command.usage.split(|c: char| !c.is_ascii_alphabetic()).filter(is_word).collect()
}

fn words<'a>(random: &mut fastrand::Rng, command: &'a Command, options: &[&'a str]) -> Vec<&'a str> {
    let some: Vec<_> = (0..3).filter_map(|_| random.choice(options.iter().copied())).collect();
    let (mut words, least) = (vec![command.name], command.arity.unsigned_abs() as usize - 1);
    let more = if command.arity < 0 { random.usize(..6) } else { 0 };
    for place in 0..least + more {
        let word = match random.u8(..10) {
            0..4 => "a",
            4..7 if place == 0 => "1",
            4 => "1",
            5 => "2",
            _ => random.choice(some.iter().copied()).unwrap_or("b"),
        };
        words.push(word);
    }
    words
}

/// Lets there be keys by the names of all words, of one type.
fn fill(bench: &mut Bench<'_>, make: &str, options: &[&str]) {
    bench.say(ADMIN, "FLUSHALL");
    ["b", "1", "2"].iter().chain(options).for_each(|name| fill_one(bench, make, name, "marker"));
    fill_one(bench, make, "a", "1");
}

fn fill_one(bench: &mut Bench<'_>, make: &str, name: &str, value: &str) {
    bench.say(ADMIN, &format!("DEL {name}"));
    let with = match make {
        "ZADD" => "1 ",
        "HSET" => "f ",
        _ => "",
    };
    granted(&bench.say(ADMIN, &format!("{make} {name} {with}{value}")));
}

/// What stands in all databases beside keys of these names.
fn others(bench: &mut Bench<'_>, own: &[&str]) -> Vec<String> {
    let (keyspaces, mut found) = (bench.engine.server().keyspaces, Vec::new());
    for (database, keyspace) in keyspaces.into_iter().enumerate() {
        let view = View { rows: &bench.batch, keyspace, now: bench.now };
        let mut names = Vec::new();
        view.walk(Bound::Unbounded, &mut |name, _| {
            names.push(name.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
        for name in names.into_iter().filter(|name| !own.iter().any(|own| own.as_bytes() == name)) {
            let record = view.record(&name).unwrap();
            let value = record.map(|record| view.value(&name, &record).unwrap());
            found.push(format!("{database} {} {value:?}", String::from_utf8_lossy(&name)));
        }
    }
    found
}
