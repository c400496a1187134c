//! A small asynchronous client.
