//! Where a server listens, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server listens. Reads and prints as `127.0.0.1:6380`, `[::1]:6380`, `host:6380`,
/// `tls://host:6390` or `unix:/run/agq.sock`. What starts with a slash is a socket's path, too, and
/// `rediss://host:6390` is another way to write `tls://`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host and port, `host:port`; an IPv6 address stands in brackets.
    Tcp(String),
    /// Host and port of a server that speaks TLS.
    Tls(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host_and_port) => f.write_str(host_and_port),
            Address::Tls(host_and_port) => write!(f, "tls://{host_and_port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        match text.strip_prefix("unix:") {
            Some("") => return Err(invalid()),
            Some(path) => return Ok(Address::Unix(PathBuf::from(path))),
            None if text.starts_with('/') => return Ok(Address::Unix(PathBuf::from(text))),
            None => {}
        }
        let over_tls = text.strip_prefix("tls://").or_else(|| text.strip_prefix("rediss://"));
        let host_and_port = over_tls.unwrap_or(text);
        let (host, port) = host_and_port.rsplit_once(':').ok_or_else(invalid)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let host_is_plain = !host.contains([':', '/', '[', ']', ' ']);
        if host.is_empty() || !(bracketed || host_is_plain) {
            return Err(invalid());
        }
        match port.parse::<u16>() {
            Ok(1..) if over_tls.is_some() => Ok(Address::Tls(host_and_port.to_owned())),
            Ok(1..) => Ok(Address::Tcp(text.to_owned())),
            _ => Err(invalid()),
        }
    }
}

/// A text that is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: expected host:port, as in 127.0.0.1:6380, tls://host:port, or unix:/path/of/socket")]
pub struct InvalidAddress(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_they_print() {
        let tcp = |text: &str| Address::Tcp(text.to_owned());
        for (text, expected, printed) in [
            ("127.0.0.1:6380", tcp("127.0.0.1:6380"), "127.0.0.1:6380"),
            ("queue.local:1", tcp("queue.local:1"), "queue.local:1"),
            ("[::1]:6380", tcp("[::1]:6380"), "[::1]:6380"),
            ("tls://queue.local:1", Address::Tls("queue.local:1".to_owned()), "tls://queue.local:1"),
            ("rediss://[::1]:6390", Address::Tls("[::1]:6390".to_owned()), "tls://[::1]:6390"),
            ("unix:/a b", Address::Unix("/a b".into()), "unix:/a b"),
            ("unix:here", Address::Unix("here".into()), "unix:here"),
            ("/run/agq", Address::Unix("/run/agq".into()), "unix:/run/agq"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address, expected);
            assert_eq!(address.to_string(), printed);
            assert_eq!(printed.parse(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_address_is_named_in_the_error() {
        for text in [
            "",
            "localhost",
            ":6380",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "::1",
            "::1:6380",
            "redis://localhost:6380",
            "tls://localhost",
            "rediss://localhost:6390/0",
            "unix:",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not an address")), "{error}");
        }
    }
}
