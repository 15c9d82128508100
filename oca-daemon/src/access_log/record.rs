//! What is noted of one request: of a fixed size, so that it is made at start and used again and again.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::cmcd::Cmcd;
use crate::limits::{LOG_AGENT_BYTES, LOG_METHOD_BYTES, LOG_PATH_BYTES, LOG_RANGE_BYTES};
use crate::pacing::Rate;
use crate::request::{Method, Request};

/// Who asks, as the log names them.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// The number of the worker.
    pub worker: usize,
    /// The number of the connection among those that the worker accepted.
    pub connection: u64,
    /// As much of the address as may be written.
    pub address: IpAddr,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The kernel took its last byte.
    Complete,
    /// The peer closed, or the connection broke.
    Peer,
    /// The peer took no byte for too long.
    Slow,
    /// A device could not give what the head had promised.
    Device,
    /// The daemon stopped, or a drain had reached its bound.
    Stop,
}

/// One request and its answer.
#[derive(Debug)]
pub struct Record {
    pub(super) viewer: Viewer,
    pub(super) method: Text<LOG_METHOD_BYTES>,
    pub(super) path: Text<LOG_PATH_BYTES>,
    pub(super) range: Text<LOG_RANGE_BYTES>,
    pub(super) user_agent: Text<LOG_AGENT_BYTES>,
    pub(super) cmcd: Cmcd,
    /// What is known when the answer has ended.
    pub answered: Answered,
    /// From the complete head to the first byte of the answer in the kernel, if one came there.
    pub first_byte: Option<Duration>,
    /// The bytes of the body that came from memory; the others came from a device.
    pub memory_bytes: u64,
    /// The rate that the connection was held to.
    pub pace: Option<Rate>,
}

/// What is known when an answer has ended.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// When the request's head was complete.
    pub started: Instant,
    /// From there to the end.
    pub duration: Duration,
    /// The status, even if the peer had gone before it was sent.
    pub status: u16,
    /// Bytes of the object that the kernel took.
    pub body_bytes: u64,
    /// How it ended.
    pub end: End,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            viewer: Viewer {
                worker: 0,
                connection: 0,
                address: Ipv4Addr::UNSPECIFIED.into(),
            },
            method: Text::default(),
            path: Text::default(),
            range: Text::default(),
            user_agent: Text::default(),
            cmcd: Cmcd::default(),
            answered: Answered {
                started: Instant::now(),
                duration: Duration::ZERO,
                status: 0,
                body_bytes: 0,
                end: End::Peer,
            },
            first_byte: None,
            memory_bytes: 0,
            pace: None,
        }
    }
}

impl Record {
    /// Notes a request that was understood.
    pub fn of_request(&mut self, viewer: Viewer, request: &Request<'_>, cmcd: Cmcd) {
        self.viewer = viewer;
        self.method.set(match request.method {
            Method::Get => b"GET",
            Method::Head => b"HEAD",
            Method::Options => b"OPTIONS",
        });
        self.path.set(request.path);
        self.range.set(request.range.unwrap_or_default());
        self.user_agent.set(request.beside.user_agent);
        self.cmcd = cmcd;
    }

    /// Notes what `input`, which was not understood, begins with: what may be a method and a path.
    pub fn of_input(&mut self, viewer: Viewer, input: &[u8]) {
        let line = input.split(|byte| matches!(byte, b'\r' | b'\n'));
        let line = line.into_iter().find(|line| !line.is_empty());
        let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
        self.viewer = viewer;
        self.method.set(words.next().unwrap_or_default());
        let target = words.next().unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next();
        self.path.set(path.unwrap_or_default());
        self.range.set(b"");
        self.user_agent.set(b"");
        self.cmcd = Cmcd::default();
    }
}

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

    #[test]
    fn of_what_is_no_request_the_first_words_are_kept() {
        let viewer = Record::default().viewer;
        for (input, method, path) in [
            (
                &b"DELETE /a?x=1 HTTP/1.1\r\nHost: a\r\n"[..],
                "DELETE",
                "/a",
            ),
            (b"\r\n\r\nGET  /a HTTP/1.1\r\n", "GET", ""),
            (b"GET", "GET", ""),
            (b"", "", ""),
            (
                b"\x16\x03\x01\x02\x00 x",
                "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
                "x",
            ),
        ] {
            let mut record = Record::default();
            record.of_input(viewer, input);
            assert_eq!(
                (json(&record.method), json(&record.path)),
                (method.to_owned(), path.to_owned()),
                "{input:?}"
            );
        }
    }

    fn json<const N: usize>(text: &Text<N>) -> String {
        let json = serde_json::to_value(text).unwrap();
        json.as_str().unwrap().to_owned()
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
