//! Real programs: how they end, what they write, and that none is left.

use super::*;

fn spec(program: &str, args: &[&str]) -> Spec {
    Spec {
        task: 1,
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
        stdin: None,
        timeout: None,
        grace: Duration::from_secs(20),
    }
}

struct Seen {
    ended: io::Result<Ended>,
    stdout: String,
    stderr: String,
}

/// Runs a program; it is halted once it has written something, if `halt` says so.
async fn run_and_read(spec: Spec, halt_at_output: Option<Halt>) -> Seen {
    let (output, mut chunks) = mpsc::channel(1);
    let (halt, mut halted) = watch::channel(None);
    let running = async move {
        let ended = run(spec, &output, None, &mut halted).await;
        drop(output);
        ended
    };
    let reading = async move {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(Message::Output(chunk)) = chunks.recv().await {
            match chunk.stream {
                Stream::Stdout => stdout.extend_from_slice(&chunk.bytes),
                Stream::Stderr => stderr.extend_from_slice(&chunk.bytes),
            }
            halt.send_replace(halt_at_output);
        }
        (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    let (ended, (stdout, stderr)) = tokio::join!(running, reading);
    Seen { ended, stdout, stderr }
}

#[tokio::test]
async fn output_and_exit_code_come_through() {
    let seen = run_and_read(spec("sh", &["-c", "printf out; printf err >&2; exit 3"]), None).await;
    let ended = seen.ended.unwrap();
    assert_eq!((ended.exit_code, ended.signal, &ended.cause), (3, None, &Cause::Exit));
    assert_eq!((seen.stdout.as_str(), seen.stderr.as_str()), ("out", "err"));
    assert_eq!((ended.stdout_bytes, ended.stderr_bytes), (3, 3));
}

#[tokio::test]
async fn the_environment_is_what_was_given_and_no_more() {
    let mut spec = spec("env", &[]);
    spec.env.push(("AGQ_JOB_ID".to_owned(), "job_1".to_owned()));
    let path = spec.env[0].1.clone();
    let seen = run_and_read(spec, None).await;
    let mut lines: Vec<&str> = seen.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["AGQ_JOB_ID=job_1", &format!("PATH={path}")]);
}

#[tokio::test]
async fn a_program_that_is_missing_is_an_error() {
    let error = run_and_read(spec("no-such-program-anywhere", &[]), None).await.ended.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn more_output_than_fits_anywhere_flows() {
    let seen = run_and_read(spec("head", &["-c", "5000000", "/dev/zero"]), None).await;
    assert_eq!(seen.ended.unwrap().stdout_bytes, 5_000_000);
    assert_eq!(seen.stdout.len(), 5_000_000);
}

#[tokio::test]
async fn a_timeout_ends_it_and_what_it_started() {
    let mut spec = spec("sh", &["-c", "sleep 1000 & echo $!; wait"]);
    spec.timeout = Some(Duration::from_millis(300));
    let seen = run_and_read(spec, None).await;
    let ended = seen.ended.unwrap();
    assert_eq!(ended.cause, Cause::Timeout);
    assert_eq!((ended.signal, ended.exit_code), (Some(15), 128 + 15));
    assert!(is_gone(seen.stdout.trim()).await);
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed() {
    let mut spec = spec("sh", &["-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"]);
    spec.grace = Duration::from_millis(100);
    let ended = run_and_read(spec, Some(Halt::Cancelled)).await.ended.unwrap();
    assert_eq!(ended.cause, Cause::Halted(Halt::Cancelled));
    assert_eq!(ended.signal, Some(9));
}

#[tokio::test]
async fn who_handles_sigterm_may_say_goodbye() {
    let spec = spec("sh", &["-c", "trap 'echo bye; exit 7' TERM; echo ready; sleep 1000 & wait"]);
    let seen = run_and_read(spec, Some(Halt::Leaving)).await;
    assert_eq!((seen.ended.unwrap().exit_code, seen.stdout.as_str()), (7, "ready\nbye\n"));
}

#[tokio::test]
async fn output_that_is_lost_after_the_end_is_an_error_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    // More than is read at a time, and less than a pipe holds: the program ends while its output waits.
    let script = "echo $$ > \"$0\"; exec head -c 60000 /dev/zero";
    let spec = spec("sh", &["-c", script, pid.to_str().unwrap()]);
    let (output, mut chunks) = mpsc::channel(1);
    let chunk = Chunk { task: 1, stream: Stream::Stdout, bytes: bytes::Bytes::new() };
    output.send(Message::Output(chunk)).await.unwrap();
    let (_keep, mut halt) = watch::channel(None);
    let (reader, writer) = io::pipe().unwrap();
    let mut spool = File::from(std::os::fd::OwnedFd::from(writer));
    let running = async {
        let ended = run(spec, &output, Some(&mut spool), &mut halt).await;
        drop(output);
        ended
    };
    let breaking = async {
        let is_reaped = || {
            let pid = std::fs::read_to_string(&pid).ok()?.trim().parse().ok()?;
            rustix::process::test_kill_process(Pid::from_raw(pid)?).err()
        };
        while is_reaped().is_none() {
            tokio::task::yield_now().await;
        }
        drop(reader);
        while chunks.recv().await.is_some() {}
    };
    let (ended, ()) = tokio::join!(running, breaking);
    let ended = ended.unwrap();
    assert_eq!(ended.exit_code, 0);
    assert!(matches!(ended.cause, Cause::Spool(_)), "{ended:?}");
}

#[tokio::test]
async fn who_is_left_behind_does_not_hold_the_job_up() {
    let seen = run_and_read(spec("sh", &["-c", "sleep 1000 & echo $!"]), None).await;
    assert_eq!(seen.ended.unwrap().exit_code, 0);
    assert!(is_gone(seen.stdout.trim()).await);
}

/// Whether a process has ended, or ends while we look: it was sent SIGKILL, which nobody outlives.
async fn is_gone(process: &str) -> bool {
    let process = Pid::from_raw(process.parse().unwrap()).unwrap();
    for _ in 0..10_000 {
        // A zombie that init has not collected yet still answers; on Linux its state says so.
        let state = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
        let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
        if zombie || rustix::process::test_kill_process(process).is_err() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}
