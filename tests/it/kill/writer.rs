//! A writer: a client with keys of its own, whose commands are numbered, so that what a store must hold after any
//! number of them is known.

use std::collections::{BTreeMap, BTreeSet};

use agq_client::{Client, Error, Reply};
use fastrand::Rng;

use super::load::Acknowledged;

/// Single keys of a writer.
const KEYS: u8 = 6;
/// Pairs that are written together.
const PAIRS: u8 = 3;
/// Commands a writer sends before it reads a reply, at most.
const PIPELINE: u64 = 4;

type State = BTreeMap<String, String>;

/// One numbered command.
enum Step {
    Set(String, String),
    /// All of these get the value at once, or none does.
    SetAll(Vec<String>, String),
    /// All of these go at once, or none does.
    Delete(Vec<String>),
    Count(String),
}

impl Step {
    fn command(&self) -> Vec<String> {
        let words = |name: &str, more: Vec<&String>| {
            std::iter::once(name.to_owned()).chain(more.into_iter().cloned()).collect()
        };
        match self {
            Step::Set(key, value) => words("SET", vec![key, value]),
            Step::SetAll(keys, value) => words("MSET", keys.iter().flat_map(|key| [key, value]).collect()),
            Step::Delete(keys) => words("DEL", keys.iter().collect()),
            Step::Count(key) => words("INCR", vec![key]),
        }
    }

    fn apply(self, state: &mut State) {
        match self {
            Step::Set(key, value) => drop(state.insert(key, value)),
            Step::SetAll(keys, value) => state.extend(keys.into_iter().map(|key| (key, value.clone()))),
            Step::Delete(keys) => state.retain(|key, _| !keys.contains(key)),
            Step::Count(key) => {
                let count = state.get(&key).map_or(0, |count| count.parse::<u64>().unwrap()) + 1;
                state.insert(key, count.to_string());
            }
        }
    }
}

/// The client, and what the store must hold of it.
pub(super) struct Writer {
    seed: u64,
    name: usize,
    /// Commands acknowledged, and the state after them.
    acknowledged: u64,
    state: State,
    /// Commands sent; those that were not acknowledged may have run, in order.
    sent: u64,
}

impl Writer {
    pub(super) fn new(seed: u64, name: usize) -> Writer {
        Writer { seed, name, acknowledged: 0, state: State::new(), sent: 0 }
    }

    /// The `n`th command.
    fn step(&self, n: u64) -> Step {
        let mut rng = Rng::with_seed(self.seed ^ (self.name as u64) << 48 ^ n);
        let key = |rng: &mut Rng| format!("writer{}:key{}", self.name, rng.u8(..KEYS));
        match rng.u8(..10) {
            0..5 => Step::Set(key(&mut rng), value(n, &mut rng)),
            5..8 => Step::SetAll(self.pair(rng.u8(..PAIRS)), value(n, &mut rng)),
            8 => Step::Count(format!("writer{}:count", self.name)),
            _ => Step::Delete(vec![key(&mut rng), key(&mut rng)]),
        }
    }

    fn pair(&self, pair: u8) -> Vec<String> {
        ["left", "right"].map(|side| format!("writer{}:pair{pair}:{side}", self.name)).to_vec()
    }

    /// Sends commands until the server is gone.
    pub(super) async fn work(&mut self, client: &mut Client, rng: &mut Rng, count: &Acknowledged) -> Result<(), Error> {
        loop {
            for _ in 0..rng.u64(1..=PIPELINE) {
                self.sent += 1;
                client.send(&self.step(self.sent).command())?;
            }
            client.flush().await?;
            while self.acknowledged < self.sent {
                match client.receive().await? {
                    Reply::Error(text) => panic!("writer {}: {}", self.name, text.escape_ascii()),
                    _ => self.acknowledge(count),
                }
            }
        }
    }

    fn acknowledge(&mut self, count: &Acknowledged) {
        self.acknowledged += 1;
        self.step(self.acknowledged).apply(&mut self.state);
        count.one();
    }

    /// Finds every acknowledged command in the store, and as many of those in flight as have run.
    pub(super) async fn check(&mut self, client: &mut Client) {
        let found = self.read(client).await;
        for pair in 0..PAIRS {
            let [left, right] = [0, 1].map(|side| found.get(&self.pair(pair)[side]));
            assert_eq!(
                left.map(|value| short(value)),
                right.map(|value| short(value)),
                "an MSET of writer {} was done by half, pair {pair}",
                self.name
            );
        }
        let mut state = self.state.clone();
        let mut matching = None;
        for n in self.acknowledged..=self.sent {
            if n > self.acknowledged {
                self.step(n).apply(&mut state);
            }
            if state == found {
                matching = Some(n);
            }
        }
        let Some(n) = matching else { panic!("{}", self.difference(&found)) };
        (self.acknowledged, self.sent, self.state) = (n, n, found);
    }

    /// What the store holds of this writer.
    async fn read(&self, client: &mut Client) -> State {
        let mut keys: BTreeSet<String> = (0..KEYS).map(|key| format!("writer{}:key{key}", self.name)).collect();
        keys.extend((0..PAIRS).flat_map(|pair| self.pair(pair)));
        keys.insert(format!("writer{}:count", self.name));
        let command: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
        let Reply::Array(values) = client.call(&command).await.unwrap() else { panic!("MGET gave no array") };
        let present = keys.iter().zip(values).filter_map(|(key, value)| match value {
            Reply::Bulk(value) => Some((key.clone(), String::from_utf8(value.to_vec()).unwrap())),
            Reply::Null => None,
            reply => panic!("MGET gave {reply:?}"),
        });
        present.collect()
    }

    fn difference(&self, found: &State) -> String {
        let mut text = format!(
            "writer {} was acknowledged {} commands and sent {}, but what is there is none of the states between:",
            self.name, self.acknowledged, self.sent
        );
        let keys: BTreeSet<&String> = self.state.keys().chain(found.keys()).collect();
        for key in keys {
            let [expected, found] = [&self.state, found].map(|state| state.get(key).map(|value| short(value)));
            if expected != found {
                text += &format!("\n  {key}: {expected:?} was acknowledged, {found:?} is there");
            }
        }
        text
    }
}

/// A value that says which command wrote it; now and then one too large for a row of its key.
fn value(n: u64, rng: &mut Rng) -> String {
    let len = if rng.u8(..20) == 0 { rng.usize(..40_000) } else { rng.usize(..200) };
    format!("{n}:{}", std::iter::repeat_with(|| rng.lowercase()).take(len).collect::<String>())
}

/// A value's number and its length, for messages.
fn short(value: &str) -> (&str, usize) {
    (value.split(':').next().unwrap_or(value), value.len())
}
