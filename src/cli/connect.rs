//! Finding and reaching the server: `--server` and `--key`, then the environment, then the data directory, whose
//! lock file says where its server listens and whose `session.key` lets the same user in.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agq_client::{Address, Client, ClientFiles, ConnectOptions, Error, Reply};
use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use super::serve::data_dir;
use crate::server::key;
use crate::server::lock::{self, Holder};

/// Which server to talk to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// Where the server listens: host:port, tls://host:port or unix:/path [default: where the data directory's server does]
    #[arg(long, env = "AGQ_SERVER", value_name = "ADDRESS")]
    pub(super) server: Option<Address>,
    /// Key that the server asks for [default: the one in <data-dir>/session.key]
    #[arg(long, env = "AGQ_SESSION_KEY", value_name = "KEY", hide_env_values = true)]
    pub(super) key: Option<String>,
    /// Folder of the server's store [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
}

/// How the connection is made where the address asks for TLS.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct TlsArgs {
    /// Authorities (PEM) that may have signed the certificate of a tls:// server [default: the system's]
    #[arg(long = "tls-ca", env = "AGQ_TLS_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate (PEM) to show to a tls:// server that asks for one
    #[arg(long = "tls-client-cert", env = "AGQ_TLS_CLIENT_CERT", value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Key (PEM) of that certificate
    #[arg(long = "tls-client-key", env = "AGQ_TLS_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Name that the certificate of a tls:// server must have [default: the host of its address]
    #[arg(long = "tls-server-name", env = "AGQ_TLS_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
}

impl TlsArgs {
    /// Puts what was given into the options.
    ///
    /// # Errors
    /// When half of it is missing, or the address does without TLS and so would not be protected as was meant.
    fn apply(&self, options: &mut ConnectOptions) -> anyhow::Result<()> {
        let identity = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => bail!(
                "a client's certificate and its key go together: give both --tls-client-cert and --tls-client-key"
            ),
        };
        let is_given = self.ca.is_some() || identity.is_some() || self.server_name.is_some();
        if let (Address::Tcp(host_and_port), true) = (&options.address, is_given) {
            bail!(
                "there are settings of TLS, but {host_and_port} is an address without: write tls://{host_and_port}, or \
                 leave them out"
            );
        }
        options.tls = ClientFiles { ca: self.ca.clone(), identity };
        options.server_name.clone_from(&self.server_name);
        Ok(())
    }
}

/// The server was not reached, or did not let the client in.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(String);

impl ServerArgs {
    /// The data directory that is meant, whether it exists or not.
    pub(super) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        data_dir(self.data_dir.as_ref())
    }

    /// How to connect to the server that is meant. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Unreachable`] when no server is named and none holds the data directory.
    pub(super) fn options(&self) -> anyhow::Result<ConnectOptions> {
        let dir = self.data_dir()?;
        let holder = lock::holder(&dir)?;
        match (&self.server, holder) {
            (Some(address), holder) => {
                // The key of this directory goes to its own server only, never to whom `--server` names.
                let own = holder.is_some_and(|holder| holder.addresses.contains(&address.to_string()));
                self.options_for(address.clone(), own.then_some(dir.as_path()))
            }
            (None, Some(holder)) => self.options_of_holder(&dir, &holder),
            (None, None) => Err(Unreachable(format!(
                "no server holds the data directory {}: start one with 'agq serve', or name one with --server",
                dir.display()
            ))
            .into()),
        }
    }

    /// How to connect to the server that holds `dir`.
    pub(super) fn options_of_holder(&self, dir: &Path, holder: &Holder) -> anyhow::Result<ConnectOptions> {
        let local = holder.addresses.iter().find(|address| address.starts_with("unix:"));
        let Some(address) = local.or(holder.addresses.first()) else {
            return Err(Unreachable(format!(
                "process {} holds the data directory {} but does not listen yet: try again in a moment",
                holder.process,
                dir.display()
            ))
            .into());
        };
        let address = address.parse().with_context(|| format!("the lock file of {}", dir.display()))?;
        self.options_for(address, Some(dir))
    }

    /// Options for one address; the key is the one given, else the one kept in `dir`.
    fn options_for(&self, address: Address, dir: Option<&Path>) -> anyhow::Result<ConnectOptions> {
        let mut options = ConnectOptions::new(address);
        self.tls.apply(&mut options)?;
        options.key = match (&self.key, dir) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(dir)) => key::load(dir)?.map(|key| key.to_string()),
            (None, None) => None,
        };
        Ok(options)
    }

    /// Connects to the server that is meant. The options returned are those that worked.
    ///
    /// # Errors
    /// [`Unreachable`], which says what to do.
    pub(super) async fn connect(&self) -> anyhow::Result<(Client, ConnectOptions)> {
        connect(self.options()?, self.key.is_some()).await
    }
}

