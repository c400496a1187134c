//! The side that connects.

use std::path::PathBuf;

use rustls::{ClientConfig, RootCertStore};

use crate::{Error, files, provider};

/// The files of a client; none is needed where the system knows the server's authority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Authorities (PEM) that may have signed the server's certificate, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client's own certificate (PEM) and what leads from it to an authority, and the key (PEM) that belongs to it.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The authorities that the system trusts.
///
/// # Errors
/// When it has none.
pub fn system_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Error::NoRoots(found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default()));
    }
    Ok(roots)
}

/// What a client connects with.
///
/// # Errors
/// Which file is missing or makes no sense.
pub fn client_config(files: &ClientFiles) -> Result<ClientConfig, Error> {
    let unfit = |error: rustls::Error| Error::Unfit(error.to_string());
    let provider = provider()?;
    let roots = match &files.ca {
        Some(path) => files::roots("the server's authority", path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &files.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = files::certificates("the client's certificate", certificate)?;
    builder.with_client_auth_cert(chain, files::private_key("the client's key", key)?).map_err(|error| {
        Error::Unfit(format!(
            "the certificate {} and the key {} do not go together: {error}",
            certificate.display(),
            key.display()
        ))
    })
}
