//! Whether the calls on a group of keys can have happened one after the other, each at one moment between its begin and
//! its end: linearizability, after Wing and Gong, in the just-in-time form with memory of Lowe ("Testing for
//! linearizability", 2017).
//!
//! It goes through begins and ends in the order of time and keeps every *possibility*: what the keys may hold, and which
//! of the calls under way have happened by then. A call must have happened at its end; only then is it asked which of the
//! others under way came before it. Three things keep possibilities few, and lose none:
//!
//! - A call that changes nothing and was answered just so has happened as soon as that is possible.
//! - Of two possibilities with the same keys, that in which fewer calls without an answer have happened can become all
//!   that the other can.
//! - Calls without an answer that ask for the same have happened in the order of their begins.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;

use super::model::{State, keys_of, only_reads};
use super::record::{Entry, Outcome};

/// A set of calls under way, by their places.
type Calls = u128;

/// What is wrong with a history, with the smallest part of it that shows it.
#[derive(Debug)]
pub(super) struct Violation(pub(super) String);

/// Calls under way.
#[derive(Default)]
struct Pending<'e> {
    places: Vec<Option<&'e Entry>>,
    /// Those without an answer that no other call under way depends on.
    loose: Calls,
}

/// What may be.
#[derive(Default, Clone)]
struct Possible(HashMap<State, Vec<Calls>>);

impl Possible {
    /// Adds a possibility, unless there is one that can become all that it can.
    fn add(&mut self, state: State, happened: Calls, loose: Calls) -> bool {
        let known = self.0.entry(state).or_default();
        let covers = |one: Calls, other: Calls| one & !loose == other & !loose && one & loose & !other == 0;
        if known.iter().any(|one| covers(*one, happened)) {
            return false;
        }
        known.retain(|one| !covers(happened, *one));
        known.push(happened);
        true
    }

    fn into_each(self) -> impl Iterator<Item = (State, Calls)> {
        self.0.into_iter().flat_map(|(state, sets)| sets.into_iter().map(move |set| (state.clone(), set)))
    }
}

impl<'e> Pending<'e> {
    fn begin(&mut self, entry: &'e Entry, has_followers: bool) -> usize {
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        assert!(place < 128, "over 128 calls under way at once: too many for this checker");
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(entry);
        if entry.outcome == Outcome::Unknown && !has_followers {
            self.loose |= 1 << place;
        }
        place
    }

    fn end(&mut self, place: usize) {
        self.places[place] = None;
        self.loose &= !(1 << place);
    }

    fn place_of(&self, begin: u64) -> Option<usize> {
        self.places.iter().position(|entry| entry.is_some_and(|entry| entry.begin == begin))
    }

    /// The state after the call at a place, if it may be the next to happen.
    fn next(&self, state: &State, happened: Calls, place: usize) -> Option<State> {
        let entry = self.places[place]?;
        if happened & 1 << place != 0 {
            return None;
        }
        let before = entry.after.and_then(|before| self.place_of(before));
        if before.is_some_and(|before| happened & 1 << before == 0) || self.has_twin(place, happened) {
            return None;
        }
        state.after(&entry.call, &entry.outcome)
    }

    /// Whether an earlier call without an answer asks for the same and has not happened.
    fn has_twin(&self, place: usize, happened: Calls) -> bool {
        let Some(entry) = self.places[place] else { return false };
        self.loose & 1 << place != 0
            && self.places.iter().enumerate().any(|(other, twin)| {
                self.loose & 1 << other & !happened != 0
                    && twin.is_some_and(|twin| twin.begin < entry.begin && twin.call == entry.call)
            })
    }

    /// Lets happen what changes nothing.
    fn settle(&self, state: &State, mut happened: Calls) -> Calls {
        loop {
            let before = happened;
            for (place, entry) in self.places.iter().enumerate() {
                let is_answered = entry.is_some_and(|entry| entry.answer().is_some());
                if is_answered && self.next(state, happened, place).is_some_and(|next| next == *state) {
                    happened |= 1 << place;
                }
            }
            if happened == before {
                return happened;
            }
        }
    }
}

/// A group's keys, as far as its history was looked at.
pub(super) struct Checker {
    possible: Possible,
    /// What the keys held when that was known last.
    sure: State,
    /// Calls of earlier lives that were under way then, or came after.
    since: Vec<Entry>,
}

impl Default for Checker {
    fn default() -> Checker {
        let mut possible = Possible::default();
        possible.add(State::default(), 0, 0);
        Checker { possible, sure: State::default(), since: Vec::new() }
    }
}

