//! AGQ: a durable queue manager.
