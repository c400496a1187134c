//! What tests share: servers to talk to, and a wire to talk over that knows nothing of AGQ's own codec.

pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod wire;
pub(crate) mod world;
