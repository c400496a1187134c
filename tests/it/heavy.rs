//! Reads so large that they leave the core thread: their replies are whole and in their place.

use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

const ELEMENTS: usize = 25_000;

fn send(wire: &mut Wire, commands: &[&str]) {
    let words = |command: &&str| command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    wire.send(&commands.iter().map(words).collect::<Vec<_>>()).unwrap();
}

fn numbers(wire: &mut Wire) -> Vec<usize> {
    let Frame::Many(_, items) = wire.read().unwrap() else { panic!("not an array") };
    let number = |item: &Frame| match item {
        Frame::Blob(_, bytes) => std::str::from_utf8(bytes).unwrap().parse().unwrap(),
        other => panic!("not a string: {other}"),
    };
    items.iter().map(number).collect()
}

fn joined(from: usize, to: usize) -> String {
    (from..to).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_heavy_read_answers_in_its_place_in_the_pipeline() {
    let server = Server::agq(&[]);
    let mut wire = server.connect();
    assert_eq!(wire.call(&format!("RPUSH l {}", joined(0, ELEMENTS))).unwrap().to_string(), format!(":{ELEMENTS}"));
    send(&mut wire, &["LPUSH before 1", "LRANGE l 0 -1", "RPOP l", "LRANGE l 5 20004", "LLEN l", "LPOS l 24000"]);
    assert_eq!(wire.read().unwrap().to_string(), ":1");
    assert_eq!(numbers(&mut wire), (0..ELEMENTS).collect::<Vec<_>>());
    assert_eq!(wire.read().unwrap().to_string(), "\"24999\"");
    assert_eq!(numbers(&mut wire), (5..20_005).collect::<Vec<_>>());
    assert_eq!(wire.read().unwrap().to_string(), ":24999");
    assert_eq!(wire.read().unwrap().to_string(), ":24000");

    // With a hole, positions are found by walking; from the nearer end.
    send(&mut wire, &["LREM l 1 100", "LINDEX l 12000", "LINDEX l -12000", "LRANGE l -3 -1", "LRANGE l 99 100"]);
    assert_eq!(wire.read().unwrap().to_string(), ":1");
    assert_eq!(wire.read().unwrap().to_string(), "\"12001\"");
    assert_eq!(wire.read().unwrap().to_string(), "\"12999\"");
    assert_eq!(numbers(&mut wire), [24_996, 24_997, 24_998]);
    assert_eq!(numbers(&mut wire), [99, 101]);
}

#[test]
fn a_list_may_be_popped_whole() {
    let server = Server::agq(&[]);
    let mut wire = server.connect();
    send(
        &mut wire,
        &[&format!("RPUSH l {}", joined(0, ELEMENTS)), "RPOP l 1000000", "EXISTS l", "RPUSH l 7", "LPOP l"],
    );
    assert_eq!(wire.read().unwrap().to_string(), format!(":{ELEMENTS}"));
    assert_eq!(numbers(&mut wire), (0..ELEMENTS).rev().collect::<Vec<_>>());
    assert_eq!(wire.read().unwrap().to_string(), ":0");
    assert_eq!(wire.read().unwrap().to_string(), ":1");
    assert_eq!(wire.read().unwrap().to_string(), "\"7\"");
}

#[test]
fn all_fields_of_a_large_hash_are_read() {
    let server = Server::agq(&[]);
    let mut wire = server.connect();
    let entries = (0..ELEMENTS).map(|number| format!("{number} {number}")).collect::<Vec<_>>().join(" ");
    send(&mut wire, &[&format!("HSET h {entries}"), "HKEYS h", "HGETALL h", "HLEN h"]);
    assert_eq!(wire.read().unwrap().to_string(), format!(":{ELEMENTS}"));
    let mut keys = numbers(&mut wire);
    keys.sort_unstable();
    assert_eq!(keys, (0..ELEMENTS).collect::<Vec<_>>());
    let entries = numbers(&mut wire);
    assert_eq!(entries.len(), 2 * ELEMENTS);
    assert!(entries.chunks(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(wire.read().unwrap().to_string(), format!(":{ELEMENTS}"));
}

#[test]
fn names_and_members_are_read_in_their_order() {
    let server = Server::agq(&[]);
    let mut wire = server.connect();
    let pairs: Vec<String> = (0..ELEMENTS).map(|number| format!("{number} {}", ELEMENTS - number)).collect();
    let pairs = pairs.join(" ");
    send(&mut wire, &[&format!("ZADD z {pairs}"), &format!("MSET {pairs}"), "SELECT 1", "SET other 1", "SELECT 0"]);
    assert_eq!(wire.read().unwrap().to_string(), format!(":{ELEMENTS}"));
    (0..4).for_each(|_| assert_eq!(wire.read().unwrap().to_string(), "+OK"));
    let descending: Vec<usize> = (1..=ELEMENTS).rev().collect();

    send(&mut wire, &["ZRANGE z 0 -1", "INCR 0", "ZRANGEBYSCORE z 10 inf", "ZCOUNT z 10 (20", "KEYS [0-9]*", "INCR 0"]);
    assert_eq!(numbers(&mut wire), descending);
    assert_eq!(wire.read().unwrap().to_string(), format!(":{}", ELEMENTS + 1));
    assert_eq!(numbers(&mut wire), &descending[10..]);
    assert_eq!(wire.read().unwrap().to_string(), ":10");
    let mut names = numbers(&mut wire);
    names.sort_unstable();
    assert_eq!(names, (0..ELEMENTS).collect::<Vec<_>>());
    assert_eq!(wire.read().unwrap().to_string(), format!(":{}", ELEMENTS + 2));

    // From the nearer end, and all of it in one step.
    send(
        &mut wire,
        &["ZRANGE z -2 -1", "ZRANGE z 0 1 REV", "ZPOPMIN z 11000", "ZREMRANGEBYSCORE z -inf inf", "TYPE z"],
    );
    assert_eq!(numbers(&mut wire), [2, 1]);
    assert_eq!(numbers(&mut wire), [1, 2]);
    assert!(matches!(wire.read().unwrap(), Frame::Many(b'*', items) if items.len() == 22_000));
    assert_eq!(wire.read().unwrap().to_string(), format!(":{}", ELEMENTS - 11_000));
    assert_eq!(wire.read().unwrap().to_string(), "+none");
}

#[test]
fn long_strings_are_compared_and_counted_elsewhere() {
    let server = Server::agq(&[]);
    let mut wire = server.connect();
    let commands = [
        "SETRANGE a 11000 x",
        "SETRANGE b 11500 x",
        "LCS a b LEN",
        "SET a x",
        "LCS a b IDX",
        "SETBIT bits 40000000 1",
        "BITCOUNT bits",
        "BITPOS bits 1",
        "SETBIT bits 40000000 0",
    ];
    send(&mut wire, &commands);
    let replies = commands.map(|_| wire.read().unwrap().to_string());
    let matches = "*4 \"matches\" *1 *2 *2 :0 :0 *2 :11500 :11500 \"len\" :1";
    assert_eq!(replies, [":11001", ":11501", ":11001", "+OK", matches, ":0", ":1", ":40000000", ":1"]);
}

#[test]
fn large_collections_are_sorted_and_dumped() {
    let server = Server::agq(&[]);
    let mut wire = server.connect();
    let count = format!(":{ELEMENTS}");
    // Each number stands for another, so that the order is not the one that there is already.
    let shuffled = (0..ELEMENTS).map(|number| (number * 7919 % ELEMENTS).to_string()).collect::<Vec<_>>().join(" ");
    send(
        &mut wire,
        &[
            &format!("RPUSH l {shuffled}"),
            "SORT l",
            "SORT_RO l DESC LIMIT 1 2",
            "MULTI",
            "SORT l LIMIT 0 2",
            "EXEC",
            "SORT l STORE sorted",
            "SORT sorted BY nosort DESC LIMIT 0 1",
            "DUMP l",
        ],
    );
    assert_eq!(wire.read().unwrap().to_string(), count);
    assert_eq!(numbers(&mut wire), (0..ELEMENTS).collect::<Vec<_>>());
    assert_eq!(numbers(&mut wire), [ELEMENTS - 2, ELEMENTS - 3]);
    assert_eq!(wire.read().unwrap().to_string(), "+OK");
    assert_eq!(wire.read().unwrap().to_string(), "+QUEUED");
    assert_eq!(wire.read().unwrap().to_string(), "*1 *2 \"0\" \"1\"");
    assert_eq!(wire.read().unwrap().to_string(), count);
    assert_eq!(numbers(&mut wire), [ELEMENTS - 1]);
    let Frame::Blob(_, payload) = wire.read().unwrap() else { panic!("not a payload") };
    wire.send(&[[&b"RESTORE"[..], b"again", b"0", &payload].map(<[u8]>::to_vec).to_vec()]).unwrap();
    assert_eq!(wire.read().unwrap().to_string(), "+OK");
    send(&mut wire, &["SORT again"]);
    assert_eq!(numbers(&mut wire), (0..ELEMENTS).collect::<Vec<_>>());
}
