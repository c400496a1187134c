//! The side that is connected to.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

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
    builder.with_single_cert(chain, key).map_err(|error| {
        Error::Unfit(format!(
            "the certificate {} and the key {} do not go together: {error}",
            files.certificate.display(),
            files.key.display()
        ))
    })
}
