//! Checks that cargo has no command for.
fn main() {}
