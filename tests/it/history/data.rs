//! Clients that read and write keys at random, several of them the same few keys.
//!
//! The keys of a group are called alike, and transactions stay within a group. `watched` is only ever set to values that
//! it never had before, so that an EXEC that watches it is refused exactly when it is not what was read.

use fastrand::Rng;

use super::client::{Broken, Client, Link};
use super::record::{Answer, Call, Outcome};

/// Calls that a client sends before it reads an answer, at most.
const PIPELINE: usize = 4;

/// A client that reads and writes.
pub(super) struct Reader {
    pub(super) name: usize,
    pub(super) groups: usize,
    /// Values it has written so far: each is another.
    written: u64,
    /// Waits for elements without end, now and then.
    pub(super) is_patient: bool,
    pub(super) rng: Rng,
}

impl Reader {
    pub(super) fn new(name: usize, groups: usize, is_patient: bool, rng: Rng) -> Reader {
        Reader { name, groups, written: 0, is_patient, rng }
    }

    /// Works until the server is gone.
    pub(super) fn work(&mut self, link: &Link<'_>) {
        while let Some(mut client) = link.connect() {
            while self.step(&mut client).is_ok() {}
        }
    }

    fn step(&mut self, client: &mut Client<'_>) -> Result<(), Broken> {
        let group = format!("g{}", self.rng.usize(..self.groups));
        match self.rng.u8(..20) {
            0..11 => {
                let calls = (0..self.rng.usize(1..=PIPELINE)).map(|_| Call::one(&self.command(&group))).collect();
                client.calls(calls).map(drop)
            }
            11..14 => {
                let commands = (0..self.rng.usize(2..=4)).map(|_| self.command(&group)).collect();
                client.call(Call::exec(commands)).map(drop)
            }
            14 => self.submit(client, &group),
            15..17 => self.exchange(client, &group),
            _ => client.call(Call::one(&self.wait(&group))).map(drop),
        }
    }

    /// Writes what depends on what it reads, unless somebody else writes in between.
    fn exchange(&mut self, client: &mut Client<'_>, group: &str) -> Result<(), Broken> {
        let key = format!("{group}:watched");
        let read = Call::one(&format!("GET {key}"));
        let before = client.call(read.clone())?;
        client.aside(&format!("WATCH {key}"))?;
        let since = client.call(read)?;
        let Outcome::Answered(value) = since.clone() else { panic!("a read was not answered but {since:?}") };
        if before != since {
            // Written before the watch began or after: nobody knows whether EXEC will be refused.
            return client.aside("UNWATCH").map(drop);
        }
        let mut call = Call::exec(vec![format!("SET {key} {}", self.value()), self.command(group)]);
        call.watch = Some((key, value));
        client.call(call).map(drop)
    }

