//! What the engine remembers of a connection.

use std::sync::Arc;

use agq_resp::Protocol;
use bytes::Bytes;

use crate::access::AccessKey;
use crate::clock::Millis;
use crate::command::{Replies, Transaction};
use crate::jobs::Id;

/// The name of who may do everything.
pub(super) const DEFAULT_USER: &str = "default";

/// A connection's state.
#[derive(Debug, Clone)]
pub struct Session {
    /// The connection's number, unique for the life of the process.
    pub id: u64,
    /// Where the client connects from, for people.
    pub address: String,
    /// The selected database, 0 to 15.
    pub database: u8,
    /// How replies are encoded.
    pub protocol: Protocol,
    /// True once the key was given, or when none is asked.
    pub authenticated: bool,
    /// The access key that was given; `None` for who may do everything: with the session key, or where none is asked.
    pub access: Option<Arc<AccessKey>>,
    /// The name of the access key that the transport vouches for, until the engine has looked it up.
    pub vouched: Option<Box<Id>>,
    /// Wrong keys that it gave and that nobody has taken notice of yet.
    pub wrong_keys: u16,
    /// True for the server's own connection, which makes the deliveries of webhooks.
    pub is_own: bool,
    /// CLIENT SETNAME.
    pub name: Bytes,
    /// CLIENT SETINFO lib-name.
    pub library_name: Bytes,
    /// CLIENT SETINFO lib-ver.
    pub library_version: Bytes,
    /// Set by QUIT and the like: the connection closes once its replies are out.
    pub closing: bool,
    /// When the connection was opened.
    pub opened: Millis,
    /// The name of the last command it sent.
    pub last_command: &'static str,
    /// Whether it is answered.
    pub replies: Replies,
    /// How many channels and patterns it is subscribed to.
    pub subscriptions: usize,
    /// What was queued since MULTI.
    pub transaction: Option<Transaction>,
    /// What the list contract remembers of it.
    pub jobs: crate::jobs::Connection,
}

impl Session {
    /// A fresh connection.
    #[must_use]
    pub fn new(id: u64, address: String, authenticated: bool) -> Session {
        Session {
            id,
            address,
            database: 0,
            protocol: Protocol::Resp2,
            authenticated,
            access: None,
            vouched: None,
            wrong_keys: 0,
            is_own: false,
            name: Bytes::new(),
            library_name: Bytes::new(),
            library_version: Bytes::new(),
            closing: false,
            opened: Millis(0),
            last_command: "",
            replies: Replies::On,
            subscriptions: 0,
            transaction: None,
            jobs: crate::jobs::Connection::default(),
        }
    }

    /// A fresh connection of whom something else than a secret says which key is its own, a client certificate for
    /// example. It has what that key may do, or, where there is no such key or it has expired, has still to give one.
    #[must_use]
    pub fn of_key(id: u64, address: String, name: Id) -> Session {
        Session { vouched: Some(Box::new(name)), ..Session::new(id, address, false) }
    }

    /// The name that the connection goes by: that of its access key, or `default`, as in Redis before any was given too.
    #[must_use]
    pub fn user(&self) -> &str {
        self.access.as_ref().map_or(DEFAULT_USER, |key| &key.name)
    }

    /// Back to the state of a fresh connection (RESET).
    pub fn reset(&mut self, authenticated: bool) {
        let fresh = Session::new(self.id, std::mem::take(&mut self.address), authenticated);
        *self = Session { opened: self.opened, last_command: self.last_command, is_own: self.is_own, ..fresh };
    }
}
