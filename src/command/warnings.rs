//! What an operator is warned of, as the core loop found it: for INFO.

use crate::clock::Millis;

/// Something that is near a bound, or does not work, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its kind.
    pub name: &'static str,
    /// Since when.
    pub since: Millis,
    /// What, which value, which bound, and what to do; one line.
    pub text: String,
}
