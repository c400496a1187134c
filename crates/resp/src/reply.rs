//! What a server says: the values of RESP3, each of which has a form in RESP2 too.

use bytes::Bytes;

/// The version of the protocol a connection speaks: RESP2 until the client says `HELLO 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// What every client speaks: strings, integers, errors, arrays.
    #[default]
    Resp2,
    /// What adds maps, sets, doubles, booleans and pushed messages.
    Resp3,
}

impl Protocol {
    /// The number HELLO takes and reports.
    pub fn version(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }

    /// The protocol of that number, if there is one.
    pub fn from_version(version: i64) -> Option<Self> {
        match version {
            2 => Some(Protocol::Resp2),
            3 => Some(Protocol::Resp3),
            _ => None,
        }
    }
}

/// A reply: what a server says, and what a client reads.
///
/// A server makes the RESP3 value, and [`encode`](Reply::encode) finds its form in RESP2. A client
/// of a RESP2 server so reads a map as an array, and a double as a string: the accessors take
/// either where the two cannot be confused.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A status on one line, such as `OK`.
    Simple(Bytes),
    /// An error on one line: a code in capitals, a blank, and the reason.
    Error(Bytes),
    /// An integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Bytes),
    /// No value where there might be one. RESP2: the null string, `$-1`.
    Null,
    /// No value where there might be an array. RESP2: the null array, `*-1`; RESP3 has one null
    /// only, so that it decodes as [`Reply::Null`].
    NullArray,
    /// Values in order.
    Array(Vec<Reply>),
    /// Pairs of key and value, in the order of sending. RESP2: an array of twice as many values.
    Map(Vec<(Reply, Reply)>),
    /// Values in no order. RESP2: an array.
    Set(Vec<Reply>),
    /// A floating point number. RESP2: a string, see [`format_double`](crate::format_double).
    Double(f64),
    /// Yes or no. RESP2: the integer 1 or 0.
    Bool(bool),
    /// The decimal digits of an integer of any size. RESP2: a string.
    BigNumber(Bytes),
    /// A string, and how to show it. RESP2: a string.
    Verbatim {
        /// `txt` for plain text, `mkd` for Markdown.
        format: [u8; 3],
        /// The string itself.
        text: Bytes,
    },
    /// A message nobody asked for just now, as of a subscription. RESP2: an array.
    Push(Vec<Reply>),
}

/// What a value takes beside a text in it: its type, a length or a number in digits, line ends. The longest double in
/// RESP2 is a string of 24 bytes.
const MAX_VALUE_BYTES: usize = 32;

impl Reply {
    /// The status `OK`.
    pub fn ok() -> Self {
        Reply::simple("OK")
    }

    /// A status. Line ends in it go out as blanks.
    pub fn simple(text: &'static str) -> Self {
        Reply::Simple(Bytes::from_static(text.as_bytes()))
    }

    /// An error with its code: `ERR no such key`, not `no such key`. Line ends go out as blanks.
    pub fn error(text: impl Into<String>) -> Self {
        Reply::Error(Bytes::from(text.into()))
    }

    /// A string of any bytes.
    pub fn bulk(bytes: impl Into<Bytes>) -> Self {
        Reply::Bulk(bytes.into())
    }

    /// An integer.
    pub fn int(value: i64) -> Self {
        Reply::Integer(value)
    }

    /// Values in order.
    pub fn array(values: impl IntoIterator<Item = Reply>) -> Self {
        Reply::Array(values.into_iter().collect())
    }

    /// Pairs of key and value.
    pub fn map(pairs: impl IntoIterator<Item = (Reply, Reply)>) -> Self {
        Reply::Map(pairs.into_iter().collect())
    }

    /// Whether this is either null.
    pub fn is_null(&self) -> bool {
        matches!(self, Reply::Null | Reply::NullArray)
    }

    /// About how many bytes it takes when it is encoded, in either protocol, and no fewer.
    pub fn size(&self) -> usize {
        let inner = match self {
            Reply::Integer(_) | Reply::Double(_) | Reply::Bool(_) | Reply::Null | Reply::NullArray => 0,
            Reply::Simple(bytes)
            | Reply::Error(bytes)
            | Reply::Bulk(bytes)
            | Reply::BigNumber(bytes)
            | Reply::Verbatim { text: bytes, .. } => bytes.len(),
            Reply::Array(values) | Reply::Set(values) | Reply::Push(values) => values.iter().map(Reply::size).sum(),
            Reply::Map(pairs) => pairs.iter().map(|(key, value)| key.size() + value.size()).sum(),
        };
        inner + MAX_VALUE_BYTES
    }

