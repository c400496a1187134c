//! The client against a server inside the test, which answers from a script.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]

use agq_client::{Address, Client, ConnectOptions, Error, Protocol, Reply};
use agq_resp::{Limits, RequestDecoder};
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, UnixListener};

/// Longer than any test takes: a client that waits so long has hung.
const LONG: Duration = Duration::from_secs(60);

/// Answers one request after the other with these bytes, then closes. Returns the requests, each
/// as its arguments with blanks between.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answers: &[&[u8]]) -> Vec<String> {
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut input = BytesMut::new();
    let mut requests = Vec::new();
    for answer in answers {
        let request = loop {
            if let Some(request) = decoder.decode(&mut input).unwrap() {
                break request;
            }
            if stream.read_buf(&mut input).await.unwrap() == 0 {
                return requests;
            }
        };
        requests.push(String::from_utf8(request.iter().collect::<Vec<_>>().join(&b' ')).unwrap());
        stream.write_all(answer).await.unwrap();
    }
    requests
}

/// A client of a server that has these answers.
fn client_of(answers: &'static [&'static [u8]]) -> (Client, tokio::task::JoinHandle<Vec<String>>) {
    let (near, far) = duplex(64 * 1024);
    (Client::over(near, LONG), tokio::spawn(serve(far, answers)))
}

#[tokio::test]
async fn a_call_returns_its_reply() {
    let (mut client, server) = client_of(&[b"+OK\r\n", b"$2\r\nhi\r\n", b"$-1\r\n"]);
    assert_eq!(client.call(&["SET", "a", "hi"]).await.unwrap(), Reply::ok());
    assert_eq!(client.call(&["GET", "a"]).await.unwrap(), Reply::bulk("hi"));
    assert_eq!(client.call(&[&b"GET"[..], b"b"]).await.unwrap(), Reply::Null);
    assert_eq!(server.await.unwrap(), ["SET a hi", "GET a", "GET b"]);
}

#[tokio::test]
async fn an_error_of_the_server_is_an_error_or_a_raw_reply() {
    let (mut client, _server) = client_of(&[b"-WRONGTYPE no list\r\n", b"-ERR no\r\n", b":1\r\n"]);
    let error = client.call(&["LPOP", "a"]).await.unwrap_err();
    assert!(matches!(&error, Error::Server(text) if text == "WRONGTYPE no list"));
    assert_eq!(error.code(), Some("WRONGTYPE"));
    assert_eq!(client.call_raw(&["X"]).await.unwrap(), Reply::error("ERR no"));
    assert_eq!(client.call(&["INCR", "a"]).await.unwrap(), Reply::int(1));
}

#[tokio::test]
async fn pushed_messages_do_not_answer_a_call() {
    let (mut client, _server) = client_of(&[b">1\r\n+news\r\n:1\r\n", b">1\r\n+news\r\n:2\r\n"]);
    assert_eq!(client.call(&["A"]).await.unwrap(), Reply::int(1));
    client.send(&["B"]).unwrap();
    let news = Reply::Push(vec![Reply::simple("news")]);
    assert_eq!(client.receive().await.unwrap(), news);
    assert_eq!(client.receive().await.unwrap(), Reply::int(2));
}

#[tokio::test]
async fn sent_requests_are_received_in_order_before_the_next_call() {
    let (mut client, server) = client_of(&[b":1\r\n", b"-ERR 2\r\n", b":3\r\n"]);
    client.send(&["A"]).unwrap();
    client.send(&["B"]).unwrap();
    client.flush().await.unwrap();
    let error = client.call(&["C"]).await.unwrap_err();
    assert!(matches!(error, Error::Unanswered(2)), "{error}");
    assert_eq!(client.receive().await.unwrap(), Reply::int(1));
    assert_eq!(client.receive().await.unwrap(), Reply::error("ERR 2"));
    assert_eq!(client.call(&["C"]).await.unwrap(), Reply::int(3));
    assert_eq!(server.await.unwrap(), ["A", "B", "C"]);
}

