//! The one gate in front of every command: is it known, has it the right number of arguments, may this connection
//! run it now.

use agq_resp::Request;

use crate::command::{Command, CommandError, Flags, Server, Session, lookup, pubsub, views};

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
        return Err(CommandError::new("NOAUTH Authentication required."));
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
