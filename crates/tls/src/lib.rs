//! TLS as AGQ's server and clients use it: rustls with Graviola's cryptography, which needs no C compiler, certificates
//! and keys from PEM files, and the system's roots.
//!
//! This is the one place that names the cryptography. It makes configurations and does no I/O but reading their files.
//! TLS 1.3 and 1.2 are spoken, with the cipher suites that rustls holds for safe.

#![deny(missing_docs)]

mod client;
mod files;
mod names;
mod server;
mod validity;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::{ClientFiles, client_config, system_roots};
pub use names::uri_names;
pub use server::{ClientAuth, ServerFiles, server_config};
pub use validity::certificates_end;

/// Why there is no TLS. Each text says the whole reason, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot do it.
    #[error("{0}")]
    Machine(&'static str),
    /// A file cannot be read.
    #[error("cannot read {what} {}: {reason}", path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine has no certificates of authorities.
    #[error("this machine has no root certificates{0}: install its ca-certificates, or name a file in SSL_CERT_FILE")]
    NoRoots(String),
    /// The parts do not belong together.
    #[error("{0}")]
    Unfit(String),
}

/// Why there is no TLS on this machine; `None` where there is. Graviola ends the process on a processor that it is not
/// made for, so it is asked for first.
#[must_use]
pub fn refusal() -> Option<&'static str> {
    (!has_instructions()).then_some(
        "this machine's processor lacks instructions that TLS needs here (AES and AVX2, or ARM's cryptographic extension)",
    )
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

/// The cryptography.
///
/// # Errors
/// When this machine's processor cannot run it.
pub fn provider() -> Result<Arc<CryptoProvider>, Error> {
    match refusal() {
        Some(why) => Err(Error::Machine(why)),
        None => Ok(Arc::new(rustls_graviola::default_provider())),
    }
}
