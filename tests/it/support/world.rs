//! A server, the folder it serves, and the `agq` commands that find it there.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::program::{Running, json, output, stdout};
use super::server::Server;

/// A server and the folder it serves.
pub(crate) struct World {
    dir: TempDir,
    _server: Server,
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::agq_in(dir.path(), &[]);
        World { dir, _server: server }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A worker with these arguments that is ready.
    pub(crate) fn worker(&self, args: &[&str]) -> Running {
        let mut worker = Running::start(self.dir(), &[&["worker", "--tools", "sh"], args].concat());
        worker.wait_for("ready");
        worker
    }

    /// Runs a command that must succeed; what it prints, without the line's end.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        stdout(self.dir(), args).trim_end().to_owned()
    }

    /// The exit code and what stands on standard output and standard error.
    pub(crate) fn outcome(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = output(self.dir(), args);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// A job as JSON.
    pub(crate) fn job(&self, id: &str) -> Value {
        json(self.dir(), &["job", "get", id, "--json"]).0
    }

    /// Submits a plan of these tasks and returns the job's id.
    pub(crate) fn submit(&self, tasks: &str, more: &[&str]) -> String {
        let plan = self.plan(tasks);
        let plan = plan.to_str().unwrap();
        stdout(self.dir(), &[&["job", "submit", "--plan", plan], more].concat()).trim().to_owned()
    }

    /// Writes a plan of these tasks into a file.
    pub(crate) fn plan(&self, tasks: &str) -> PathBuf {
        let path = self.dir().join("plan.json");
        std::fs::write(&path, format!(r#"{{"allow_shell_characters":true,"tasks":{tasks}}}"#)).unwrap();
        path
    }

    /// Waits for a job's end; the job, and the exit code of the wait.
    pub(crate) fn wait(&self, job: &str) -> (Value, Option<i32>) {
        json(self.dir(), &["job", "wait", job, "--timeout", "60", "--json"])
    }
}
