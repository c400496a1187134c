//! Random commands of several connections against AGQ and against a real Redis: transactions that watch what others
//! change, waits that others end, messages, and keys that expire in between. What every connection reads must be the same.
//!
//! Commands are sent one at a time, each after what the one before it caused was read, so that there is one right answer.
//! Whether a connection waits is asked of the server (CLIENT LIST), not guessed from silence.

use std::cell::RefCell;

use proptest::prelude::*;

use crate::script::redis_or_note;
use crate::support::random;
use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

/// Connections that send commands, and the last, which is subscribed to channels.
const SENDERS: usize = 3;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// A connection sends a command, unless it waits.
    Send(usize, Vec<String>),
    /// A key gets a deadline of a millisecond, which passes.
    Expire(&'static str),
    /// A message is published to the channel.
    Publish(&'static str),
    /// The listener subscribes to something, or ends that.
    Listen(&'static str),
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["a", "a", "b", "l", "l", "m", "z", "y", "h"][..])
}

pub(super) fn command() -> impl Strategy<Value = Vec<String>> {
    let fixed = prop::sample::select(
        &[
            "MULTI",
            "MULTI",
            "EXEC",
            "EXEC",
            "EXEC",
            "DISCARD",
            "UNWATCH",
            "BLPOP l m 0",
            "BRPOP m l 0",
            "BLPOP a l 0",
            "BLMOVE l m LEFT RIGHT 0",
            "BRPOPLPUSH m l 0",
            "BLMOVE l l LEFT RIGHT 0",
            "BLMPOP 0 2 l m LEFT COUNT 2",
            "BZPOPMIN z y 0",
            "BZPOPMAX y z 0",
            "BZMPOP 0 2 z y MIN COUNT 2",
            "RPUSH l 1",
            "RPUSH l 1 2 3",
            "LPUSH m x y",
            "RPUSH m z",
            "LPOP l",
            "LRANGE l 0 -1",
            "LRANGE m 0 -1",
            "LMOVE l m LEFT LEFT",
            "LREM l 1 2",
            "ZADD z 1 p",
            "ZADD z 2 q 3 r",
            "ZADD y 5 s",
            "ZPOPMIN z",
            "ZRANGE z 0 -1 WITHSCORES",
            "SET a 1",
            "SET l string",
            "SET b 2 EXAT 99999999999",
            "SET a 5 PXAT 1000",
            "SET a 5 PXAT 99999999999999",
            "INCR a",
            "APPEND b x",
            "GET a",
            "GET l",
            "HSET h f v",
            "HGETALL h",
            "FLUSHALL",
            "FLUSHDB",
            "SWAPDB 0 1",
            "SELECT 1",
            "SELECT 0",
            "RENAME l m",
            "RENAME m l",
            "RENAME z y",
            "COPY l m REPLACE",
            "MOVE l 1",
            "SORT l BY nosort STORE m",
            "SUNIONSTORE l nokey",
            "RESET",
            "EXPIREAT a 99999999990 NX",
            "EXPIREAT a 99999999980 LT",
            "PEXPIREAT a 1000",
            "PEXPIREAT l 99999999999999 GT",
            "PERSIST a",
            "GETEX a PXAT 99999999999998",
            "GETDEL a",
            "NOSUCH",
            "GET",
            "SETEX a 0 v",
        ][..],
    );
    let of_a_key = (
        prop::sample::select(
            &["WATCH", "WATCH", "DEL", "DEL", "EXISTS", "TYPE", "PEXPIRETIME", "EXPIRETIME", "UNLINK", "TOUCH"][..],
        ),
        key(),
    )
        .prop_map(|(command, key)| vec![command.to_owned(), key.to_owned()]);
    prop_oneof![6 => fixed.prop_map(words), 2 => of_a_key]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..SENDERS, command()).prop_map(|(sender, command)| Step::Send(sender, command)),
        1 => key().prop_map(Step::Expire),
        1 => prop::sample::select(&["news", "other", "nobody"][..]).prop_map(Step::Publish),
        1 => prop::sample::select(&[
            "SUBSCRIBE news other", "PSUBSCRIBE n* o*", "SSUBSCRIBE news", "UNSUBSCRIBE news other", "UNSUBSCRIBE news", "PUNSUBSCRIBE n*",
            "SUNSUBSCRIBE", "PUNSUBSCRIBE n* o*",
        ][..]).prop_map(Step::Listen),
    ]
}

