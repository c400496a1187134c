//! The side that is connected to.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use crate::{Error, files, provider};

/// Whether clients must show a certificate of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Who has none is not let in.
    #[default]
    Required,
    /// Who has none is let in; one that is shown must be good.
    Optional,
}

/// The files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate and what leads from it to an authority (PEM).
    pub certificate: PathBuf,
    /// The key that belongs to it (PEM).
    pub key: PathBuf,
    /// Authorities (PEM) whose clients are let in; `None` asks clients for no certificate.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
}

/// What a server answers clients with. The files are read now, and not again.
///
/// # Errors
/// Which file is missing or makes no sense.
pub fn server_config(files: &ServerFiles) -> Result<ServerConfig, Error> {
    let provider = provider()?;
    let chain = files::certificates("the certificate", &files.certificate)?;
    let key = files::private_key("the key", &files.key)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Unfit(error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some((path, client_auth)) => {
            let roots = files::roots("the clients' authority", path)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| Error::Unfit(format!("{}: {error}", path.display())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        Error::Unfit(format!(
            "the certificate {} and the key {} do not go together: {error}",
            files.certificate.display(),
            files.key.display()
        ))
    })?;
    if files.client_ca.is_some() {
        // A session that is resumed has its client's certificate as it was verified once: it may have ended since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection, SupportedProtocolVersion};

    use super::*;

    fn file(name: &str) -> PathBuf {
        format!("{}/../../tests/it/tls/{name}", env!("CARGO_MANIFEST_DIR")).into()
    }

    /// How a client and a server greet each other, with all that they say by themselves.
    fn greet(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
        let mut client = ClientConnection::new(Arc::clone(client), "first.example".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut wire = &wire[..];
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        server.handshake_kind().unwrap()
    }

    fn client(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let roots = files::roots("authority", &file("ca.pem")).unwrap();
        let builder =
            ClientConfig::builder_with_provider(provider().unwrap()).with_protocol_versions(&[version]).unwrap();
        let chain = files::certificates("certificate", &file("client.pem")).unwrap();
        let key = files::private_key("key", &file("client.key")).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap())
    }

    #[test]
    fn a_certificate_of_a_client_is_verified_each_time_that_it_comes() {
        let files = |client_ca| ServerFiles { certificate: file("first.pem"), key: file("first.key"), client_ca };
        for version in [&TLS12, &TLS13] {
            for (client_auth, again) in [
                (None, HandshakeKind::Resumed),
                (Some(ClientAuth::Optional), HandshakeKind::Full),
                (Some(ClientAuth::Required), HandshakeKind::Full),
            ] {
                let server = server_config(&files(client_auth.map(|auth| (file("ca.pem"), auth)))).unwrap();
                let (server, client) = (Arc::new(server), client(version));
                assert_eq!(greet(&client, &server), HandshakeKind::Full);
                assert_eq!(greet(&client, &server), again, "{version:?} {client_auth:?}");
            }
        }
    }
}
