//! Commands on keys of every type, chosen at random; few names, so that they meet each other.

use fastrand::Rng;

/// A command as a client sends it.
pub(super) type Words = Vec<String>;

/// Every name that is used.
pub(super) const NAMES: [&str; 14] =
    ["s0", "s1", "s2", "l0", "l1", "l2", "h0", "h1", "m0", "m1", "z0", "z1", "x0", "x1"];
/// Databases that are used.
pub(super) const DATABASES: usize = 3;

pub(super) fn words(text: &str) -> Words {
    text.split(' ').map(str::to_owned).collect()
}

/// Chooses commands.
pub(super) struct DataWords<'a> {
    pub(super) rng: &'a mut Rng,
    /// The last element that was put into a list: no two are the same.
    pub(super) last_element: &'a mut u64,
}

impl DataWords<'_> {
    /// A name for that type; now and then one of another.
    fn name(&mut self, kind: char) -> &'static str {
        let fits: Vec<&str> = NAMES.into_iter().filter(|name| name.starts_with(kind)).collect();
        if self.rng.u8(..100) < 6 { NAMES[self.rng.usize(..NAMES.len())] } else { fits[self.rng.usize(..fits.len())] }
    }

    fn any(&mut self) -> &'static str {
        NAMES[self.rng.usize(..NAMES.len())]
    }

    fn below(&mut self, most: u64) -> u64 {
        self.rng.u64(..most)
    }

    fn element(&mut self) -> String {
        *self.last_element += 1;
        format!("e{}", self.last_element)
    }

    /// Any command on keys that does not wait.
    pub(super) fn command(&mut self) -> Words {
        match self.rng.u8(..100) {
            0..22 => self.string(),
            22..42 => self.list(),
            42..53 => self.hash(),
            53..64 => self.set(),
            64..78 => self.sorted_set(),
            78..95 => self.key(),
            95 => self.pause(),
            _ => self.database(),
        }
    }

    /// A pop that waits.
    pub(super) fn pop(&mut self) -> Words {
        let (list, other, timeout) = (self.name('l'), self.name('l'), 1 + self.below(20));
        words(&match self.rng.u8(..6) {
            0 | 1 => format!("BLPOP {list} {other} {timeout}"),
            2 => format!("BRPOP {list} {timeout}"),
            3 => format!("BLMOVE {list} {other} LEFT RIGHT {timeout}"),
            4 => format!("BZPOPMIN {} {timeout}", self.name('z')),
            _ => format!("BLMPOP {timeout} 2 {list} {other} RIGHT COUNT 2"),
        })
    }

    fn string(&mut self) -> Words {
        let (name, n) = (self.name('s'), self.below(1000));
        words(&match self.rng.u8(..13) {
            0 | 1 => format!("SET {name} v{n}"),
            2 => format!("SET {name} {n} PX {}", 1 + self.below(20_000)),
            3 => format!("SET {name} {n} KEEPTTL"),
            4 => format!("APPEND {name} {n}"),
            5 => format!("INCRBY {name} {n}"),
            6 => format!("SETRANGE {name} {} {n}", self.below(40)),
            7 => format!("GETDEL {name}"),
            8 => format!("MSET {name} {n} {} {n}", self.name('s')),
            9 => format!("SETBIT {name} {n} 1"),
            10 => format!("GETEX {name} PX {}", 1 + self.below(10_000)),
            // Beyond what stands in a record.
            11 => format!("SET {name} {}", "x".repeat(16_000 + self.rng.usize(..30_000))),
            _ => format!("GET {name}"),
        })
    }

    fn list(&mut self) -> Words {
        let (name, other) = (self.name('l'), self.name('l'));
        let last = *self.last_element;
        words(&match self.rng.u8(..14) {
            0..3 => format!("RPUSH {name} {}", self.element()),
            3..5 => format!("LPUSH {name} {} {} {}", self.element(), self.element(), self.element()),
            5 => format!("LPOP {name}"),
            6 => format!("RPOP {name} 2"),
            7 => format!("LMOVE {name} {other} RIGHT LEFT"),
            8 => format!("LREM {name} 0 e{}", last.saturating_sub(self.below(12))),
            9 => format!("LINSERT {name} BEFORE e{} {}", last.saturating_sub(self.below(12)), self.element()),
            10 => format!("LSET {name} {} {}", self.below(4), self.element()),
            11 => format!("LTRIM {name} {} 8", self.below(2)),
            12 => format!("LRANGE {name} 0 -1"),
            _ => format!("RPOPLPUSH {name} {other}"),
        })
    }

    fn hash(&mut self) -> Words {
        let (name, field, n) = (self.name('h'), self.below(8), self.below(1000));
        words(&match self.rng.u8(..7) {
            // So many that it is read on another thread.
            6 => format!("HRANDFIELD {name} -10001"),
            0 | 1 => format!("HSET {name} f{field} {n} g{field} {n}"),
            2 => format!("HDEL {name} f{field} g{field}"),
            3 => format!("HINCRBY {name} f{field} {n}"),
            4 => format!("HSETNX {name} f{field} {n}"),
            _ => format!("HGETALL {name}"),
        })
    }

    fn set(&mut self) -> Words {
        let (name, other, n) = (self.name('m'), self.name('m'), self.below(20));
        words(&match self.rng.u8(..8) {
            // So many that it is read on another thread.
            7 => format!("SRANDMEMBER {name} -400"),
            0 | 1 => format!("SADD {name} {n} {} {}", n + 1, n * 7),
            2 => format!("SREM {name} {n} {}", n + 1),
            3 => format!("SPOP {name}"),
            4 => format!("SMOVE {name} {other} {n}"),
            5 => format!("SUNIONSTORE {name} {name} {other}"),
            _ => format!("SMEMBERS {name}"),
        })
    }

    fn sorted_set(&mut self) -> Words {
        let (name, other, n) = (self.name('z'), self.name('z'), self.below(20));
        words(&match self.rng.u8(..9) {
            0..3 => format!("ZADD {name} {n} a{n} {} b{}", self.below(9), self.below(9)),
            3 => format!("ZINCRBY {name} 1.5 a{n}"),
            4 => format!("ZREM {name} a{n} b{}", n % 9),
            5 => format!("ZPOPMIN {name}"),
            6 => format!("ZREMRANGEBYRANK {name} 0 1"),
            7 => format!("ZUNIONSTORE {name} 2 {name} {other}"),
            _ => format!("ZRANGE {name} 0 -1"),
        })
    }

    fn key(&mut self) -> Words {
        let (name, other) = (self.any(), self.any());
        words(&match self.rng.u8(..11) {
            0 | 1 => format!("PEXPIRE {name} {}", 1 + self.below(30_000)),
            2 => format!("PEXPIREAT {name} 1"),
            3 => format!("PERSIST {name}"),
            4 => format!("DEL {name} {other}"),
            5 => format!("UNLINK {name}"),
            6 | 7 => format!("RENAME {name} {other}"),
            8 => format!("RENAMENX {name} {other}"),
            // No element of a list may be there twice.
            9 if !name.starts_with(['l', 'x']) => format!("COPY {name} {other} REPLACE"),
            9 => format!("TYPE {name}"),
            _ => format!("MOVE {name} {}", self.below(DATABASES as u64)),
        })
    }

    /// Holds all up, for less than a run takes.
    fn pause(&mut self) -> Words {
        let ms = self.below(3_000);
        words(&match self.rng.u8(..5) {
            0 | 1 => format!("CLIENT PAUSE {ms} WRITE"),
            2 | 3 => format!("CLIENT PAUSE {ms}"),
            _ => "CLIENT UNPAUSE".to_owned(),
        })
    }

    fn database(&mut self) -> Words {
        let (one, two) = (self.below(DATABASES as u64), self.below(DATABASES as u64));
        words(&match self.rng.u8(..8) {
            0..3 => format!("SWAPDB {one} {two}"),
            3..5 => "FLUSHDB".to_owned(),
            5 => "FLUSHALL".to_owned(),
            _ => "DBSIZE".to_owned(),
        })
    }
}