/// Connects. A key that nobody `asked` to be sent is left out where the server wants none.
///
/// # Errors
/// [`Unreachable`], which says what to do.
pub(super) async fn connect(mut options: ConnectOptions, asked: bool) -> anyhow::Result<(Client, ConnectOptions)> {
    let mut client = Client::connect(&options).await;
    let wants_no_key = |error: &Error| error.to_string().contains("without any password configured");
    if client.as_ref().is_err_and(wants_no_key) && !asked {
        options.key = None;
        client = Client::connect(&options).await;
    }
    let mut client = client.map_err(explain)?;
    client.call(&["PING"]).await.map_err(explain)?;
    Ok((client, options))
}

/// How long a server that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what cannot be waited for.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// True when the connection, and not what was asked, is at fault.
pub(super) fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Closed | Error::Connect { .. } | Error::Io(_) | Error::Timeout)
}

/// Connects again to a server that was lost, a restart for example, and says so; `hint` tells what to do when it stays
/// away.
///
/// # Errors
/// When it is away for longer than a minute.
pub(super) async fn again(
    options: &ConnectOptions,
    lost: &impl std::fmt::Display,
    hint: &str,
) -> anyhow::Result<Client> {
    eprintln!("agq: {lost:#}: looking for the server for up to {} s", PATIENCE.as_secs());
    let until = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(LOOK).await;
        match Client::connect(options).await {
            Ok(client) => return Ok(client),
            Err(_) if Instant::now() < until => {}
            Err(error) => return Err(anyhow::Error::from(error).context(hint.to_owned())),
        }
    }
}

/// A connection for commands that change nothing: they are asked again when the server was away for a while.
pub(super) struct Reader {
    client: Client,
    options: ConnectOptions,
}

impl Reader {
    /// Over a connection that is there.
    pub(super) fn new(client: Client, options: ConnectOptions) -> Reader {
        Reader { client, options }
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// The server's own, or when it stays away.
    pub(super) async fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> anyhow::Result<Reply> {
        match self.call_raw(args).await? {
            Reply::Error(text) => Err(Error::Server(String::from_utf8_lossy(&text).into_owned()).into()),
            reply => Ok(reply),
        }
    }

    /// Asks until there is an answer, which may be an error of the server's.
    ///
    /// # Errors
    /// When the server stays away.
    pub(super) async fn call_raw<A: AsRef<[u8]>>(&mut self, args: &[A]) -> anyhow::Result<Reply> {
        loop {
            match self.client.call_raw(args).await {
                Err(lost) if is_lost(&lost) => {
                    self.client = again(&self.options, &lost, "the jobs are kept: ask again later").await?;
                }
                answer => return Ok(answer?),
            }
        }
    }

    /// The connection, for what is more than reading.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The connection, and how it was made.
    pub(super) fn into_parts(self) -> (Client, ConnectOptions) {
        (self.client, self.options)
    }
}

/// Adds what to do about an error of the connection.
fn explain(error: Error) -> anyhow::Error {
    let hint = match (error.code(), error.tls()) {
        (Some("NOAUTH"), _) => "; give its key with --key or AGQ_SESSION_KEY",
        (Some("WRONGPASS"), _) => "; the key is not this server's: give the right one with --key or AGQ_SESSION_KEY",
        (Some(_), _) => "",
        (None, Some(error)) => tls_hint(&error.to_string()),
        // The last that a server says of a greeting over TLS may come behind it.
        (None, None) if error.to_string().contains("fatal alert") => tls_hint(&error.to_string()),
        (None, None) => "; is the server running there?",
    };
    Unreachable(format!("{error}{hint}")).into()
}

/// What to do where TLS is not spoken, by rustls's words for why.
fn tls_hint(why: &str) -> &'static str {
    let hints = [
        ("UnknownIssuer", "; name the authority that signed the server's certificate with --tls-ca"),
        ("not valid for name", "; say which name is meant with --tls-server-name"),
        (
            "CertificateRequired",
            "; the server asks for a certificate: give one with --tls-client-cert and --tls-client-key",
        ),
        ("corrupt message", "; is it an address without TLS? Then leave out tls://"),
    ];
    hints.into_iter().find(|(word, _)| why.contains(word)).map_or("", |(_, hint)| hint)
}

