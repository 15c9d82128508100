//! Amounts as an operator writes them: `"256 KiB"`, `"1.2 Gbit/s"`, `"30 s"`.
//!
//! A number, a space or none, and a unit. Fractions are exact or refused: `"1.5 KiB"` is 1536 bytes, `"0.3 B"` is an error.
//! Printing gives the largest unit in which the amount is a whole number, so that what was printed reads back the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// An amount of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// A rate in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BitRate(u64);

/// A length of time, kept in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Interval(u64);

/// A share in whole percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percent(u64);

/// A text that is not an amount. Its words say what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a {kind}; allowed: a number and {units}, as in \"{example}\"")]
pub struct BadAmount {
    text: String,
    kind: &'static str,
    units: &'static str,
    example: &'static str,
}

impl ByteSize {
    /// `bytes` bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The amount in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl BitRate {
    /// `bits` bits per second.
    #[must_use]
    pub const fn from_bits_per_second(bits: u64) -> Self {
        Self(bits)
    }

    /// The rate in bits per second.
    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl Interval {
    /// `seconds` seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// So many of them.
    #[must_use]
    pub const fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(count as u64))
    }

    /// The interval as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Percent {
    /// `percent` of a hundred.
    #[must_use]
    pub const fn of(percent: u64) -> Self {
        Self(percent)
    }

    /// The number before `%`.
    #[must_use]
    pub const fn percent(self) -> u64 {
        self.0
    }

    /// This share of an amount, rounded down.
    #[must_use]
    pub fn share(self, amount: u64) -> u64 {
        let share = u128::from(amount) * u128::from(self.0) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// What one kind of amount is called, and its units with their size, largest first.
struct Scale {
    kind: &'static str,
    allowed: &'static str,
    example: &'static str,
    units: &'static [(&'static str, u64)],
}

const BYTES: Scale = Scale {
    kind: "size",
    allowed: "B, KiB, MiB, GiB, TiB, kB, MB, GB or TB",
    example: "256 KiB",
    units: &[
        ("TiB", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("kB", 1000),
        ("B", 1),
    ],
};

const RATE: Scale = Scale {
    kind: "rate",
    allowed: "bit/s, kbit/s, Mbit/s, Gbit/s or Tbit/s",
    example: "1.2 Gbit/s",
    units: &[
        ("Tbit/s", 1_000_000_000_000),
        ("Gbit/s", 1_000_000_000),
        ("Mbit/s", 1_000_000),
        ("kbit/s", 1000),
        ("bit/s", 1),
    ],
};

const TIME: Scale = Scale {
    kind: "length of time",
    allowed: "ms, s, min, h or d",
    example: "30 s",
    units: &[
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("min", 60_000),
        ("s", 1000),
        ("ms", 1),
    ],
};

const SHARE: Scale = Scale {
    kind: "share",
    allowed: "%",
    example: "10 %",
    units: &[("%", 1)],
};

impl Scale {
    fn read(&self, text: &str) -> Result<u64, BadAmount> {
        self.exact(text.trim()).ok_or_else(|| BadAmount {
            text: text.to_owned(),
            kind: self.kind,
            units: self.allowed,
            example: self.example,
        })
    }

    /// `None` for no number, no or another unit, a fraction that does not come out even, or an overflow.
    fn exact(&self, text: &str) -> Option<u64> {
        let unit_starts = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = text.split_at(unit_starts);
        let (_, size) = self
            .units
            .iter()
            .find(|(name, _)| *name == unit.trim_start())?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.is_empty() || fraction.len() > 15 {
            return None;
        }
        let denominator = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let numerator = u128::from(whole.parse::<u64>().ok()?) * denominator
            + u128::from(fraction.parse::<u64>().ok()?);
        let scaled = numerator.checked_mul(u128::from(*size))?;
        (scaled % denominator == 0).then(|| u64::try_from(scaled / denominator).ok())?
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, amount: u64) -> fmt::Result {
        let (name, size) = self
            .units
            .iter()
            .find(|(_, size)| amount != 0 && amount.is_multiple_of(*size))
            .or(self.units.last())
            .expect("every scale has units");
        f.pad(&format!("{} {name}", amount / size))
    }
}

macro_rules! amount {
    ($type:ty, $scale:expr, $expecting:literal) => {
        impl FromStr for $type {
            type Err = BadAmount;

            fn from_str(text: &str) -> Result<Self, BadAmount> {
                $scale.read(text).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $scale.write(f, self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

amount!(ByteSize, BYTES, "a size with its unit, as in \"256 KiB\"");
amount!(BitRate, RATE, "a rate with its unit, as in \"1.2 Gbit/s\"");
amount!(
    Interval,
    TIME,
    "a length of time with its unit, as in \"30 s\""
);
amount!(Percent, SHARE, "a share in percent, as in \"10 %\"");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_and_print() {
        for (text, bytes, printed) in [
            ("256 KiB", 256 << 10, "256 KiB"),
            ("1.5 KiB", 1536, "1536 B"),
            ("1.5GiB", 3 << 29, "1536 MiB"),
            ("4 kB", 4000, "4 kB"),
            ("0 B", 0, "0 B"),
            (" 7 TiB ", 7 << 40, "7 TiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(
                (size.bytes(), size.to_string().as_str()),
                (bytes, printed),
                "{text}"
            );
        }
        assert_eq!("1.2 Gbit/s".parse(), Ok(BitRate(1_200_000_000)));
        assert_eq!(BitRate(1_200_000_000).to_string(), "1200 Mbit/s");
        assert_eq!("1.5 h".parse(), Ok(Interval(5_400_000)));
        assert_eq!(Interval(5_400_000).to_string(), "90 min");
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in [
            "",
            "KiB",
            "256",
            "256 kib",
            "-1 B",
            "1e3 B",
            "1. KiB",
            ".5 KiB",
            "0.3 B",
            "1.2.3 B",
            "20000000 TiB",
            "1 KiB/s",
            "1 KiB 2",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
        assert_eq!(
            "5 apples".parse::<BitRate>().unwrap_err().to_string(),
            "\"5 apples\" is not a rate; allowed: a number and bit/s, kbit/s, Mbit/s, Gbit/s or Tbit/s, as in \"1.2 Gbit/s\""
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(amount: u64) {
            prop_assert_eq!(ByteSize(amount).to_string().parse(), Ok(ByteSize(amount)));
            prop_assert_eq!(BitRate(amount).to_string().parse(), Ok(BitRate(amount)));
            prop_assert_eq!(Interval(amount).to_string().parse(), Ok(Interval(amount)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
