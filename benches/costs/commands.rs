//! The commands that are measured, with their arguments.

use agq_resp::Reply;
use anyhow::bail;

use crate::server::Server;

/// A command that is called again and again, or once a round.
pub(crate) struct Operation {
    /// What stands in the table.
    pub(crate) name: &'static str,
    /// Its next arguments.
    pub(crate) request: fn(&mut Bed) -> Vec<String>,
    /// A round calls it once: it gets rid of the collection, or is dear only the first time.
    pub(crate) once: bool,
    /// It asks for elements near the list's head, which have to be known first.
    pub(crate) near_head: bool,
}

/// A collection, and what is done with it in this order.
pub(crate) struct Collection {
    /// Its name.
    pub(crate) key: &'static str,
    /// The command that adds elements.
    pub(crate) fill: &'static str,
    /// The arguments that add the element of a number.
    pub(crate) element: fn(u64) -> Vec<String>,
    /// What is measured, in this order; the last gets rid of the collection.
    pub(crate) operations: &'static [Operation],
}

const fn many(name: &'static str, request: fn(&mut Bed) -> Vec<String>) -> Operation {
    Operation { name, request, once: false, near_head: false }
}

const fn once(name: &'static str, request: fn(&mut Bed) -> Vec<String>) -> Operation {
    Operation { name, request, once: true, near_head: false }
}

const fn near_head(name: &'static str, request: fn(&mut Bed) -> Vec<String>) -> Operation {
    Operation { name, request, once: false, near_head: true }
}

/// `words!["GET", key, 1]`: the arguments as text.
macro_rules! words {
    ($($word:expr),+) => { vec![$($word.to_string()),+] };
}

/// What every command costs at least: a round trip, one that reads, one that writes.
pub(crate) const FLOORS: &[Operation] = &[
    many("PING", |_| words!["PING"]),
    many("GET", |_| words!["GET", "string"]),
    many("SET", |bed| words!["SET", "string", bed.fresh()]),
];

/// The collections.
pub(crate) const COLLECTIONS: &[Collection] = &[LIST, HASH, SORTED_SET, SET];

const LIST: Collection = Collection {
    key: "list",
    fill: "RPUSH",
    element: |number| words![element(number)],
    operations: &[
        many("RPUSH", |bed| words!["RPUSH", "list", bed.fresh()]),
        many("LPOP", |_| words!["LPOP", "list"]),
        many("LPUSH", |bed| words!["LPUSH", "list", bed.fresh()]),
        many("RPOP", |_| words!["RPOP", "list"]),
        many("LINDEX, in the middle", |bed| words!["LINDEX", "list", bed.middle()]),
        many("LRANGE, 10 from the middle", |bed| {
            let from = bed.middle();
            words!["LRANGE", "list", from, from + 9]
        }),
        near_head("LINSERT, after the 50th", |bed| words!["LINSERT", "list", "AFTER", bed.pivot(), bed.fresh()]),
        near_head("LREM of one, the 50th", |bed| words!["LREM", "list", 1, bed.taken()]),
        many("LINDEX, in the middle, after these", |bed| words!["LINDEX", "list", bed.middle()]),
        once("DEL of the list", |_| words!["DEL", "list"]),
    ],
};

const HASH: Collection = Collection {
    key: "hash",
    fill: "HSET",
    element: |number| words![element(number), number],
    operations: &[
        many("HGET", |bed| words!["HGET", "hash", bed.any()]),
        many("HSET of a field", |bed| words!["HSET", "hash", bed.any(), bed.fresh()]),
        many("HSET of a new field", |bed| words!["HSET", "hash", bed.fresh(), 1]),
        once("UNLINK of the hash", |_| words!["UNLINK", "hash"]),
    ],
};

