//! Round trips, and how a table shows them.

use std::fmt;
use std::time::Duration;

/// How long the calls of a command took.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Another one.
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that a share of the calls, 0 to 1, did not exceed.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut times = self.0.clone();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        times.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

/// Median and 99th percentile; one time where there is only one.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&micros(self.percentile(0.5)))?;
        if self.0.len() > 1 {
            write!(f, " / {}", micros(self.percentile(0.99)))?;
        }
        Ok(())
    }
}

/// Whole microseconds, with commas.
pub(crate) fn micros(time: Duration) -> String {
    commas(time.as_micros())
}

/// The head of a table's columns.
pub(crate) fn head(sizes: &[u64]) -> String {
    sizes.iter().map(|size| format!(" {} |", commas(u128::from(*size)))).collect()
}

/// `1,234,567`.
pub(crate) fn commas(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
