//! What commands with subcommands share: Redis's errors for unknown ones and for a wrong number of arguments.

use std::ops::RangeInclusive;

use agq_resp::Request;

use crate::command::CommandError;

/// Checks the number of arguments, command and subcommand included.
///
/// # Errors
/// `wrong number of arguments for 'client|id' command`.
pub(super) fn takes(request: &Request, arguments: RangeInclusive<usize>) -> Result<(), CommandError> {
    if arguments.contains(&request.len()) {
        return Ok(());
    }
    let [command, word] = [0, 1].map(|place| String::from_utf8_lossy(request.arg(place)).into_owned());
    Err(CommandError::arity(&format!("{command}|{word}")))
}

/// The error of a subcommand that does not exist.
pub(super) fn unknown(request: &Request) -> CommandError {
    let [command, word] = [0, 1].map(|place| request.get(place).unwrap_or_default());
    let word = String::from_utf8_lossy(&word[..word.len().min(128)]);
    let command = String::from_utf8_lossy(command).to_ascii_uppercase();
    CommandError::new(format!("ERR unknown subcommand '{word}'. Try {command} HELP."))
}
