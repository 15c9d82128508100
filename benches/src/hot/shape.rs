//! One kind of load: how long the ranges are, on how many connections.

use std::fmt;
use std::str::FromStr;

/// Shown and read as `64KiBx64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) range_bytes: u64,
    pub(super) connections: usize,
}

impl Shape {
    /// Those of the tables.
    pub(super) const USUAL: [Self; 4] = [
        Self::of(16 << 10, 64),
        Self::of(64 << 10, 64),
        Self::of(256 << 10, 256),
        Self::of(1 << 20, 16),
    ];

    const fn of(range_bytes: u64, connections: usize) -> Self {
        Self {
            range_bytes,
            connections,
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (range, connections) = text.split_once('x')?;
            let (number, unit) =
                range.split_at(range.find(|letter: char| !letter.is_ascii_digit())?);
            let unit = match unit {
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                _ => return None,
            };
            let shape = Self {
                range_bytes: number.parse::<u64>().ok()?.checked_mul(unit)?,
                connections: connections.parse().ok()?,
            };
            (shape.range_bytes > 0 && shape.connections > 0).then_some(shape)
        };
        parsed().ok_or_else(|| "as in 64KiBx64 or 1MiBx16".to_owned())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.range_bytes >> 10;
        if kib.is_multiple_of(1024) {
            write!(formatter, "{}MiBx{}", kib >> 10, self.connections)
        } else {
            write!(formatter, "{kib}KiBx{}", self.connections)
        }
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
        for text in ["16KiBx64", "1MiBx16", "1536KiBx1"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        for text in [
            "", "64x64", "64KiB", "0KiBx1", "1MiBx0", "1GiBx1", "-1KiBx1",
        ] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
    }
}
