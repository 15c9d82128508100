//! What a client sent, kept in a bounded place, and shown so that it does no harm.

use serde::{Serialize, Serializer};

/// At most `N` bytes of what a client sent, and whether that was all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
    is_cut: bool,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
            is_cut: false,
        }
    }
}

impl<const N: usize> Text<N> {
    /// Takes the beginning of `bytes`.
    pub fn set(&mut self, bytes: &[u8]) {
        self.length = bytes.len().min(N);
        self.bytes[..self.length].copy_from_slice(&bytes[..self.length]);
        self.is_cut = bytes.len() > N;
    }

    /// Adds a byte, if there is room.
    pub fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.is_cut = true,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// As text that is safe to look at: what is no UTF-8, and control characters that JSON would let pass, become U+FFFD; an ellipsis
/// stands for what was cut.
impl<const N: usize> Serialize for Text<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let harmless = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let text = String::from_utf8_lossy(&self.bytes[..self.length]);
        let mut text: String = text.chars().map(harmless).collect();
        if self.is_cut {
            text.push('…');
        }
        serializer.serialize_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(bytes: &[u8]) -> String {
        let mut text = Text::<8>::default();
        text.set(bytes);
        serde_json::to_string(&text).unwrap()
    }

    #[test]
    fn texts_are_bounded_and_harmless() {
        for (bytes, expected) in [
            (&b"/a b"[..], "\"/a b\""),
            (b"\"\\/", "\"\\\"\\\\/\""),
            (b"a\n\x1b[2J", "\"a\u{fffd}\u{fffd}[2J\""),
            ("ü\u{85}\x7f".as_bytes(), "\"ü\u{fffd}\u{fffd}\""),
            (b"\xff\xc3", "\"\u{fffd}\u{fffd}\""),
            (b"12345678", "\"12345678\""),
            (b"123456789", "\"12345678…\""),
            ("1234567ü".as_bytes(), "\"1234567\u{fffd}…\""),
        ] {
            assert_eq!(shown(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_line(bytes: Vec<u8>) {
            let line = shown(&bytes);
            prop_assert!(!line.contains(char::is_control));
            let _: String = serde_json::from_str(&line).unwrap();
        }
    }
}
