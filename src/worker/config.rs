//! What a worker is told when it starts.

use std::time::Duration;

use agq_client::ConnectOptions;

use super::sandbox::Sandbox;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its server is.
    pub connect: ConnectOptions,
    /// Its id, one for each life of the process: a new life must not keep the leases of the old one.
    pub worker_id: String,
    /// Queues it claims from, in this order.
    pub queues: Vec<String>,
    /// Jobs it runs at a time.
    pub concurrency: usize,
    /// Tasks of one job that it runs at a time, where the plan says what each needs.
    pub task_concurrency: usize,
    /// Programs it has, for jobs that need them.
    pub tools: Vec<String>,
    /// What else distinguishes it.
    pub tags: Vec<String>,
    /// How long a claim holds without a heartbeat; `None`: as the server says.
    pub lease: Option<Duration>,
    /// How often the server hears from it; `None`: as the server says.
    pub heartbeat: Option<Duration>,
    /// How long a task may run that says nothing about it; `None`: for ever.
    pub task_timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// How long jobs may go on once the worker is asked to drain.
    pub drain_grace: Duration,
    /// What bounds the programs.
    pub sandbox: Sandbox,
}
