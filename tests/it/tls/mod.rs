//! TLS of the whole server: who is let in, what goes through, and certificates that are renewed.

mod keys;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use agq_client::{Address, Client, ClientFiles, ConnectOptions};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::program::Running;

const KEY: &str = "the key";

fn file(name: &str) -> String {
    format!("{}/tests/it/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A server with TLS whose certificate and key stand in its folder, to be changed.
struct Server {
    dir: TempDir,
    running: Running,
    address: String,
}

impl Server {
    fn start(more: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        certify(dir.path(), "first");
        let own = |name: &str| dir.path().join(name).display().to_string();
        let (certificate, key) = (own("cert.pem"), own("key.pem"));
        let mut args = vec!["serve", "--bind", "", "--tls-bind", "127.0.0.1:0", "--session-key", KEY];
        args.extend(["--tls-cert", &certificate, "--tls-key", &key]);
        args.extend(more);
        let mut running = Running::start(dir.path(), &args);
        let ready = running.wait_for("ready");
        let (_, address) = ready.rsplit_once("tls://").unwrap();
        let address = address.trim_end().trim_end_matches('"').to_owned();
        Server { dir, running, address }
    }

    fn options(&self, name: &str, client: Option<&str>) -> ConnectOptions {
        let mut options = ConnectOptions::new(Address::Tls(self.address.clone()));
        options.key = Some(KEY.to_owned());
        options.server_name = Some(format!("{name}.example"));
        let identity = client.map(|name| (file(&format!("{name}.pem")).into(), file(&format!("{name}.key")).into()));
        options.tls = ClientFiles { ca: Some(file("ca.pem").into()), identity };
        options
    }

    async fn client(&self, name: &str, client: Option<&str>) -> Client {
        Client::connect(&self.options(name, client)).await.unwrap()
    }

    async fn refusal(&self, name: &str, client: Option<&str>) -> String {
        match Client::connect(&self.options(name, client)).await {
            Ok(_) => panic!("it was let in"),
            Err(error) => error.to_string(),
        }
    }
}

/// Puts a pair of files where the server reads them.
fn certify(dir: &Path, name: &str) {
    std::fs::copy(file(&format!("{name}.pem")), dir.join("cert.pem")).unwrap();
    std::fs::copy(file(&format!("{name}.key")), dir.join("key.pem")).unwrap();
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn much_goes_through_whole_and_a_stop_loses_no_reply() {
    run(async {
        let server = Server::start(&[]);
        let mut client = server.client("first", None).await;
        let value = "0123456789".repeat(300_000);
        client.call(&["SET", "a", &value]).await.unwrap();
        let reads: Vec<Vec<&str>> = vec![vec!["GET", "a"]; 5];
        for reply in client.pipeline(&reads).await.unwrap() {
            assert!(reply.as_str() == Some(value.as_str()));
        }
        assert!(server.refusal("second", None).await.contains("not valid for name"));
        // The server stops with replies under way that are larger than any buffer between the two.
        for _ in 0..5 {
            client.send(&["GET", "a"]).unwrap();
        }
        client.flush().await.unwrap();
        assert!(client.receive().await.unwrap().as_str() == Some(value.as_str()));
        let mut other = server.client("first", None).await;
        other.send(&["SHUTDOWN"]).unwrap();
        other.flush().await.unwrap();
        let mut taken = 1;
        while let Ok(reply) = client.receive().await {
            assert!(reply.as_str() == Some(value.as_str()), "a reply is whole or not there");
            taken += 1;
        }
        assert!(taken >= 1);
        assert!(server.running.end().0.success());
    });
}

#[test]
fn clients_need_a_certificate_of_the_authority_where_it_is_required() {
    run(async {
        let authority = file("ca.pem");
        let server = Server::start(&["--tls-client-ca", &authority]);
        let mut client = server.client("first", Some("client")).await;
        assert_eq!(client.call(&["PING"]).await.unwrap().as_str(), Some("PONG"));
        assert!(server.refusal("first", None).await.contains("CertificateRequired"));
        assert!(server.refusal("first", Some("stranger")).await.contains("UnknownCA"));
        let mut wrong = server.options("first", Some("client"));
        wrong.key = Some("another".to_owned());
        assert_eq!(Client::connect(&wrong).await.unwrap_err().code(), Some("WRONGPASS"));
        // Asked for, not required: a bad one is still refused.
        let server = Server::start(&["--tls-client-ca", &authority, "--tls-client-auth", "optional"]);
        server.client("first", None).await;
        server.client("first", Some("client")).await;
        assert!(server.refusal("first", Some("stranger")).await.contains("UnknownCA"));
    });
}

#[test]
fn a_client_is_hung_up_on_when_it_is_killed_or_there_are_too_many() {
    run(async {
        let server = Server::start(&["--max-clients", "2"]);
        let mut client = server.client("first", None).await;
        let mut other = server.client("first", None).await;
        for _ in 0..20 {
            let refusal = server.refusal("first", None).await;
            assert!(refusal.contains("max number of clients reached"), "{refusal}");
        }
        let id = other.call(&["CLIENT", "ID"]).await.unwrap().as_int().unwrap().to_string();
        client.call(&["CLIENT", "KILL", "ID", &id]).await.unwrap();
        assert!(other.call(&["PING"]).await.is_err());
        server.client("first", None).await;
    });
}

#[test]
fn who_speaks_no_tls_harms_nobody() {
    run(async {
        let server = Server::start(&[]);
        let silent = TcpStream::connect(&server.address).unwrap();
        let mut plain = TcpStream::connect(&server.address).unwrap();
        plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        plain.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
        let mut answer = Vec::new();
        plain.read_to_end(&mut answer).unwrap();
        // An alert, and nothing of the Redis protocol.
        assert_eq!(answer.first(), Some(&21), "{answer:?}");
        server.client("first", None).await;
        drop(silent);
    });
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_and_a_bad_one_to_none() {
    run(async {
        let mut server = Server::start(&[]);
        let mut before = server.client("first", None).await;
        certify(server.dir.path(), "second");
        server.running.signal(Signal::HUP);
        server.running.wait_for("were read again");
        server.client("second", None).await;
        assert!(server.refusal("first", None).await.contains("not valid for name"));
        // The key of another certificate.
        std::fs::copy(file("first.key"), server.dir.path().join("key.pem")).unwrap();
        server.running.signal(Signal::HUP);
        let line = server.running.wait_for("nothing was changed");
        assert!(line.contains("do not go together"), "{line}");
        std::fs::write(server.dir.path().join("cert.pem"), "no certificate").unwrap();
        server.running.signal(Signal::HUP);
        let line = server.running.wait_for("nothing was changed");
        assert!(line.contains("cert.pem: it holds none in PEM form"), "{line}");
        server.client("second", None).await;
        assert_eq!(before.call(&["PING"]).await.unwrap().as_str(), Some("PONG"));
    });
}

#[test]
fn config_set_renews_certificates_or_changes_nothing() {
    run(async {
        let server = Server::start(&[]);
        let mut admin = server.client("first", None).await;
        let [certificate, key] = ["second.pem", "second.key"].map(file);
        // Half of a pair, and a pair with another thing that is wrong.
        let refusal = admin.call(&["CONFIG", "SET", "tls-cert-file", &certificate]).await.unwrap_err().to_string();
        assert!(refusal.contains("'tls-cert-file'") && refusal.contains("do not go together"), "{refusal}");
        let both = ["CONFIG", "SET", "tls-cert-file", &certificate, "tls-key-file", &key];
        let refusal = admin.call(&[&both[..], &["lease", "0"]].concat()).await.unwrap_err().to_string();
        assert!(refusal.contains("'lease'"), "{refusal}");
        server.client("first", None).await;
        admin.call(&both).await.unwrap();
        server.client("second", None).await;
        assert!(server.refusal("first", None).await.contains("not valid for name"));
        let shown = admin.call(&["CONFIG", "GET", "tls-cert-file"]).await.unwrap();
        assert!(format!("{shown:?}").contains("second.pem"), "{shown:?}");
        // From now on clients need a certificate.
        admin.call(&["CONFIG", "SET", "tls-ca-cert-file", &file("ca.pem")]).await.unwrap();
        assert!(server.refusal("second", None).await.contains("CertificateRequired"));
        server.client("second", Some("client")).await;
    });
}

#[test]
fn the_command_line_reaches_it() {
    let server = Server::start(&[]);
    let authority = file("ca.pem");
    let address = format!("rediss://{}", server.address);
    let dir = tempfile::tempdir().unwrap();
    let ping = |more: &[&str]| {
        let output = crate::support::program::output(
            dir.path(),
            &[&["ping", "--server", &address, "--key", KEY], more].concat(),
        );
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(ping(&["--tls-ca", &authority]), (Some(0), String::new()));
    let (code, error) = ping(&["--tls-ca", &authority, "--tls-server-name", "second.example"]);
    assert!(code == Some(3) && error.contains("--tls-server-name"), "{error}");
    let other = file("other-ca.pem");
    let (code, error) = ping(&["--tls-ca", &other]);
    assert!(code == Some(3) && error.contains("--tls-ca"), "{error}");
}
