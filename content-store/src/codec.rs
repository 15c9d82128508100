//! Little-endian words in and out of byte strings, for the sidecar and the catalog. Reading never panics: whatever
//! the bytes are, it ends in a value or in [`Malformed`].

use crate::ids::{DeviceId, ObjectId};

/// Bytes that do not have the shape of what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a value.
    #[error("it ends too early")]
    TooShort,
    /// Bytes follow the last value.
    #[error("bytes follow its end")]
    TooLong,
    /// A count or length is beyond its bound.
    #[error("a length in it is out of bounds")]
    Length,
    /// A text is not UTF-8, or holds what may not be in a path or header.
    #[error("a text in it is not valid")]
    Text,
    /// Values that contradict each other.
    #[error("its values contradict each other")]
    Contradiction,
}

/// Appends values to a byte string.
#[derive(Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    /// A text with its length in two bytes. All texts of the formats are bounded far below 64 KiB.
    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        let length = u16::try_from(value.len())
            .expect("texts are checked against their bound before they are stored");
        self.u16(length).bytes(value.as_bytes())
    }
}

/// Takes values from a byte string.
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::TooShort)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::TooShort)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn object(&mut self) -> Result<ObjectId, Malformed> {
        Ok(ObjectId(self.array()?))
    }

    pub(crate) fn device(&mut self) -> Result<DeviceId, Malformed> {
        Ok(DeviceId(self.array()?))
    }

    pub(crate) fn text(&mut self, bound: usize) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        if length > bound {
            return Err(Malformed::Length);
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::Text)
    }

    /// `count` words of four bytes. The bytes are taken first, so a lying count allocates nothing.
    pub(crate) fn u32s(&mut self, count: u64) -> Result<Box<[u32]>, Malformed> {
        let bytes = self.take(length_of(count, 4)?)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// `count` chaining values.
    pub(crate) fn values(&mut self, count: u64) -> Result<Box<[[u8; 32]]>, Malformed> {
        let bytes = self.take(length_of(count, 32)?)?;
        Ok(bytes.as_chunks::<32>().0.into())
    }

    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::TooLong)
        }
    }
}

fn length_of(count: u64, bytes_each: usize) -> Result<usize, Malformed> {
    usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(bytes_each))
        .ok_or(Malformed::Length)
}

/// What the pages of `docs/formats/` show.
#[cfg(test)]
pub(crate) mod documented {
    /// The bytes of each example: lines of hexadecimal digits, each followed by words or by nothing.
    pub(crate) fn examples(page: &str) -> Vec<Vec<u8>> {
        let fences = page.split("```hex\n").skip(1);
        let blocks = fences.filter_map(|rest| rest.split("```").next());
        blocks
            .map(|block| block.lines().flat_map(bytes).collect())
            .collect()
    }

    fn bytes(line: &str) -> Vec<u8> {
        let digits = line.split_whitespace().next().unwrap_or_default();
        let bytes = (0..digits.len() / 2).map(|at| &digits[2 * at..2 * at + 2]);
        bytes
            .map(|two| u8::from_str_radix(two, 16).unwrap())
            .collect()
    }
}
