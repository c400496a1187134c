//! What was acknowledged is there after a kill and after a stop.

use crate::support::server::Server;
use crate::support::wire::Wire;

fn shown(wire: &mut Wire, command: &str) -> String {
    wire.call(command).unwrap().to_string()
}

#[test]
fn lists_and_hashes_survive_a_kill_and_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "RPUSH l a b c b"), ":4");
    assert_eq!(shown(&mut wire, "LREM l 1 b"), ":1");
    assert_eq!(shown(&mut wire, "HSET h f 1"), ":1");
    server.kill();

    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "LRANGE l 0 -1"), r#"*3 "a" "c" "b""#);
    assert_eq!(shown(&mut wire, "HINCRBY h f 1"), ":2");
    assert_eq!(shown(&mut wire, "LPOP l"), "\"a\"");
    assert!(server.stop(), "SIGTERM must end the server without an error");

    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "LRANGE l 0 -1"), r#"*2 "c" "b""#);
    assert_eq!(shown(&mut wire, "HGETALL h"), r#"*2 "f" "2""#);
}

#[test]
fn shutdown_answers_nothing_ends_who_waits_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut waiting = server.connect();
    let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    waiting.send(&[words(&["BZPOPMIN", "q", "0"])]).unwrap();
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "ZADD z 1 a 2.5 b 3 c"), ":3");
    assert_eq!(shown(&mut wire, "ZPOPMIN z"), r#"*2 "a" "1""#);
    wire.send(&[words(&["SHUTDOWN", "NOSAVE"])]).unwrap();
    wire.read_end().unwrap();
    waiting.read_end().unwrap();
    assert!(server.ended(), "SHUTDOWN must end the server without an error");

    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "ZADD z GT CH 9 b 1 c"), ":1");
    assert_eq!(shown(&mut wire, "SETEX k 100 v"), "+OK");
    server.kill();

    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "ZRANGE z 0 -1 WITHSCORES"), r#"*4 "c" "3" "b" "9""#);
    assert_eq!(shown(&mut wire, "PERSIST k"), ":1");
}

#[test]
fn swapped_databases_sets_and_transactions_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "SADD s a b c"), ":3");
    assert_eq!(shown(&mut wire, "MULTI"), "+OK");
    assert_eq!(shown(&mut wire, "SREM s b"), "+QUEUED");
    assert_eq!(shown(&mut wire, "COPY s t"), "+QUEUED");
    assert_eq!(shown(&mut wire, "SET k v"), "+QUEUED");
    assert_eq!(shown(&mut wire, "EXEC"), "*3 :1 :1 +OK");
    assert_eq!(shown(&mut wire, "SWAPDB 0 1"), "+OK");
    assert_eq!(shown(&mut wire, "SET k other"), "+OK");
    server.kill();

    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "GET k"), "\"other\"");
    assert_eq!(shown(&mut wire, "SELECT 1"), "+OK");
    assert_eq!(shown(&mut wire, "SINTERCARD 2 s t"), ":2");
    assert_eq!(shown(&mut wire, "SPOP t 5").len(), r#"*2 "a" "c""#.len());
    assert_eq!(shown(&mut wire, "MGET k t"), r#"*2 "v" $-1"#);
}

#[test]
fn access_keys_and_the_audit_log_survive_a_kill_and_the_log_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    let secret = shown(&mut wire, "KEY.CREATE app KEYS a*").trim_matches('"').to_owned();
    assert!(secret.starts_with("agq_"), "{secret}");
    assert_eq!(shown(&mut wire, "KEY.CREATE gone KEYS *").len(), secret.len() + 2);
    assert_eq!(shown(&mut wire, "KEY.REVOKE gone"), "+OK");
    server.kill();

    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, &format!("AUTH app {secret}")), "+OK");
    assert_eq!(shown(&mut wire, "SET a 1"), "+OK");
    assert!(shown(&mut wire, "SET b 1").starts_with("-NOPERM "));
    let mut wire = server.connect();
    let audit = shown(&mut wire, "AUDIT.LIST");
    for told in ["KEY.CREATE", "KEY.REVOKE", "NOPERM the key"] {
        assert!(audit.contains(told), "{told}: {audit}");
    }
    assert!(!audit.contains(&secret[21..]) && !server.log().contains(&secret[21..]));
    assert!(!shown(&mut wire, "KEY.LIST").contains("gone"));
}
