//! Access keys, what each may do, and the audit log: rows and rules, no protocol, no clock.
//!
//! Who may do everything has no [`AccessKey`]: the holder of the session key, everybody where none is asked, and the
//! server itself. What a command needs, and whether a key has it, is decided in `command`; the gate of the engine asks.

pub mod audit;
mod check;
mod keys;
mod scopes;
mod secret;
pub mod transfer;

pub use check::check;
pub use keys::{AccessKey, MAX_KEYS, create, find, find_by_secret, has_keys, list, revoke};
pub use scopes::{Access, Role, Scope, Scopes};
pub use secret::{Hash, KeyId, Secret, looks_like};
