//! What the load generator sends: requests encoded once, with holes that a number is written into.

use agq_resp::encode_request;
use bytes::BytesMut;

/// Stands in an argument for a number of twelve digits, another one in each request.
const HOLE: &[u8] = b"__rand_int__";

/// The tests there are, in the order they run by default; each names what it does to the keys.
pub(super) const TESTS: [&str; 13] =
    ["ping", "set", "get", "incr", "lpush", "rpush", "lrange_100", "lpop", "rpop", "hset", "zadd", "zpopmin", "mset"];

/// One request, to be sent over and over.
pub(super) struct Workload {
    pub(super) name: String,
    encoded: Vec<u8>,
    holes: Vec<usize>,
}

impl Workload {
    /// The test of that name, with values of `size` bytes.
    pub(super) fn named(name: &str, size: usize) -> Option<Workload> {
        let value = "x".repeat(size);
        let pair = ["bench:key:__rand_int__", &value];
        let args: Vec<&str> = match name {
            "ping" => vec!["PING"],
            "set" => vec!["SET", pair[0], &value],
            "get" => vec!["GET", pair[0]],
            "incr" => vec!["INCR", "bench:counter:__rand_int__"],
            "lpush" => vec!["LPUSH", "bench:list", &value],
            "rpush" => vec!["RPUSH", "bench:list", &value],
            "lrange_100" => vec!["LRANGE", "bench:list", "0", "99"],
            "lpop" => vec!["LPOP", "bench:list"],
            "rpop" => vec!["RPOP", "bench:list"],
            "hset" => vec!["HSET", "bench:hash", "field:__rand_int__", &value],
            "zadd" => vec!["ZADD", "bench:zset", "__rand_int__", "member:__rand_int__"],
            "zpopmin" => vec!["ZPOPMIN", "bench:zset"],
            "mset" => std::iter::once("MSET").chain(std::iter::repeat_n(pair, 10).flatten()).collect(),
            _ => return None,
        };
        Some(Workload::new(name, &args))
    }

    /// Any command; `__rand_int__` in its arguments becomes a number.
    pub(super) fn new(name: &str, args: &[impl AsRef<[u8]>]) -> Workload {
        let mut encoded = BytesMut::new();
        encode_request(args, &mut encoded);
        let holes = encoded.windows(HOLE.len()).enumerate().filter(|(_, bytes)| *bytes == HOLE).map(|(at, _)| at);
        Workload { name: name.to_owned(), holes: holes.collect(), encoded: encoded.to_vec() }
    }

    /// Appends one request, its holes filled with what `number` gives.
    pub(super) fn append(&self, out: &mut Vec<u8>, mut number: impl FnMut() -> u64) {
        let start = out.len();
        out.extend_from_slice(&self.encoded);
        for hole in &self.holes {
            let mut rest = number();
            for digit in out[start + hole..start + hole + HOLE.len()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_with_numbers() {
        let load = Workload::new("x", &["SET", "k:__rand_int__", "__rand_int__"]);
        let mut out = Vec::new();
        let mut next = 41;
        load.append(&mut out, || {
            next += 1;
            next
        });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "*3\r\n$3\r\nSET\r\n$14\r\nk:000000000042\r\n$12\r\n000000000043\r\n"
        );
    }

    #[test]
    fn every_test_that_is_offered_exists() {
        for name in TESTS {
            assert!(Workload::named(name, 3).is_some(), "{name}");
        }
        assert!(Workload::named("nothing", 3).is_none());
    }
}
