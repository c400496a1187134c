//! Clients that mean no good, or mean well and are slow: what each may take, and that the others notice nothing.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::server::Server;
use crate::support::wire::Wire;

const KEY: &[&str] = &["--session-key", "sesame"];

fn with_key(more: &[&str]) -> Server {
    Server::agq(&[KEY, more].concat())
}

fn says(wire: &mut Wire, command: &str) -> String {
    wire.call(command).unwrap().to_string()
}

fn let_in(server: &Server) -> Wire {
    let mut wire = server.connect();
    assert_eq!(says(&mut wire, "AUTH sesame"), "+OK");
    wire
}

/// A figure of INFO.
fn figure(wire: &mut Wire, name: &str) -> u64 {
    let text = says(wire, "INFO clients stats").replace("\\r\\n", "\n");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Asks for a figure of INFO until it is what it has to become.
fn wait_for(wire: &mut Wire, name: &str, value: u64) {
    let began = Instant::now();
    while figure(wire, name) != value {
        assert!(began.elapsed() < Duration::from_secs(30), "{name} is still {}", figure(wire, name));
        std::thread::yield_now();
    }
}

#[test]
fn only_the_answer_to_a_wrong_key_waits() {
    let server = with_key(&["--auth-delay", "60000"]);
    let mut guesser = server.connect();
    guesser.send(&[vec![b"AUTH".to_vec(), b"guess".to_vec()]]).unwrap();
    // Through the same socket, so counted as the same address; and what it says before and after is as quick.
    let mut right = let_in(&server);
    assert!(!guesser.has_reply().unwrap());
    let commands = ["PING", "AUTH guess", "PING"].map(|text| text.split(' ').map(|word| word.into()).collect());
    right.send(&commands).unwrap();
    assert_eq!(right.read().unwrap().to_string(), "+PONG");
    let mut other = let_in(&server);
    wait_for(&mut other, "wrong_keys", 2);
    assert!(!right.has_reply().unwrap());
}

#[test]
fn the_answer_to_a_wrong_key_comes_and_what_follows_it_too() {
    let server = with_key(&["--auth-delay", "1"]);
    let mut wire = let_in(&server);
    let commands = ["AUTH x", "AUTH y", "PING"];
    wire.send(&commands.map(|text| text.split(' ').map(|word| word.into()).collect())).unwrap();
    let replies: Vec<_> = (0..3).map(|_| wire.read().unwrap().to_string()).collect();
    assert!(replies[1].contains("WRONGPASS") && replies[2] == "+PONG", "{replies:?}");
    assert_eq!(figure(&mut wire, "wrong_keys"), 2);
    wire.send(&["AUTH x", "AUTH sesame"].map(|text| text.split(' ').map(|word| word.into()).collect())).unwrap();
    assert!(wire.read().unwrap().to_string().starts_with("-WRONGPASS"));
    assert_eq!(wire.read().unwrap().to_string(), "+OK");
}

#[test]
fn a_wrong_access_key_counts_as_a_wrong_key() {
    let server = with_key(&["--auth-delay", "0"]);
    let mut wire = let_in(&server);
    let made = says(&mut wire, "KEY.CREATE ci READ *");
    let start = made.find("agq_").unwrap_or_else(|| panic!("no secret in {made}"));
    let secret: String = made[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let nobodys = format!("agq_{}_{}", "0".repeat(16), "0".repeat(64));
    let wrong = [
        format!("AUTH {nobodys}"),
        format!("AUTH ci {nobodys}"),
        format!("AUTH other {secret}"),
        format!("AUTH ci {}", "0".repeat(64)),
        format!("HELLO 3 AUTH ci {nobodys}"),
    ];
    let mut guesser = server.connect();
    for command in &wrong {
        let said = says(&mut guesser, command);
        assert!(said.starts_with("-WRONGPASS"), "{command}: {said}");
    }
    assert_eq!(says(&mut guesser, &format!("AUTH ci {secret}")), "+OK");
    assert_eq!(figure(&mut wire, "wrong_keys"), wrong.len() as u64);
}

#[test]
fn who_gives_no_key_in_time_is_ended() {
    let server = with_key(&["--auth-timeout", "1"]);
    let mut known = let_in(&server);
    let mut stranger = server.connect();
    assert!(stranger.read().unwrap().to_string().starts_with("-ERR no key was given in time"));
    stranger.read_end().unwrap();
    // Commands that are refused are no key either.
    let mut stranger = server.connect();
    let ended = std::iter::from_fn(|| stranger.call("PING").ok()).find(|reply| !reply.to_string().contains("NOAUTH"));
    assert!(ended.is_none_or(|reply| reply.to_string().contains("no key was given")));
    assert_eq!(figure(&mut known, "auth_timeout_disconnections"), 2);
}

#[test]
fn half_a_request_is_not_waited_for_and_a_whole_one_is() {
    let server = Server::agq(&["--request-timeout", "1"]);
    let mut quiet = server.connect();
    quiet.call("PING").unwrap();
    let mut half = server.connect();
    half.raw(b"*2\r\n$4\r\nECHO\r\n$100\r\nabc").unwrap();
    assert!(half.read().unwrap().to_string().contains("did not come to its end in time"));
    half.read_end().unwrap();
    // That was longer than a second ago for this one, which had said all it wanted.
    assert_eq!(says(&mut quiet, "PING"), "+PONG");
    assert_eq!(figure(&mut quiet, "request_timeout_disconnections"), 1);
}

#[test]
fn silence_ends_a_connection_that_neither_waits_nor_listens() {
    let server = Server::agq(&["--idle-timeout", "1"]);
    let (mut listens, mut waits, mut silent) = (server.connect(), server.connect(), server.connect());
    listens.call("SUBSCRIBE c").unwrap();
    waits.send(&[["BLPOP", "q", "0"].map(|word| word.into()).to_vec()]).unwrap();
    silent.call("PING").unwrap();
    silent.read_end().unwrap();
    let mut other = server.connect();
    assert_eq!(says(&mut other, "PUBLISH c hello"), ":1");
    assert_eq!(listens.read().unwrap().to_string(), "*3 \"message\" \"c\" \"hello\"");
    assert_eq!(says(&mut other, "RPUSH q a"), ":1");
    assert_eq!(waits.read().unwrap().to_string(), "*2 \"q\" \"a\"");
}

#[test]
fn places_are_bounded_and_come_back() {
    let server = Server::agq(&["--max-clients", "2"]);
    let (mut first, second) = (server.connect(), server.connect());
    first.call("PING").unwrap();
    let mut third = server.connect();
    assert_eq!(third.read().unwrap().to_string(), "-ERR max number of clients reached");
    third.read_end().unwrap();
    assert_eq!(figure(&mut first, "rejected_connections"), 1);
    drop(second);
    wait_for(&mut first, "connected_clients", 1);
    assert_eq!(says(&mut server.connect(), "PING"), "+PONG");
}

#[test]
fn a_reply_past_its_limit_is_refused_and_several_end_the_connection_that_asked_for_them() {
    let server = Server::agq(&["--replies-limit", "1MiB"]);
    let (mut greedy, mut other) = (server.connect(), server.connect());
    assert_eq!(says(&mut greedy, "SETRANGE big 2000000 x"), ":2000001");
    for command in ["GET big", "GETDEL big"] {
        let refused = says(&mut greedy, command);
        assert!(refused.starts_with("-ERR a reply, that of EXEC as a whole, may take 1048576 bytes"), "{refused}");
    }
    assert_eq!(says(&mut other, "STRLEN big"), ":2000001");
    assert_eq!(says(&mut greedy, "SETRANGE half 600000 x"), ":600001");
    greedy.send(&vec![["GET", "half"].map(|word| word.into()).to_vec(); 2]).unwrap();
    greedy.read_end().unwrap();
    assert_eq!(figure(&mut other, "client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn no_reply_is_larger_than_what_all_clients_may_hold() {
    let server = Server::agq(&["--max-client-memory", "4MiB"]);
    let mut greedy = server.connect();
    assert_eq!(says(&mut greedy, "SETRANGE k 1000000 x"), ":1000001");
    let refused = says(&mut greedy, &format!("MGET{}", " k".repeat(4000)));
    assert!(refused.contains("may take 4194304 bytes"), "{refused}");
    assert!(says(&mut greedy, "MGET k k k").starts_with("*3 "));
    assert_eq!(figure(&mut greedy, "evicted_clients"), 0);
}

#[test]
fn who_takes_no_replies_is_ended() {
    let server = Server::agq(&["--write-timeout", "1"]);
    let (mut deaf, mut other) = (server.connect(), server.connect());
    other.call("SETRANGE big 900000 x").unwrap();
    deaf.send(&vec![["GET", "big"].map(|word| word.into()).to_vec(); 8]).unwrap();
    wait_for(&mut other, "write_timeout_disconnections", 1);
    wait_for(&mut other, "connected_clients", 1);
}

#[test]
fn of_those_who_hold_too_much_together_the_largest_is_ended() {
    let server = Server::agq(&["--max-client-memory", "8MiB"]);
    let (mut modest, mut greedy) = (server.connect(), server.connect());
    modest.raw(format!("*2\r\n$4\r\nECHO\r\n$3000000\r\n{}", "x".repeat(2_999_999)).as_bytes()).unwrap();
    // It may be ended while it still sends.
    let _ = greedy.raw(format!("*2\r\n$4\r\nECHO\r\n$20000000\r\n{}", "x".repeat(10_000_000)).as_bytes());
    wait_for(&mut server.connect(), "evicted_clients", 1);
    modest.raw(b"x\r\n").unwrap();
    assert_eq!(modest.read().unwrap().to_string().len(), 3_000_002);
    // What MULTI queues counts as well.
    let mut queues = server.connect();
    queues.call("MULTI").unwrap();
    let command = [b"SET".to_vec(), b"a".to_vec(), vec![b'x'; 1 << 20]].to_vec();
    let queued =
        (0..20).take_while(|_| queues.send(std::slice::from_ref(&command)).and_then(|()| queues.read()).is_ok());
    assert!((4..=9).contains(&queued.count()));
    let mut other = server.connect();
    assert_eq!(figure(&mut other, "evicted_clients"), 2);
    // What nobody holds any more is not counted: the question itself is all that is left.
    assert!(figure(&mut other, "clients_memory") < 100);
}

#[test]
fn what_a_client_watches_or_waits_for_counts_among_what_it_holds() {
    let server = Server::agq(&["--max-client-memory", "4MiB"]);
    let mut other = server.connect();
    let keys: String = (0..15_000).map(|n| format!(" k{n}")).collect();
    for (nth, command) in [format!("WATCH{keys}"), format!("BLPOP{keys} 0")].iter().enumerate() {
        let mut greedy = server.connect();
        let words = command.split(' ').map(|word| word.into()).collect::<Vec<Vec<u8>>>();
        greedy.send(&[words]).unwrap();
        greedy.read_end().unwrap();
        assert_eq!(figure(&mut other, "evicted_clients"), nth as u64 + 1);
    }
    assert!(figure(&mut other, "clients_memory") < 100);
}

#[test]
fn a_message_that_many_patterns_of_one_client_fit_is_made_no_oftener_than_it_may_wait() {
    let server = Server::agq(&["--messages-limit", "1MiB"]);
    let (mut greedy, mut modest, mut publisher) = (server.connect(), server.connect(), server.connect());
    let patterns: String = (0..50).map(|n| format!(" {}", "*".repeat(n + 1))).collect();
    let words = format!("PSUBSCRIBE{patterns}").split(' ').map(|word| word.into()).collect::<Vec<Vec<u8>>>();
    greedy.send(&[words]).unwrap();
    for _ in 0..50 {
        greedy.read().unwrap();
    }
    modest.call("SUBSCRIBE a").unwrap();
    assert_eq!(says(&mut publisher, &format!("PUBLISH a {}", "x".repeat(100_000))), ":51");
    greedy.read_end().unwrap();
    assert!(modest.read().unwrap().to_string().len() > 100_000);
    assert_eq!(figure(&mut publisher, "client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn names_have_a_longest() {
    let server = Server::agq(&[]);
    let mut wire = server.connect();
    let (long, longest) = ("x".repeat(257), "y".repeat(256));
    for command in ["CLIENT SETNAME", "CLIENT SETINFO lib-name", "CLIENT SETINFO LIB-VER", "HELLO 3 SETNAME"] {
        let refused = says(&mut wire, &format!("{command} {long}"));
        let expected = "cannot be longer than 256 bytes: this one has 257, choose a shorter one";
        assert!(refused.starts_with("-ERR ") && refused.ends_with(expected), "{refused}");
        assert!(!says(&mut wire, &format!("{command} {longest}")).starts_with('-'), "{command}");
    }
    let info = says(&mut wire, "CLIENT INFO");
    assert_eq!((info.contains('x') && info.contains(&long), info.matches(&longest).count()), (false, 3));
}

#[test]
fn half_a_request_is_counted_however_small() {
    let server = Server::agq(&[]);
    let (mut half, mut other) = (server.connect(), server.connect());
    half.raw(format!("*2\r\n$4\r\nECHO\r\n$16000\r\n{}", "x".repeat(8000)).as_bytes()).unwrap();
    let began = Instant::now();
    while figure(&mut other, "clients_memory") < 8000 {
        assert!(began.elapsed() < Duration::from_secs(30), "8,000 bytes of a half request are not counted");
    }
}

#[test]
fn a_bounded_rate_makes_commands_wait_and_refuses_none() {
    let server = Server::agq(&["--max-command-rate", "10"]);
    let mut wire = server.connect();
    let began = Instant::now();
    wire.send(&vec![vec![b"PING".to_vec()]; 15]).unwrap();
    for _ in 0..15 {
        assert_eq!(wire.read().unwrap().to_string(), "+PONG");
    }
    // Ten at once, the others a tenth of a second after each other.
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[test]
fn arguments_and_requests_have_a_longest() {
    let server = Server::agq(&["--max-argument", "16KiB", "--max-request", "32KiB"]);
    let mut wire = server.connect();
    assert_eq!(says(&mut wire, &format!("SET a {}", "x".repeat(16 << 10))), "+OK");
    assert!(says(&mut wire, &format!("SET a {}", "x".repeat((16 << 10) + 1))).contains("invalid bulk length"));
    let mut wire = server.connect();
    let long = "x".repeat(16 << 10);
    assert!(says(&mut wire, &format!("MSET a {long} b {long} c {long}")).contains("too big request"));
    wire.read_end().unwrap();
    let mut wire = server.connect();
    assert_eq!(says(&mut wire, "CONFIG GET proto-max-bulk-len"), "*2 \"proto-max-bulk-len\" \"16384\"");
}

#[test]
fn a_browser_that_is_led_to_the_port_runs_nothing() {
    let server = Server::agq(&[]);
    for request in ["POST / HTTP/1.1\r\nSET a 1\r\n", "GET /\r\nHost: localhost\r\n\r\nSET a 1\r\n"] {
        let mut browser = server.connect();
        browser.raw(request.as_bytes()).unwrap();
        let replies = std::iter::from_fn(|| browser.read().ok());
        assert!(replies.map(|reply| reply.to_string()).all(|reply| reply != "+OK"));
    }
    assert_eq!(says(&mut server.connect(), "EXISTS a"), ":0");
}

#[test]
fn too_few_open_files_are_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_agq"), "--no-auth"]);
    command.args(["--bind", "127.0.0.1:0", "--data-dir"]).arg(dir.path());
    command.arg("--socket").arg(dir.path().join("test.sock"));
    command.env("AGQ_LOG", "info").stdout(Stdio::null()).stderr(Stdio::piped());
    let server = Server::start(&mut command, dir.path());
    assert!(server.log().contains("36 connections are accepted at a time"), "{}", server.log());
    assert_eq!(says(&mut server.connect(), "CONFIG GET maxclients"), "*2 \"maxclients\" \"36\"");
}
