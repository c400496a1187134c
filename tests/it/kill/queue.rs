//! A queue in two lists: producers push numbered elements to `src`, movers move them to `dst`, consumers pop them
//! there. Every element must be in exactly one place, and in the order in which it was pushed.

use std::collections::BTreeSet;

use agq_client::{Client, Error, Reply};

use super::load::Acknowledged;

/// One that pushes elements.
#[derive(Default)]
pub(super) struct Producer {
    /// Elements acknowledged: those of smaller numbers.
    pushed: u64,
    /// True while the next one was sent and not acknowledged.
    in_flight: bool,
    /// Elements that consumers were given.
    consumed: BTreeSet<u64>,
    /// Elements that consumers took without being told, because the kill came first.
    lost: BTreeSet<u64>,
}

impl Producer {
    /// Pushes until the server is gone.
    pub(super) async fn work(&mut self, name: usize, client: &mut Client, count: &Acknowledged) -> Result<(), Error> {
        loop {
            self.in_flight = true;
            client.call(&["LPUSH", "src", &element(name, self.pushed)]).await?;
            self.in_flight = false;
            self.pushed += 1;
            count.one();
        }
    }
}

/// How movers and consumers ask.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    Asking,
    Waiting,
}

/// One that takes elements from the right end of a list, and what it was given, in order: (producer, number).
pub(super) struct Taker {
    manner: Manner,
    moves: bool,
    taken: Vec<(usize, u64)>,
    in_flight: bool,
}

impl Taker {
    pub(super) fn mover(manner: Manner) -> Taker {
        Taker { manner, moves: true, taken: Vec::new(), in_flight: false }
    }

    pub(super) fn consumer(manner: Manner) -> Taker {
        Taker { moves: false, ..Taker::mover(manner) }
    }

    fn command(&self, n: usize) -> &'static [&'static str] {
        match (self.moves, self.manner, n % 2) {
            (true, Manner::Asking, 0) => &["LMOVE", "src", "dst", "RIGHT", "LEFT"],
            (true, Manner::Asking, _) => &["RPOPLPUSH", "src", "dst"],
            (true, Manner::Waiting, 0) => &["BLMOVE", "src", "dst", "RIGHT", "LEFT", "0"],
            (true, Manner::Waiting, _) => &["BRPOPLPUSH", "src", "dst", "0"],
            (false, Manner::Asking, _) => &["RPOP", "dst"],
            (false, Manner::Waiting, _) => &["BRPOP", "dst", "0"],
        }
    }

    /// Takes until the server is gone.
    pub(super) async fn work(&mut self, client: &mut Client, count: &Acknowledged) -> Result<(), Error> {
        for n in 0.. {
            self.in_flight = true;
            let reply = client.call(self.command(n)).await?;
            self.in_flight = false;
            let taken = match reply {
                Reply::Null | Reply::NullArray => continue,
                Reply::Array(pair) if pair.len() == 2 => parse(&pair[1]),
                reply => parse(&reply),
            };
            let before = self.taken.iter().rev().find(|(producer, _)| *producer == taken.0);
            assert!(before.is_none_or(|before| *before < taken), "{taken:?} was given out after {before:?}");
            self.taken.push(taken);
            count.one();
        }
        Ok(())
    }
}

/// Checks the queue as a whole against what its clients know.
pub(super) async fn check(client: &mut Client, producers: &mut [Producer], takers: &mut [Taker]) {
    let (src, dst) = (list(client, "src").await, list(client, "dst").await);
    let mut may_be_lost = 0;
    let mut moved = Vec::new();
    for taker in takers {
        let taken = std::mem::take(&mut taker.taken);
        if taker.moves {
            moved.extend(taken);
        } else {
            may_be_lost += usize::from(taker.in_flight);
            for (producer, n) in taken {
                assert!(producers[producer].consumed.insert(n), "element {producer}-{n} was given out twice");
            }
        }
        taker.in_flight = false;
    }
    for element in &moved {
        assert!(!src.contains(element), "{element:?} is back where an acknowledged move took it from");
    }
    for (name, producer) in producers.iter_mut().enumerate() {
        let queued: Vec<u64> = dst.iter().chain(&src).filter(|element| element.0 == name).map(|(_, n)| *n).collect();
        let was_moved = moved.contains(&(name, producer.pushed));
        let lost = producer.check(name, &queued, was_moved);
        assert!(
            lost.len() <= may_be_lost,
            "elements {lost:?} of producer {name} are gone, with {may_be_lost} pops unanswered"
        );
        may_be_lost -= lost.len();
        producer.lost.extend(lost);
    }
}

impl Producer {
    /// Checks that what is queued is the end of what was pushed, in order, and returns what is nowhere.
    fn check(&mut self, name: usize, queued: &[u64], next_was_moved: bool) -> Vec<u64> {
        let next_is_there = next_was_moved || queued.contains(&self.pushed) || self.consumed.contains(&self.pushed);
        if std::mem::take(&mut self.in_flight) && next_is_there {
            self.pushed += 1;
        }
        let first = queued.first().copied().unwrap_or(self.pushed);
        let expected: Vec<u64> = (first..self.pushed).collect();
        assert_eq!(queued, expected, "the queue of producer {name}, of which {} were pushed", self.pushed);
        if let Some(later) = self.consumed.range(first..).next() {
            panic!("element {name}-{later} was given out, but {name}-{first} stands in the queue");
        }
        (0..first).filter(|n| !self.consumed.contains(n) && !self.lost.contains(n)).collect()
    }
}

/// A list, oldest first.
async fn list(client: &mut Client, name: &str) -> Vec<(usize, u64)> {
    match client.call(&["LRANGE", name, "0", "-1"]).await.unwrap() {
        Reply::Array(elements) => elements.iter().rev().map(parse).collect(),
        reply => panic!("LRANGE gave {reply:?}"),
    }
}

/// The `n`th element of a producer; some are longer than others.
fn element(producer: usize, n: u64) -> String {
    format!("{producer}-{n}:{}", "x".repeat((n * 37 % 300) as usize))
}

fn parse(reply: &Reply) -> (usize, u64) {
    let Reply::Bulk(text) = reply else { panic!("{reply:?} is no element") };
    let text = std::str::from_utf8(text).unwrap();
    let number = text.split(':').next().and_then(|number| number.split_once('-'));
    let parsed = number.and_then(|(producer, n)| Some((producer.parse().ok()?, n.parse().ok()?)));
    let (producer, n) = parsed.unwrap_or_else(|| panic!("'{text}' is no element"));
    assert_eq!(text, element(producer, n));
    (producer, n)
}
