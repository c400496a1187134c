//! SCAN over many keys: every key that is there all the time is met, whatever comes, goes or restarts meanwhile.

use redis::{Client, Connection, cmd, pipe};

use crate::support::server::Server;

fn connect(server: &Server) -> Connection {
    Client::open(format!("redis+unix://{}", server.socket().display())).unwrap().get_connection().unwrap()
}

fn step(redis: &mut Connection, cursor: u64) -> (u64, Vec<String>) {
    cmd("SCAN").arg(cursor).arg("MATCH").arg("key:*").arg("COUNT").arg(7).query(redis).unwrap()
}

#[test]
fn every_key_that_stays_is_met_though_the_server_is_killed_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut redis = connect(&server);
    let mut fill = pipe();
    for n in 0..300 {
        fill.cmd("SET").arg(format!("key:{n:03}")).arg(n).ignore();
    }
    fill.exec(&mut redis).unwrap();
    let (mut cursor, mut found) = (0, Vec::new());
    while found.len() < 150 {
        let (next, keys) = step(&mut redis, cursor);
        cursor = next;
        found.extend(keys);
        // Keys that come and go beside those that stay; the one that the cursor stands on goes too.
        let last = found.last().unwrap();
        cmd("SET").arg(format!("{last}x")).arg(0).exec(&mut redis).unwrap();
        cmd("DEL").arg(format!("key:{:03}x", found.len() / 2)).exec(&mut redis).unwrap();
    }
    assert!(cursor != 0 && found.len() < 300);
    server.kill();

    let server = Server::agq_in(dir.path(), &[]);
    let mut redis = connect(&server);
    let mut steps = 0;
    while cursor != 0 {
        let (next, keys) = step(&mut redis, cursor);
        cursor = next;
        found.extend(keys);
        steps += 1;
        assert!(steps < 200, "the scan does not end");
    }
    for n in 0..300 {
        assert!(found.contains(&format!("key:{n:03}")), "key:{n:03} was left out");
    }
}

#[test]
fn two_scans_at_once_meet_every_key_just_once() {
    let server = Server::agq(&[]);
    let mut redis = connect(&server);
    let mut fill = pipe();
    for n in 0..100 {
        fill.cmd("SET").arg(format!("key:{n}")).arg(n).ignore();
    }
    fill.exec(&mut redis).unwrap();
    let mut scans = [(0, Vec::new()), (0, Vec::new())];
    for _ in 0..15 {
        for (cursor, found) in &mut scans {
            let (next, keys) = step(&mut redis, *cursor);
            *cursor = next;
            found.extend(keys);
        }
    }
    for (cursor, mut found) in scans {
        assert_eq!((cursor, found.len()), (0, 100));
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 100);
    }
}
