//! What commands with subcommands share: Redis's errors for unknown ones and for a wrong number of arguments.

use std::ops::RangeInclusive;

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError};

/// Checks the number of arguments, command and subcommand included.
///
/// # Errors
/// `wrong number of arguments for 'client|id' command`.
pub(crate) fn takes(request: &Request, arguments: RangeInclusive<usize>) -> Result<(), CommandError> {
    if arguments.contains(&request.len()) {
        return Ok(());
    }
    let [command, word] = [0, 1].map(|place| String::from_utf8_lossy(request.arg(place)).into_owned());
    Err(CommandError::arity(&format!("{command}|{word}")))
}

/// The error of a subcommand that is given too many arguments where Redis does not say which mistake it is.
pub(super) fn unknown_or_arity(request: &Request) -> CommandError {
    let [command, word] = [0, 1].map(|place| String::from_utf8_lossy(request.get(place).unwrap_or_default()));
    let command = command.to_ascii_uppercase();
    CommandError::new(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {command} HELP."))
}

/// What HELP answers: the subcommands, as the table's usage has them.
pub(crate) fn help(command: &Command) -> Reply {
    let name = command.name;
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    let (mut depth, mut line) = (0, String::new());
    for letter in command.usage.chars() {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        match letter {
            '|' if depth == 0 => lines.push(std::mem::take(&mut line).trim().to_owned()),
            letter => line.push(letter),
        }
    }
    lines.extend([line.trim().to_owned(), "HELP".to_owned(), "    Prints this help.".to_owned()]);
    Reply::array(lines.into_iter().map(|line| Reply::Simple(line.into())))
}

/// The error of a subcommand that does not exist.
pub(super) fn unknown(request: &Request) -> CommandError {
    let [command, word] = [0, 1].map(|place| request.get(place).unwrap_or_default());
    let word = String::from_utf8_lossy(&word[..word.len().min(128)]);
    let command = String::from_utf8_lossy(command).to_ascii_uppercase();
    CommandError::new(format!("ERR unknown subcommand '{word}'. Try {command} HELP."))
}
