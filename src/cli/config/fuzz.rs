//! What the fuzz target of `agq.toml` does ([`crate::fuzzing`]).

use std::path::Path;

use clap::CommandFactory;

use super::{Cli, File, settings};

/// The text of an `agq.toml`: it is read or refused, with the place of what is wrong.
pub fn settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let wrong = match File::parse(Path::new("agq.toml"), text) {
        Ok(file) => settings::check(&file, &mut Cli::command()).err(),
        Err(error) => Some(error),
    };
    if let Some(wrong) = wrong {
        assert!(wrong.to_string().starts_with("agq.toml:"), "{wrong}");
    }
}
