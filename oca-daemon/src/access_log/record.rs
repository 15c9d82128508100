//! What is noted of one request: of a fixed size, so that it is made at start and used again and again.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cmcd::Cmcd;
use crate::limits::{LOG_AGENT_BYTES, LOG_METHOD_BYTES, LOG_PATH_BYTES, LOG_RANGE_BYTES};
use crate::pacing::Rate;
use crate::request::{Method, Request};
use crate::text::Text;
use crate::tls::Agreed;

/// Who asks, as the log names them.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// The number of the worker.
    pub worker: usize,
    /// The number of the connection among those that the worker accepted.
    pub connection: u64,
    /// As much of the address as may be written.
    pub address: IpAddr,
    /// What its handshake agreed on; `None`: it speaks HTTP in clear.
    pub tls: Option<Agreed>,
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
    /// Bytes of the object that the kernel took; over TLS, the last ones of an answer that was cut may be sealed only.
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
                tls: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Parsed, parse};

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

    /// Records are used again and again.
    #[test]
    fn nothing_is_left_of_the_request_before() {
        let viewer = Record::default().viewer;
        let head = b"GET /film?CMCD=br%3D1 HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9\r\nUser-Agent: a\r\n\r\n";
        let Parsed::Complete(request, _) = parse(head) else {
            panic!("it is a request");
        };
        let mut cmcd = Cmcd::default();
        assert!(cmcd.read_field(b"br=1"));
        let mut record = Record::default();
        record.of_request(viewer, &request, cmcd);
        record.of_input(viewer, b"BREW /tea HTTP/1.1\r\n\r\n");
        assert!(record.range.is_empty() && record.user_agent.is_empty() && record.cmcd.is_empty());
        assert_eq!(json(&record.path), "/tea");
    }

    fn json<const N: usize>(text: &Text<N>) -> String {
        let json = serde_json::to_value(text).unwrap();
        json.as_str().unwrap().to_owned()
    }
}
