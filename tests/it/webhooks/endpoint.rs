//! Endpoints of a test's own: servers that hand each request to the test and answer what it says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A listener on a port of its own.
pub(crate) struct Endpoint {
    port: u16,
    requests: Receiver<Taken>,
}

/// A request that waits for its answer.
pub(crate) struct Taken {
    pub(crate) first_line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    stream: Box<dyn Stream>,
}

impl Endpoint {
    pub(crate) fn http() -> Endpoint {
        Endpoint::start(|stream| Some(Box::new(stream)))
    }

    /// With the certificate for `localhost` beside this file.
    pub(crate) fn https() -> Endpoint {
        let file = |name: &str| format!("{}/tests/it/webhooks/{name}", env!("CARGO_MANIFEST_DIR"));
        let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(agq_tls::provider().unwrap())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        Endpoint::start(move |stream| {
            Some(Box::new(StreamOwned::new(ServerConnection::new(config.clone()).ok()?, stream)))
        })
    }

    fn start(open: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = open(stream).and_then(take);
                if taken.is_some_and(|taken| sender.send(taken).is_err()) {
                    return;
                }
            }
        });
        Endpoint { port, requests }
    }

    /// Its address, with a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its port on `localhost`.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next request.
    pub(crate) fn take(&self) -> Taken {
        self.requests.recv_timeout(PATIENCE).expect("a delivery comes")
    }

    /// Takes and accepts the next request.
    pub(crate) fn accept(&self) -> Taken {
        let mut taken = self.take();
        taken.answer("200 OK", "");
        taken
    }
}

/// Reads a request; `None` when the connection ends before it is whole.
fn take(stream: Box<dyn Stream>) -> Option<Taken> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first_line = line()?;
    let mut headers = HashMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Taken { first_line, headers, body, stream: reader.into_inner() })
}

impl Taken {
    /// Answers with a status, such as `200 OK`, and a text or more header lines and a text.
    pub(crate) fn answer(&mut self, status: &str, text: &str) {
        let length = text.len();
        // The server may be dead by now.
        let _ = write!(self.stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{text}");
        let _ = self.stream.flush();
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
