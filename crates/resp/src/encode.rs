//! Replies and requests to bytes, appended to a buffer that is kept from one to the next.

use crate::number::write_double;
use crate::reply::{Protocol, Reply};
use bytes::{BufMut, BytesMut};

/// The longest header: a type, the digits of a 64-bit integer with a sign, CR LF.
const MAX_HEADER_BYTES: usize = 1 + 20 + 2;

impl Reply {
    /// Appends this reply in the form it has in `protocol`.
    ///
    /// Recurses as deep as the reply is nested: a server decides that, and what a
    /// [`ReplyDecoder`](crate::ReplyDecoder) returned is within its limit.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        match (self, protocol) {
            (Reply::Simple(text), _) => put_line(b'+', text, out),
            (Reply::Error(text), _) => put_line(b'-', text, out),
            (Reply::Integer(value), _) => put_header(b':', *value, out),
            (Reply::Bulk(bytes), _) => put_bulk(bytes, out),
            (Reply::Null | Reply::NullArray, Protocol::Resp3) => out.put_slice(b"_\r\n"),
            (Reply::Null, Protocol::Resp2) => out.put_slice(b"$-1\r\n"),
            (Reply::NullArray, Protocol::Resp2) => out.put_slice(b"*-1\r\n"),
            (Reply::Array(values), _) => put_values(b'*', values, protocol, out),
            (Reply::Set(values), Protocol::Resp3) => put_values(b'~', values, protocol, out),
            (Reply::Push(values), Protocol::Resp3) => put_values(b'>', values, protocol, out),
            (Reply::Set(values) | Reply::Push(values), Protocol::Resp2) => {
                put_values(b'*', values, protocol, out);
            }
            (Reply::Map(pairs), _) => {
                match protocol {
                    Protocol::Resp2 => put_length(b'*', pairs.len() * 2, out),
                    Protocol::Resp3 => put_length(b'%', pairs.len(), out),
                }
                for (key, value) in pairs {
                    key.encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
            (Reply::Double(value), _) => put_double(*value, protocol, out),
            (Reply::Bool(value), Protocol::Resp2) => put_header(b':', (*value).into(), out),
            (Reply::Bool(true), Protocol::Resp3) => out.put_slice(b"#t\r\n"),
            (Reply::Bool(false), Protocol::Resp3) => out.put_slice(b"#f\r\n"),
            (Reply::BigNumber(digits), Protocol::Resp2) => put_bulk(digits, out),
            (Reply::BigNumber(digits), Protocol::Resp3) => put_line(b'(', digits, out),
            (Reply::Verbatim { text, .. }, Protocol::Resp2) => put_bulk(text, out),
            (Reply::Verbatim { format, text }, Protocol::Resp3) => {
                out.reserve(MAX_HEADER_BYTES + 4 + text.len() + 2);
                put_length(b'=', text.len() + 4, out);
                out.put_slice(format);
                out.put_u8(b':');
                out.put_slice(text);
                out.put_slice(b"\r\n");
            }
        }
    }
}

/// Appends a request as clients send it: an array of strings, the command's name first.
pub fn encode_request<A: AsRef<[u8]>>(args: &[A], out: &mut BytesMut) {
    put_length(b'*', args.len(), out);
    for arg in args {
        put_bulk(arg.as_ref(), out);
    }
}

fn put_values(kind: u8, values: &[Reply], protocol: Protocol, out: &mut BytesMut) {
    put_length(kind, values.len(), out);
    for value in values {
        value.encode(protocol, out);
    }
}

fn put_double(value: f64, protocol: Protocol, out: &mut BytesMut) {
    let mut text = String::with_capacity(24);
    write_double(value, &mut text);
    match protocol {
        Protocol::Resp2 => put_bulk(text.as_bytes(), out),
        Protocol::Resp3 => put_line(b',', text.as_bytes(), out),
    }
}

fn put_bulk(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(MAX_HEADER_BYTES + bytes.len() + 2);
    put_length(b'$', bytes.len(), out);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Text on a line of its own. A line end in the text would start another reply, so it becomes a
/// blank, as in Redis's errors.
fn put_line(kind: u8, text: &[u8], out: &mut BytesMut) {
    out.reserve(1 + text.len() + 2);
    out.put_u8(kind);
    let start = out.len();
    out.put_slice(text);
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.put_slice(b"\r\n");
}

fn put_length(kind: u8, length: usize, out: &mut BytesMut) {
    put_digits(kind, itoa::Buffer::new().format(length), out);
}

fn put_header(kind: u8, value: i64, out: &mut BytesMut) {
    put_digits(kind, itoa::Buffer::new().format(value), out);
}

fn put_digits(kind: u8, digits: &str, out: &mut BytesMut) {
    out.reserve(MAX_HEADER_BYTES);
    out.put_u8(kind);
    out.put_slice(digits.as_bytes());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn encoded(reply: &Reply, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        reply.encode(protocol, &mut out);
        out.escape_ascii().to_string().replace("\\r\\n", "|")
    }

    #[test]
    fn every_reply_has_a_form_in_both_protocols() {
        let one_two = || vec![Reply::int(1), Reply::int(2)];
        for (reply, resp2, resp3) in [
            (Reply::ok(), "+OK|", "+OK|"),
            (Reply::error("ERR no"), "-ERR no|", "-ERR no|"),
            (Reply::int(-7), ":-7|", ":-7|"),
            (Reply::int(i64::MIN), ":-9223372036854775808|", ":-9223372036854775808|"),
            (Reply::bulk("a\r\nb"), "$4|a|b|", "$4|a|b|"),
            (Reply::bulk(""), "$0||", "$0||"),
            (Reply::Null, "$-1|", "_|"),
            (Reply::NullArray, "*-1|", "_|"),
            (Reply::array([]), "*0|", "*0|"),
            (Reply::array(one_two()), "*2|:1|:2|", "*2|:1|:2|"),
            (Reply::map([(Reply::bulk("k"), Reply::Null)]), "*2|$1|k|$-1|", "%1|$1|k|_|"),
            (Reply::Set(one_two()), "*2|:1|:2|", "~2|:1|:2|"),
            (Reply::Push(one_two()), "*2|:1|:2|", ">2|:1|:2|"),
            (Reply::Double(1.5), "$3|1.5|", ",1.5|"),
            (Reply::Double(f64::NEG_INFINITY), "$4|-inf|", ",-inf|"),
            (Reply::Bool(true), ":1|", "#t|"),
            (Reply::Bool(false), ":0|", "#f|"),
            (Reply::BigNumber(Bytes::from("123")), "$3|123|", "(123|"),
            (Reply::Verbatim { format: *b"txt", text: Bytes::from("hi") }, "$2|hi|", "=6|txt:hi|"),
        ] {
            assert_eq!(encoded(&reply, Protocol::Resp2), resp2, "{reply:?}");
            assert!(reply.size() >= resp2.len().max(resp3.len()), "{reply:?}");
            assert_eq!(encoded(&reply, Protocol::Resp3), resp3, "{reply:?}");
        }
    }

    #[test]
    fn no_text_smuggles_in_another_reply() {
        let text = Bytes::from("a\r\n+OK\nb\r");
        for reply in [Reply::Simple(text.clone()), Reply::Error(text.clone()), Reply::BigNumber(text)] {
            let line = encoded(&reply, Protocol::Resp3);
            assert_eq!(&line[1..], "a  +OK b |");
        }
    }

    #[test]
    fn a_request_is_an_array_of_strings() {
        let mut out = BytesMut::new();
        encode_request(&["GET", ""], &mut out);
        assert_eq!(&out[..], b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    }
}
