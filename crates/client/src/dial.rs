//! Streams to a server: TCP, TLS and Unix sockets.

use crate::{Address, ConnectOptions, Error};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// The side of a stream that is read from.
pub type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
/// The side of a stream that is written to. One that encrypts must be flushed.
pub type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Connects to the address of the options, and says nothing yet. How long it takes is not bounded.
///
/// # Errors
/// When nobody listens there, or it is not the server that TLS expects.
pub async fn dial(options: &ConnectOptions) -> Result<(ReadHalf, WriteHalf), Error> {
    match &options.address {
        Address::Tcp(host_and_port) => {
            let (reader, writer) = connect(host_and_port).await?.into_split();
            Ok((Box::new(reader), Box::new(writer)))
        }
        Address::Tls(host_and_port) => {
            let name = server_name(host_and_port, options)?;
            // The files are read anew each time: they may have been renewed since the last connection.
            let config = Arc::new(agq_tls::client_config(&options.tls)?);
            let stream = connect(host_and_port).await?;
            let stream = TlsConnector::from(config).connect(name, stream).await.map_err(refused)?;
            let (reader, writer) = tokio::io::split(stream);
            Ok((Box::new(reader), Box::new(writer)))
        }
        Address::Unix(path) => {
            let (reader, writer) = UnixStream::connect(path).await?.into_split();
            Ok((Box::new(reader), Box::new(writer)))
        }
    }
}

async fn connect(host_and_port: &str) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect(host_and_port).await?;
    // A request is written at once as a whole: there is nothing to wait for.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What rustls has against the server, or the server against us, comes as data that makes no sense.
fn refused(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::InvalidData => agq_tls::Error::Unfit(format!("no TLS: {error}")).into(),
        _ => error.into(),
    }
}

/// The name that the server's certificate must have.
fn server_name(host_and_port: &str, options: &ConnectOptions) -> Result<ServerName<'static>, Error> {
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = options.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned())
        .map_err(|_| agq_tls::Error::Unfit(format!("'{name}' is neither the name of a host nor an IP address")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificates_name_is_the_hosts_unless_another_is_asked_for() {
        let mut options = ConnectOptions::new(Address::Tls("a:1".to_owned()));
        let name = |host: &str, options: &ConnectOptions| server_name(host, options).map(|name| format!("{name:?}"));
        assert!(name("queue.example:6390", &options).unwrap().contains("queue.example"));
        assert!(matches!(server_name("[::1]:6390", &options).unwrap(), ServerName::IpAddress(_)));
        options.server_name = Some("other.example".to_owned());
        assert!(name("queue.example:6390", &options).unwrap().contains("other.example"));
        options.server_name = Some("a b".to_owned());
        assert!(name("queue.example:6390", &options).unwrap_err().to_string().contains("'a b' is neither"));
    }
}
