//! The word that travels through the kernel with an operation or a registration and says whose it is.
//!
//! ```text
//! 63  60 59            32 31             0
//! | kind | socket's index | its generation |      Accept: the listener's id instead of an index
//! ```

use super::event::{ListenerId, Token};
use super::limits::MAX_CONNECTIONS;

const KIND_SHIFT: u32 = 60;
const _: () = assert!((MAX_CONNECTIONS as u64 - 1) << 32 < 1 << KIND_SHIFT);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    /// Uring: the multishot accept. Readiness: the listener itself.
    Listener(ListenerId),
    /// Uring: the multishot receive. Readiness: the socket itself.
    Receive(Token),
    /// Uring: a wait for room in the socket.
    Writable(Token),
    /// The waker's bell.
    Bell,
    /// Uring: a cancellation, whose own end means nothing.
    Cancel,
}

impl Tag {
    pub(super) fn to_bits(self) -> u64 {
        let (kind, rest) = match self {
            Tag::Listener(id) => (0, u64::from(id.0)),
            Tag::Receive(token) => (1, token.to_bits()),
            Tag::Writable(token) => (2, token.to_bits()),
            Tag::Bell => (3, 0),
            Tag::Cancel => (4, 0),
        };
        kind << KIND_SHIFT | rest
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        let rest = bits & ((1 << KIND_SHIFT) - 1);
        match bits >> KIND_SHIFT {
            0 => Tag::Listener(ListenerId(rest as u16)),
            1 => Tag::Receive(Token::from_bits(rest)),
            2 => Tag::Writable(Token::from_bits(rest)),
            3 => Tag::Bell,
            _ => Tag::Cancel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_survives_the_way_through_the_kernel() {
        let token = Token {
            index: MAX_CONNECTIONS - 1,
            generation: u32::MAX,
        };
        for tag in [
            Tag::Listener(ListenerId(u16::MAX)),
            Tag::Receive(token),
            Tag::Writable(token),
            Tag::Bell,
            Tag::Cancel,
        ] {
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
        }
    }
}