/// The sorted set; the deletion under load takes it too.
pub(crate) const SORTED_SET: Collection = Collection {
    key: "zset",
    fill: "ZADD",
    element: |number| words![number, element(number)],
    operations: &[
        many("ZSCORE", |bed| words!["ZSCORE", "zset", bed.any()]),
        many("ZADD of a new member", |bed| words!["ZADD", "zset", bed.place(), bed.fresh()]),
        many("ZINCRBY", |bed| words!["ZINCRBY", "zset", 10, bed.any()]),
        many("ZRANGEBYSCORE LIMIT 0 10", |bed| words!["ZRANGEBYSCORE", "zset", bed.middle(), "+inf", "LIMIT", 0, 10]),
        once("ZRANK, the first", |bed| words!["ZRANK", "zset", bed.any()]),
        many("ZRANK", |bed| words!["ZRANK", "zset", bed.any()]),
        many("ZCOUNT", |bed| {
            let (a, b) = (bed.place(), bed.place());
            words!["ZCOUNT", "zset", a.min(b), a.max(b)]
        }),
        many("ZRANGE, 10 from the middle", |bed| {
            let from = bed.middle();
            words!["ZRANGE", "zset", from, from + 9]
        }),
        many("ZRANGEBYSCORE LIMIT, any offset", |bed| {
            words!["ZRANGEBYSCORE", "zset", "-inf", "+inf", "LIMIT", bed.place(), 10]
        }),
        many("ZADD of a new member, with ranks", |bed| words!["ZADD", "zset", bed.place(), bed.fresh()]),
        many("ZINCRBY, with ranks", |bed| words!["ZINCRBY", "zset", 10, bed.any()]),
        once("DEL of the sorted set", |_| words!["DEL", "zset"]),
    ],
};

const SET: Collection = Collection {
    key: "set",
    fill: "SADD",
    element: |number| words![element(number)],
    operations: &[
        many("SISMEMBER", |bed| words!["SISMEMBER", "set", bed.any()]),
        many("SADD", |bed| words!["SADD", "set", bed.fresh()]),
        once("SET over the set", |_| words!["SET", "set", "gone"]),
    ],
};

fn element(number: u64) -> String {
    format!("element:{number}")
}

/// Where the arguments come from.
pub(crate) struct Bed {
    size: u64,
    random: fastrand::Rng,
    made: u64,
    /// Elements of the list from the 50th on.
    head: std::vec::IntoIter<String>,
}

impl Bed {
    /// For collections of a size.
    pub(crate) fn new(size: u64) -> Bed {
        Bed { size, random: fastrand::Rng::with_seed(size), made: 0, head: Vec::new().into_iter() }
    }

    /// Reads as many of the list's elements from the 50th on as [`Bed::head`] will be asked for.
    pub(crate) fn look_at_head(&mut self, server: &mut Server, count: u64) -> anyhow::Result<()> {
        let reply = server.call(&["LRANGE", "list", "50", &(50 + count - 1).to_string()])?;
        let Reply::Array(elements) = reply else { bail!("LRANGE replied {reply:?}") };
        let texts: Vec<String> = elements.iter().filter_map(|element| element.as_str().map(str::to_owned)).collect();
        self.head = texts.into_iter();
        Ok(())
    }

    /// The element 50 places from the list's head.
    fn pivot(&self) -> String {
        self.head.as_slice().first().cloned().unwrap_or_default()
    }

    /// The element 50 places from the list's head, each once: the list has to lose it.
    fn taken(&mut self) -> String {
        self.head.next().unwrap_or_default()
    }

    /// Any element that was filled in.
    fn any(&mut self) -> String {
        element(self.place())
    }

    /// An element that is not there.
    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("fresh:{}", self.made)
    }

    /// Any place; scores are places too.
    fn place(&mut self) -> u64 {
        self.random.u64(0..self.size)
    }

    /// A place in the middle half.
    fn middle(&mut self) -> u64 {
        self.size / 4 + self.random.u64(0..self.size / 2)
    }
}
