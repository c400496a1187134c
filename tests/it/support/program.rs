//! The `agq` program as its users run it: in a folder of its own, against a server of the test's or none.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// An `agq` command that knows nothing of the user who runs the tests.
pub(crate) fn agq(data_dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agq"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AGQ_")) {
        command.env_remove(name);
    }
    command.args(args).env("AGQ_DATA_DIR", data_dir).env("AGQ_LOG", "info").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn output(data_dir: &Path, args: &[&str]) -> Output {
    agq(data_dir, args).output().unwrap()
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn stdout(data_dir: &Path, args: &[&str]) -> String {
    let output = output(data_dir, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that prints JSON, and returns that and its exit code.
pub(crate) fn json(data_dir: &Path, args: &[&str]) -> (serde_json::Value, Option<i32>) {
    let output = output(data_dir, args);
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"));
    (value, output.status.code())
}

/// A command that runs beside the test. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
    seen: String,
}

impl Running {
    pub(crate) fn start(data_dir: &Path, args: &[&str]) -> Running {
        Running::spawn(agq(data_dir, args))
    }

    /// Starts a command of [`agq`].
    pub(crate) fn spawn(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        Running { child, errors, seen: String::new() }
    }

    /// Waits until the command says something with `word` in it on its standard error, and returns that line.
    pub(crate) fn wait_for(&mut self, word: &str) -> String {
        loop {
            let start = self.seen.len();
            let count = self.errors.read_line(&mut self.seen).unwrap();
            assert!(count > 0, "it ended before it said '{word}':\n{}", self.seen);
            if self.seen[start..].contains(word) {
                return self.seen[start..].to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; returns how it ended and the whole standard output.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        let mut out = self.child.stdout.take().unwrap();
        let errors = &mut self.errors;
        let seen = &mut self.seen;
        std::thread::scope(|scope| {
            scope.spawn(move || errors.read_to_string(seen));
            out.read_to_string(&mut text).unwrap();
        });
        (self.child.wait().unwrap(), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