impl Checker {
    /// Looks at the calls of one life, of which none is under way any more when it ends.
    ///
    /// # Errors
    /// When they cannot have happened one after the other.
    pub(super) fn check(&mut self, entries: &[Entry]) -> Result<(), Violation> {
        let counts = |entry: &&Entry| match entry.outcome {
            Outcome::Answered(_) => true,
            Outcome::Refused(_) => false,
            Outcome::Unknown => !only_reads(&entry.call),
        };
        let entries: Vec<&Entry> = entries.iter().filter(counts).collect();
        let followed: BTreeSet<u64> = entries.iter().filter_map(|entry| entry.after).collect();
        let mut events: Vec<(u64, &Entry)> =
            entries.iter().flat_map(|entry| [(entry.begin, *entry), (entry.end, *entry)]).collect();
        events.sort_by_key(|(at, entry)| (*at, *at == entry.begin));
        let mut pending = Pending::default();
        let mut sure_at = 0;
        for (n, (at, entry)) in events.iter().enumerate() {
            if *at == entry.begin {
                pending.begin(entry, followed.contains(&entry.begin));
                self.settle(&pending);
                continue;
            }
            let Some(place) = pending.place_of(entry.begin) else { continue };
            let after = reach(self.possible.clone(), &pending, place);
            if entry.answer().is_none() {
                // It has happened by now, or never will.
                for (state, happened) in after.into_each() {
                    self.possible.add(state, happened, pending.loose);
                }
            } else if after.0.is_empty() {
                let since = events[..=n].iter().filter(|(_, other)| other.end >= sure_at).map(|(_, other)| *other);
                return Err(self.violation(entry, since));
            } else {
                self.possible = after;
            }
            pending.end(place);
            self.forget(place, pending.loose);
            let is_quiet = pending.places.iter().flatten().all(|entry| entry.answer().is_none());
            if let (true, 1, Some(state)) = (is_quiet, self.possible.0.len(), self.possible.0.keys().next()) {
                self.sure = state.clone();
                self.since.clear();
                sure_at = events.get(n + 1).map_or(u64::MAX, |(at, _)| *at);
            }
        }
        self.since.extend(entries.into_iter().filter(|entry| entry.end >= sure_at).cloned());
        Ok(())
    }

    fn settle(&mut self, pending: &Pending<'_>) {
        let mut settled = Possible::default();
        for (state, happened) in std::mem::take(&mut self.possible).into_each() {
            let happened = pending.settle(&state, happened);
            settled.add(state, happened, pending.loose);
        }
        self.possible = settled;
    }

    /// The call at a place is over: whether it has happened makes no difference any more.
    fn forget(&mut self, place: usize, loose: Calls) {
        let mut kept = Possible::default();
        for (state, happened) in std::mem::take(&mut self.possible).into_each() {
            kept.add(state, happened & !(1 << place), loose);
        }
        self.possible = kept;
    }

    /// Says why a call cannot have been answered as it was: what was known last, and what was called on its keys since.
    fn violation<'e>(&'e self, entry: &Entry, since: impl Iterator<Item = &'e Entry>) -> Violation {
        let keys = keys_of(&entry.call);
        let mut text = format!("no order of the calls explains this answer:\n  {entry}\n");
        let could: BTreeSet<String> =
            self.possible.0.keys().map(|state| state.clone().run(&entry.call).to_string()).take(8).collect();
        text += "at its end it could have been answered, among others:\n";
        could.iter().for_each(|answer| text += &format!("  {answer}\n"));
        let _ = writeln!(text, "what was certain before: {}; and since then, or under way:", self.sure.shown(&keys));
        let since: BTreeMap<u64, &Entry> = self.since.iter().chain(since).map(|other| (other.begin, other)).collect();
        for other in since.values().filter(|other| !keys_of(&other.call).is_disjoint(&keys)) {
            let _ = writeln!(text, "  {other}");
        }
        Violation(text)
    }
}

/// The possibilities in which the call at a place has happened.
fn reach(from: Possible, pending: &Pending<'_>, place: usize) -> Possible {
    let (mut reached, mut seen) = (Possible::default(), Possible::default());
    let mut open = VecDeque::new();
    for (state, happened) in from.into_each() {
        if happened & 1 << place != 0 {
            reached.add(state, happened, pending.loose);
        } else if seen.add(state.clone(), happened, pending.loose) {
            open.push_back((state, happened));
        }
    }
    while let Some((state, happened)) = open.pop_front() {
        for other in 0..pending.places.len() {
            let Some(next) = pending.next(&state, happened, other) else { continue };
            let happened = pending.settle(&next, happened | 1 << other);
            if happened & 1 << place != 0 {
                reached.add(next, happened, pending.loose);
            } else if seen.add(next.clone(), happened, pending.loose) {
                open.push_back((next, happened));
            }
        }
    }
    reached
}
