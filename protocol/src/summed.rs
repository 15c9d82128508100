//! JSON objects that carry a checksum of themselves: whoever keeps one on a disk sees that a bit of it has flipped.
//!
//! The sum is the last member: `{..,"crc32":"1c291ca3"}`, the CRC-32 of IEEE 802.3 of all bytes before it.

const HEAD: &[u8] = b",\"crc32\":\"";
const TAIL: &[u8] = b"\"}";
const DIGITS: usize = 8;

/// A text that is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSum {
    /// It has none.
    #[error("it ends without its checksum")]
    Missing,
    /// It is of other bytes.
    #[error("its checksum does not hold")]
    Wrong,
}

/// The object with its checksum. `object` has at least one member, and no blank behind its last brace.
#[must_use]
pub fn sum(mut object: Vec<u8>) -> Vec<u8> {
    object.pop();
    let sum = format!("{:08x}", crc32fast::hash(&object));
    object.extend_from_slice(&[HEAD, sum.as_bytes(), TAIL].concat());
    object
}

/// Checks an object, with or without a newline at its end.
///
/// # Errors
/// [`BadSum`].
pub fn check(text: &[u8]) -> Result<(), BadSum> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let length = HEAD.len() + DIGITS + TAIL.len();
    let at = text.len().checked_sub(length).ok_or(BadSum::Missing)?;
    let (object, end) = text.split_at(at);
    let digits = end
        .strip_prefix(HEAD)
        .and_then(|end| end.strip_suffix(TAIL))
        .ok_or(BadSum::Missing)?;
    let holds = format!("{:08x}", crc32fast::hash(object)).as_bytes() == digits;
    holds.then_some(()).ok_or(BadSum::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let text = sum(b"{\"format\":2,\"pause\":null}".to_vec());
        assert_eq!(
            text,
            b"{\"format\":2,\"pause\":null,\"crc32\":\"b00b9bfa\"}",
            "{}",
            String::from_utf8_lossy(&text)
        );
        serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        assert_eq!(check(&text), Ok(()));
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..text.len() {
            assert!(check(&text[..length]).is_err(), "{length}");
        }
    }
}