/// With 64 bytes on the way in each direction, and a server that reads a request only once its
/// last answer is written, a client that wrote everything first would never be done.
#[tokio::test]
async fn a_pipeline_may_be_longer_than_the_buffers_between() {
    let (near, far) = duplex(64);
    let answers = vec![&b"$10\r\n0123456789\r\n"[..]; 1000];
    let server = tokio::spawn(async move { serve(far, &answers).await.len() });
    let mut client = Client::over(near, LONG);
    let commands = vec![vec!["GET", "a"]; 1000];
    let replies = client.pipeline(&commands).await.unwrap();
    assert_eq!(replies, vec![Reply::bulk("0123456789"); 1000]);
    assert_eq!(server.await.unwrap(), 1000);
    assert_eq!(client.pipeline::<&str>(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_late_reply_is_not_taken_for_the_next_one() {
    let (near, mut far): (_, DuplexStream) = duplex(1024);
    let mut client = Client::over(near, Duration::from_millis(1));
    assert!(matches!(client.call(&["A"]).await, Err(Error::Timeout)));
    far.write_all(b":1\r\n").await.unwrap();
    client.set_timeout(LONG);
    assert!(matches!(client.call(&["B"]).await, Err(Error::Unanswered(1))));
    assert_eq!(client.receive().await.unwrap(), Reply::int(1));
}

#[tokio::test]
async fn a_reply_that_never_ends_is_a_closed_connection_and_garbage_a_protocol_error() {
    let (mut client, _server) = client_of(&[b"$5\r\nhel"]);
    assert!(matches!(client.call(&["A"]).await, Err(Error::Closed)));
    let (mut client, _server) = client_of(&[b"HTTP/1.1 400 Bad Request\r\n"]);
    let error = client.call(&["A"]).await.unwrap_err();
    assert!(error.to_string().starts_with("the server does not speak the Redis protocol: "), "{error}");
}

#[tokio::test]
async fn an_empty_request_is_refused_and_nothing_is_sent() {
    let (mut client, server) = client_of(&[b":1\r\n"]);
    assert!(matches!(client.call::<&str>(&[]).await, Err(Error::EmptyRequest)));
    let commands = [vec!["A"], vec![]];
    assert!(matches!(client.pipeline(&commands).await, Err(Error::EmptyRequest)));
    assert_eq!(client.call(&["B"]).await.unwrap(), Reply::int(1));
    assert_eq!(server.await.unwrap(), ["B"]);
}

#[tokio::test]
async fn connecting_greets_the_server_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, &[b"%1\r\n+proto\r\n:3\r\n", b"+PONG\r\n"]).await
    });
    let mut options = ConnectOptions::new(address);
    options.protocol = Protocol::Resp3;
    options.key = Some("secret".to_owned());
    options.name = Some("test".to_owned());
    let mut client = Client::connect(&options).await.unwrap();
    assert_eq!(client.call(&["PING"]).await.unwrap(), Reply::simple("PONG"));
    let greeting = "HELLO 3 AUTH default secret SETNAME test";
    assert_eq!(server.await.unwrap(), [greeting, "PING"]);
}

#[tokio::test]
async fn a_refused_key_says_where_and_why_but_not_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, &[b"-WRONGPASS invalid username-password pair\r\n"]).await
    });
    let mut options = ConnectOptions::new(Address::Unix(path.clone()));
    options.key = Some("secret".to_owned());
    let error = Client::connect(&options).await.unwrap_err();
    assert_eq!(error.code(), Some("WRONGPASS"));
    assert_eq!(
        error.to_string(),
        format!("cannot connect to unix:{}: WRONGPASS invalid username-password pair", path.display())
    );
    assert_eq!(server.await.unwrap(), ["AUTH secret"]);
}

#[tokio::test]
async fn nobody_listening_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nobody");
    let options = ConnectOptions::new(Address::Unix(path.clone()));
    let error = Client::connect(&options).await.unwrap_err();
    assert!(matches!(&error, Error::Connect { reason, .. } if matches!(**reason, Error::Io(_))));
    let start = format!("cannot connect to unix:{}: ", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_greeting_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = ConnectOptions::new(Address::Tcp(listener.local_addr().unwrap().to_string()));
    options.protocol = Protocol::Resp3;
    options.timeout = Duration::from_millis(20);
    let error = Client::connect(&options).await.unwrap_err();
    assert!(matches!(error, Error::Connect { reason, .. } if matches!(*reason, Error::Timeout)));
}
