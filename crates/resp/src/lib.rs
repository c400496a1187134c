//! The Redis serialization protocol.
