//! Time as the engine sees it: milliseconds since the Unix epoch, read once a batch and handed down.
//!
//! Nothing below the core loop asks the operating system for the time.

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// The latest time there is; used for "never".
    pub const MAX: Millis = Millis(u64::MAX);

    /// This time plus `ms` milliseconds, at most [`Millis::MAX`].
    #[must_use]
    pub fn plus(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, 0 when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
