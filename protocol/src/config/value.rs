//! Values that TOML has no type for: `"auto"`, address prefixes, URLs, what to answer on a miss.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::error::OR_AUTO;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A value, or `"auto"`: the program finds it out at start and says what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auto<T> {
    /// Found out at start.
    #[default]
    Auto,
    /// As configured.
    Fixed(T),
}

impl<T: Copy> Auto<T> {
    /// The configured value, if there is one.
    #[must_use]
    pub fn fixed(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Fixed(value) => Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Auto<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOr<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AutoOr<T> {
            type Value = Auto<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a value")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Auto<T>, E> {
                if text == "auto" {
                    return Ok(Auto::Auto);
                }
                T::deserialize(serde::de::value::StrDeserializer::new(text))
                    .map(Auto::Fixed)
                    .map_err(or_auto)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Auto<T>, E> {
                T::deserialize(serde::de::value::I64Deserializer::new(number))
                    .map(Auto::Fixed)
                    .map_err(or_auto)
            }
        }
        deserializer.deserialize_any(AutoOr(std::marker::PhantomData))
    }
}

/// Adds that `"auto"` would have been allowed too.
fn or_auto<E: serde::de::Error>(error: E) -> E {
    E::custom(format!("{}{OR_AUTO}", error.to_string().trim_end()))
}

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(value) => value.serialize(serializer),
        }
    }
}

/// A block of addresses, as in `192.0.2.0/24`. An address alone is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A text that is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a prefix; allowed: an address, a slash and a length with no bits set behind it, as in \"192.0.2.0/24\""
)]
pub struct BadPrefix(String);

impl Prefix {
    /// Whether `address` is inside. An IPv4 address that came in mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()) & mask_4(self.length) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()) & mask_6(self.length) == 0
            }
            _ => false,
        }
    }

    /// The first address of the block.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits are fixed.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    fn has_no_bits_behind(&self) -> bool {
        match self.address {
            IpAddr::V4(own) => self.length <= 32 && own.to_bits() & !mask_4(self.length) == 0,
            IpAddr::V6(own) => self.length <= 128 && own.to_bits() & !mask_6(self.length) == 0,
        }
    }
}

fn mask_4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(longest), str::parse).map_err(|_| bad())?;
        let prefix = Self { address, length };
        prefix
            .has_no_bits_behind()
            .then_some(prefix)
            .ok_or_else(bad)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a viewer is told about a path that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMiss {
    /// `"404"`.
    #[default]
    NotFound,
    /// `{ redirect = "https://control.example/v1/play" }`: 302 to this base with the path behind it.
    Redirect(String),
}

impl<'de> Deserialize<'de> for OnMiss {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = OnMiss;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"404\" or { redirect = \"https://..\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OnMiss, E> {
                match text {
                    "404" => Ok(OnMiss::NotFound),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnMiss, A::Error> {
                let mut target = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "redirect" {
                        return Err(serde::de::Error::unknown_field(&key, &["redirect"]));
                    }
                    target = Some(map.next_value()?);
                }
                target
                    .map(OnMiss::Redirect)
                    .ok_or_else(|| serde::de::Error::missing_field("redirect"))
            }
        }
        deserializer.deserialize_any(Choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_its_addresses() {
        let holds = |prefix: &str, address: &str| {
            prefix
                .parse::<Prefix>()
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.7"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(holds("::1", "::1"));
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in [
            "",
            "192.0.2.0/33",
            "192.0.2.1/24",
            "::/129",
            "192.0.2.0/",
            "example/8",
            "192.0.2.0/+8/",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text:?}");
        }
    }
}