/// A server's connections: those that send, the listener, and one that looks after them.
struct Bench {
    senders: Vec<Wire>,
    /// How many keys a sender waits for, 0 when it does not wait.
    waiting: [usize; SENDERS],
    /// Whose transaction swaps databases.
    swaps: [bool; SENDERS],
    listener: Wire,
    control: Wire,
    heard: Vec<String>,
}

impl Bench {
    fn new(server: &Server) -> Bench {
        Bench {
            senders: (0..SENDERS).map(|_| server.connect()).collect(),
            waiting: [0; SENDERS],
            swaps: [false; SENDERS],
            listener: server.connect(),
            control: server.connect(),
            heard: Vec::new(),
        }
    }

    /// Runs the steps from an empty store on; what was heard, in order.
    fn run(&mut self, steps: &[Step], resp3: bool) -> Vec<String> {
        self.heard.clear();
        self.control.call("FLUSHALL").unwrap();
        for (place, wire) in self.senders.iter_mut().chain([&mut self.listener]).enumerate() {
            wire.call("RESET").unwrap();
            wire.call(if resp3 { "HELLO 3" } else { "HELLO 2" }).unwrap();
            wire.call(&format!("CLIENT SETNAME c{place}")).unwrap();
        }
        self.swaps = [false; SENDERS];
        for step in steps {
            self.step(step, resp3);
        }
        // Who still waits gives up.
        for sender in 0..SENDERS {
            if self.waiting[sender] > 0 {
                let id = self.clients().into_iter().find(|(name, ..)| *name == format!("c{sender}")).unwrap().1;
                assert_eq!(self.control.call(&format!("CLIENT UNBLOCK {id}")).unwrap().to_string(), ":1");
                self.settle();
                assert_eq!(self.waiting[sender], 0);
            }
        }
        std::mem::take(&mut self.heard)
    }

    fn step(&mut self, step: &Step, resp3: bool) {
        match step {
            Step::Send(sender, _) if self.waiting[*sender] > 0 => {}
            Step::Send(sender, command) if self.has_no_one_answer(*sender, command) => {}
            Step::Send(sender, command) => {
                self.send(*sender, command);
                if command[0] == "RESET" {
                    self.senders[*sender].call(if resp3 { "HELLO 3" } else { "HELLO 2" }).unwrap();
                    self.senders[*sender].call(&format!("CLIENT SETNAME c{sender}")).unwrap();
                }
            }
            Step::Expire(key) => {
                let set = self.control.call(&format!("PEXPIRE {key} 1")).unwrap().to_string();
                while self.control.call(&format!("EXISTS {key}")).unwrap().to_string() != ":0" && set == ":1" {}
                self.heard.push(format!("expire {key}: {set}"));
            }
            Step::Publish(channel) => {
                let command = if *channel == "other" { "SPUBLISH news" } else { "PUBLISH" };
                let to = if *channel == "other" { String::new() } else { format!(" {channel}") };
                let count = self.control.call(&format!("{command}{to} text")).unwrap();
                self.heard.push(format!("{command} {channel}: {count}"));
                self.listen();
            }
            Step::Listen(command) => {
                let bytes = words(command).into_iter().map(String::into_bytes).collect();
                self.listener.send(&[bytes]).unwrap();
                self.listen();
            }
        }
        self.settle();
    }