    /// The bytes of a status, a string, a verbatim string or a big number.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Reply::Simple(bytes)
            | Reply::Bulk(bytes)
            | Reply::BigNumber(bytes)
            | Reply::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// What [`as_bytes`](Reply::as_bytes) gives, where it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// The text of an error, its code first.
    pub fn as_error(&self) -> Option<&Bytes> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }

    /// An integer.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Reply::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// A double, or the string or integer that stands for one in RESP2.
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Reply::Double(value) => Some(*value),
            Reply::Integer(value) => Some(*value as f64),
            Reply::Bulk(_) => self.as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// A boolean, or the integer 1 or 0 that stands for one in RESP2.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Reply::Bool(value) => Some(value),
            Reply::Integer(value @ (0 | 1)) => Some(value == 1),
            _ => None,
        }
    }

    /// The values of an array, a set or a pushed message.
    pub fn as_array(&self) -> Option<&[Reply]> {
        match self {
            Reply::Array(values) | Reply::Set(values) | Reply::Push(values) => Some(values),
            _ => None,
        }
    }

    /// The values of an array, a set or a pushed message, taken out.
    pub fn into_array(self) -> Option<Vec<Reply>> {
        match self {
            Reply::Array(values) | Reply::Set(values) | Reply::Push(values) => Some(values),
            _ => None,
        }
    }

    /// The pairs of a map, or of the array of an even number of values that stands for one in
    /// RESP2.
    pub fn into_map(self) -> Option<Vec<(Reply, Reply)>> {
        match self {
            Reply::Map(pairs) => Some(pairs),
            Reply::Array(values) if values.len().is_multiple_of(2) => Some(pairs(values)),
            _ => None,
        }
    }
}

/// Values two by two. The last one of an odd number is dropped.
pub(crate) fn pairs(values: Vec<Reply>) -> Vec<(Reply, Reply)> {
    let mut pairs = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        pairs.push((key, value));
    }
    pairs
}

impl From<i64> for Reply {
    fn from(value: i64) -> Self {
        Reply::Integer(value)
    }
}

impl From<Bytes> for Reply {
    fn from(value: Bytes) -> Self {
        Reply::Bulk(value)
    }
}

impl From<Vec<Reply>> for Reply {
    fn from(values: Vec<Reply>) -> Self {
        Reply::Array(values)
    }
}

/// The value, or null when there is none.
impl<T: Into<Reply>> From<Option<T>> for Reply {
    fn from(value: Option<T>) -> Self {
        value.map_or(Reply::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accessors_take_the_resp3_value_and_its_resp2_form() {
        assert_eq!(Reply::Double(1.5).as_double(), Some(1.5));
        assert_eq!(Reply::bulk("1.5").as_double(), Some(1.5));
        assert_eq!(Reply::bulk("x").as_double(), None);
        assert_eq!(Reply::Bool(true).as_bool(), Some(true));
        assert_eq!(Reply::int(0).as_bool(), Some(false));
        assert_eq!(Reply::int(2).as_bool(), None);
        let pair = vec![(Reply::ok(), Reply::int(1))];
        assert_eq!(Reply::map(pair.clone()).into_map(), Some(pair.clone()));
        let flat = [Reply::ok(), Reply::int(1)];
        assert_eq!(Reply::array(flat).into_map(), Some(pair));
        assert_eq!(Reply::array([Reply::Null]).into_map(), None);
    }

    #[test]
    fn accessors_of_another_type_are_none() {
        assert_eq!(Reply::int(1).as_str(), None);
        assert_eq!(Reply::bulk("1").as_int(), None);
        assert_eq!(Reply::ok().as_array(), None);
        assert_eq!(Reply::ok().as_error(), None);
        assert_eq!(Reply::error("ERR no").as_str(), None);
        assert_eq!(Reply::bulk(&b"\xff"[..]).as_str(), None);
        assert_eq!(Reply::from(None::<i64>), Reply::Null);
        assert!(Reply::NullArray.is_null());
    }
}
