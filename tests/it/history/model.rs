//! What a group of keys holds, and what each command does to it and answers, one after the other: the sequential model
//! that histories are held against. It knows nothing of AGQ's own code.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::record::{Answer, Call, Outcome};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Text(String),
    List(VecDeque<String>),
    Set(BTreeSet<String>),
    Hash(BTreeMap<String, String>),
    /// Members by name, with whole scores.
    Ranked(BTreeMap<String, i64>),
}

impl Value {
    fn is_empty(&self) -> bool {
        match self {
            Value::Text(_) => false,
            Value::List(list) => list.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::Hash(hash) => hash.is_empty(),
            Value::Ranked(ranked) => ranked.is_empty(),
        }
    }
}

/// Takes the value of a key as one type, as it is or new; what becomes empty goes.
macro_rules! edit {
    ($state:expr, $key:expr, $kind:ident, $value:ident => $work:expr) => {{
        let slot = $state.0.entry(Arc::from($key)).or_insert_with(|| Arc::new(Value::$kind(Default::default())));
        let Value::$kind($value) = Arc::make_mut(slot) else { panic!("{} is of another type", $key) };
        let answer = $work;
        if slot.is_empty() {
            $state.0.remove($key);
        }
        answer
    }};
}

/// The keys of a group. A clone shares the values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct State(BTreeMap<Arc<str>, Arc<Value>>);

impl State {
    /// The state after a call, if it may have come of it so.
    pub(super) fn after(&self, call: &Call, outcome: &Outcome) -> Option<State> {
        let mut next = self.clone();
        let given = next.run(call);
        match outcome {
            Outcome::Answered(answer) => (given == *answer).then_some(next),
            Outcome::Unknown => Some(next),
            Outcome::Refused(_) => None,
        }
    }