    fn send(&mut self, sender: usize, command: &[String]) {
        let bytes = command.iter().map(|word| word.clone().into_bytes()).collect();
        self.senders[sender].send(&[bytes]).unwrap();
        if command[0].starts_with('B') {
            // It answers, or waits until another lets it: the first of the two that shows.
            let name = format!("c{sender}");
            while !self.senders[sender].has_reply().unwrap() {
                let waits = |(found, _, flags): &Client| *found == name && flags.contains('b');
                if self.clients().iter().any(waits) {
                    // All but those that move an element name two.
                    self.waiting[sender] = if command[0] == "BLMOVE" || command[0] == "BRPOPLPUSH" { 1 } else { 2 };
                    break;
                }
            }
            if self.waiting[sender] > 0 {
                self.heard.push(format!("{sender} {}: waits", command.join(" ")));
                return;
            }
        }
        let reply = self.senders[sender].read().unwrap();
        match command[0].as_str() {
            "SWAPDB" => self.swaps[sender] |= reply.to_string() == "+QUEUED",
            "EXEC" | "DISCARD" | "RESET" => self.swaps[sender] = false,
            _ => {}
        }
        self.heard.push(format!("{sender} {}: {reply}", command.join(" ")));
    }

    /// Whether Redis might answer this now one way, now another: it looks at the keys that a swap of databases brings to
    /// those that wait in the order of a hash table whose seed each server draws.
    fn has_no_one_answer(&self, sender: usize, command: &[String]) -> bool {
        let swaps = command[0] == "SWAPDB" || command[0] == "EXEC" && self.swaps[sender];
        swaps && self.waiting.iter().sum::<usize>() > 1
    }

    /// Reads what those were told whose wait has ended.
    fn settle(&mut self) {
        if self.waiting == [0; SENDERS] {
            return;
        }
        let clients = self.clients();
        for sender in 0..SENDERS {
            let waits = |(name, _, flags): &Client| *name == format!("c{sender}") && flags.contains('b');
            if self.waiting[sender] > 0 && !clients.iter().any(waits) {
                self.waiting[sender] = 0;
                let reply = self.senders[sender].read().unwrap();
                self.heard.push(format!("{sender} woken: {reply}"));
            }
        }
    }

    /// Reads what the listener was told, up to the answer of a PING.
    fn listen(&mut self) {
        self.listener.send(&[vec![b"PING".to_vec(), b"end".to_vec()]]).unwrap();
        loop {
            let told = self.listener.read().unwrap();
            let last = matches!(&told, Frame::Blob(_, text) if text == b"end") || told.to_string().contains("pong");
            self.heard.push(format!("listener: {told}"));
            if last {
                return;
            }
        }
    }

    /// Name, number and flags of every connection.
    fn clients(&mut self) -> Vec<Client> {
        let Frame::Blob(_, text) = self.control.call("CLIENT LIST").unwrap() else { panic!("no list") };
        let text = String::from_utf8(text).unwrap();
        let client = |line: &str| {
            let field = |name: &str| {
                line.split(' ')
                    .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
                    .unwrap_or_default()
                    .to_owned()
            };
            (field("name"), field("id"), field("flags"))
        };
        text.lines().map(client).collect()
    }
}

type Client = (String, String, String);

#[test]
fn connections_are_answered_as_redis_answers_them() {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&["--durability", "none"]);
    redis.connect().call("CONFIG SET hz 500").unwrap();
    let (redis, agq) = (RefCell::new(Bench::new(&redis)), RefCell::new(Bench::new(&agq)));
    let (mut runner, seed) = random::differential(1000);
    let sent = (prop::collection::vec(step(), 1..40), any::<bool>());
    let result = runner.run(&sent, |(steps, resp3)| {
        let expected = redis.borrow_mut().run(&steps, resp3);
        let found = agq.borrow_mut().run(&steps, resp3);
        prop_assert_eq!(found, expected);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("with the seed {seed}: {failure}"));
}
