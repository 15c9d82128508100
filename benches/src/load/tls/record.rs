//! Headers of records (RFC 8446, section 5.1).

use std::io;

use super::bad;

pub(super) const HEADER_BYTES: usize = 5;

pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The longest that a record may be after its header (RFC 5246, section 6.2.3; TLS 1.3 allows less).
const MOST_BYTES: usize = (1 << 14) + 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// As it looks from outside: in TLS 1.3 everything is application data.
    pub(super) kind: u8,
    /// Bytes that follow.
    pub(super) length: usize,
}

impl Header {
    /// Errors: of no record, or one too short for `overhead`.
    pub(super) fn read(bytes: [u8; HEADER_BYTES], overhead: usize) -> io::Result<Self> {
        let [kind, major, minor, high, low] = bytes;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let fits = (overhead..=MOST_BYTES).contains(&length);
        if [major, minor] != [3, 3] || !(ALERT..=APPLICATION_DATA).contains(&kind) || !fits {
            return Err(bad(&format!("not a record: {bytes:?}")));
        }
        Ok(Self { kind, length })
    }
}
