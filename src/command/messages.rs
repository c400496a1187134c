//! Messages on their way to connections, and how much may be on its way.
//!
//! They are counted when they come up, not when they are written: a single PUBLISH makes as many of them as there are
//! subscriptions that it fits.

use std::collections::HashMap;

use agq_resp::Reply;

/// What a message takes in memory beside its texts, about.
const MESSAGE_BYTES: usize = 256;
/// What each text of a message takes on the wire beside its bytes, at the least.
const TEXT_BYTES: usize = 6;

/// A message on its way to a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who gets it.
    pub to: u64,
    /// What it gets, a push.
    pub push: Reply,
}

/// What came up for a connection.
#[derive(Debug, PartialEq)]
pub enum News {
    /// It gets a message.
    Message(Message),
    /// It would have got too much and is to end: it gets nothing more, and none of what it was to get before.
    TooMuch(u64, Excess),
}

/// What a connection was too much for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// What one connection may be sent.
    One,
    /// What may be on its way to all.
    All,
}

/// Messages that came up, oldest first.
#[derive(Debug)]
pub struct Messages {
    /// Those that were not taken; none in the place of one that was dropped.
    news: Vec<Option<News>>,
    /// How many were taken before them.
    taken: usize,
    /// What is on its way to each connection, taken or not, since [`Messages::release`].
    counts: HashMap<u64, Count>,
    /// Bytes that this takes in memory.
    all: usize,
    /// Most bytes for one connection, and for all.
    most: (usize, usize),
}

#[derive(Debug, Default)]
struct Count {
    /// Bytes on the wire.
    bytes: usize,
    /// Where its messages stand, counted from the first that was taken.
    places: Vec<usize>,
    fate: Fate,
}

impl Count {
    fn held(&self) -> usize {
        self.bytes + self.places.len() * MESSAGE_BYTES
    }
}

/// What becomes of a connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Fate {
    #[default]
    Stays,
    /// It is to end, unless that is taken back.
    Ends,
    /// It is to end, and its messages were dropped.
    Ended,
}

impl Default for Messages {
    fn default() -> Messages {
        Messages { news: Vec::new(), taken: 0, counts: HashMap::new(), all: 0, most: (usize::MAX, usize::MAX) }
    }
}

impl Messages {
    /// Chooses how many bytes may be on their way to one connection, and to all.
    pub fn set_most(&mut self, one: usize, all: usize) {
        self.most = (one, all);
    }

    /// Adds a message, unless its connection is to end for what there was before it. When there is too much for all, the
    /// connection that has most is to end, which need not be this one.
    pub fn push(&mut self, message: Message) {
        let count = self.counts.entry(message.to).or_default();
        if count.fate != Fate::Stays {
            return;
        }
        let bytes = bytes_of(&message.push);
        if count.bytes + bytes > self.most.0 {
            count.fate = Fate::Ends;
            self.news.push(Some(News::TooMuch(message.to, Excess::One)));
            return;
        }
        count.bytes += bytes;
        count.places.push(self.taken + self.news.len());
        self.all += bytes + MESSAGE_BYTES;
        self.news.push(Some(News::Message(message)));
        if self.all > self.most.1 {
            self.end_largest();
        }
    }

    /// Ends the connection that has most, which is no less than the last message: a look at all of them, of which each ends
    /// one.
    fn end_largest(&mut self) {
        let largest = self.counts.iter().max_by_key(|(conn, count)| (count.held(), **conn));
        let Some((&to, &Count { fate, .. })) = largest else { return };
        self.drop_messages(to);
        if fate == Fate::Stays {
            self.news.push(Some(News::TooMuch(to, Excess::All)));
        }
    }

    /// Drops what is on its way to a connection; it stays ended.
    fn drop_messages(&mut self, to: u64) {
        let count = self.counts.entry(to).or_default();
        self.all -= count.held();
        let dropped = std::mem::replace(count, Count { fate: Fate::Ended, ..Count::default() });
        for place in dropped.places.iter().filter_map(|place| place.checked_sub(self.taken)) {
            self.news[place] = None;
        }
    }

