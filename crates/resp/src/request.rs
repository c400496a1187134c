//! One command, as a client sent it.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::fmt;

/// Where an argument stands in its frame: start and end, in bytes.
pub(crate) type Span = (u32, u32);

/// The spans of one request. Five fit without an allocation: `SET key value EX seconds`.
pub(crate) type Spans = SmallVec<[Span; 5]>;

/// One command as a client sent it: its name and arguments, as slices of one shared buffer.
///
/// A clone and a [`bytes`](Request::bytes) handle copy nothing. Both keep alive the whole buffer
/// the request was read into, which other requests share: what is to be kept for long is better
/// copied.
#[derive(Clone)]
pub struct Request {
    frame: Bytes,
    args: Spans,
}

impl Request {
    /// Every span lies inside `frame`.
    pub(crate) fn new(frame: Bytes, args: Spans) -> Self {
        debug_assert!(args.iter().all(|&(start, end)| start <= end && end as usize <= frame.len()));
        Request { frame, args }
    }

    /// A request made of these arguments: for tests, and for commands a server gives itself.
    ///
    /// # Panics
    /// When the arguments are more than 4 GiB together.
    pub fn from_args<I>(args: I) -> Self
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut frame = BytesMut::new();
        let mut spans = Spans::new();
        for arg in args {
            let start = frame.len();
            frame.extend_from_slice(arg.as_ref());
            assert!(u32::try_from(frame.len()).is_ok(), "a request of more than 4 GiB");
            spans.push((start as u32, frame.len() as u32));
        }
        Request::new(frame.freeze(), spans)
    }

    /// How many arguments there are, the command's name included. Never 0 when it was decoded.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Whether there is not even a name: only a request made from no arguments is so.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Argument `i`; the command's name is argument 0.
    ///
    /// # Panics
    /// When there is no argument `i`, as indexing a slice does. Callers check the arity first.
    pub fn arg(&self, i: usize) -> &[u8] {
        self.slice(self.args[i])
    }

    /// Argument `i`, if there is one.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        self.args.get(i).map(|&span| self.slice(span))
    }

    /// A handle on argument `i` that outlives the request. Nothing is copied.
    ///
    /// # Panics
    /// When there is no argument `i`, as indexing a slice does.
    pub fn bytes(&self, i: usize) -> Bytes {
        let (start, end) = self.args[i];
        self.frame.slice(start as usize..end as usize)
    }

    /// The arguments in order, the command's name first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator + Clone {
        self.args.iter().map(|&span| self.slice(span))
    }

    fn slice(&self, (start, end): Span) -> &[u8] {
        &self.frame[start as usize..end as usize]
    }
}

/// Equal arguments, however they were sent.
impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Request {}

/// The name and the number of arguments, but no argument: it may be a password or a user's data,
/// and debug output ends up in logs.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get(0) {
            Some(name) => {
                let name = &name[..name.len().min(64)];
                write!(f, "Request({}, {} arguments)", name.escape_ascii(), self.len() - 1)
            }
            None => f.write_str("Request(empty)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_by_index_and_in_order() {
        let request = Request::from_args(["SET", "key", ""]);
        assert_eq!(request.len(), 3);
        assert!(!request.is_empty());
        assert_eq!(request.arg(1), b"key");
        assert_eq!(request.get(2), Some(&b""[..]));
        assert_eq!(request.get(3), None);
        assert_eq!(request.bytes(0), "SET");
        assert_eq!(request.iter().collect::<Vec<_>>(), [&b"SET"[..], b"key", b""]);
        assert!(Request::from_args([""; 0]).is_empty());
    }

    #[test]
    fn debug_output_shows_no_argument() {
        let request = Request::from_args(["AUTH", "secret"]);
        assert_eq!(format!("{request:?}"), "Request(AUTH, 1 arguments)");
    }

    #[test]
    fn a_handle_shares_the_frame() {
        let request = Request::from_args(["GET", "key"]);
        assert_eq!(request.bytes(1).as_ptr(), request.arg(1).as_ptr());
    }
}
