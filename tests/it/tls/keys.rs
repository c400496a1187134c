//! Certificates that name an access key.

use agq_client::{Client, ConnectOptions, Error};
use rustix::process::Signal;

use super::{KEY, Server, file, run};

/// A server that reads keys in certificates: those of `builder` and `two-keys` name some, that of `client` none.
fn start(more: &[&str]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let authorities = ["ca.pem", "keys-ca.pem"].map(|name| std::fs::read_to_string(file(name)).unwrap());
    let bundle = dir.path().join("clients.pem");
    std::fs::write(&bundle, authorities.concat()).unwrap();
    let bundle = bundle.display().to_string();
    // The server has read the file when it is ready.
    Server::start(&[&["--tls-client-ca", &bundle, "--tls-client-keys"], more].concat())
}

fn without_key(server: &Server, certificate: &str) -> ConnectOptions {
    let mut options = server.options("first", Some(certificate));
    options.key = None;
    options
}

/// What the first command is answered over a connection with no more than a certificate.
async fn refusal_of(server: &Server, certificate: &str) -> Error {
    let mut client = Client::connect(&without_key(server, certificate)).await.unwrap();
    client.call(&["PING"]).await.unwrap_err()
}

async fn make_key(admin: &mut Client, words: &[&str]) -> String {
    admin.call(&[&["KEY.CREATE"], words].concat()).await.unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_certificate_stands_in_for_the_secret_of_the_key_that_it_names() {
    run(async {
        let server = start(&[]);
        let mut admin = server.client("first", Some("client")).await;
        make_key(&mut admin, &["builder", "KEYS", "b*"]).await;
        let other = make_key(&mut admin, &["other", "KEYS", "o"]).await;
        let mut builder = Client::connect(&without_key(&server, "builder")).await.unwrap();
        assert_eq!(builder.call(&["ACL", "WHOAMI"]).await.unwrap().as_str(), Some("builder"));
        // More than anybody may send before a key, and the first that the connection sends.
        let mut large = Client::connect(&without_key(&server, "builder")).await.unwrap();
        large.call(&["SET", "b", &"x".repeat(1 << 20)]).await.unwrap();
        let refusal = builder.call(&["GET", "o"]).await.unwrap_err();
        assert!(refusal.to_string().contains("NOPERM the key 'builder'"), "{refusal}");
        // Another key's secret counts as over any other connection.
        builder.call(&["AUTH", &other]).await.unwrap();
        assert_eq!(builder.call(&["ACL", "WHOAMI"]).await.unwrap().as_str(), Some("other"));
        // Its end is that of the connections which act as it, and of no other.
        admin.call(&["KEY.REVOKE", "builder"]).await.unwrap();
        assert!(large.call(&["PING"]).await.is_err());
        builder.call(&["GET", "o"]).await.unwrap();
        let refusal = refusal_of(&server, "builder").await.to_string();
        assert!(refusal.contains("the access key 'builder', and there is none of this name"), "{refusal}");
        let audit = admin.call(&["ACL", "LOG", "1"]).await.unwrap();
        assert!(format!("{audit:?}").contains("the access key 'builder', and there is none"), "{audit:?}");
    });
}

#[test]
fn a_certificate_that_names_no_key_or_two_lets_nobody_in_by_itself() {
    run(async {
        let server = start(&[]);
        let mut admin = server.client("first", Some("client")).await;
        make_key(&mut admin, &["builder", "KEYS", "b*"]).await;
        assert_eq!(refusal_of(&server, "client").await.code(), Some("NOAUTH"));
        let refusal = refusal_of(&server, "two-keys").await;
        assert!(refusal.code() == Some("NOAUTH") && refusal.to_string().contains("'builder' and 'other'"), "{refusal}");
        // With the session key anybody is let in whom the authority knows.
        server.client("first", Some("two-keys")).await;
    });
}

#[test]
fn names_in_certificates_count_only_where_that_was_chosen() {
    run(async {
        let authority = file("keys-ca.pem");
        let mut server = Server::start(&["--tls-client-ca", &authority]);
        let mut admin = server.client("first", Some("builder")).await;
        assert_eq!(admin.call(&["ACL", "WHOAMI"]).await.unwrap().as_str(), Some("default"));
        make_key(&mut admin, &["builder", "KEYS", "b*"]).await;
        assert_eq!(refusal_of(&server, "builder").await.code(), Some("NOAUTH"));
        // It may be chosen while the server runs.
        std::fs::write(server.dir.path().join("agq.toml"), "[serve]\ntls-client-keys = true\n").unwrap();
        server.running.signal(Signal::HUP);
        server.running.wait_for("were read again");
        let mut builder = Client::connect(&without_key(&server, "builder")).await.unwrap();
        assert_eq!(builder.call(&["ACL", "WHOAMI"]).await.unwrap().as_str(), Some("builder"));
        // The session key still is the operator's, whose certificate names a key.
        assert_eq!(admin.call(&["ACL", "WHOAMI"]).await.unwrap().as_str(), Some("default"));
        assert_eq!(builder.call(&["AUTH", KEY]).await.unwrap().as_str(), Some("OK"));
        assert_eq!(builder.call(&["ACL", "WHOAMI"]).await.unwrap().as_str(), Some("default"));
    });
}
