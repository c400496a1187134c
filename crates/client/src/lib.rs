//! A small asynchronous client of AGQ, and of any server that speaks the Redis protocol.
//!
//! One [`Client`] is one connection. It calls one command at a time, sends a pipeline, or, for
//! load generators and subscribers, sends and receives as its user likes. It never reconnects and
//! never repeats a command: whether that is safe, only the caller knows.
//!
//! It runs on tokio and uses its sockets and timers, and rustls for addresses that ask for TLS. It starts no task.
//!
//! ```no_run
//! use agq_client::{Client, ConnectOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = ConnectOptions::new("127.0.0.1:6380".parse()?);
//! options.name = Some("reporter".to_owned());
//! let mut client = Client::connect(&options).await?;
//!
//! client.call(&["SET", "greeting", "hello"]).await?;
//! let reply = client.call(&["GET", "greeting"]).await?;
//! assert_eq!(reply.as_str(), Some("hello"));
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod address;
mod connection;
mod dial;
mod error;
mod options;

pub use address::{Address, InvalidAddress};
pub use agq_resp::{Protocol, Reply};
pub use agq_tls::ClientFiles;
pub use connection::Client;
pub use dial::{ReadHalf, WriteHalf, dial};
pub use error::Error;
pub use options::ConnectOptions;