    /// Adds what came up elsewhere.
    pub fn append(&mut self, others: &mut Messages) {
        for news in std::mem::take(others).take() {
            match news {
                News::Message(message) => self.push(message),
                News::TooMuch(to, _) => {
                    let fate = &mut self.counts.entry(to).or_default().fate;
                    if *fate == Fate::Stays {
                        *fate = Fate::Ends;
                        self.news.push(Some(news));
                    }
                }
            }
        }
        others.most = self.most;
    }

    /// Takes all; they stay counted. Who is told to end has nothing on its way any more: what was taken for it before is to be
    /// dropped.
    pub fn take(&mut self) -> Vec<News> {
        let ended = |news: &Option<News>| match news {
            Some(News::TooMuch(to, _)) => Some(*to),
            _ => None,
        };
        let ended: Vec<u64> = self.news.iter().filter_map(ended).collect();
        ended.into_iter().for_each(|to| self.drop_messages(to));
        self.taken += self.news.len();
        std::mem::take(&mut self.news).into_iter().flatten().collect()
    }

    /// What was taken is on its way no more.
    pub fn release(&mut self) {
        self.counts.clear();
        self.all = 0;
    }

    /// Forgets what came up after the first `len`. A connection that is to end for it stays, unless its messages, which may
    /// be older, were dropped.
    pub fn truncate(&mut self, len: usize) {
        for news in self.news.split_off(len.min(self.news.len())) {
            match news {
                Some(News::Message(Message { to, push })) => {
                    let (count, bytes) = (self.counts.entry(to).or_default(), bytes_of(&push));
                    count.bytes -= bytes;
                    count.places.pop();
                    self.all -= bytes + MESSAGE_BYTES;
                }
                Some(News::TooMuch(to, excess)) => {
                    let fate = &mut self.counts.entry(to).or_default().fate;
                    if *fate == Fate::Ended {
                        self.news.push(Some(News::TooMuch(to, excess)));
                    } else {
                        *fate = Fate::Stays;
                    }
                }
                None => {}
            }
        }
    }

    /// How many there are, those that were dropped among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.news.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.news.is_empty()
    }
}

impl Extend<Message> for Messages {
    fn extend<T: IntoIterator<Item = Message>>(&mut self, messages: T) {
        messages.into_iter().for_each(|message| self.push(message));
    }
}

