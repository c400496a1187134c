//! The `agq` program.
fn main() {}
