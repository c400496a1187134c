//! How a command can end other than with a reply.

use std::borrow::Cow;

use agq_resp::{Reply, Request};

use crate::command::{Ask, ReadContext, Wait};
use crate::{data, jobs, storage};

/// An error reply: the whole text, its code first. Never fatal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError(pub Cow<'static, str>);

impl CommandError {
    /// `ERR syntax error`, as Redis says it.
    pub const SYNTAX: CommandError = CommandError(Cow::Borrowed("ERR syntax error"));
    /// An argument is no 64-bit integer.
    pub const NOT_AN_INTEGER: CommandError = CommandError(Cow::Borrowed("ERR value is not an integer or out of range"));
    /// An argument is no number.
    pub const NOT_A_FLOAT: CommandError = CommandError(Cow::Borrowed("ERR value is not a valid float"));

    /// An error with this text.
    pub fn new(text: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError(text.into())
    }

    /// The arity error of a command or of `container|subcommand`, in lower case.
    #[must_use]
    pub fn arity(name: &str) -> CommandError {
        CommandError(format!("ERR wrong number of arguments for '{}' command", name.to_ascii_lowercase()).into())
    }

    /// There is no room: as Redis says it of a disk that it cannot write to, or of `maxmemory`.
    #[must_use]
    pub fn no_room(refusal: &storage::Refusal) -> CommandError {
        CommandError(format!("{} {refusal}", refusal_code(refusal)).into())
    }

    /// The error reply.
    #[must_use]
    pub fn reply(&self) -> Reply {
        Reply::error(self.0.as_ref())
    }
}

fn refusal_code(refusal: &storage::Refusal) -> &'static str {
    match refusal.bound {
        storage::Bound::Disk => "MISCONF",
        storage::Bound::MaxFileSize => "OOM command not allowed:",
    }
}

/// Why a command gave no reply of its own.
#[derive(Debug)]
pub enum Halt {
    /// It is refused; what it may have written is taken back.
    Error(CommandError),
    /// There is nothing for it yet: it is parked and run again when one of its things is touched.
    Block(Wait),
    /// The same, but what it wrote stays: a claim that waits has registered its worker, a heartbeat lengthened leases.
    KeepAndBlock(Wait),
    /// It is answered with several replies.
    Several(Vec<Reply>),
    /// It reads so much that this should run on a snapshot instead.
    Heavy(fn(&ReadContext<'_>, &Request) -> Outcome),
    /// The engine is to do something with connections.
    Ask(Ask),
    /// These commands are to be run as one unit.
    Execute(Vec<Request>),
    /// The store failed: nothing may be acknowledged any more.
    Fatal(storage::Error),
}

/// What a command function returns.
pub type Outcome = Result<Reply, Halt>;

impl From<CommandError> for Halt {
    fn from(error: CommandError) -> Halt {
        Halt::Error(error)
    }
}

impl From<storage::Error> for Halt {
    fn from(error: storage::Error) -> Halt {
        let code = match &error {
            storage::Error::NoRoom { refusal, .. } => refusal_code(refusal),
            storage::Error::Full { .. } => "MISCONF",
            error if error.is_refusal() => "ERR",
            _ => return Halt::Fatal(error),
        };
        Halt::Error(CommandError::new(format!("{code} {error}")))
    }
}

impl From<data::Error> for Halt {
    fn from(error: data::Error) -> Halt {
        match error {
            data::Error::Storage(error) => error.into(),
            refused => Halt::Error(CommandError::new(refused.to_string())),
        }
    }
}

impl From<jobs::Error> for Halt {
    fn from(error: jobs::Error) -> Halt {
        match error {
            jobs::Error::Data(error) => error.into(),
            jobs::Error::Storage(error) => error.into(),
            refused => Halt::Error(CommandError::new(refused.to_string())),
        }
    }
}
