//! Webhooks of the whole server: what endpoints are sent, and what becomes of it when they, or the server, fail.

mod endpoint;

use hmac::{Hmac, KeyInit, Mac};

use crate::support::program::{json, stdout};
use crate::support::server::Server;
use crate::support::wire::Wire;
use endpoint::{Endpoint, Taken};

const SECRET: &str = "a secret of some length";
/// Tries again at once.
const AT_ONCE: &str = r#""backoff":{"type":"fixed","ms":1}"#;

/// Sends one command whose words may hold blanks.
fn call(wire: &mut Wire, words: &[&str]) -> String {
    wire.send(&[words.iter().map(|word| word.as_bytes().to_vec()).collect()]).unwrap();
    wire.read().unwrap().to_string()
}

fn put(wire: &mut Wire, id: &str, url: &str, more: &str) {
    assert_eq!(call(wire, &["WEBHOOK.PUT", id, &format!(r#"{{"url":"{url}",{more}}}"#)]), "+OK");
}

fn submit(wire: &mut Wire, id: &str) {
    assert_eq!(call(wire, &["JOB.SUBMIT", &format!(r#"{{"kind":"k","job_id":"{id}"}}"#)]), format!("\"{id}\""));
}

/// Asks for a webhook until it says something.
fn wait_for(wire: &mut Wire, id: &str, what: &str) -> String {
    for _ in 0..100_000 {
        let shown = wire.call(&format!("WEBHOOK.GET {id}")).unwrap().to_string().replace('\\', "");
        if shown.contains(what) {
            return shown;
        }
        std::thread::yield_now();
    }
    panic!("{id} never says {what}: {}", wire.call(&format!("WEBHOOK.GET {id}")).unwrap());
}

fn assert_signed(taken: &Taken) {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.", taken.header("agq-timestamp")).as_bytes());
    mac.update(&taken.body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(taken.header("agq-signature"), format!("sha256={hex}"));
}

#[test]
fn a_delivery_is_signed_and_repeated_until_it_is_taken() {
    let (server, endpoint) = (Server::agq(&[]), Endpoint::http());
    let mut wire = server.connect();
    let terms = format!(r#""events":["job.pending"],"secret":"{SECRET}",{AT_ONCE}"#);
    put(&mut wire, "hook", &endpoint.url("/in?x=1"), &terms);
    submit(&mut wire, "a");
    let mut first = endpoint.take();
    assert_eq!(first.first_line, "POST /in?x=1 HTTP/1.1");
    assert_eq!(first.header("host"), endpoint.url("").strip_prefix("http://").unwrap());
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("user-agent"), concat!("agq/", env!("CARGO_PKG_VERSION")));
    assert_eq!((first.header("agq-webhook"), first.header("agq-event")), ("hook", "job.pending"));
    assert_eq!(first.header("agq-delivery"), "hook-1");
    assert_signed(&first);
    let event = first.json();
    assert_eq!((&event["type"], &event["seq"], &event["job_id"]), (&"job.pending".into(), &1.into(), &"a".into()));
    assert_eq!((&event["job"]["job_id"], &event["job"]["kind"]), (&"a".into(), &"k".into()));
    first.answer("500 Internal Server Error", "no room");
    let mut again = endpoint.take();
    assert_eq!(again.header("agq-delivery"), "hook-1");
    assert_signed(&again);
    let shown = wait_for(&mut wire, "hook", r#""failed_attempts":1"#);
    assert!(shown.contains(r#""last_error":"500 Internal Server Error: no room""#), "{shown}");
    assert!(shown.contains(r#""signed":true"#) && !shown.contains(SECRET), "{shown}");
    again.answer("204 No Content", "");
    wait_for(&mut wire, "hook", r#""delivered":1,"#);
    submit(&mut wire, "b");
    assert_eq!(endpoint.accept().json()["job_id"], "b");
    assert!(server.stop());
}

#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    const JOBS: usize = 20;
    let (dir, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::http());
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    put(&mut wire, "hook", &endpoint.url("/"), &format!(r#""events":["job.pending"],{AT_ONCE}"#));
    (0..JOBS).for_each(|n| submit(&mut wire, &format!("j{n}")));
    let mut told: Vec<String> = (0..5).map(|_| endpoint.accept().header("agq-delivery").to_owned()).collect();
    // It is killed while one is under way.
    let mut cut = endpoint.take();
    server.kill();
    cut.answer("200 OK", "");
    told.push(cut.header("agq-delivery").to_owned());
    let server = Server::agq_in(dir.path(), &[]);
    while told.last().is_some_and(|last| *last != format!("hook-{JOBS}")) {
        told.push(endpoint.accept().header("agq-delivery").to_owned());
    }
    assert_eq!(told.iter().filter(|delivery| **delivery == cut.header("agq-delivery")).count(), 2, "{told:?}");
    told.dedup();
    // The last answer before the kill may not have been noted: then that delivery came again too.
    let numbers: Vec<usize> = told.iter().map(|delivery| delivery["hook-".len()..].parse().unwrap()).collect();
    for (before, next) in numbers.iter().zip(numbers.iter().skip(1)) {
        assert!(*next == before + 1 || (*next <= *before && before - next <= 1), "{numbers:?}");
    }
    wait_for(&mut server.connect(), "hook", r#""given_up":0,"passed_over":0"#);
    assert!(server.stop());
}

#[test]
fn an_endpoint_that_never_answers_holds_up_nobody_else_nor_the_stop() {
    let (server, silent, good) = (Server::agq(&[]), Endpoint::http(), Endpoint::http());
    let mut wire = server.connect();
    put(&mut wire, "silent", &silent.url("/"), r#""events":["*"],"timeout_ms":60000"#);
    put(&mut wire, "good", &good.url("/"), r#""events":["*"]"#);
    submit(&mut wire, "a");
    let _unanswered = silent.take();
    assert_eq!(good.accept().json()["job_id"], "a");
    submit(&mut wire, "b");
    assert_eq!(good.accept().json()["job_id"], "b");
    assert!(server.stop());
}

#[test]
fn a_slow_endpoint_is_given_so_long_and_an_answer_is_read_no_further_than_needed() {
    let (server, endpoint) = (Server::agq(&[]), Endpoint::http());
    let mut wire = server.connect();
    let terms = format!(r#""events":["*"],"timeout_ms":100,"max_attempts":2,{AT_ONCE}"#);
    put(&mut wire, "hook", &endpoint.url("/"), &terms);
    submit(&mut wire, "a");
    let _unanswered = (endpoint.take(), endpoint.take());
    let shown = wait_for(&mut wire, "hook", r#""given_up":1,"#);
    assert!(shown.contains(r#""last_error":"no answer within 100 ms""#), "{shown}");
    put(&mut wire, "hook", &endpoint.url("/"), &format!(r#""events":["*"],"max_attempts":3,{AT_ONCE}"#));
    submit(&mut wire, "b");
    let much = "x".repeat(1 << 20);
    endpoint.take().answer(&format!("200 OK\r\nx: {much}"), "");
    wait_for(&mut wire, "hook", r#""failed_attempts":1,"#);
    endpoint.take().answer("302 Found\r\nlocation: /elsewhere", "");
    wait_for(&mut wire, "hook", r#""last_error":"302 Found: redirects are not followed""#);
    endpoint.take().answer("200 OK", &much);
    wait_for(&mut wire, "hook", r#""delivered":1,"#);
}

#[test]
fn an_endpoint_that_is_gone_pauses_its_webhook() {
    let (dir, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::http());
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let more = ["--events", "job.*,action.failed", "--secret-file", secret.to_str().unwrap()];
    let url = endpoint.url("/");
    stdout(dir.path(), &[&["webhook", "add", "hook", &url][..], &more].concat());
    submit(&mut wire, "a");
    endpoint.take().answer("410 Gone", "");
    wait_for(&mut wire, "hook", r#""paused":true,"gone":true"#);
    assert!(stdout(dir.path(), &["webhook", "list"]).contains("gone"));
    stdout(dir.path(), &["webhook", "resume", "hook"]);
    let again = endpoint.accept();
    assert_eq!(again.header("agq-delivery"), "hook-1");
    assert_signed(&again);
    wait_for(&mut wire, "hook", r#""delivered":1,"#);
    stdout(dir.path(), &["webhook", "pause", "hook"]);
    assert_eq!(json(dir.path(), &["webhook", "get", "hook", "--json"]).0["paused"], true);
    stdout(dir.path(), &["webhook", "delete", "hook"]);
    assert_eq!(json(dir.path(), &["webhook", "list", "--json"]).0, serde_json::json!([]));
}

#[test]
fn the_deliveries_go_on_after_their_connection_was_killed() {
    let (server, endpoint) = (Server::agq(&[]), Endpoint::http());
    let mut wire = server.connect();
    put(&mut wire, "hook", &endpoint.url("/"), r#""events":["*"]"#);
    submit(&mut wire, "a");
    endpoint.accept();
    assert_eq!(wire.call("CLIENT KILL TYPE normal SKIPME yes").unwrap().to_string(), ":1");
    submit(&mut wire, "b");
    assert_eq!(endpoint.accept().json()["job_id"], "b");
}

#[test]
fn https_endpoints_are_sent_to_when_their_certificate_is_trusted() {
    let (dir, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::https());
    let roots = format!("{}/tests/it/webhooks/ca.pem", env!("CARGO_MANIFEST_DIR"));
    let mut command = Server::command(dir.path(), &[]);
    command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
    let server = Server::start(&mut command, dir.path());
    let mut wire = server.connect();
    let port = endpoint.port();
    put(&mut wire, "named", &format!("https://localhost:{port}/x"), r#""events":["*"]"#);
    put(&mut wire, "other", &format!("https://127.0.0.1:{port}/x"), r#""events":["*"]"#);
    submit(&mut wire, "a");
    let taken = endpoint.accept();
    assert_eq!((taken.header("agq-delivery"), &taken.json()["job_id"]), ("named-1", &"a".into()));
    let shown = wait_for(&mut wire, "other", r#""last_error""#);
    assert!(shown.contains("TLS with '127.0.0.1': "), "{shown}");
}
