//! One delivery: a POST with the event, signed, and what the endpoint made of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::link::Delivery;
use super::sign::signature;
use super::tls::Tls;

/// The most bytes of the head of an answer, and of what stands in memory of its body.
const ANSWER_BYTES: usize = 64 << 10;
/// Bytes of a refusal's body that are repeated.
const QUOTED_BYTES: usize = 200;

const USER_AGENT: &str = concat!("agq/", env!("CARGO_PKG_VERSION"));

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The endpoint took it.
    Delivered,
    /// It did not; why.
    Failed(String),
    /// It never will.
    Gone,
}

/// What deliveries share.
#[derive(Default)]
pub(super) struct Sender {
    tls: Tls,
}

impl Sender {
    /// Makes one attempt, within the webhook's time.
    pub(super) async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let time = Duration::from_millis(delivery.timeout_ms);
        match tokio::time::timeout(time, self.attempt(delivery)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::Failed(why),
            Err(_) => Outcome::Failed(format!("no answer within {} ms", delivery.timeout_ms)),
        }
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<Outcome, String> {
        let (host, port) = (&*delivery.url.host, delivery.url.port);
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|error| format!("cannot connect to {}: {error}", delivery.url.authority()))?;
        let request = request(delivery)?;
        let exchanged = if delivery.url.is_https {
            exchange(self.tls.connect(host, stream).await?, request).await
        } else {
            exchange(stream, request).await
        };
        exchanged.map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }
}

/// The request; the same `agq-delivery` at every attempt, so that a receiver can tell repeats.
fn request(delivery: &Delivery) -> Result<Request<Full<Bytes>>, String> {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut request = Request::post(&delivery.url.target)
        .header(header::HOST, delivery.url.authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .header("agq-webhook", &delivery.webhook)
        .header("agq-event", &delivery.kind)
        .header("agq-delivery", format!("{}-{}", delivery.webhook, delivery.seq))
        .header("agq-timestamp", timestamp);
    if let Some(secret) = &delivery.secret {
        let signature = signature(secret, timestamp, &delivery.body).map_err(|error| error.to_string())?;
        request = request.header("agq-signature", signature);
    }
    request.body(Full::new(delivery.body.clone())).map_err(|error| error.to_string())
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut client = http1::Builder::new();
    let (mut sender, connection) = client.max_buf_size(ANSWER_BYTES).handshake(TokioIo::new(stream)).await?;
    let answer = async { judge(sender.send_request(request).await?).await };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It ends with the last of the answer.
        _ = &mut connection => answer.await,
    }
}

/// What an answer means. Of its body no more is read than what an error repeats.
async fn judge(mut response: Response<Incoming>) -> hyper::Result<Outcome> {
    let status = response.status();
    if status.is_success() {
        return Ok(Outcome::Delivered);
    }
    if status == StatusCode::GONE {
        return Ok(Outcome::Gone);
    }
    let more = match status.is_redirection() {
        true => "redirects are not followed".to_owned(),
        false => {
            let frame = response.body_mut().frame().await.transpose()?;
            let bytes = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
            quoted(&bytes)
        }
    };
    Ok(Outcome::Failed(if more.is_empty() { status.to_string() } else { format!("{status}: {more}") }))
}

/// The beginning of a text, on one line.
fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED_BYTES)]);
    text.split(|c: char| c.is_control()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_says_stands_on_one_line() {
        assert_eq!(quoted(b"no\r\nroom \x1b[2J\n"), "no room  [2J");
        assert_eq!(quoted(&[b'x'; 1000]).len(), QUOTED_BYTES);
    }
}
