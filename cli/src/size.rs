//! Amounts of memory as people write them.

use std::str::FromStr;

/// Bytes, written as `512M`, `2G`, `1.5G` or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err("expected a number with K, M, G or T".into()),
        };
        if let Ok(whole) = digits.parse::<u64>() {
            return whole
                .checked_mul(1 << shift)
                .map(Self)
                .ok_or_else(|| "too much".into());
        }
        let value: f64 = digits
            .parse()
            .map_err(|_| "expected a number with K, M, G or T".to_owned())?;
        let bytes = value * (1u64 << shift) as f64;
        if !(0.0..9e18).contains(&bytes) {
            return Err("too much".into());
        }
        Ok(Self(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_written() {
        assert_eq!("2G".parse(), Ok(Size(2 << 30)));
        assert_eq!("1.5g".parse(), Ok(Size(3 << 29)));
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
        for bad in ["", "G", "-1G", "1X", "99999999T", "NaN"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