/// The text of a bulk or status reply.
///
/// # Errors
/// When the reply is something else.
pub(super) fn text(reply: &agq_client::Reply) -> anyhow::Result<&str> {
    reply.as_str().ok_or_else(|| anyhow!("the server answered {reply:?} where a text was expected"))
}

/// The JSON of a bulk reply.
///
/// # Errors
/// When the reply is no JSON.
pub(super) fn json(reply: &agq_client::Reply) -> anyhow::Result<serde_json::Value> {
    match serde_json::from_str(text(reply)?) {
        Ok(value) => Ok(value),
        Err(error) => bail!("the server's answer is no JSON: {error}"),
    }
}

/// The JSON of each bulk string of an array.
///
/// # Errors
/// When the reply is something else.
pub(super) fn rows(reply: &agq_client::Reply) -> anyhow::Result<Vec<serde_json::Value>> {
    let rows = reply.as_array().ok_or_else(|| anyhow!("the server answered {reply:?} where a list was expected"))?;
    rows.iter().map(json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path, server: Option<&str>, key: Option<&str>) -> ServerArgs {
        ServerArgs {
            server: server.map(|address| address.parse().unwrap()),
            key: key.map(str::to_owned),
            data_dir: Some(dir.to_owned()),
            tls: TlsArgs::default(),
        }
    }

    #[test]
    fn settings_of_tls_do_not_go_with_an_address_that_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let asked = |server: &str, tls: TlsArgs| ServerArgs { tls, ..args(dir.path(), Some(server), None) }.options();
        let ca = || TlsArgs { ca: Some("ca.pem".into()), ..TlsArgs::default() };
        let error = asked("queue.example:1", ca()).unwrap_err().to_string();
        assert!(error.contains("write tls://queue.example:1"), "{error}");
        let options = asked("tls://queue.example:1", ca()).unwrap();
        assert_eq!(options.tls.ca.as_deref(), Some(Path::new("ca.pem")));
        let half = TlsArgs { client_key: Some("key.pem".into()), ..TlsArgs::default() };
        assert!(asked("tls://queue.example:1", half).unwrap_err().to_string().contains("--tls-client-cert"));
    }

    #[test]
    fn who_has_no_certificate_is_told_to_show_one() {
        let told = |what: &str| {
            let reason = Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
            explain(Error::Connect { address: Address::Tls("a:1".into()), reason: Box::new(reason) }).to_string()
        };
        let refused = told("received fatal alert: CertificateRequired");
        assert!(
            refused
                .ends_with("; the server asks for a certificate: give one with --tls-client-cert and --tls-client-key")
        );
        assert!(told("connection refused").ends_with("; is the server running there?"));
    }

    #[test]
    fn without_a_server_the_error_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = args(dir.path(), None, None).options().unwrap_err();
        assert!(error.is::<Unreachable>());
        assert!(error.to_string().contains("agq serve") && error.to_string().contains("--server"), "{error}");
    }

    #[test]
    fn the_holder_is_found_and_its_socket_preferred() {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = lock::Lock::take(dir.path()).unwrap();
        assert!(args(dir.path(), None, None).options().unwrap_err().to_string().contains("does not listen yet"));
        lock.announce(&["127.0.0.1:1".into(), "unix:/tmp/x".into()]).unwrap();
        let own = key::load_or_make(dir.path()).unwrap();
        let options = args(dir.path(), None, None).options().unwrap();
        assert_eq!(options.address, Address::Unix("/tmp/x".into()));
        assert_eq!(options.key.as_deref(), Some(&*own));
        assert_eq!(args(dir.path(), None, Some("given")).options().unwrap().key.as_deref(), Some("given"));
    }

    #[test]
    fn the_directorys_key_goes_to_its_own_server_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = lock::Lock::take(dir.path()).unwrap();
        lock.announce(&["127.0.0.1:1".into()]).unwrap();
        key::load_or_make(dir.path()).unwrap();
        assert!(args(dir.path(), Some("127.0.0.1:1"), None).options().unwrap().key.is_some());
        assert!(args(dir.path(), Some("queue.example:1"), None).options().unwrap().key.is_none());
    }
}
