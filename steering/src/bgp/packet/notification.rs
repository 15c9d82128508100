//! NOTIFICATION: why a session ends (RFC 4271 section 4.5, subcodes of RFC 4486, 6608 and 9003).

use std::fmt;

use super::reader::Reader;
use super::{Kind, framed};

/// Error code and subcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
}

/// A message that is followed by the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Why.
    pub reason: Reason,
    /// What it is about; its meaning depends on the reason.
    pub data: Vec<u8>,
}

impl Reason {
    /// The marker is not all ones.
    pub const NOT_SYNCHRONISED: Self = Self::new(1, 1);
    /// The length cannot be that of a message of this type.
    pub const BAD_LENGTH: Self = Self::new(1, 2);
    /// Not a type that is known.
    pub const BAD_TYPE: Self = Self::new(1, 3);
    /// An OPEN that makes no sense.
    pub const OPEN_UNSPECIFIC: Self = Self::new(2, 0);
    /// Not version 4.
    pub const BAD_VERSION: Self = Self::new(2, 1);
    /// Not the AS that is configured.
    pub const BAD_PEER_AS: Self = Self::new(2, 2);
    /// An identifier that nobody can have.
    pub const BAD_IDENTIFIER: Self = Self::new(2, 3);
    /// An optional parameter that is not known.
    pub const UNSUPPORTED_PARAMETER: Self = Self::new(2, 4);
    /// Less than three seconds.
    pub const UNACCEPTABLE_HOLD_TIME: Self = Self::new(2, 6);
    /// Lengths in an UPDATE that do not fit together, or MP attributes twice.
    pub const MALFORMED_ATTRIBUTES: Self = Self::new(3, 1);
    /// A well-known attribute that is not known.
    pub const UNRECOGNISED_WELL_KNOWN: Self = Self::new(3, 2);
    /// MP attributes that cannot be read.
    pub const OPTIONAL_ATTRIBUTE: Self = Self::new(3, 9);
    /// Prefixes that cannot be read.
    pub const BAD_NETWORK: Self = Self::new(3, 10);
    /// No family that both know.
    pub const UNSUPPORTED_CAPABILITY: Self = Self::new(2, 7);
    /// Nothing was heard for too long.
    pub const HOLD_TIMER_EXPIRED: Self = Self::new(4, 0);
    /// A message that has no place in OpenSent.
    pub const UNEXPECTED_IN_OPEN_SENT: Self = Self::new(5, 1);
    /// A message that has no place in OpenConfirm.
    pub const UNEXPECTED_IN_OPEN_CONFIRM: Self = Self::new(5, 2);
    /// A message that has no place in Established.
    pub const UNEXPECTED_IN_ESTABLISHED: Self = Self::new(5, 3);
    /// More prefixes than `maximum_prefix`.
    pub const TOO_MANY_PREFIXES: Self = Self::new(6, 1);
    /// Shut down by an operator.
    pub const SHUTDOWN: Self = Self::new(6, 2);
    /// The neighbour is not configured any more.
    pub const DECONFIGURED: Self = Self::new(6, 3);
    /// No connection is wanted now.
    pub const REJECTED: Self = Self::new(6, 5);
    /// The other connection of the two stays.
    pub const COLLISION: Self = Self::new(6, 7);

    const fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match (self.code, self.subcode) {
            (1, 1) => "connection not synchronised",
            (1, 2) => "bad message length",
            (1, 3) => "bad message type",
            (1, _) => "message header error",
            (2, 1) => "unsupported version",
            (2, 2) => "bad peer AS",
            (2, 3) => "bad BGP identifier",
            (2, 4) => "unsupported optional parameter",
            (2, 6) => "unacceptable hold time",
            (2, 7) => "unsupported capability",
            (2, _) => "OPEN error",
            (3, 1) => "malformed attribute list",
            (3, 2) => "unrecognised well-known attribute",
            (3, 3) => "missing well-known attribute",
            (3, 4) => "attribute flags error",
            (3, 5) => "attribute length error",
            (3, 6) => "invalid ORIGIN",
            (3, 8) => "invalid NEXT_HOP",
            (3, 9) => "optional attribute error",
            (3, 10) => "invalid network field",
            (3, 11) => "malformed AS_PATH",
            (3, _) => "UPDATE error",
            (4, _) => "hold timer expired",
            (5, 1) => "unexpected message in OpenSent",
            (5, 2) => "unexpected message in OpenConfirm",
            (5, 3) => "unexpected message in Established",
            (5, _) => "finite state machine error",
            (6, 1) => "maximum number of prefixes reached",
            (6, 2) => "administrative shutdown",
            (6, 3) => "peer de-configured",
            (6, 4) => "administrative reset",
            (6, 5) => "connection rejected",
            (6, 6) => "other configuration change",
            (6, 7) => "connection collision resolution",
            (6, 8) => "out of resources",
            (6, 9) => "hard reset",
            (6, _) => "cease",
            (7, _) => "ROUTE-REFRESH error",
            _ => "unknown error",
        }
    }
}

impl From<Reason> for Notification {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            data: Vec::new(),
        }
    }
}

impl Notification {
    /// With what it is about.
    #[must_use]
    pub fn with(reason: Reason, data: impl Into<Vec<u8>>) -> Self {
        Self {
            reason,
            data: data.into(),
        }
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let reason = Reason::new(reader.u8()?, reader.u8()?);
        Some(Self::with(reason, reader.0))
    }

    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.reason.code, self.reason.subcode];
        body.extend(&self.data);
        framed(Kind::Notification, &body)
    }

    /// What the operator of the other side wrote (RFC 9003).
    fn shutdown_text(&self) -> Option<String> {
        let told = self.reason == Reason::SHUTDOWN || self.reason == Reason::new(6, 4);
        let text = Reader(&self.data)
            .short_block()
            .filter(|text| told && !text.is_empty())?;
        Some(String::from_utf8_lossy(text.0).escape_debug().to_string())
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { code, subcode } = self.reason;
        write!(f, "{} ({code}/{subcode})", self.reason.words())?;
        match self.shutdown_text() {
            Some(text) => write!(f, ": \"{text}\""),
            None => Ok(()),
        }
    }
}
