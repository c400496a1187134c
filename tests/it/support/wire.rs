//! A connection, and replies as they stand on the wire.
//!
//! This is not AGQ's codec on purpose: a test that reads with the code under test would not see what that code gets
//! wrong both ways.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a reply may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a server.
pub(crate) struct Wire {
    stream: BufReader<UnixStream>,
}

/// A reply as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// `+ - : , # ( _` and the text of the line; also `$-1` and `*-1`.
    Line(u8, Vec<u8>),
    /// `$` or `=` and the bytes.
    Blob(u8, Vec<u8>),
    /// `* % ~ >` and what it holds; a map's keys and values one after the other.
    Many(u8, Vec<Frame>),
}

impl Wire {
    /// Connects to a Unix socket.
    pub(crate) fn connect(path: &Path) -> io::Result<Wire> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Wire { stream: BufReader::new(stream) })
    }

    /// Sends commands in one write, without waiting for replies.
    pub(crate) fn send(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for args in commands {
            write!(bytes, "*{}\r\n", args.len())?;
            for arg in args {
                write!(bytes, "${}\r\n", arg.len())?;
                bytes.extend_from_slice(arg);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.stream.get_mut().write_all(&bytes)
    }

    /// Sends bytes as they are, be they a command or not.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Runs one command, its words divided by blanks.
    pub(crate) fn call(&mut self, command: &str) -> io::Result<Frame> {
        self.send(&[command.split(' ').map(|word| word.as_bytes().to_vec()).collect()])?;
        self.read()
    }

    /// The next reply.
    pub(crate) fn read(&mut self) -> io::Result<Frame> {
        let line = self.line()?;
        let (&kind, text) = line.split_first().ok_or_else(|| malformed(&line))?;
        match kind {
            b'$' | b'*' if text == b"-1" => Ok(Frame::Line(kind, text.to_vec())),
            b'$' | b'=' => {
                let mut bytes = vec![0; number(&line)? + 2];
                self.stream.read_exact(&mut bytes)?;
                match bytes.split_last_chunk() {
                    Some((bytes, b"\r\n")) => Ok(Frame::Blob(kind, bytes.to_vec())),
                    _ => Err(malformed(&bytes)),
                }
            }
            b'*' | b'~' | b'>' | b'%' => {
                let count = number(&line)? * if kind == b'%' { 2 } else { 1 };
                let items = (0..count).map(|_| self.read()).collect::<io::Result<_>>()?;
                Ok(Frame::Many(kind, items))
            }
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => Ok(Frame::Line(kind, text.to_vec())),
            _ => Err(malformed(&line)),
        }
    }

    /// True when something of a reply has come; looks for a millisecond.
    pub(crate) fn has_reply(&mut self) -> io::Result<bool> {
        self.stream.get_ref().set_read_timeout(Some(Duration::from_millis(1)))?;
        let found = match self.stream.fill_buf() {
            Ok(bytes) => Ok(!bytes.is_empty()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(error),
        };
        self.stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        found
    }

    /// Waits for the server to close the connection; an error when it sends something instead.
    pub(crate) fn read_end(&mut self) -> io::Result<()> {
        match self.stream.fill_buf()? {
            [] => Ok(()),
            more => Err(malformed(more)),
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None => Err(malformed(&line)),
        }
    }
}

fn number(line: &[u8]) -> io::Result<usize> {
    let digits = std::str::from_utf8(&line[1..]).ok();
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| malformed(line))
}

fn malformed(bytes: &[u8]) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the server sent '{}'", bytes.escape_ascii()))
}

/// As scripts write it.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Line(kind, text) => write!(f, "{}{}", *kind as char, text.escape_ascii()),
            Frame::Blob(b'=', bytes) => write!(f, "=\"{}\"", bytes.escape_ascii()),
            Frame::Blob(_, bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Frame::Many(kind, items) => {
                let count = if *kind == b'%' { items.len() / 2 } else { items.len() };
                write!(f, "{}{count}", *kind as char)?;
                items.iter().try_for_each(|item| write!(f, " {item}"))
            }
        }
    }
}