    /// What of it a call's keys hold, for messages.
    pub(super) fn shown(&self, keys: &BTreeSet<&str>) -> String {
        let shown = keys.iter().map(|key| match self.0.get(*key) {
            Some(value) => format!("{key} = {value:?}"),
            None => format!("{key} is not there"),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Does a call and says what it answers.
    pub(super) fn run(&mut self, call: &Call) -> Answer {
        if let Some((key, expected)) = &call.watch
            && self.command(&["GET", key]) != *expected
        {
            return Answer::Nil;
        }
        let mut answers: Vec<Answer> = Vec::new();
        for words in &call.commands {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            answers.push(self.command(&words));
        }
        if call.is_exec { Answer::Many(answers) } else { answers.remove(0) }
    }

    fn command(&mut self, words: &[&str]) -> Answer {
        match words {
            ["GET" | "SET" | "SETNX" | "GETSET" | "INCR" | "APPEND" | "MSET" | "MGET" | "DEL", ..] => {
                self.strings(words)
            }
            ["SADD" | "SREM" | "SMEMBERS" | "HSET" | "HGET" | "HDEL" | "HGETALL", ..] => self.members(words),
            ["ZADD" | "ZREM" | "ZINCRBY" | "ZRANGE", ..] => self.ranked(words),
            // The job's own side is held against the feed.
            ["JOB.SUBMIT", definition] => {
                let definition: serde_json::Value = serde_json::from_str(definition).unwrap();
                Answer::text(definition["job_id"].as_str().unwrap())
            }
            _ => self.lists(words),
        }
    }

    fn text(&self, key: &str) -> Option<&String> {
        let Value::Text(text) = &**self.0.get(key)? else { panic!("{key} is no text") };
        Some(text)
    }

    fn set(&mut self, key: &str, text: &str) {
        self.0.insert(key.into(), Arc::new(Value::Text(text.to_owned())));
    }

    fn strings(&mut self, words: &[&str]) -> Answer {
        let read = |state: &State, key: &str| state.text(key).map_or(Answer::Nil, Answer::text);
        match *words {
            ["GET", key] => read(self, key),
            ["SET", key, text] => {
                self.set(key, text);
                Answer::Okay
            }
            ["SETNX", key, text] => {
                let is_new = !self.0.contains_key(key);
                if is_new {
                    self.set(key, text);
                }
                number(usize::from(is_new))
            }
            ["GETSET", key, text] => {
                let before = read(self, key);
                self.set(key, text);
                before
            }
            ["INCR", key] => {
                let count = self.text(key).map_or(0, |text| text.parse::<i64>().unwrap()) + 1;
                self.set(key, &count.to_string());
                Answer::Number(count)
            }
            ["APPEND", key, text] => {
                let whole = self.text(key).cloned().unwrap_or_default() + text;
                self.set(key, &whole);
                number(super::client::sent(&whole).len())
            }
            ["MSET", ref pairs @ ..] => {
                pairs.chunks(2).for_each(|pair| self.set(pair[0], pair[1]));
                Answer::Okay
            }
            ["MGET", ref keys @ ..] => Answer::Many(keys.iter().map(|key| read(self, key)).collect()),
            ["DEL", ref keys @ ..] => number(keys.iter().filter(|key| self.0.remove(**key).is_some()).count()),
            _ => panic!("the model does not know {words:?}"),
        }
    }

    fn members(&mut self, words: &[&str]) -> Answer {
        match *words {
            ["SADD", key, member] => edit!(self, key, Set, set => number(usize::from(set.insert(member.to_owned())))),
            ["SREM", key, member] => edit!(self, key, Set, set => number(usize::from(set.remove(member)))),
            ["SMEMBERS", key] => edit!(self, key, Set, set => Answer::Many(set.iter().map(Answer::text).collect())),
            ["HSET", key, field, text] => edit!(self, key, Hash, hash => {
                number(usize::from(hash.insert(field.to_owned(), text.to_owned()).is_none()))
            }),
            ["HGET", key, field] => edit!(self, key, Hash, hash => hash.get(field).map_or(Answer::Nil, Answer::text)),
            ["HDEL", key, field] => edit!(self, key, Hash, hash => number(usize::from(hash.remove(field).is_some()))),
            ["HGETALL", key] => edit!(self, key, Hash, hash => {
                Answer::Many(hash.iter().flat_map(|(field, text)| [Answer::text(field), Answer::text(text)]).collect())
            }),
            _ => panic!("the model does not know {words:?}"),
        }
    }

    fn ranked(&mut self, words: &[&str]) -> Answer {
        let whole = |text: &str| text.parse::<i64>().unwrap();
        match *words {
            ["ZADD", key, score, member] => edit!(self, key, Ranked, ranked => {
                number(usize::from(ranked.insert(member.to_owned(), whole(score)).is_none()))
            }),
            ["ZREM", key, member] => {
                edit!(self, key, Ranked, ranked => number(usize::from(ranked.remove(member).is_some())))
            }
            ["ZINCRBY", key, by, member] => edit!(self, key, Ranked, ranked => {
                let score = ranked.entry(member.to_owned()).or_insert(0);
                *score += whole(by);
                Answer::text(score.to_string())
            }),
            ["ZRANGE", key, "0", "-1", "WITHSCORES"] => edit!(self, key, Ranked, ranked => {
                let mut sorted: Vec<_> = ranked.iter().collect();
                sorted.sort_by_key(|(member, score)| (**score, *member));
                let pair = |(member, score): &(&String, &i64)| [Answer::text(*member), Answer::text(score.to_string())];
                Answer::Many(sorted.iter().flat_map(pair).collect())
            }),
            _ => panic!("the model does not know {words:?}"),
        }
    }

    fn lists(&mut self, words: &[&str]) -> Answer {
        match *words {
            [push @ ("LPUSH" | "RPUSH"), key, ref elements @ ..] => edit!(self, key, List, list => {
                for element in elements.iter().map(|element| (*element).to_owned()) {
                    if push == "LPUSH" { list.push_front(element) } else { list.push_back(element) }
                }
                number(list.len())
            }),
            ["LPOP", key] => self.pop(key, "LEFT").map_or(Answer::Nil, Answer::Text),
            ["RPOP", key] => self.pop(key, "RIGHT").map_or(Answer::Nil, Answer::Text),
            [pop @ ("BLPOP" | "BRPOP"), ref keys @ .., _] => {
                let side = if pop == "BLPOP" { "LEFT" } else { "RIGHT" };
                let found = keys.iter().find_map(|key| Some((key, self.pop(key, side)?)));
                found
                    .map_or(Answer::Nil, |(key, element)| Answer::Many(vec![Answer::text(*key), Answer::Text(element)]))
            }
            ["LLEN", key] => edit!(self, key, List, list => number(list.len())),
            ["LRANGE", key, "0", "-1"] => edit!(self, key, List, list => {
                Answer::Many(list.iter().map(Answer::text).collect())
            }),
            ["RPOPLPUSH", from, to] | ["BRPOPLPUSH", from, to, _] => self.move_one(from, to, "RIGHT", "LEFT"),
            ["LMOVE", from, to, out, into] | ["BLMOVE", from, to, out, into, _] => self.move_one(from, to, out, into),
            _ => panic!("the model does not know {words:?}"),
        }
    }

    fn pop(&mut self, key: &str, side: &str) -> Option<String> {
        edit!(self, key, List, list => if side == "LEFT" { list.pop_front() } else { list.pop_back() })
    }

    fn move_one(&mut self, from: &str, to: &str, out: &str, into: &str) -> Answer {
        let Some(element) = self.pop(from, out) else { return Answer::Nil };
        let moved = element.clone();
        edit!(self, to, List, list => if into == "LEFT" { list.push_front(moved) } else { list.push_back(moved) });
        Answer::Text(element)
    }
}

fn number(count: usize) -> Answer {
    Answer::Number(i64::try_from(count).unwrap())
}

/// The keys that a call names.
pub(super) fn keys_of(call: &Call) -> BTreeSet<&str> {
    let words = call.commands.iter().flat_map(|words| words[1..].iter().map(String::as_str));
    let watched = call.watch.iter().map(|(key, _)| &**key);
    words.chain(watched).filter(|word| group_of(word).is_some()).collect()
}

/// The group that a key is of: keys are called `<group>:<name>`, and nothing else that stands in a call looks like that.
pub(super) fn group_of(key: &str) -> Option<&str> {
    let (group, name) = key.split_once(':')?;
    (group.starts_with('g') && name.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(group)
}

/// Whether a call changes nothing, whatever there is.
pub(super) fn only_reads(call: &Call) -> bool {
    let reads = ["GET", "MGET", "SMEMBERS", "HGET", "HGETALL", "ZRANGE", "LLEN", "LRANGE"];
    call.commands.iter().all(|words| reads.contains(&&*words[0]))
}
