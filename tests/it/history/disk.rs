//! A disk that is full: what was acknowledged is there, what was refused is not, whatever else the server does.

use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;

use super::life::{Ending, Plan};
use super::round::Round;
use super::{SEED, number_of};
use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

/// Bytes of a value that fills the disk.
const LARGE: usize = 50_000;

/// One that writes large values until there is no room, and knows what must be there.
#[derive(Default)]
struct Filler {
    acknowledged: Vec<usize>,
    refused: Vec<usize>,
    written: usize,
}

impl Filler {
    /// Writes one more. True when it was acknowledged; an error when the connection broke.
    fn write(&mut self, wire: &mut Wire) -> std::io::Result<bool> {
        self.written += 1;
        let n = self.written;
        match wire.call(&format!("SET large{n} {n}:{}", "y".repeat(LARGE)))? {
            Frame::Line(b'+', _) => {
                self.acknowledged.push(n);
                Ok(true)
            }
            Frame::Line(b'-', error) if error.starts_with(b"MISCONF") || error.starts_with(b"OOM") => {
                self.refused.push(n);
                Ok(false)
            }
            other => panic!("a write to a full disk was answered {other}"),
        }
    }

    fn check(&self, server: &Server) {
        let mut wire = server.connect();
        let mut len = |n: usize| match wire.call(&format!("STRLEN large{n}")).unwrap() {
            Frame::Line(b':', digits) => String::from_utf8(digits).unwrap().parse::<usize>().unwrap(),
            other => panic!("{other}"),
        };
        for n in &self.acknowledged {
            assert_eq!(len(*n), LARGE + 1 + n.to_string().len(), "large{n} was acknowledged");
        }
        for n in &self.refused {
            assert_eq!(len(*n), 0, "large{n} was refused, and is there");
        }
    }
}

/// The command of a server whose files cannot grow past so many bytes; the signal that would kill it is ignored, so that
/// it gets an error instead.
fn limited(dir: &Path, arguments: &[&str], bytes: u64) -> Command {
    let whole = Server::command(dir, arguments);
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#, "sh", &(bytes / 512).to_string()]);
    command.arg(whole.get_program()).args(whole.get_args());
    command.env_remove("AGQ_SESSION_KEY").env("AGQ_LOG", "info");
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    command
}

#[test]
fn files_that_cannot_grow_lose_nothing_acknowledged() {
    let seed = number_of("AGQ_SEED").unwrap_or(SEED);
    let mut rng = Rng::with_seed(seed);
    let mut filler = Filler::default();
    let mut round = Round::new(seed, &mut rng);
    let mut has_failed = false;
    // With a small log the file of the store meets the bound first, with a large one the log does.
    for (mode, size) in [("always", "64KiB"), ("none", "16MiB")] {
        let arguments = ["--durability", mode, "--checkpoint-size", size];
        // Stopped, not killed, so that nothing of the log has to find room at the next start.
        round.live(&arguments, Plan { enough: 100, frozen: None, ending: Ending::Stop }, &mut rng);
        let largest =
            std::fs::read_dir(round.store()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).max();
        let mut command = limited(round.store(), &arguments, largest.unwrap() + (1 << 20));
        let server = Server::start(&mut command, round.store());
        let socket = server.socket().to_owned();
        let plan = Plan { enough: 100, frozen: None, ending: Ending::KillOrFailure };
        let lived = round.live_with(server, plan, &mut rng, |pace| {
            let mut wire = Wire::connect(&socket).unwrap();
            while !pace.is_over() && filler.refused.len() < 3 && filler.write(&mut wire).is_ok() {}
            assert!(filler.written < 10_000, "the bound is never met");
        });
        has_failed |= lived.has_failed;
        assert!(lived.has_failed || !filler.refused.is_empty(), "the bound was not met");
        filler.check(&Server::agq_in(round.store(), &arguments));
        filler.refused.clear();
    }
    round.live(&[], Plan { enough: 100, frozen: None, ending: Ending::Stop }, &mut rng);
    let totals = round.finish();
    println!("AGQ_SEED={seed}: {} large values, failed: {has_failed}, {totals:?}", filler.acknowledged.len());
}

/// A file system in memory, which is gone when this is dropped.
struct Small(PathBuf);

impl Small {
    /// One of so many MiB, where the system lets one be mounted.
    fn mount(path: &Path, mib: u32) -> Option<Small> {
        std::fs::create_dir(path).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0700"), "agq-test"]).arg(path);
        let is_mounted = command.output().is_ok_and(|output| output.status.success());
        is_mounted.then(|| Small(path.to_owned()))
    }

    /// Gives it so much room that no later start can lack any.
    fn enlarge(&self) {
        let status = Command::new("mount").args(["-o", "remount,size=256m"]).arg(&self.0).status().unwrap();
        assert!(status.success(), "cannot enlarge {}: {status}", self.0.display());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let is_gone = Command::new("umount").arg(&self.0).status().is_ok_and(|status| status.success());
        if !is_gone {
            eprintln!("cannot unmount {}", self.0.display());
        }
    }
}

#[test]
fn a_disk_that_fills_and_empties_under_load_loses_nothing_acknowledged() {
    let seed = number_of("AGQ_SEED").unwrap_or(SEED);
    let mut rng = Rng::with_seed(seed);
    for (mode, is_killed_while_full) in [("always", false), ("interval=50", true)] {
        let mut round = Round::new(seed, &mut rng);
        let Some(small) = Small::mount(round.store(), 12) else {
            println!("skipped: no tmpfs can be mounted here");
            return;
        };
        fill_and_empty(&mut round, &small, (mode, is_killed_while_full), &mut rng);
        round.live(&[], Plan { enough: 100, frozen: None, ending: Ending::Stop }, &mut rng);
        println!("AGQ_SEED={seed}, {mode}: {:?}", round.finish());
    }
}

/// The life of a server whose disk is full, and has room again: while it lives, or when it starts the next time.
fn fill_and_empty(round: &mut Round, small: &Small, (mode, is_killed_while_full): (&str, bool), rng: &mut Rng) {
    let ballast = round.store().join("ballast");
    std::fs::write(&ballast, vec![1; 6 << 20]).unwrap();
    let arguments = ["--durability", mode, "--checkpoint-size", "64KiB"];
    let server = Server::agq_in(round.store(), &arguments);
    let (socket, mut filler) = (server.socket().to_owned(), Filler::default());
    let plan = Plan { enough: 1_500, frozen: None, ending: Ending::KillOrFailure };
    let lived = round.live_with(server, plan, rng, |pace| {
        let mut wire = Wire::connect(&socket).unwrap();
        while !pace.is_over() && filler.refused.len() < 20 && filler.write(&mut wire).is_ok() {}
        if is_killed_while_full {
            return;
        }
        std::fs::remove_file(&ballast).unwrap();
        // It goes on by itself when there is room.
        while !pace.is_over() && matches!(filler.write(&mut wire), Ok(false)) {}
    });
    assert!(lived.has_failed || filler.refused.len() >= 20, "the disk was never full");
    small.enlarge();
    filler.check(&Server::agq_in(round.store(), &arguments));
}
