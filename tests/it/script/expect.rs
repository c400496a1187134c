//! What a script expects of a reply, and whether a reply is so.

use std::collections::HashMap;
use std::fmt;

use crate::support::wire::Frame;

/// Texts that a script has caught, by name.
pub(super) type Caught = HashMap<String, Vec<u8>>;

/// What a reply should be.
#[derive(Debug, Clone)]
pub(super) enum Expect {
    /// This line; `${name}` in it stands for what was caught.
    Line(u8, String),
    /// A line of this kind that fits the pattern.
    LineLike(u8, String),
    /// An integer from the first to the second.
    IntegerIn(i64, i64),
    /// These bytes; `${name}` in them stands for what was caught.
    Blob(u8, Vec<u8>),
    /// A string that fits the pattern.
    BlobLike(Vec<u8>),
    /// An aggregate of these items.
    Many(u8, Order, Vec<Expect>),
    /// Anything.
    Any,
    /// A string, status or integer, to be caught under this name.
    Catch(String),
}

/// In which order the items of an aggregate may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As they stand.
    Fixed,
    /// In groups of so many, the groups in any order.
    Groups(usize),
}

impl Expect {
    /// Whether a reply is what is expected; fills `caught`.
    pub(super) fn fits(&self, frame: &Frame, caught: &mut Caught) -> bool {
        match (self, frame) {
            (Expect::Any, _) => true,
            (Expect::Line(kind, text), Frame::Line(found, bytes)) => {
                kind == found && substitute(text.as_bytes(), caught) == *bytes
            }
            (Expect::LineLike(kind, pattern), Frame::Line(found, bytes)) => {
                kind == found && like(&substitute(pattern.as_bytes(), caught), bytes)
            }
            (Expect::IntegerIn(from, to), Frame::Line(b':', bytes)) => {
                let number = std::str::from_utf8(bytes).ok().and_then(|digits| digits.parse().ok());
                number.is_some_and(|number| (*from..=*to).contains(&number))
            }
            (Expect::Blob(kind, text), Frame::Blob(found, bytes)) => {
                kind == found && substitute(text, caught) == *bytes
            }
            (Expect::BlobLike(pattern), Frame::Blob(b'$', bytes)) => like(&substitute(pattern, caught), bytes),
            (Expect::Catch(name), Frame::Line(b':' | b'+', bytes) | Frame::Blob(b'$', bytes)) => {
                caught.insert(name.clone(), bytes.clone());
                true
            }
            (Expect::Many(kind, order, items), Frame::Many(found, frames)) => {
                let same = kind == found && items.len() == frames.len();
                same && match order {
                    Order::Fixed => all_fit(items, frames, caught),
                    Order::Groups(size) => fit_in_any_order(*size, items, frames, caught),
                }
            }
            _ => false,
        }
    }
}

fn all_fit(items: &[Expect], frames: &[Frame], caught: &mut Caught) -> bool {
    items.iter().zip(frames).all(|(item, frame)| item.fits(frame, caught))
}

/// Gives every expected group the first group of the reply that fits and is not given yet.
fn fit_in_any_order(size: usize, items: &[Expect], frames: &[Frame], caught: &mut Caught) -> bool {
    let mut left: Vec<&[Frame]> = frames.chunks(size).collect();
    items.chunks(size).all(|group| match left.iter().position(|frames| all_fit(group, frames, caught)) {
        Some(place) => {
            left.swap_remove(place);
            true
        }
        None => false,
    })
}

/// Puts what was caught in the place of `${name}`; a name that was not caught stays as it stands.
pub(super) fn substitute(text: &[u8], caught: &Caught) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.windows(2).position(|window| window == b"${") {
        let (before, from) = rest.split_at(start);
        out.extend_from_slice(before);
        let end = from.iter().position(|&byte| byte == b'}');
        let value = end.and_then(|end| caught.get(std::str::from_utf8(&from[2..end]).ok()?));
        match (value, end) {
            (Some(value), Some(end)) => {
                out.extend_from_slice(value);
                rest = &from[end + 1..];
            }
            _ => {
                out.extend_from_slice(b"${");
                rest = &from[2..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// Whether `text` fits a pattern in which `*` stands for any bytes.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        Some((first, rest)) => text.split_first().is_some_and(|(byte, text)| byte == first && like(rest, text)),
    }
}

/// As scripts write it.
impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Any => f.write_str("."),
            Expect::Catch(name) => write!(f, "={name}"),
            Expect::Line(kind, text) => write!(f, "{}{text}", *kind as char),
            Expect::LineLike(kind @ (b':' | b','), _) => write!(f, "{}~", *kind as char),
            Expect::LineLike(kind, pattern) => write!(f, "{}~{pattern}", *kind as char),
            Expect::IntegerIn(from, to) => write!(f, ":{from}..{to}"),
            Expect::Blob(b'=', bytes) => write!(f, "=\"{}\"", bytes.escape_ascii()),
            Expect::Blob(_, bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Expect::BlobLike(pattern) => write!(f, "~\"{}\"", pattern.escape_ascii()),
            Expect::Many(kind, order, items) => {
                let mark = match (kind, order) {
                    (b'*', Order::Groups(2)) => "%",
                    (b'*', Order::Groups(_)) => "?",
                    _ => "",
                };
                let group = if *kind == b'%' || mark == "%" { 2 } else { 1 };
                write!(f, "{}{mark}{}", *kind as char, items.len() / group)?;
                items.iter().try_for_each(|item| write!(f, " {item}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(text: &str) -> Frame {
        Frame::Blob(b'$', text.into())
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*b*", "abc", true),
            ("a", "ab", false),
        ] {
            assert_eq!(like(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn groups_fit_in_any_order_and_only_once() {
        let pair = |name: &str| Expect::Blob(b'$', name.into());
        let items = vec![pair("a"), pair("1"), pair("b"), pair("2")];
        let expect = Expect::Many(b'*', Order::Groups(2), items);
        let reply = |names: [&str; 4]| Frame::Many(b'*', names.map(blob).to_vec());
        assert!(expect.fits(&reply(["b", "2", "a", "1"]), &mut Caught::new()));
        assert!(!expect.fits(&reply(["b", "1", "a", "2"]), &mut Caught::new()));
        assert!(!expect.fits(&reply(["a", "1", "a", "1"]), &mut Caught::new()));
    }

    #[test]
    fn what_was_caught_is_put_in() {
        let mut caught = Caught::new();
        assert!(Expect::Catch("id".to_owned()).fits(&blob("x1"), &mut caught));
        assert_eq!(substitute(b"job:${id}:${other}", &caught), b"job:x1:${other}");
        assert!(Expect::Blob(b'$', b"<${id}>".to_vec()).fits(&blob("<x1>"), &mut caught));
    }
}
