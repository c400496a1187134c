//! What CLIENT LIST tells: Redis's fields in Redis's order, and figures that are true.

use std::time::{Duration, Instant};

use crate::script::redis_or_note;
use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

/// The fields of a connection, with their values.
fn fields(wire: &mut Wire, command: &str) -> Vec<(String, String)> {
    let Frame::Blob(_, text) = wire.call(command).unwrap() else { panic!("no list") };
    let text = String::from_utf8(text).unwrap();
    let field = |field: &str| field.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.trim_end().split(' ').filter_map(field).collect()
}

fn number(fields: &[(String, String)], name: &str) -> u64 {
    fields.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1.parse().unwrap()
}

/// Asks about a connection until what is told of it holds.
fn wait_for(
    wire: &mut Wire,
    id: &str,
    what: &str,
    holds: impl Fn(&[(String, String)]) -> bool,
) -> Vec<(String, String)> {
    let began = Instant::now();
    loop {
        let fields = fields(wire, &format!("CLIENT LIST ID {id}"));
        if holds(&fields) {
            return fields;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not {what}: {fields:?}");
        std::thread::yield_now();
    }
}

fn id(wire: &mut Wire) -> String {
    wire.call("CLIENT ID").unwrap().to_string().trim_start_matches(':').to_owned()
}

#[test]
fn the_fields_are_those_of_redis_in_its_order() {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&[]);
    // Those that came with Redis 7.2 and 7.4.
    let later = ["watch", "lib-name", "lib-ver"];
    let told = |server: &Server| fields(&mut server.connect(), "CLIENT INFO");
    let names = |told: &[(String, String)]| {
        told.iter().map(|(name, _)| name.clone()).filter(|name| !later.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let (theirs, ours) = (told(&redis), told(&agq));
    assert_eq!(names(&ours), names(&theirs));
    // Of a fresh connection all is the same that is not a matter of the server's memory.
    let alike = [
        "name", "age", "idle", "flags", "db", "sub", "psub", "ssub", "multi", "oll", "omem", "events", "cmd", "user",
        "redir", "resp",
    ];
    for name in alike {
        let of = |told: &[(String, String)]| told.iter().find(|(known, _)| known == name).cloned();
        assert_eq!(of(&ours), of(&theirs));
    }
    for told in [&ours, &theirs] {
        let of = |name: &str| told.iter().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!(of("addr"), of("laddr"), "through a Unix socket");
        assert!(of("addr").ends_with(".sock:0") && number(told, "fd") > 2 && number(told, "qbuf") > 0, "{told:?}");
    }
}

#[test]
fn what_waits_and_what_was_sent_is_told_as_it_is() {
    let server = Server::agq(&[]);
    let (mut control, mut slow) = (server.connect(), server.connect());
    let of_slow = id(&mut slow);
    slow.call("SUBSCRIBE news").unwrap();
    let quiet = fields(&mut control, &format!("CLIENT LIST ID {of_slow}"));
    assert_eq!((number(&quiet, "omem"), number(&quiet, "qbuf"), number(&quiet, "oll")), (0, 0, 0));
    assert!(number(&quiet, "tot-mem") > 0, "a subscription takes room: {quiet:?}");
    // More than the system keeps for a socket, less than what ends a subscriber at once.
    let message = vec![b'x'; 6 << 20];
    let publish = [vec![b"PUBLISH".to_vec(), b"news".to_vec(), message]];
    control.send(&publish).unwrap();
    control.read().unwrap();
    let waits = |fields: &[(String, String)]| number(fields, "omem") > 1 << 20;
    let fields = wait_for(&mut control, &of_slow, "waiting for its reader", waits);
    assert!(number(&fields, "oll") >= 1 && number(&fields, "tot-mem") >= number(&fields, "omem"), "{fields:?}");
    assert!(fields.contains(&("events".to_owned(), "rw".to_owned())), "{fields:?}");
    slow.read().unwrap();
    wait_for(&mut control, &of_slow, "empty again", |fields| number(fields, "omem") == 0);
    // Half a request, of which at most 16 KiB are not told of yet.
    let mut half = server.connect();
    let of_half = id(&mut half);
    half.raw(&[&b"*2\r\n$4\r\nECHO\r\n$100000\r\n"[..], &[b'x'; 50_000]].concat()).unwrap();
    let read = |fields: &[(String, String)]| number(fields, "qbuf") >= 50_000 - (16 << 10);
    let told = wait_for(&mut control, &of_half, "half there", read);
    assert!(number(&told, "tot-mem") >= number(&told, "qbuf"), "{told:?}");
    // What is queued.
    let mut queues = server.connect();
    let of_queues = id(&mut queues);
    queues.call("MULTI").unwrap();
    queues.send(&[vec![b"ECHO".to_vec(), vec![b'y'; 10_000]]]).unwrap();
    queues.read().unwrap();
    let told = wait_for(&mut control, &of_queues, "queued", |fields| number(fields, "multi") == 1);
    assert!(number(&told, "multi-mem") >= 10_000 && number(&told, "tot-mem") >= 10_000, "{told:?}");
}
