//! Ranks in a sorted set that is large enough to have an index, against a plain model: while it grows, changes and
//! shrinks, after a kill, and in a copy.

use std::collections::BTreeMap;

use redis::{Client, Connection, cmd, pipe};

use crate::support::server::Server;

/// Scores and members in order.
struct Model(BTreeMap<u32, i64>);

impl Model {
    fn sorted(&self) -> Vec<(i64, String)> {
        let mut all: Vec<_> = self.0.iter().map(|(member, score)| (*score, format!("m{member:05}"))).collect();
        all.sort();
        all
    }
}

fn connect(server: &Server) -> Connection {
    Client::open(format!("redis+unix://{}", server.socket().display())).unwrap().get_connection().unwrap()
}

fn check(redis: &mut Connection, key: &str, model: &Model, random: &mut fastrand::Rng) {
    let sorted = model.sorted();
    assert_eq!(cmd("ZCARD").arg(key).query::<usize>(redis).unwrap(), sorted.len());
    for _ in 0..40 {
        let place = random.usize(..sorted.len());
        let member = &sorted[place].1;
        assert_eq!(cmd("ZRANK").arg(key).arg(member).query::<usize>(redis).unwrap(), place);
        assert_eq!(cmd("ZREVRANK").arg(key).arg(member).query::<usize>(redis).unwrap(), sorted.len() - 1 - place);
        let stop = (place + random.usize(..5)).min(sorted.len() - 1);
        let found: Vec<String> = cmd("ZRANGE").arg(key).arg(place).arg(stop).query(redis).unwrap();
        let expected: Vec<&String> = sorted[place..=stop].iter().map(|(_, member)| member).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        let found: Vec<String> = cmd("ZREVRANGE").arg(key).arg(place).arg(stop).query(redis).unwrap();
        let expected: Vec<&String> = sorted.iter().rev().skip(place).take(stop + 1 - place).map(|(_, m)| m).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        let (low, high) = (random.i64(-60..60), random.i64(-60..60));
        let inside: Vec<&String> =
            sorted.iter().filter(|(score, _)| low < *score && *score <= high).map(|(_, member)| member).collect();
        let range = (format!("({low}"), high);
        assert_eq!(cmd("ZCOUNT").arg(key).arg(&range).query::<usize>(redis).unwrap(), inside.len());
        let skip = random.usize(..inside.len().max(1) + 10);
        let found: Vec<String> =
            cmd("ZRANGEBYSCORE").arg(key).arg(&range).arg("LIMIT").arg(skip).arg(3).query(redis).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), inside.iter().skip(skip).take(3).copied().collect::<Vec<_>>());
        let mut backwards = cmd("ZREVRANGEBYSCORE");
        backwards.arg(key).arg(range.1).arg(&range.0).arg("LIMIT").arg(skip).arg(3);
        let found: Vec<String> = backwards.query(redis).unwrap();
        let expected: Vec<&String> = inside.iter().rev().skip(skip).take(3).copied().collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }
    assert_eq!(cmd("ZRANK").arg(key).arg("nobody").query::<Option<usize>>(redis).unwrap(), None);
}

/// Changes the set: so many commands in ten add a member of a number below `members`, the others remove one.
fn change(redis: &mut Connection, key: &str, model: &mut Model, random: &mut fastrand::Rng, adds: u32, members: u32) {
    let mut commands = pipe();
    for _ in 0..1500 {
        let member = random.u32(..members);
        if random.u32(..10) < adds {
            let score = random.i64(-50..50);
            commands.cmd("ZADD").arg(key).arg(score).arg(format!("m{member:05}")).ignore();
            model.0.insert(member, score);
        } else {
            commands.cmd("ZREM").arg(key).arg(format!("m{member:05}")).ignore();
            model.0.remove(&member);
        }
    }
    commands.exec(redis).unwrap();
}

