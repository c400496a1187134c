//! TLS for `https` endpoints: rustls with Graviola's cryptography, which needs no C compiler, and the system's roots.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why nothing can be sent to `https` addresses from this machine; `None` where it can. Graviola ends the process on a
/// processor that it is not made for, so it is asked for first.
pub(crate) fn refusal() -> Option<&'static str> {
    (!has_instructions()).then_some("this machine's processor lacks instructions that https needs here: use http")
}

#[cfg(target_arch = "x86_64")]
fn has_instructions() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("aes")
        && has!("ssse3")
        && has!("avx")
        && has!("avx2")
        && has!("adx")
        && has!("bmi1")
        && has!("bmi2")
        && has!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_instructions() -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    has!("neon") && has!("aes") && has!("pmull") && has!("sha2")
}

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
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(format!(
                "this machine has no root certificates{why}: install its ca-certificates, or name a file in SSL_CERT_FILE"
            ));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.0.get_or_init(|| TlsConnector::from(Arc::new(config))).clone())
    }
}
