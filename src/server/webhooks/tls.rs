//! TLS for `https` endpoints: what [`agq_tls`] makes of the system's roots.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes connections, once the roots are read: with the first of them.
#[derive(Default)]
pub(super) struct Tls(OnceLock<TlsConnector>);

impl Tls {
    /// Greets the server of a name over a connection, and checks that it is that server.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("'{host}': {error}"))?;
        self.connector()?.connect(name, stream).await.map_err(|error| format!("TLS with '{host}': {error}"))
    }

    fn connector(&self) -> Result<TlsConnector, String> {
        if let Some(connector) = self.0.get() {
            return Ok(connector.clone());
        }
        let config = agq_tls::client_config(&agq_tls::ClientFiles::default()).map_err(|error| error.to_string())?;
        Ok(self.0.get_or_init(|| TlsConnector::from(Arc::new(config))).clone())
    }
}
