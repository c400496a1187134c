//! Messages beyond what a conversation shows: a subscriber that takes none of them.

use crate::support::server::Server;

#[test]
fn a_subscriber_that_takes_no_messages_is_ended_and_harms_nobody() {
    let server = Server::agq(&[]);
    let mut deaf = server.connect();
    deaf.call("SUBSCRIBE c").unwrap();
    let mut publisher = server.connect();
    let message = "x".repeat(1 << 20);
    let publish = [b"PUBLISH".to_vec(), b"c".to_vec(), message.into_bytes()];
    let mut sent = 0;
    // 32 MiB may wait for it, beside what the sockets hold.
    loop {
        publisher.send(std::slice::from_ref(&publish.to_vec())).unwrap();
        sent += 1;
        if publisher.read().unwrap().to_string() == ":0" {
            break;
        }
        assert!(sent < 200, "{sent} messages of 1 MiB wait for a subscriber");
    }
    assert!(sent > 30, "it was ended after {sent} messages");
    assert_eq!(publisher.call("PING").unwrap().to_string(), "+PONG");
}
