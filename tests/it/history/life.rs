//! One life of a server, from its start to its end, with everybody who talks to it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::client::Link;
use super::data::Reader;
use super::pace::Pace;
use super::proxy::Proxy;
use super::record::Recorder;
use super::work::{Submitter, Worker};
use crate::support::server::Server;

/// The program's exit code when the store has failed.
const STORE_FAILED: i32 = 74;

/// What befalls a server before it ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    /// Answers after which it ends.
    pub(super) enough: u64,
    /// SIGSTOP in the middle, for so long.
    pub(super) frozen: Option<Duration>,
    pub(super) ending: Ending,
}

/// How it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// SIGKILL.
    #[default]
    Kill,
    /// SIGKILL at the very moment of an answer.
    KillAtAnswer,
    /// SIGTERM, and exit code 0.
    Stop,
    /// SIGKILL, or before it by itself because its store has failed: exit code 74.
    KillOrFailure,
}

/// What came of a life.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lived {
    /// Connections that the proxy has cut.
    pub(super) cuts: u64,
    /// Whether the server ended because its store had failed.
    pub(super) has_failed: bool,
}

/// Everybody, over all lives.
pub(super) struct Clients {
    readers: Vec<Reader>,
    submitters: Vec<Submitter>,
    workers: Vec<Worker>,
}

impl Clients {
    pub(super) fn new(groups: usize, rng: &mut Rng) -> Clients {
        Clients {
            readers: (0..5).map(|n| Reader::new(n, groups, n < 2, rng.fork())).collect(),
            submitters: (0..2).map(|n| Submitter::new(5 + n, rng.fork())).collect(),
            workers: (0..3).map(|n| Worker::new(7 + n, rng.fork())).collect(),
        }
    }

    /// Puts load on a server until the plan says that it ends. `meanwhile` runs beside the load, in this thread.
    pub(super) fn live(
        &mut self,
        server: Server,
        dir: &Path,
        recorder: &Recorder,
        plan: Plan,
        rng: &mut Rng,
        meanwhile: impl FnOnce(&Pace),
    ) -> Lived {
        let process = Pid::from_raw(i32::try_from(server.process()).unwrap()).unwrap();
        let pace = Pace::new(plan.enough, (plan.ending == Ending::KillAtAnswer).then_some(process));
        let direct = server.socket().to_owned();
        let proxy = Proxy { socket: dir.join("proxy.sock"), server: &direct, pace: &pace, cuts: AtomicU64::new(0) };
        // Every other client is behind the proxy.
        let link = |name: usize| {
            Link::new(name, if name.is_multiple_of(2) { &direct } else { &proxy.socket }, recorder, &pace)
        };
        let mut has_failed = false;
        let at_end = rng.u32(..500);
        std::thread::scope(|scope| {
            proxy.serve(scope, rng.fork());
            let link = &link;
            self.readers.iter_mut().for_each(|reader| drop(scope.spawn(move || reader.work(&link(reader.name)))));
            let submitters = self.submitters.iter_mut();
            submitters.for_each(|submitter| drop(scope.spawn(move || submitter.work(&link(submitter.name)))));
            self.workers.iter_mut().for_each(|worker| drop(scope.spawn(move || worker.work(&link(worker.name)))));
            // A server that ends by itself ends the life too.
            let watched = &pace;
            scope.spawn(move || {
                let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                let _ = waitid(WaitId::Pid(process), exited);
                watched.end();
            });
            if let Some(time) = plan.frozen {
                pace.wait(plan.enough / 2);
                kill_process(process, Signal::STOP).unwrap();
                pace.rest(time);
                kill_process(process, Signal::CONT).unwrap();
            }
            meanwhile(&pace);
            pace.wait_for_enough();
            // A random number of turns, for else every kill would follow an answer.
            (0..at_end).for_each(|_| std::thread::yield_now());
            pace.end();
            has_failed = end(server, plan.ending);
            proxy.stop();
        });
        Lived { cuts: proxy.cuts.load(Ordering::Relaxed), has_failed }
    }
}

/// Ends a server. True when it had ended by itself before, because its store has failed.
fn end(server: Server, ending: Ending) -> bool {
    let log = server.log();
    if ending == Ending::Stop {
        assert!(server.stop(), "SIGTERM under load ends with exit code 0; it said:\n{log}");
        return false;
    }
    let status = server.kill();
    if status.signal() == Some(Signal::KILL.as_raw()) {
        return false;
    }
    assert_eq!(ending, Ending::KillOrFailure, "the server ended by itself, with {status}; it said:\n{log}");
    assert_eq!(status.code(), Some(STORE_FAILED), "the server ended by itself, with {status}; it said:\n{log}");
    true
}
