//! AGQ: a durable queue manager.
//!
//! One process, one embedded file, the Redis protocol on the wire. The layers, top to bottom; a layer may use
//! only what stands below it (`cargo xtask layers` holds this):
//!
//! [`cli`] → [`server`] → [`engine`] → [`command`] → [`access`] → [`jobs`] → [`data`] → [`storage`]; [`clock`] is a leaf.

pub mod access;
pub mod cli;
pub mod clock;
pub mod command;
pub mod data;
pub mod engine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod jobs;
pub mod server;
pub mod storage;
pub mod wall_clock;
pub mod worker;
