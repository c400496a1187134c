//! How to connect.

use crate::{Address, ClientFiles};
use agq_resp::Protocol;
use std::fmt;
use std::time::Duration;

/// How to connect, and how long to wait.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Where the server listens.
    pub address: Address,
    /// The key (in Redis: password) that the server asks for. Never printed.
    pub key: Option<String>,
    /// The protocol to speak. [`ConnectOptions::new`] chooses RESP2.
    pub protocol: Protocol,
    /// The name the connection shows in the server's CLIENT LIST, without blanks.
    pub name: Option<String>,
    /// With TLS: the files that the connection needs.
    pub tls: ClientFiles,
    /// With TLS: the name that the server's certificate must have, if not that of the address.
    pub server_name: Option<String>,
    /// The longest wait for the server: for the connection with its greeting, and for every call
    /// as a whole. `Duration::MAX` waits for ever, as a blocking command may have to.
    /// [`ConnectOptions::new`] chooses 10 seconds.
    pub timeout: Duration,
}

impl ConnectOptions {
    /// RESP2, no key, no name, and 10 seconds of patience.
    pub fn new(address: Address) -> Self {
        ConnectOptions {
            address,
            key: None,
            protocol: Protocol::Resp2,
            name: None,
            tls: ClientFiles::default(),
            server_name: None,
            timeout: Duration::from_secs(10),
        }
    }

    /// The commands that greet a server as these options ask.
    pub(crate) fn greeting(&self) -> Vec<Vec<&str>> {
        let mut commands = Vec::new();
        match self.protocol {
            Protocol::Resp3 => {
                let mut hello = vec!["HELLO", "3"];
                if let Some(key) = &self.key {
                    hello.extend(["AUTH", "default", key]);
                }
                if let Some(name) = &self.name {
                    hello.extend(["SETNAME", name]);
                }
                commands.push(hello);
            }
            Protocol::Resp2 => {
                if let Some(key) = &self.key {
                    commands.push(vec!["AUTH", key]);
                }
                if let Some(name) = &self.name {
                    commands.push(vec!["CLIENT", "SETNAME", name]);
                }
            }
        }
        commands
    }
}

/// All but the key.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("address", &self.address)
            .field("key", &self.key.as_ref().map(|_| "(hidden)"))
            .field("protocol", &self.protocol)
            .field("name", &self.name)
            .field("tls", &self.tls)
            .field("server_name", &self.server_name)
            .field("timeout", &self.timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_not_printed() {
        let mut options = ConnectOptions::new(Address::Tcp("a:1".to_owned()));
        options.key = Some("secret".to_owned());
        let shown = format!("{options:?}");
        assert!(shown.contains("(hidden)") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn the_greeting_says_what_was_asked_for_and_no_more() {
        let mut options = ConnectOptions::new(Address::Tcp("a:1".to_owned()));
        assert!(options.greeting().is_empty());
        options.protocol = Protocol::Resp3;
        assert_eq!(options.greeting(), [["HELLO", "3"]]);
        options.key = Some("k".to_owned());
        options.name = Some("n".to_owned());
        assert_eq!(options.greeting(), [["HELLO", "3", "AUTH", "default", "k", "SETNAME", "n"]]);
        options.protocol = Protocol::Resp2;
        assert_eq!(options.greeting(), [vec!["AUTH", "k"], vec!["CLIENT", "SETNAME", "n"]]);
    }
}
