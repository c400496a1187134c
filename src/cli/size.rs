//! Numbers of bytes, as flags take them.

const EXPECTED: &str = "expected a whole number of bytes, such as 4096, 64KiB, 16MiB or 1GiB";

/// Reads `4096`, `64KiB`, `16MiB`, `1GiB` (or K, M, G, KB, MB, GB: all powers of 1024).
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(EXPECTED.to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| EXPECTED)?;
    number.checked_mul(unit).ok_or_else(|| format!("{EXPECTED}, and less than 16 EiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        for wrong in ["1x", "", "-1", "much", "1.5GiB", "99999999999G"] {
            assert!(parse_size(wrong).is_err_and(|error| error.starts_with(EXPECTED)), "{wrong}");
        }
    }
}
