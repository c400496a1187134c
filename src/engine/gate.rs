//! The one gate in front of every command: is it known, has it the right number of arguments, may this connection
//! run it now ([`admit`]), and has its access key what the command needs ([`permit`]).

use agq_resp::Request;

use crate::clock::Millis;
use crate::command::grants::Asked;
use crate::command::{Command, CommandError, Flags, Halt, Server, Session, lookup, pubsub, views};
use crate::data::View;
use crate::storage::{self, Batch};

/// The longest part of a client's words that an error repeats.
const QUOTED_BYTES: usize = 128;

/// The command that `request` names, if it may run. The order of the checks is Redis's.
pub(super) fn admit(request: &Request, session: &Session, server: &Server) -> Result<&'static Command, CommandError> {
    let Some(command) = lookup(request.arg(0)) else {
        return Err(unknown(request));
    };
    if !command.takes(request.len()) {
        return Err(CommandError::arity(command.name));
    }
    if !session.authenticated && !command.flags.has(Flags::NO_AUTH) {
        return Err(session.no_key().unwrap_or(CommandError::new("NOAUTH Authentication required.")));
    }
    if let Some(refusal) = &server.refusal
        && command.flags.has(if refusal.everything { Flags::WRITE } else { Flags::DENYOOM })
        && !views::gives_nil(session, request)
    {
        return Err(CommandError::no_room(refusal));
    }
    pubsub::check(session, command)?;
    Ok(command)
}

/// Whether the connection's access key has what a command needs: `None` when it may run. Asked just before it runs, each
/// time: within an EXEC what ran before it may have changed whose things it names, and who waited may have lost its key.
/// For who may do everything this is one branch.
///
/// # Errors
/// When the store fails.
pub(super) fn permit(
    batch: &Batch<'_>,
    command: &'static Command,
    request: &Request,
    session: &Session,
    server: &Server,
    now: Millis,
) -> storage::Result<Option<CommandError>> {
    let Some(key) = &session.access else { return Ok(None) };
    let view = View { rows: batch, keyspace: server.keyspaces[usize::from(session.database)], now };
    match (Asked { key, view, session, command, request }).check() {
        Ok(()) => Ok(None),
        Err(Halt::Fatal(error)) => Err(error),
        Err(Halt::Error(error)) => Ok(Some(error)),
        Err(_) => Ok(Some(CommandError::new("NOPERM the command could not be checked"))),
    }
}

/// True for a line of HTTP: a web page that somebody looks at may lead their browser here, to have commands run from
/// the body of a request. Such a connection is ended without a word, as in Redis.
pub(super) fn is_http(request: &Request) -> bool {
    [&b"POST"[..], b"HOST:"].iter().any(|word| request.arg(0).eq_ignore_ascii_case(word))
}

fn unknown(request: &Request) -> CommandError {
    let name = quoted(request.arg(0), QUOTED_BYTES);
    let mut arguments = String::new();
    for argument in request.iter().skip(1) {
        if arguments.len() >= QUOTED_BYTES {
            break;
        }
        arguments.push_str(&format!("'{}' ", quoted(argument, QUOTED_BYTES - arguments.len())));
    }
    CommandError::new(format!("ERR unknown command '{name}', with args beginning with: {arguments}"))
}

fn quoted(text: &[u8], limit: usize) -> String {
    String::from_utf8_lossy(&text[..text.len().min(limit)]).into_owned()
}
