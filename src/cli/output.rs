//! What goes to standard output: text, tables and JSON; colours only where a person looks.

use std::io::{self, IsTerminal, Write};

/// Whoever read standard output has gone, as `head` does: no error, but nothing is left to say.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

/// Writes a text as it stands.
///
/// # Errors
/// [`Closed`] when nobody reads any more, else what the system says.
pub(super) fn write(bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes.as_ref()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => Ok(written?),
    }
}

/// Writes to standard output and to standard error from a thread beside: who reads slowly, or has stopped reading,
/// holds up only the caller and not what else runs here.
///
/// # Errors
/// As [`write`].
pub(super) async fn write_aside(out: Vec<u8>, err: Vec<u8>) -> anyhow::Result<()> {
    let written = tokio::task::spawn_blocking(move || {
        if !err.is_empty() {
            // Where nobody reads complaints there is nobody to complain to.
            let _ = io::stderr().lock().write_all(&err);
        }
        if out.is_empty() { Ok(()) } else { write(out) }
    });
    written.await?
}

/// Writes a text and a line end.
///
/// # Errors
/// As [`write`].
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    write(format!("{text}\n"))
}

/// Writes a value as JSON, indented where a person looks, else on one line.
///
/// # Errors
/// As [`write`].
pub(super) fn json(value: &serde_json::Value) -> anyhow::Result<()> {
    if io::stdout().is_terminal() { line(format_args!("{value:#}")) } else { line(value) }
}

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Plain,
    Green,
    Red,
    Yellow,
    Blue,
    Dim,
    Bold,
}

impl Colour {
    /// The escape sequence before the text; after it stands [`RESET`].
    fn code(self) -> &'static str {
        match self {
            Colour::Plain => "",
            Colour::Green => "\x1b[32m",
            Colour::Red => "\x1b[31m",
            Colour::Yellow => "\x1b[33m",
            Colour::Blue => "\x1b[34m",
            Colour::Dim => "\x1b[2m",
            Colour::Bold => "\x1b[1m",
        }
    }

    /// The colour of a job's or worker's status.
    pub(super) fn of_status(status: &str) -> Colour {
        match status {
            "completed" | "alive" | "idle" | "busy" => Colour::Green,
            "failed" | "dead" => Colour::Red,
            "cancelled" | "draining" => Colour::Yellow,
            "running" => Colour::Blue,
            "waiting" | "scheduled" => Colour::Dim,
            _ => Colour::Plain,
        }
    }
}

const RESET: &str = "\x1b[0m";

/// The text in a colour, where colours are wanted.
pub(super) fn paint(text: &str, colour: Colour, colours: bool) -> String {
    match colour {
        Colour::Plain => text.to_owned(),
        _ if !colours => text.to_owned(),
        colour => format!("{}{text}{RESET}", colour.code()),
    }
}

/// Whether a stream is for a person who has not asked for plain text (<https://no-color.org>).
pub(super) fn wants_colours(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stand_only_where_they_are_wanted() {
        assert_eq!(paint("failed", Colour::of_status("failed"), true), "\x1b[31mfailed\x1b[0m");
        assert_eq!(paint("failed", Colour::of_status("failed"), false), "failed");
        assert_eq!(paint("pending", Colour::of_status("pending"), true), "pending");
    }
}