#[test]
fn ranks_of_a_large_set_are_those_of_a_plain_model() {
    let mut random = fastrand::Rng::with_seed(4);
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut redis = connect(&server);
    let mut model = Model(BTreeMap::new());
    for adds in [10, 9, 9, 5] {
        change(&mut redis, "z", &mut model, &mut random, adds, 9000);
        check(&mut redis, "z", &model, &mut random);
    }
    cmd("COPY").arg("z").arg("copy").exec(&mut redis).unwrap();
    let copied = Model(model.0.clone());
    server.kill();

    let server = Server::agq_in(dir.path(), &[]);
    let mut redis = connect(&server);
    check(&mut redis, "z", &model, &mut random);
    change(&mut redis, "z", &mut model, &mut random, 3, 9000);
    check(&mut redis, "z", &model, &mut random);
    check(&mut redis, "copy", &copied, &mut random);

    // All at once, and until little is left.
    let last = model.sorted().len() - 300;
    let removed: usize = cmd("ZREMRANGEBYRANK").arg("z").arg(100).arg(last).query(&mut redis).unwrap();
    for (_, member) in model.sorted().into_iter().skip(100).take(removed) {
        model.0.remove(&member[1..].parse().unwrap());
    }
    check(&mut redis, "z", &model, &mut random);
    let popped: Vec<String> = cmd("ZPOPMIN").arg("z").arg(250).query(&mut redis).unwrap();
    for member in popped.iter().step_by(2) {
        model.0.remove(&member[1..].parse().unwrap());
    }
    check(&mut redis, "z", &model, &mut random);
    let stored: usize = cmd("ZUNIONSTORE").arg("copy").arg(2).arg("copy").arg("z").query(&mut redis).unwrap();
    assert_eq!(stored, copied.0.len() + model.0.keys().filter(|member| !copied.0.contains_key(member)).count());
    let middle: Vec<String> = cmd("ZRANGE").arg("copy").arg(stored / 2).arg(stored / 2).query(&mut redis).unwrap();
    assert_eq!(cmd("ZRANK").arg("copy").arg(&middle[0]).query::<usize>(&mut redis).unwrap(), stored / 2);
}

#[test]
fn ranks_are_right_while_their_index_is_made() {
    const MEMBERS: u32 = 40_000;
    let mut random = fastrand::Rng::with_seed(5);
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::agq_in(dir.path(), &[]);
    let mut redis = connect(&server);
    let mut model = Model(BTreeMap::new());
    let members: Vec<u32> = (0..MEMBERS).collect();
    for members in members.chunks(4000) {
        let mut add = cmd("ZADD");
        add.arg("z");
        for member in members {
            let score = random.i64(-50..50);
            add.arg(score).arg(format!("m{member:05}"));
            model.0.insert(*member, score);
        }
        add.exec(&mut redis).unwrap();
    }
    let sorted = model.sorted();
    for place in [20_000, 39_999] {
        // The index is begun, and the server does not live to finish it.
        assert_eq!(cmd("ZRANK").arg("z").arg(&sorted[place].1).query::<usize>(&mut redis).unwrap(), place);
        server.kill();
        server = Server::agq_in(dir.path(), &[]);
        redis = connect(&server);
    }
    for adds in [5, 3, 8] {
        change(&mut redis, "z", &mut model, &mut random, adds, MEMBERS);
        check(&mut redis, "z", &model, &mut random);
    }
    let picked: Vec<String> = cmd("ZRANDMEMBER").arg("z").arg(-50).query(&mut redis).unwrap();
    assert!(picked.iter().all(|member| model.0.contains_key(&member[1..].parse().unwrap())));
}

#[test]
fn ranges_of_members_of_one_score_know_places() {
    const MEMBERS: usize = 30_000;
    let mut random = fastrand::Rng::with_seed(6);
    let server = Server::agq(&[]);
    let mut redis = connect(&server);
    let fill = |redis: &mut Connection, key: &str, odd: bool| {
        for first in (0..MEMBERS).step_by(5000) {
            let mut add = cmd("ZADD");
            add.arg(key);
            for number in first..first + 5000 {
                add.arg(if odd && number == 7 { "-inf" } else { "inf" }).arg(format!("m{number:05}"));
            }
            add.exec(redis).unwrap();
        }
    };
    fill(&mut redis, "same", false);
    fill(&mut redis, "mixed", true);
    for _ in 0..60 {
        let (low, high) = (random.usize(..MEMBERS), random.usize(..MEMBERS));
        let inside = (high + 1).saturating_sub(low);
        let (min, max) = (format!("[m{low:05}"), format!("(m{high:05}+"));
        let skip = random.usize(..MEMBERS);
        for key in ["same", "mixed"] {
            assert_eq!(cmd("ZLEXCOUNT").arg(key).arg(&min).arg(&max).query::<usize>(&mut redis).unwrap(), inside);
            let from: Vec<usize> = (low..low + inside).skip(skip).take(3).collect();
            let found: Vec<String> = cmd("ZRANGEBYLEX")
                .arg(key)
                .arg(&min)
                .arg(&max)
                .arg("LIMIT")
                .arg(skip)
                .arg(3)
                .query(&mut redis)
                .unwrap();
            assert_eq!(found, from.iter().map(|number| format!("m{number:05}")).collect::<Vec<_>>());
            let back: Vec<usize> = (low..low + inside).rev().skip(skip).take(3).collect();
            let mut backwards = cmd("ZREVRANGEBYLEX");
            backwards.arg(key).arg(&max).arg(&min).arg("LIMIT").arg(skip).arg(3);
            let found: Vec<String> = backwards.query(&mut redis).unwrap();
            assert_eq!(found, back.iter().map(|number| format!("m{number:05}")).collect::<Vec<_>>());
        }
    }
    assert_eq!(cmd("ZLEXCOUNT").arg("same").arg("-").arg("+").query::<usize>(&mut redis).unwrap(), MEMBERS);
}
