//! Workers and planners written before there were leases: what scripts cannot say of their contract. The transcripts
//! stand in `scripts/contract/`.

use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

const PLAN: &str = r#"{"plan_id":"p","tasks":[{"task_number":1,"command":"true"}]}"#;

fn call(wire: &mut Wire, words: &[&str]) -> String {
    wire.send(&[words.iter().map(|word| word.as_bytes().to_vec()).collect()]).unwrap();
    wire.read().unwrap().to_string()
}

fn with_job(wire: &mut Wire, id: &str) {
    call(wire, &["PLAN.SUBMIT", PLAN]);
    call(wire, &["JOB.SUBMIT", &format!(r#"{{"job_id":"{id}","plan_id":"p"}}"#)]);
}

/// Asks again and again until the answer is `wanted`, for as long as a worker's lease and grace may last.
fn until(wire: &mut Wire, words: &[&str], wanted: &str) {
    let began = std::time::Instant::now();
    loop {
        let answer = call(wire, words);
        if answer == wanted {
            return;
        }
        assert!(began.elapsed().as_secs() < 20, "{words:?} answers {answer}, not {wanted}");
    }
}

#[test]
fn what_a_library_says_before_auth_gets_one_reply_each_in_order() {
    let server = Server::agq(&["--session-key", "secret"]);
    let mut wire = server.connect();
    let commands = ["CLIENT SETINFO LIB-NAME redis-rs", "CLIENT SETINFO LIB-VER 0.27.0", "AUTH secret", "PING w1"];
    let split = |command: &str| command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    wire.send(&commands.map(split)).unwrap();
    let replies: Vec<Frame> = (0..4).map(|_| wire.read().unwrap()).collect();
    assert_eq!(replies[0].to_string(), "-NOAUTH Authentication required.");
    assert_eq!(replies[1].to_string(), "-NOAUTH Authentication required.");
    assert_eq!(replies[2], Frame::Line(b'+', b"OK".to_vec()));
    assert_eq!(replies[3], Frame::Blob(b'$', b"w1".to_vec()));
}

#[test]
fn what_follows_auth_in_the_same_write_may_be_long() {
    let server = Server::agq(&["--session-key", "secret"]);
    let mut wire = server.connect();
    let many = std::iter::once("MSET".to_owned()).chain((0..20).map(|n| format!("k{n}")));
    let large = ["SET".to_owned(), "large".to_owned(), "x".repeat(100_000)];
    let auth = vec![b"AUTH".to_vec(), b"secret".to_vec()];
    let bytes = |words: Vec<String>| words.into_iter().map(String::into_bytes).collect();
    wire.send(&[auth, bytes(many.collect()), bytes(large.to_vec())]).unwrap();
    for _ in 0..3 {
        assert_eq!(wire.read().unwrap(), Frame::Line(b'+', b"OK".to_vec()));
    }
}

/// The pop of a multiplexing worker, answered in all the ways in which its next command can come: no job is ever lost
/// from sight, and none is handed out twice.
#[test]
fn a_multiplexed_pop_and_the_next_command_never_lose_a_job() {
    let server = Server::agq(&[]);
    let mut planner = server.connect();
    call(&mut planner, &["PLAN.SUBMIT", PLAN]);
    let mut worker = server.connect();
    let pop = || vec![b"BRPOPLPUSH".to_vec(), b"queue:ready".to_vec(), b"queue:processing".to_vec(), b"0".to_vec()];
    let ping = || vec![b"PING".to_vec(), b"w".to_vec()];
    for round in 0..200 {
        let job = format!("j{round}");
        let submit = format!(r#"{{"job_id":"{job}","plan_id":"p"}}"#);
        // The submit and the ping race.
        worker.send(&[pop()]).unwrap();
        planner.send(&[vec![b"JOB.SUBMIT".to_vec(), submit.into_bytes()]]).unwrap();
        worker.send(&[ping()]).unwrap();
        planner.read().unwrap();
        let (popped, pong) = (worker.read().unwrap(), worker.read().unwrap());
        assert_eq!(pong.to_string(), "\"w\"");
        let status = call(&mut planner, &["GET", &format!("job:{job}:status")]);
        match popped {
            Frame::Line(b'*', _) => assert_eq!(status, "\"pending\""),
            Frame::Blob(_, id) => assert_eq!((id, status.as_str()), (job.clone().into_bytes(), "\"running\"")),
            other => panic!("a pop answered {other}"),
        }
        // The worker never saw the answer and asks again: it is the same job, whatever the answer was.
        worker.send(&[pop()]).unwrap();
        assert_eq!(worker.read().unwrap().to_string(), format!("\"{job}\""));
        assert_eq!(call(&mut worker, &["SET", &format!("job:{job}:status"), "completed"]), "+OK");
        assert_eq!(call(&mut worker, &["LREM", "queue:processing", "1", &job]), ":1");
    }
    assert_eq!(call(&mut planner, &["LLEN", "queue:processing"]), ":0");
}

#[test]
fn a_worker_that_hangs_up_while_its_pop_waits_claims_nothing() {
    let server = Server::agq(&[]);
    let mut planner = server.connect();
    let mut worker = server.connect();
    worker.send(&[vec![b"BRPOP".to_vec(), b"queue:ready".to_vec(), b"0".to_vec()]]).unwrap();
    let blocked = |planner: &mut Wire, count: usize| {
        let began = std::time::Instant::now();
        while !call(planner, &["INFO", "clients"]).contains(&format!("blocked_clients:{count}\\r")) {
            assert!(began.elapsed().as_secs() < 10, "not {count} blocked clients");
        }
    };
    blocked(&mut planner, 1);
    drop(worker);
    blocked(&mut planner, 0);
    with_job(&mut planner, "j");
    assert_eq!(call(&mut planner, &["GET", "job:j:status"]), "\"pending\"");
}

/// After a restart the numbers of connections begin anew: one that happens to have the number of a worker that is
/// gone keeps nothing alive for it.
#[test]
fn a_claim_outlives_a_restart_by_its_grace_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &["--lease", "1"]);
    let mut worker = server.connect();
    with_job(&mut worker, "j1");
    with_job(&mut worker, "j2");
    for job in ["\"j1\"", "\"j2\""] {
        assert_eq!(call(&mut worker, &["PING", "w"]), "\"w\"");
        assert_eq!(call(&mut worker, &["RPOPLPUSH", "queue:ready", "queue:processing"]), job);
    }
    server.kill();
    let server = Server::agq_in(dir.path(), &["--lease", "1"]);
    let mut worker = server.connect();
    assert_eq!(call(&mut worker, &["PING", "w"]), "\"w\"");
    assert_eq!(call(&mut worker, &["SET", "job:j1:status", "completed"]), "+OK", "its claim is still its own");
    until(&mut worker, &["GET", "job:j2:status"], "\"pending\"");
}

#[test]
fn of_too_much_output_head_and_tail_are_kept() {
    let server = Server::agq(&["--max-output", "64KiB"]);
    let mut worker = server.connect();
    with_job(&mut worker, "j");
    assert_eq!(call(&mut worker, &["RPOPLPUSH", "queue:ready", "queue:processing"]), "\"j\"");
    let output = format!("{}{}{}", "a".repeat(40_000), "b".repeat(40_000), "c".repeat(40_000));
    for _ in 0..2 {
        assert_eq!(call(&mut worker, &["SET", "job:j:stdout", &output]), "+OK");
        let kept = format!("\"{}{}\"", &output[..32_768], &output[output.len() - 32_768..]);
        assert!(call(&mut worker, &["GET", "job:j:stdout"]) == kept, "head and tail of 32 KiB each");
    }
    assert_eq!(call(&mut worker, &["SET", "job:j:status", "completed"]), "+OK");
    let result = call(&mut worker, &["JOB.RESULT", "j"]);
    assert!(result.contains(r#"\"stdout_bytes\":120000"#) && result.contains(r#"\"truncated\":true"#), "{result}");
}
