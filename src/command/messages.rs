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
    /// It would have got too much and is to end; it gets nothing more.
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
    news: Vec<News>,
    /// Bytes that are on their way to each connection, taken or not, since [`Messages::release`].
    counts: HashMap<u64, Count>,
    /// Bytes of them in memory.
    all: usize,
    /// Most bytes for one connection, and for all.
    most: (usize, usize),
}

#[derive(Debug, Default)]
struct Count {
    bytes: usize,
    /// It is to end.
    ends: bool,
}

impl Default for Messages {
    fn default() -> Messages {
        Messages { news: Vec::new(), counts: HashMap::new(), all: 0, most: (usize::MAX, usize::MAX) }
    }
}

impl Messages {
    /// Chooses how many bytes may be on their way to one connection, and to all.
    pub fn set_most(&mut self, one: usize, all: usize) {
        self.most = (one, all);
    }

    /// Adds a message, unless its connection is to end for what there was before it.
    pub fn push(&mut self, message: Message) {
        let count = self.counts.entry(message.to).or_default();
        if count.ends {
            return;
        }
        let bytes = bytes_of(&message.push);
        let excess = if count.bytes + bytes > self.most.0 {
            Excess::One
        } else if self.all + bytes + MESSAGE_BYTES > self.most.1 {
            Excess::All
        } else {
            count.bytes += bytes;
            self.all += bytes + MESSAGE_BYTES;
            self.news.push(News::Message(message));
            return;
        };
        count.ends = true;
        self.news.push(News::TooMuch(message.to, excess));
    }

    /// Adds what came up elsewhere.
    pub fn append(&mut self, others: &mut Messages) {
        for news in std::mem::take(others).news {
            match news {
                News::Message(message) => self.push(message),
                News::TooMuch(to, _) => {
                    self.counts.entry(to).or_default().ends = true;
                    self.news.push(news);
                }
            }
        }
        others.most = self.most;
    }

    /// Takes all; they stay counted.
    pub fn take(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// What was taken is on its way no more.
    pub fn release(&mut self) {
        self.counts.clear();
        self.all = 0;
    }

    /// Forgets what came up after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        while self.news.len() > len {
            match self.news.pop() {
                Some(News::Message(Message { to, push })) => {
                    let bytes = bytes_of(&push);
                    self.counts.entry(to).or_default().bytes -= bytes;
                    self.all -= bytes + MESSAGE_BYTES;
                }
                Some(News::TooMuch(to, _)) => self.counts.entry(to).or_default().ends = false,
                None => return,
            }
        }
    }

    /// How many there are.
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
        assert_eq!(told(&mut messages), [(1, None), (2, None), (1, Some(Excess::One)), (2, None)]);
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
}
