//! One program: started without a shell in a process group of its own, read as it writes, stopped when it must be.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Halt;
use super::message::{Chunk, Message, Stream};

/// Bytes read from a pipe at a time.
const READ_BYTES: usize = 32 << 10;
/// What is read at most after a program's end: more than a pipe holds. The rest comes from somebody it left behind.
const LAST_BYTES: u64 = 1 << 20;
/// A timer that is not wanted.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// What to start.
#[derive(Debug)]
pub(super) struct Spec {
    /// Marks its output.
    pub(super) task: u32,
    pub(super) program: String,
    pub(super) args: Vec<String>,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// Its stdin; `None`: it has none.
    pub(super) stdin: Option<File>,
    /// How long it may run; `None`: for ever.
    pub(super) timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

/// Why it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// By itself.
    Exit,
    /// It ran longer than it may.
    Timeout,
    /// It was stopped.
    Halted(Halt),
    /// Its output could not be kept for the tasks that read it.
    Spool(String),
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; 128 + the signal's number where a signal ended it, as shells say it.
    pub(super) exit_code: i32,
    pub(super) signal: Option<i32>,
    pub(super) duration: Duration,
    pub(super) cause: Cause,
    pub(super) stdout_bytes: u64,
    pub(super) stderr_bytes: u64,
}

/// A process group that ends with this value, whoever is left in it.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        // An error means that nobody is left to hear it.
        let _ = self.0.map(|group| kill_process_group(group, signal));
    }

    /// Ends whoever its leader, which has just ended, left in it. From now on the group's number may be given to
    /// somebody else: it is forgotten.
    fn sweep(&mut self) {
        self.signal(Signal::KILL);
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Runs a program to its end. Its output goes to `output` and, the stdout, to `spool`; both may hold it up.
///
/// # Errors
/// When it cannot be started.
pub(super) async fn run(
    spec: Spec,
    output: &mpsc::Sender<Message>,
    spool: Option<&mut File>,
    halt: &mut watch::Receiver<Option<Halt>>,
) -> io::Result<Ended> {
    let began = Instant::now();
    let mut child = spawn(&spec.program, &spec.args, spec.env, spec.stdin)?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (stdout_bytes, stderr_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let (exited, exit) = watch::channel(None);
    let source = |stream| Source { task: spec.task, stream, exit: exit.clone(), grace: spec.grace };
    let stdout = pump(child.stdout.take(), source(Stream::Stdout), output, spool, &stdout_bytes);
    let stderr = pump(child.stderr.take(), source(Stream::Stderr), output, None, &stderr_bytes);
    let mut pumps = pin!(async { tokio::try_join!(stdout, stderr) });
    let mut pumped = false;
    let mut status: Option<ExitStatus> = None;
    let mut cause = Cause::Exit;
    // What the timer means next: the task's time is over, then the grace is.
    let mut timer = pin!(tokio::time::sleep(spec.timeout.unwrap_or(NEVER)));
    while status.is_none() || !pumped {
        tokio::select! {
            ended = &mut pumps, if !pumped => {
                pumped = true;
                if let Err(error) = ended {
                    group.signal(Signal::KILL);
                    // What was cut short must not pass for the whole, though the program itself ended well.
                    if cause == Cause::Exit {
                        cause = Cause::Spool(error.to_string());
                    }
                }
            }
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                // Its group goes with it, so that nobody keeps the pipes open.
                group.sweep();
                exited.send_replace(Some(Instant::now()));
            }
            reason = halted(halt), if cause == Cause::Exit && status.is_none() => {
                cause = Cause::Halted(reason);
                group.signal(Signal::TERM);
                timer.as_mut().reset(Instant::now() + spec.grace);
            }
            () = timer.as_mut(), if status.is_none() => {
                if cause == Cause::Exit {
                    cause = Cause::Timeout;
                    group.signal(Signal::TERM);
                    timer.as_mut().reset(Instant::now() + spec.grace);
                } else {
                    group.signal(Signal::KILL);
                    timer.as_mut().reset(Instant::now() + NEVER);
                }
            }
        }
    }
    // The loop ends with a status.
    let signal = status.and_then(|status| status.signal());
    let exit_code = status.and_then(|status| status.code()).unwrap_or_else(|| 128 + signal.unwrap_or_default());
    Ok(Ended {
        exit_code,
        signal,
        duration: began.elapsed(),
        cause,
        stdout_bytes: stdout_bytes.load(Ordering::Relaxed),
        stderr_bytes: stderr_bytes.load(Ordering::Relaxed),
    })
}

fn spawn(program: &str, args: &[String], env: Vec<(String, String)>, stdin: Option<File>) -> io::Result<Child> {
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(env)
        .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Waits until the job must stop.
async fn halted(halt: &mut watch::Receiver<Option<Halt>>) -> Halt {
    loop {
        if let Some(reason) = *halt.borrow_and_update() {
            return reason;
        }
        if halt.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// What a pipe's bytes are, and when no more of them matter.
struct Source {
    task: u32,
    stream: Stream,
    /// When the program ended, once it has.
    exit: watch::Receiver<Option<Instant>>,
    grace: Duration,
}

/// Moves a pipe's bytes on until its end. Who left the program's group may keep the pipe open, but is not waited for
/// any longer than the grace.
async fn pump(
    pipe: Option<impl AsyncRead + Unpin>,
    mut source: Source,
    output: &mpsc::Sender<Message>,
    mut spool: Option<&mut File>,
    count: &AtomicU64,
) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut last_bytes = LAST_BYTES;
    loop {
        let mut bytes = BytesMut::with_capacity(READ_BYTES);
        let size = tokio::select! {
            biased;
            size = pipe.read_buf(&mut bytes) => size?,
            () = overdue(&mut source.exit, source.grace) => 0,
        };
        if size == 0 || last_bytes == 0 {
            return Ok(());
        }
        if source.exit.borrow().is_some() {
            last_bytes = last_bytes.saturating_sub(size as u64);
        }
        count.fetch_add(size as u64, Ordering::Relaxed);
        if let Some(spool) = &mut spool {
            spool.write_all(&bytes)?;
        }
        // Nobody takes it when the job is no longer ours; the program may go on writing until it is stopped.
        let chunk = Chunk { task: source.task, stream: source.stream, bytes: bytes.freeze() };
        let _ = output.send(Message::Output(chunk)).await;
    }
}

/// Resolves once the program has ended and the grace is over.
async fn overdue(exit: &mut watch::Receiver<Option<Instant>>, grace: Duration) {
    let ended = exit.wait_for(Option::is_some).await.ok().and_then(|at| *at);
    match ended {
        Some(at) => tokio::time::sleep_until(at + grace).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
