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

#[test]
fn every_element_that_stays_is_met_whatever_comes_and_goes() {
    let server = Server::agq(&[]);
    let mut redis = connect(&server);
    let mut fill = pipe();
    for n in 0..300 {
        fill.cmd("SADD").arg("s").arg(n).ignore();
        fill.cmd("HSET").arg("h").arg(n).arg("v").ignore();
        fill.cmd("ZADD").arg("z").arg(1).arg(n).ignore();
    }
    fill.exec(&mut redis).unwrap();
    for (scan, key, remove) in [("SSCAN", "s", "SREM"), ("HSCAN", "h", "HDEL"), ("ZSCAN", "z", "ZREM")] {
        let (mut cursor, mut found, mut steps) = (0_u64, Vec::new(), 0);
        loop {
            let (next, mut page): (u64, Vec<String>) =
                cmd(scan).arg(key).arg(cursor).arg("COUNT").arg(7).query(&mut redis).unwrap();
            if scan != "SSCAN" {
                page = page.into_iter().step_by(2).collect();
            }
            found.extend(page);
            steps += 1;
            assert!(steps < 200, "{scan} does not end");
            if next == 0 {
                break;
            }
            cursor = next;
            let coming = format!("{}x", found.last().unwrap());
            let added = match scan {
                "SSCAN" => cmd("SADD").arg(key).arg(coming).clone(),
                "HSCAN" => cmd("HSET").arg(key).arg(coming).arg("v").clone(),
                _ => cmd("ZADD").arg(key).arg(2).arg(coming).clone(),
            };
            added.exec(&mut redis).unwrap();
            cmd(remove).arg(key).arg(found.first().unwrap().to_owned() + "x").exec(&mut redis).unwrap();
        }
        for n in 0..300 {
            assert!(found.contains(&n.to_string()), "{scan} left out {n}");
        }
    }
}

#[test]
fn random_members_are_members_and_each_has_its_chance() {
    let server = Server::agq(&[]);
    let mut redis = connect(&server);
    let members: Vec<u32> = (0..2000).collect();
    cmd("SADD").arg("s").arg(&members).exec(&mut redis).unwrap();
    let picks: Vec<u32> = cmd("SRANDMEMBER").arg("s").arg(-100_000).query(&mut redis).unwrap();
    assert_eq!(picks.len(), 100_000);
    let mut counts = vec![0; members.len()];
    for pick in picks {
        counts[pick as usize] += 1;
    }
    // 50 each when all is even.
    assert!(counts.iter().all(|count| (5..250).contains(count)), "{counts:?}");
    for (command, count) in [("SRANDMEMBER", 100), ("SRANDMEMBER", 1500), ("SPOP", 50), ("SPOP", 1500)] {
        let mut sample: Vec<u32> = cmd(command).arg("s").arg(count).query(&mut redis).unwrap();
        sample.sort_unstable();
        sample.dedup();
        assert_eq!(sample.len(), count, "{command} {count}");
    }
    let left: Vec<u32> = cmd("SMEMBERS").arg("s").query(&mut redis).unwrap();
    assert_eq!(left.len(), 450);
}
