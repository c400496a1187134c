//! Panics that a test wants in the midst of a running server. Only unit tests are built with this: no release has it.

use std::sync::{Mutex, PoisonError};

static WANTED: Mutex<Option<String>> = Mutex::new(None);

/// What such a panic says.
pub(crate) const TEXT: &str = "as the test wants it";

/// From now on this part, or this thread, panics when it comes past a point.
pub(crate) fn arm(part: &str) {
    *WANTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(part.to_owned());
}

/// Panics if this part is to.
pub(crate) fn point(part: &str) {
    let is_wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(part);
    assert!(!is_wanted, "{TEXT}");
}

/// Panics if this thread is to.
pub(crate) fn point_of_thread() {
    if let Some(name) = std::thread::current().name() {
        point(name);
    }
}
