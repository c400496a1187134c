//! The one integration-test binary: the real server, driven over its socket, and the data types over a real store.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

mod backup;
mod chaos;
mod cli;
mod client_list;
mod config;
mod contract;
mod differential;
mod drain;
mod dumps;
mod full;
mod hashes_model;
mod heavy;
mod history;
mod hostile;
mod lists_model;
mod pubsub;
mod ranks;
mod recover;
mod redis_crate;
mod restart;
mod run;
mod scan;
mod script;
mod service;
mod store_files;
mod support;
mod tls;
mod top;
mod transfer;
mod verbs;
mod webhooks;
mod worker;
mod zsets_model;

#[test]
fn scripts_hold_against_agq() {
    script::run_all(script::Against::Agq);
}

#[test]
fn scripts_hold_against_redis() {
    script::run_all(script::Against::Redis);
}
