//! Certificates and keys in PEM files.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(String) -> Error + 'a {
    move |reason| Error::File { what, path: path.to_owned(), reason }
}

fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds none in PEM form".to_owned(),
        error => error.to_string(),
    }
}

/// The certificates of a file, in its order.
pub(crate) fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = failed(what, path);
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| failed(words(&error)))?;
    if found.is_empty() { Err(failed(words(&pem::Error::NoItemsFound))) } else { Ok(found) }
}

/// The first private key of a file.
pub(crate) fn private_key(what: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| failed(what, path)(words(&error)))
}

/// The authorities of a file.
pub(crate) fn roots(what: &'static str, path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, path)? {
        roots.add(certificate).map_err(|error| failed(what, path)(error.to_string()))?;
    }
    Ok(roots)
}