/// Bytes that a message takes on the wire, at the least.
fn bytes_of(push: &Reply) -> usize {
    match push {
        Reply::Push(parts) => parts.iter().map(bytes_of).sum(),
        part => part.as_bytes().map_or(0, bytes::Bytes::len) + TEXT_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(to: u64, bytes: usize) -> Message {
        Message { to, push: Reply::Push(vec![Reply::bulk("x".repeat(bytes - TEXT_BYTES))]) }
    }

    fn told(messages: &mut Messages) -> Vec<(u64, Option<Excess>)> {
        let told = |news| match news {
            News::Message(message) => (message.to, None),
            News::TooMuch(to, excess) => (to, Some(excess)),
        };
        messages.take().into_iter().map(told).collect()
    }

    #[test]
    fn who_would_get_too_much_gets_no_more_and_the_others_do() {
        let mut messages = Messages::default();
        messages.set_most(100, usize::MAX);
        messages.extend([message(1, 60), message(2, 60), message(1, 60), message(1, 10), message(2, 40)]);
        assert_eq!(told(&mut messages), [(2, None), (1, Some(Excess::One)), (2, None)]);
        // What was taken counts until it has left.
        messages.push(message(2, 10));
        assert_eq!(told(&mut messages), [(2, Some(Excess::One))]);
        messages.release();
        messages.push(message(2, 10));
        assert_eq!(told(&mut messages), [(2, None)]);
    }

    #[test]
    fn what_is_on_its_way_to_all_is_bounded_too() {
        let mut messages = Messages::default();
        messages.set_most(usize::MAX, 1000);
        messages.extend([message(1, 400), message(2, 400), message(3, 10)]);
        assert_eq!(told(&mut messages), [(1, None), (2, Some(Excess::All)), (3, None)]);
    }

    #[test]
    fn when_all_is_used_up_who_has_most_ends_and_the_others_get_theirs() {
        let mut messages = Messages::default();
        messages.set_most(usize::MAX, 3000);
        messages.extend([message(1, 1000), message(2, 900)]);
        assert_eq!(told(&mut messages), [(1, None), (2, None)]);
        messages.extend([message(1, 200), message(3, 50), message(4, 50), message(1, 10)]);
        // What was taken for it comes off as well.
        assert_eq!(told(&mut messages), [(3, None), (1, Some(Excess::All)), (4, None)]);
        assert_eq!(messages.all, 900 + 2 * 50 + 3 * MESSAGE_BYTES);
        messages.extend((0..100).map(|_| message(1, 50)));
        assert!(messages.is_empty());
        messages.release();
        messages.extend([message(1, 50), message(2, 2500)]);
        assert_eq!(told(&mut messages), [(1, None), (2, Some(Excess::All))]);
    }

    #[test]
    fn who_ends_for_itself_leaves_room_to_the_others() {
        let mut messages = Messages::default();
        messages.set_most(500, 2000);
        messages.extend([
            message(1, 500),
            message(1, 10),
            message(2, 500),
            message(2, 10),
            message(3, 100),
            message(4, 200),
        ]);
        assert_eq!(told(&mut messages), [(1, Some(Excess::One)), (2, Some(Excess::One)), (3, None), (4, None)]);
        assert_eq!(messages.all, 300 + 2 * MESSAGE_BYTES);
    }

    #[test]
    fn what_was_dropped_is_not_brought_back() {
        let mut messages = Messages::default();
        messages.set_most(600, 1500);
        messages.extend([message(1, 300), message(2, 100)]);
        messages.extend([message(1, 300), message(3, 10), message(4, 10), message(1, 10)]);
        messages.truncate(2);
        assert_eq!(messages.all, 100 + MESSAGE_BYTES);
        messages.extend([message(1, 10), message(4, 10)]);
        assert_eq!(told(&mut messages), [(2, None), (1, Some(Excess::All)), (4, None)]);
        messages.release();
        messages.extend([message(1, 10)]);
        messages.truncate(0);
        assert_eq!((messages.all, told(&mut messages)), (0, vec![]));
    }

    #[test]
    fn what_comes_from_elsewhere_ends_a_connection_once() {
        let (mut messages, mut others) = (Messages::default(), Messages::default());
        messages.set_most(100, usize::MAX);
        others.set_most(100, usize::MAX);
        messages.extend([message(1, 90), message(2, 90), message(2, 90)]);
        others.extend([message(1, 90), message(1, 90), message(2, 90), message(2, 90), message(3, 90)]);
        messages.append(&mut others);
        assert_eq!(told(&mut messages), [(2, Some(Excess::One)), (1, Some(Excess::One)), (3, None)]);
        assert_eq!(messages.all, 90 + MESSAGE_BYTES);
    }

    #[test]
    fn what_is_forgotten_is_not_counted() {
        let mut messages = Messages::default();
        messages.set_most(100, 1000);
        messages.push(message(1, 60));
        for _ in 0..20 {
            messages.extend([message(1, 40), message(1, 40), message(2, 90)]);
            messages.truncate(1);
        }
        messages.push(message(1, 40));
        assert_eq!(told(&mut messages), [(1, None), (1, None)]);
    }

    #[test]
    fn whatever_is_added_taken_and_forgotten_the_count_is_right() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut messages = Messages::default();
        messages.set_most(1500, 5000);
        for _ in 0..50_000 {
            match random.u32(..100) {
                0..90 => messages.push(message(random.u64(..8), random.usize(10..400))),
                90..96 => messages.truncate(random.usize(0..=messages.len())),
                96..99 => drop(messages.take()),
                _ => {
                    messages.take();
                    messages.release();
                }
            }
            let held = messages.counts.values().map(Count::held).sum::<usize>();
            assert!(messages.all == held && held <= 5000, "{messages:?}");
            let mut places: Vec<_> = messages.counts.values().flat_map(|count| &count.places).copied().collect();
            places.retain(|place| *place >= messages.taken);
            places.sort_unstable();
            let is_message = |place: &usize| matches!(messages.news[place - messages.taken], Some(News::Message(_)));
            let there = (messages.taken..messages.taken + messages.len()).filter(is_message);
            assert_eq!(places, there.collect::<Vec<_>>(), "{messages:?}");
        }
    }
}
