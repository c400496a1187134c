//! Plans, actions, jobs and workers: what they are, and how they change, in the batch that every command writes to.
//!
//! Built on `data` and `storage`. Knows no RESP, no socket, no clock and no randomness: the time and whatever is drawn
//! at random are handed in.

pub mod error;
pub mod json;
pub mod names;
pub mod plan;
pub mod plan_store;
pub mod template;
pub mod time;

pub use error::{Error, Result};
