//! What the engine remembers of a connection.

use std::sync::Arc;

use agq_resp::{Protocol, Request};
use bytes::Bytes;

use crate::access::{self, AccessKey};
use crate::clock::Millis;
use crate::command::{Command, CommandError, Flags, Replies, Transaction};
use crate::jobs::Id;
use crate::storage::{self, Rows};

/// No subcommand's name is longer.
const MAX_WORD_BYTES: usize = 32;

/// Whose a connection is by the certificate that its client showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vouched {
    /// The access key of this name.
    Key(Id),
    /// Nobody's: the certificate means a key, but not which. Why not.
    Unclear(Box<str>),
}

/// The name of who may do everything.
pub(super) const DEFAULT_USER: &str = "default";

/// A connection's state.
#[derive(Debug, Clone)]
pub struct Session {
    /// The connection's number, unique for the life of the process.
    pub id: u64,
    /// Where the client connects from, for people.
    pub address: String,
    /// The address that it came to; empty where that is unknown.
    pub local_address: Box<str>,
    /// The number of its socket; -1 where it has none.
    pub descriptor: i32,
    /// The selected database, 0 to 15.
    pub database: u8,
    /// How replies are encoded.
    pub protocol: Protocol,
    /// True once the key was given, or when none is asked.
    pub authenticated: bool,
    /// The access key that was given; `None` for who may do everything: with the session key, or where none is asked.
    pub access: Option<Arc<AccessKey>>,
    /// Whose the connection is by what its transport vouches for.
    pub vouched: Option<Box<Vouched>>,
    /// Why what the transport vouches for lets nobody in, as a whole error.
    pub not_let_in: Option<Box<str>>,
    /// What tells the wrong key that it gave from others, until somebody takes notice of it: before the next command.
    pub wrong_key: Option<u32>,
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
    /// Its subcommand in lower case, where it has some.
    pub last_subcommand: Box<str>,
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
            local_address: Box::default(),
            descriptor: -1,
            database: 0,
            protocol: Protocol::Resp2,
            authenticated,
            access: None,
            vouched: None,
            not_let_in: None,
            wrong_key: None,
            is_own: false,
            name: Bytes::new(),
            library_name: Bytes::new(),
            library_version: Bytes::new(),
            closing: false,
            opened: Millis(0),
            last_command: "",
            last_subcommand: Box::default(),
            replies: Replies::On,
            subscriptions: 0,
            transaction: None,
            jobs: crate::jobs::Connection::default(),
        }
    }

    /// A fresh connection whose certificate says which access key is its own. It has what that key may do, or, where
    /// there is no such key or it has expired, has still to give one.
    #[must_use]
    pub fn of(id: u64, address: String, vouched: Vouched) -> Session {
        Session { vouched: Some(Box::new(vouched)), ..Session::new(id, address, false) }
    }

    /// Gives the connection the key that its transport vouches for, if it vouches for one that counts.
    ///
    /// # Errors
    /// When the store fails.
    pub fn look_up_vouched(&mut self, rows: &dyn Rows, now: Millis) -> storage::Result<()> {
        let why = match self.vouched.as_deref() {
            None => return Ok(()),
            Some(Vouched::Unclear(why)) => why.to_string(),
            Some(Vouched::Key(name)) => match access::find(rows, name.as_bytes())? {
                Some(key) if key.is_live(now) => {
                    (self.authenticated, self.access) = (true, Some(Arc::new(key)));
                    return Ok(());
                }
                Some(_) => format!("the certificate names the access key '{name}', which has expired"),
                None => format!("the certificate names the access key '{name}', and there is none of this name"),
            },
        };
        let help = "connect with another certificate, or give a key with AUTH";
        self.not_let_in = Some(format!("NOAUTH {why}: {help}").into());
        Ok(())
    }

    /// The refusal of a command that comes before a key.
    #[must_use]
    pub fn no_key(&self) -> Option<CommandError> {
        self.not_let_in.as_deref().map(|why| CommandError::new(why.to_owned()))
    }

    /// Notes the command that it sent last, for CLIENT LIST.
    pub fn note_command(&mut self, command: &Command, request: &Request) {
        self.last_command = command.name;
        if command.flags.has(Flags::CONTAINER) {
            // Anything can stand there; what is no word is not shown.
            let is_word = |word: &&[u8]| {
                word.len() <= MAX_WORD_BYTES && word.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
            };
            let word = request.get(1).filter(is_word).unwrap_or_default();
            self.last_subcommand = String::from_utf8_lossy(word).to_ascii_lowercase().into();
        } else if !self.last_subcommand.is_empty() {
            self.last_subcommand = Box::default();
        }
    }

    /// The name that the connection goes by: that of its access key, or `default`, as in Redis before any was given too.
    #[must_use]
    pub fn user(&self) -> &str {
        self.access.as_ref().map_or(DEFAULT_USER, |key| &key.name)
    }

    /// Back to the state of a fresh connection (RESET).
    pub fn reset(&mut self, authenticated: bool) {
        let fresh = Session::new(self.id, std::mem::take(&mut self.address), authenticated);
        *self = Session {
            opened: self.opened,
            last_command: self.last_command,
            last_subcommand: std::mem::take(&mut self.last_subcommand),
            is_own: self.is_own,
            vouched: self.vouched.take(),
            local_address: std::mem::take(&mut self.local_address),
            descriptor: self.descriptor,
            ..fresh
        };
    }
}
