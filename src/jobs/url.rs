//! The addresses that webhooks are sent to: `http` or `https`, a host, a port, a path. Nothing is looked up here.

use crate::jobs::error::{Error, Result, shown};

/// The most bytes of one.
const MAX_URL_BYTES: usize = 2048;

/// An address, in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    /// It is `https`.
    pub is_https: bool,
    /// A name or an address; one of IPv6 without its brackets. In small letters.
    pub host: String,
    /// The port, 80 or 443 where none is written.
    pub port: u16,
    /// The path and the query, at least `/`.
    pub target: String,
}

impl Url {
    /// Checks a client's words; `field` names them in the error.
    ///
    /// # Errors
    /// When they are no such address.
    pub fn parse(field: &str, text: &str) -> Result<Url> {
        Url::read(text).map_err(|why| Error::refused(format!("{field} {why}")))
    }

    /// The address that `text` is, or what is wrong with it. No error repeats the text where it may hold a password.
    pub(super) fn read(text: &str) -> std::result::Result<Url, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("has {} bytes, at most {MAX_URL_BYTES} are taken", text.len()));
        }
        let (is_https, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return Err("must begin with http:// or https://".to_owned()),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be printable ASCII without blanks: write other characters as %xx".to_owned());
        }
        if rest.contains('#') {
            return Err("must not have a fragment ('#'): it would not be sent".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("must not hold a user or a password: sign with 'secret' instead".to_owned());
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(if is_https { 443 } else { 80 });
        let may_stand = |c: &char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(*c);
        if let Some(wrong) = path.chars().find(|c| !may_stand(c)) {
            return Err(format!("has '{wrong}' in its path: write it as %{:02x}", u32::from(wrong)));
        }
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { text: text.to_owned(), is_https, host, port, target })
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port as a request's `host` field has them: the port only where it is not the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_https { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

fn split_port(authority: &str) -> std::result::Result<(String, Option<u16>), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("lacks a ']' behind its address")?;
            let is_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if !host.contains(':') || !host.bytes().all(is_address) {
                return Err(format!("has '{}' in brackets, which is no IPv6 address", shown(host.as_bytes())));
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("has something other than a port behind its address".to_owned()),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || !(host.bytes().all(is_name) || authority.starts_with('[')) {
        return Err(format!("must name a host of letters, digits, '-', '_' and '.', not '{}'", shown(host.as_bytes())));
    }
    let number = |text: &str| text.parse().ok().filter(|port| *port > 0);
    match port {
        None => Ok((host.to_ascii_lowercase(), None)),
        Some(text) => match number(text) {
            Some(port) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host.to_ascii_lowercase(), Some(port))),
            _ => Err(format!("must have a port from 1 to 65535, not '{}'", shown(text.as_bytes()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (bool, String, u16, String) {
        let url = Url::read(text).unwrap();
        (url.is_https, url.host, url.port, url.target)
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(parts("http://a.example"), (false, "a.example".into(), 80, "/".into()));
        assert_eq!(parts("HTTPS://A.example:8443/x?y=1"), (true, "a.example".into(), 8443, "/x?y=1".into()));
        assert_eq!(parts("https://a?b"), (true, "a".into(), 443, "/?b".into()));
        assert_eq!(parts("http://[::1]:9/"), (false, "::1".into(), 9, "/".into()));
        let authority = |text: &str| Url::read(text).unwrap().authority();
        assert_eq!(authority("http://[::1]:9/"), "[::1]:9");
        assert_eq!(authority("https://a:443/"), "a");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("ftp://a", "must begin with http:// or https://"),
            ("a.example", "must begin with http:// or https://"),
            ("http://u:p@a/", "must not hold a user or a password: sign with 'secret' instead"),
            ("http://a/#x", "must not have a fragment ('#'): it would not be sent"),
            ("http://a/ b", "must be printable ASCII without blanks: write other characters as %xx"),
            ("http://a/\r\nx: y", "must be printable ASCII without blanks: write other characters as %xx"),
            ("http://a/x^y", "has '^' in its path: write it as %5e"),
            ("http:///x", "must name a host of letters, digits, '-', '_' and '.', not ''"),
            ("http://a%20b/", "must name a host of letters, digits, '-', '_' and '.', not 'a%20b'"),
            ("http://a:0/", "must have a port from 1 to 65535, not '0'"),
            ("http://a:+80/", "must have a port from 1 to 65535, not '+80'"),
            ("http://[::1/", "lacks a ']' behind its address"),
            ("http://[a]/", "has 'a' in brackets, which is no IPv6 address"),
            ("http://[::1]9/", "has something other than a port behind its address"),
        ] {
            assert_eq!(Url::read(text).unwrap_err(), why, "{text}");
        }
        assert!(Url::read(&format!("http://a/{}", "x".repeat(MAX_URL_BYTES))).is_err());
    }
}