    /// A job and a key that says that there is this job, both or none.
    fn submit(&mut self, client: &mut Client<'_>, group: &str) -> Result<(), Broken> {
        self.written += 1;
        let id = format!("beside-{}-{}", self.name, self.written);
        let definition = format!(r#"{{"job_id":"{id}","kind":"k","queue":"beside"}}"#);
        client.call(Call::exec(vec![format!("SADD {group}:jobs {id}"), format!("JOB.SUBMIT {definition}")])).map(drop)
    }

    /// A pop or a move that waits when there is nothing.
    fn wait(&mut self, group: &str) -> String {
        let ms = if self.is_patient && self.rng.u8(..8) == 0 { "0" } else { "0.02" };
        let (left, right) = (format!("{group}:left"), format!("{group}:right"));
        match self.rng.u8(..5) {
            0 => format!("BLPOP {left} {right} {ms}"),
            1 => format!("BRPOP {right} {ms}"),
            2 => format!("BLMOVE {left} {right} RIGHT LEFT {ms}"),
            3 => format!("BRPOPLPUSH {right} {left} {ms}"),
            _ => format!("BLPOP {right} {ms}"),
        }
    }

    /// A value that nobody else writes; now and then one too large for a row of its key.
    fn value(&mut self) -> String {
        self.written += 1;
        let number = self.written * 100 + self.name as u64;
        match self.rng.u8(..20) {
            0 => format!("v{number}*{}", self.rng.usize(..40_000)),
            1..5 => format!("v{number}*{}", self.rng.usize(..300)),
            _ => format!("v{number}"),
        }
    }

    fn command(&mut self, g: &str) -> String {
        match self.rng.u8(..14) {
            0..5 => self.string(g),
            5..9 => self.list(g),
            9..12 => self.member(g),
            _ => self.ranked(g),
        }
    }

    fn string(&mut self, g: &str) -> String {
        match self.rng.u8(..16) {
            0..2 => format!("SET {g}:text {}", self.value()),
            2 => format!("SETNX {g}:text {}", self.value()),
            3 => format!("APPEND {g}:text {}", self.value()),
            4 => format!("GETSET {g}:text {}", self.value()),
            5 => format!("DEL {g}:text {g}:count"),
            6..9 => format!("INCR {g}:count"),
            9 => format!("MSET {g}:text {} {g}:watched {}", self.value(), self.value()),
            10 => format!("SET {g}:watched {}", self.value()),
            11 => format!("MGET {g}:text {g}:watched {g}:count"),
            12 => format!("GET {g}:count"),
            13 => format!("GET {g}:watched"),
            _ => format!("GET {g}:text"),
        }
    }

    fn list(&mut self, g: &str) -> String {
        let (one, other) = if self.rng.bool() { ("left", "right") } else { ("right", "left") };
        match self.rng.u8(..14) {
            0..3 => format!("LPUSH {g}:{one} {}", self.value()),
            3..5 => format!("RPUSH {g}:{one} {} {}", self.value(), self.value()),
            5..7 => format!("LPOP {g}:{one}"),
            7..9 => format!("RPOP {g}:{one}"),
            9 => format!("LMOVE {g}:{one} {g}:{other} RIGHT LEFT"),
            10 => format!("RPOPLPUSH {g}:{one} {g}:{other}"),
            11 => format!("LRANGE {g}:{one} 0 -1"),
            12 if self.rng.u8(..8) == 0 => format!("DEL {g}:{one}"),
            _ => format!("LLEN {g}:{one}"),
        }
    }

    fn member(&mut self, g: &str) -> String {
        let name = self.rng.u8(..12);
        match self.rng.u8(..14) {
            0..3 => format!("SADD {g}:set m{name}"),
            3..5 => format!("SREM {g}:set m{name}"),
            5 => format!("SMEMBERS {g}:set"),
            6..9 => format!("HSET {g}:hash f{name} {}", self.value()),
            9 => format!("HDEL {g}:hash f{name}"),
            10 => format!("HGETALL {g}:hash"),
            11 if self.rng.u8(..8) == 0 => format!("DEL {g}:hash {g}:set"),
            _ => format!("HGET {g}:hash f{name}"),
        }
    }

    fn ranked(&mut self, g: &str) -> String {
        let name = self.rng.u8(..12);
        match self.rng.u8(..8) {
            0..3 => format!("ZADD {g}:ranked {} m{name}", self.rng.i8(..)),
            3..5 => format!("ZINCRBY {g}:ranked {} m{name}", self.rng.i8(..)),
            5 => format!("ZREM {g}:ranked m{name}"),
            _ => format!("ZRANGE {g}:ranked 0 -1 WITHSCORES"),
        }
    }
}

/// Reads every key of every group, so that nothing can be wrong unseen.
pub(super) fn read_all(client: &mut Client<'_>, groups: usize) {
    for g in 0..groups {
        let reads = ["GET text", "GET watched", "GET count", "LRANGE left 0 -1", "LRANGE right 0 -1", "SMEMBERS set"];
        let more = ["HGETALL hash", "ZRANGE ranked 0 -1 WITHSCORES", "SMEMBERS jobs"];
        let calls = reads.iter().chain(&more).map(|read| Call::one(&read.replacen(' ', &format!(" g{g}:"), 1)));
        client.calls(calls.collect()).expect("a server that is left alone answers");
    }
}

/// The ids of jobs that the keys say are there.
pub(super) fn jobs_beside(client: &mut Client<'_>, groups: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for g in 0..groups {
        let members = client.call(Call::one(&format!("SMEMBERS g{g}:jobs"))).expect("it answers");
        if let Outcome::Answered(answer @ Answer::Many(_)) = members {
            ids.extend(answer.texts().map(str::to_owned));
        }
    }
    ids
}
