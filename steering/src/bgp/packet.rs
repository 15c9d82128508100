//! The messages of RFC 4271 as bytes: read all five, write all but the UPDATE. What may be announced is written by
//! [`super::announcement`].
//!
//! Nothing here panics, whatever comes in: bytes are taken by a reader that says `None` where there are none.

pub mod attributes;
pub mod notification;
pub mod open;
pub(super) mod reader;
pub mod update;

use super::limits::MESSAGE_BYTES;
use super::prefix::{Family, UNICAST};
use attributes::Encoding;
use notification::{Notification, Reason};
use open::Open;
use reader::Reader;
use update::Update;

/// Octets of a header.
pub const HEADER_BYTES: usize = 19;

const MARKER: [u8; 16] = [0xff; 16];

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Begins a session.
    Open = 1,
    /// Routes.
    Update = 2,
    /// Ends a session.
    Notification = 3,
    /// Nothing new.
    Keepalive = 4,
    /// Asks for all routes again (RFC 2918).
    RouteRefresh = 5,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::Update,
        Self::Notification,
        Self::Keepalive,
        Self::RouteRefresh,
    ];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Notification => "notification",
            Self::Keepalive => "keepalive",
            Self::RouteRefresh => "route-refresh",
        }
    }

    /// Its place in [`Kind::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self as u8 - 1)
    }

    fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Lengths that a whole message of the type may have (RFC 4271 section 6.1, RFC 2918).
    fn admits(self, length: usize) -> bool {
        match self {
            Self::Open => length >= 29,
            Self::Update => length >= 23,
            Self::Notification => length >= 21,
            Self::Keepalive => length == HEADER_BYTES,
            Self::RouteRefresh => length == 23,
        }
    }
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// OPEN.
    Open(Open),
    /// UPDATE.
    Update(Update),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH; `None`: for a family that is not known, which is to be ignored.
    RouteRefresh(Option<Family>),
}

impl Message {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Open(_) => Kind::Open,
            Self::Update(_) => Kind::Update,
            Self::Notification(_) => Kind::Notification,
            Self::Keepalive => Kind::Keepalive,
            Self::RouteRefresh(_) => Kind::RouteRefresh,
        }
    }
}

/// The first message of `bytes` and its length; `None` if it is not whole yet.
///
/// # Errors
/// The NOTIFICATION that it deserves; the connection has no next message then.
pub fn decode(bytes: &[u8], encoding: Encoding) -> Result<Option<(Message, usize)>, Notification> {
    let mut reader = Reader(bytes);
    let marker = &bytes[..bytes.len().min(MARKER.len())];
    if marker != &MARKER[..marker.len()] {
        return Err(Reason::NOT_SYNCHRONISED.into());
    }
    let (Some(_), Some(length), Some(number)) =
        (reader.take(MARKER.len()), reader.u16(), reader.u8())
    else {
        return Ok(None);
    };
    let kind = Kind::from_wire(number).ok_or(Notification::with(Reason::BAD_TYPE, [number]));
    let whole = usize::from(length);
    let is_possible = (HEADER_BYTES..=MESSAGE_BYTES).contains(&whole);
    if !is_possible || kind.as_ref().is_ok_and(|kind| !kind.admits(whole)) {
        return Err(Notification::with(Reason::BAD_LENGTH, length.to_be_bytes()));
    }
    let kind = kind?;
    let Some(body) = reader.take(whole - HEADER_BYTES) else {
        return Ok(None);
    };
    Ok(Some((decode_body(kind, body, encoding)?, whole)))
}

fn decode_body(kind: Kind, body: &[u8], encoding: Encoding) -> Result<Message, Notification> {
    match kind {
        Kind::Open => Open::decode(body).map(Message::Open),
        Kind::Update => Update::decode(body, encoding).map(Message::Update),
        Kind::Notification => Notification::decode(body)
            .map(Message::Notification)
            .ok_or(Reason::BAD_LENGTH.into()),
        Kind::Keepalive => Ok(Message::Keepalive),
        Kind::RouteRefresh => Ok(Message::RouteRefresh(family(body))),
    }
}

fn family(body: &[u8]) -> Option<Family> {
    let [high, low, _, safi] = Reader(body).array()?;
    Family::from_wire(u16::from_be_bytes([high, low]), safi)
}

/// The message KEEPALIVE.
#[must_use]
pub fn keepalive() -> Vec<u8> {
    framed(Kind::Keepalive, &[])
}

/// The message ROUTE-REFRESH.
#[must_use]
pub fn route_refresh(family: Family) -> Vec<u8> {
    let [high, low] = family.afi().to_be_bytes();
    framed(Kind::RouteRefresh, &[high, low, 0, UNICAST])
}

/// A body with its header. All bodies that are written here are far below [`MESSAGE_BYTES`].
pub(super) fn framed(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut message = MARKER.to_vec();
    message.extend(((HEADER_BYTES + body.len()) as u16).to_be_bytes());
    message.push(kind as u8);
    message.extend(body);
    message
}
