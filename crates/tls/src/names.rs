//! The names that a certificate bears.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The URIs among a certificate's alternative names (RFC 5280, 4.2.1.6), in its order. One that was checked in a
/// handshake can be read; of another that cannot there is none.
#[must_use]
pub fn uri_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let parsed = EndEntityCert::try_from(certificate);
    parsed.map(|parsed| parsed.valid_uri_names().map(str::to_owned).collect()).unwrap_or_default()
}
