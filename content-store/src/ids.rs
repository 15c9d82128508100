//! The names of things: objects, devices, generations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The BLAKE3 root of an object's bytes: the same bytes have the same name on every appliance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; 32]);

/// A device, named once when it is initialised, wherever it is mounted later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub [u8; 16]);

/// The number of a catalog commit that changed what is published. Only rising, also over a rebuild.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// A strong entity tag with its quotes, as it stands in the response head.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag([u8; ETAG_BYTES]);

const ETAG_ROOT_BYTES: usize = 16;
const ETAG_BYTES: usize = 2 * ETAG_ROOT_BYTES + 2;

/// A text is not the hexadecimal form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id of {digits} hexadecimal digits")]
pub struct BadId {
    text: String,
    digits: usize,
}

impl ObjectId {
    /// The entity tag: the first 16 bytes of the root, quoted. From the bytes alone, so that `If-Range` survives a
    /// switch between appliances.
    pub fn etag(&self) -> ETag {
        let mut text = [b'"'; ETAG_BYTES];
        hex_into(&self.0[..ETAG_ROOT_BYTES], &mut text[1..ETAG_BYTES - 1]);
        ETag(text)
    }
}

impl ETag {
    /// The tag with its quotes.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("quotes and hexadecimal digits are ASCII")
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn hex_into(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0; 64];
    let text = &mut text[..2 * bytes.len()];
    hex_into(bytes, text);
    f.pad(std::str::from_utf8(text).expect("hexadecimal digits are ASCII"))
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], BadId> {
    let bad = || BadId {
        text: text.chars().take(80).collect(),
        digits: 2 * N,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(bad());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (hex_digit(pair[0]).ok_or_else(bad)? << 4) | hex_digit(pair[1]).ok_or_else(bad)?;
    }
    Ok(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Text form of an id: lower-case hexadecimal, everywhere.
macro_rules! hexadecimal {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }
        impl FromStr for $id {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_hex(text).map(Self)
            }
        }
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hexadecimal!(ObjectId);
hexadecimal!(DeviceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_go_both_ways() {
        let object = ObjectId(std::array::from_fn(|i| i as u8));
        let text = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        assert_eq!(object.to_string(), text);
        assert_eq!(text.parse(), Ok(object));
        assert_eq!(
            object.etag().as_str(),
            "\"000102030405060708090a0b0c0d0e0f\""
        );
        let device = DeviceId([0xfe; 16]);
        assert_eq!(device.to_string().parse(), Ok(device));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "00",
            "0g0102030405060708090a0b0c0d0e0f",
            "ééééééééééééééé0",
            &"FF".repeat(16),
        ] {
            assert!(text.parse::<DeviceId>().is_err(), "{text}");
        }
    }
}
