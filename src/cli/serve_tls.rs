//! The server's flags for TLS.

use std::path::PathBuf;

use agq_tls::{ClientAuth, ServerFiles};
use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::server::TlsOptions;

/// Certificate, key, and whose clients may come.
#[derive(Debug, Clone, Args)]
pub(super) struct TlsArgs {
    /// Certificate to answer with over TLS (PEM), and behind it what leads to its authority
    #[arg(long = "tls-cert", env = "AGQ_TLS_CERT", value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long = "tls-key", env = "AGQ_TLS_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Authorities (PEM) that sign the certificates of clients [default: clients are asked for none]
    #[arg(long = "tls-client-ca", env = "AGQ_TLS_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Whether a client must have a certificate of such an authority [default: required]
    #[arg(long = "tls-client-auth", env = "AGQ_TLS_CLIENT_AUTH", value_name = "WHETHER")]
    client_auth: Option<Whether>,
    /// Let a client's certificate name the access key that it acts as, with the URI agq:key:NAME among its alternative names
    #[arg(long = "tls-client-keys", env = "AGQ_TLS_CLIENT_KEYS")]
    client_keys: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whether {
    /// Who has none is not let in
    Required,
    /// Who has none is let in, and asked for the key like any other
    Optional,
}

impl TlsArgs {
    /// True when nobody comes in without a certificate.
    pub(super) fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some() && self.client_auth != Some(Whether::Optional)
    }

    /// True when a certificate may name the key that its connection acts as.
    pub(super) fn reads_keys(&self) -> bool {
        self.client_keys
    }

    /// What the server needs; `None` without addresses.
    ///
    /// # Errors
    /// When a flag is missing or of no use, or this machine cannot do it.
    pub(super) fn options(&self, bind: &[String]) -> anyhow::Result<Option<TlsOptions>> {
        let bind: Vec<String> = bind.iter().filter(|address| !address.is_empty()).cloned().collect();
        let given = self.certificate.is_some() || self.key.is_some() || self.client_ca.is_some();
        if bind.is_empty() && (given || self.client_auth.is_some() || self.client_keys) {
            bail!("there are settings of TLS but no address for it: name one with --tls-bind");
        }
        if bind.is_empty() {
            return Ok(None);
        }
        if let Some(why) = agq_tls::refusal() {
            bail!("--tls-bind cannot be had: {why}");
        }
        Ok(Some(TlsOptions { bind, files: self.files()?, client_keys: self.client_keys }))
    }

    /// The files that are named.
    ///
    /// # Errors
    /// When one is missing, or of no use.
    fn files(&self) -> anyhow::Result<ServerFiles> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            bail!("--tls-bind needs a certificate and its key: name both with --tls-cert and --tls-key");
        };
        if self.client_ca.is_none() && self.client_auth.is_some() {
            bail!(
                "--tls-client-auth needs to know whose certificates are good: name the authorities with --tls-client-ca"
            );
        }
        if self.client_ca.is_none() && self.client_keys {
            bail!(
                "--tls-client-keys needs to know whose certificates are good: name the authorities with --tls-client-ca"
            );
        }
        let auth = match self.client_auth {
            Some(Whether::Optional) => ClientAuth::Optional,
            Some(Whether::Required) | None => ClientAuth::Required,
        };
        let client_ca = self.client_ca.clone().map(|path| (path, auth));
        Ok(ServerFiles { certificate: certificate.clone(), key: key.clone(), client_ca })
    }

    /// What CONFIG GET shows, under Redis's names.
    pub(super) fn parameters(&self, bind: &[String]) -> [(&'static str, String); 6] {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let auth = match (&self.client_ca, self.client_auth) {
            (None, _) => "no",
            (Some(_), Some(Whether::Optional)) => "optional",
            (Some(_), _) => "yes",
        };
        [
            ("tls-bind", bind.join(" ")),
            ("tls-cert-file", path(&self.certificate).unwrap_or_default()),
            ("tls-key-file", path(&self.key).unwrap_or_default()),
            ("tls-ca-cert-file", path(&self.client_ca).unwrap_or_default()),
            ("tls-auth-clients", auth.to_owned()),
            ("tls-client-keys", if self.client_keys { "yes" } else { "no" }.to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(certificate: bool, client_ca: bool, client_auth: Option<Whether>) -> TlsArgs {
        let path = |given: bool| given.then(|| PathBuf::from("x.pem"));
        let (certificate, key, client_ca) = (path(certificate), path(certificate), path(client_ca));
        TlsArgs { certificate, key, client_ca, client_auth, client_keys: false }
    }

    #[test]
    fn what_is_missing_or_of_no_use_is_named() {
        let bind = ["127.0.0.1:0".to_owned()];
        let refusal = |args: TlsArgs, bind: &[String]| args.options(bind).unwrap_err().to_string();
        assert!(refusal(args(true, false, None), &[]).contains("--tls-bind"));
        assert!(refusal(args(false, true, None), &bind).contains("--tls-cert and --tls-key"));
        assert!(refusal(args(true, false, Some(Whether::Required)), &bind).contains("--tls-client-ca"));
        assert!(args(false, false, None).options(&[]).unwrap().is_none());
        let keys = |args| TlsArgs { client_keys: true, ..args };
        assert!(refusal(keys(args(true, false, None)), &bind).contains("--tls-client-ca"));
        assert!(refusal(keys(args(false, false, None)), &[]).contains("--tls-bind"));
        let files = args(true, true, None).options(&bind).unwrap().unwrap().files;
        assert_eq!(files.client_ca.unwrap().1, ClientAuth::Required);
    }

    #[test]
    fn certificates_stand_in_for_the_key_only_where_they_are_required() {
        assert!(args(true, true, None).asks_for_certificates());
        assert!(!args(true, true, Some(Whether::Optional)).asks_for_certificates());
        assert!(!args(true, false, None).asks_for_certificates());
    }
}
