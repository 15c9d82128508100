//! One kind of audience: how many viewers, at which bit rate.

use std::fmt;
use std::str::FromStr;

/// Shown and read as `1000x5Mbps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) viewers: usize,
    /// Of the best rendition.
    pub(super) bits_per_second: u64,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (viewers, rate) = text.strip_suffix("Mbps")?.split_once('x')?;
            let shape = Self {
                viewers: viewers.parse().ok()?,
                bits_per_second: rate.parse::<u64>().ok()?.checked_mul(1_000_000)?,
            };
            (shape.viewers > 0 && shape.bits_per_second > 0).then_some(shape)
        };
        parsed().ok_or_else(|| "as in 1000x5Mbps".to_owned())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabits = self.bits_per_second / 1_000_000;
        write!(formatter, "{}x{megabits}Mbps", self.viewers)
    }
}

impl serde::Serialize for Shape {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_as_they_are_shown() {
        for text in ["1000x5Mbps", "1x15Mbps"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        for text in ["", "5Mbps", "1000x5", "0x5Mbps", "10x0Mbps", "-1x5Mbps"] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
    }
}
