//! One connection with a neighbour, from our OPEN on (RFC 4271 section 8). What lies before it, [`State::Idle`],
//! [`State::Connect`] and [`State::Active`], belongs to the neighbour as a whole.
//!
//! ```text
//! OpenSent ──OPEN──► OpenConfirm ──KEEPALIVE──► Established
//!    └──OPEN, while another connection has the better right──► KeptWaiting ──it is gone──► OpenConfirm
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::limits::{MESSAGE_BYTES, OPEN_WAIT};
use super::neighbor::{ConnectionId, Settings};
use super::packet::attributes::Encoding;
use super::packet::notification::{Notification, Reason};
use super::packet::open::{Capabilities, GracefulRestart, Open};
use super::packet::{self, Message};
use super::prefix::Family;

/// The states of RFC 4271 section 8.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is tried, and connections are refused.
    Idle,
    /// A connection is being opened.
    Connect,
    /// A connection is waited for; the next attempt comes later.
    Active,
    /// Our OPEN is out.
    OpenSent,
    /// Theirs has come.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Connect,
        Self::Active,
        Self::OpenSent,
        Self::OpenConfirm,
        Self::Established,
    ];

    /// The word in tables and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Active => "active",
            Self::OpenSent => "open-sent",
            Self::OpenConfirm => "open-confirm",
            Self::Established => "established",
        }
    }
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opener {
    /// This box.
    Us,
    /// The neighbour.
    Them,
}

/// What both OPENs together mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Hold time; zero: none (RFC 4271 section 4.2).
    pub hold: Duration,
    /// Families of routes.
    pub families: Vec<Family>,
    /// The form of attributes.
    pub encoding: Encoding,
    /// The neighbour's identifier.
    pub identifier: Ipv4Addr,
    /// The neighbour restarts gracefully: a new connection takes the place of this one (RFC 4724 section 5).
    pub restarts_gracefully: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    OpenSent,
    /// Theirs has come and is not answered yet: for everybody else, still OpenSent.
    KeptWaiting(Agreed),
    OpenConfirm(Agreed),
    Established(Agreed),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: ConnectionId,
    pub(super) opener: Opener,
    /// Our end.
    pub(super) local: IpAddr,
    pub(super) stage: Stage,
    pub(super) hold_at: Option<Instant>,
    pub(super) keepalive_at: Option<Instant>,
    /// Families that our OPEN names.
    offered: Vec<Family>,
    input: Vec<u8>,
    /// Bytes of `input` that were messages.
    consumed: usize,
}

impl Session {
    pub(super) fn new(
        now: Instant,
        connection: ConnectionId,
        opener: Opener,
        local: IpAddr,
        offered: Vec<Family>,
    ) -> Self {
        Self {
            connection,
            opener,
            local,
            stage: Stage::OpenSent,
            hold_at: Some(now + OPEN_WAIT),
            keepalive_at: None,
            offered,
            input: Vec::new(),
            consumed: 0,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.stage {
            Stage::OpenSent | Stage::KeptWaiting(_) => State::OpenSent,
            Stage::OpenConfirm(_) => State::OpenConfirm,
            Stage::Established(_) => State::Established,
        }
    }

    pub(super) fn agreed(&self) -> Option<&Agreed> {
        match &self.stage {
            Stage::OpenSent | Stage::KeptWaiting(_) => None,
            Stage::OpenConfirm(agreed) | Stage::Established(agreed) => Some(agreed),
        }
    }

    /// Whether the neighbour has said nothing over it.
    pub(super) fn is_silent(&self) -> bool {
        self.stage == Stage::OpenSent
    }

    /// Whether its OPEN is not answered yet.
    pub(super) fn is_kept_waiting(&self) -> bool {
        matches!(self.stage, Stage::KeptWaiting(_))
    }

    /// What the neighbour agreed to, once routes are exchanged.
    pub(super) fn established(&self) -> Option<&Agreed> {
        self.agreed().filter(|_| self.state() == State::Established)
    }

    /// Our OPEN.
    pub(super) fn open(&self, settings: &Settings) -> Open {
        Open {
            autonomous_system: settings.local_as,
            hold_time: u16::try_from(settings.hold_time.as_secs()).unwrap_or(u16::MAX),
            identifier: settings.identifier,
            capabilities: Capabilities {
                families: self.offered.clone(),
                four_octet_as: true,
                route_refresh: true,
                // RFC 4724 section 4: no families, so this box only helps those that restart.
                graceful_restart: Some(GracefulRestart::default()),
            },
        }
    }

    pub(super) fn take_in(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next message that is whole. Behind an OPEN that is not answered yet nothing is read, and little may come.
    pub(super) fn next(&mut self, settings: &Settings) -> Result<Option<Message>, Notification> {
        let encoding = self.agreed().map_or(
            Encoding {
                four_octet_as: true,
                internal: settings.is_internal(),
            },
            |agreed| agreed.encoding,
        );
        let rest = self.input.get(self.consumed..).unwrap_or_default();
        if self.is_kept_waiting() {
            let is_too_much = rest.len() > MESSAGE_BYTES;
            let too_much = || Reason::UNEXPECTED_IN_OPEN_SENT.into();
            return if is_too_much {
                Err(too_much())
            } else {
                Ok(None)
            };
        }
        if let Some((message, length)) = packet::decode(rest, encoding)? {
            self.consumed += length;
            return Ok(Some(message));
        }
        self.input.drain(..self.consumed);
        self.consumed = 0;
        Ok(None)
    }

    /// Whether the neighbour's OPEN is acceptable, and what follows (RFC 4271 section 6.2).
    pub(super) fn agree(&self, open: &Open, settings: &Settings) -> Result<Agreed, Notification> {
        if open.autonomous_system != settings.remote_as {
            return Err(Reason::BAD_PEER_AS.into());
        }
        let is_ours = settings.is_internal() && open.identifier == settings.identifier;
        if open.identifier.is_unspecified() || is_ours {
            return Err(Reason::BAD_IDENTIFIER.into());
        }
        if matches!(open.hold_time, 1 | 2) {
            return Err(Reason::UNACCEPTABLE_HOLD_TIME.into());
        }
        let families = self.families(&open.capabilities.families);
        if families.is_empty() {
            return Err(Reason::UNSUPPORTED_CAPABILITY.into());
        }
        let hold = Duration::from_secs(open.hold_time.into());
        let restart = open.capabilities.graceful_restart.as_ref();
        Ok(Agreed {
            hold: hold.min(settings.hold_time),
            families,
            encoding: Encoding {
                four_octet_as: open.capabilities.four_octet_as,
                internal: settings.is_internal(),
            },
            identifier: open.identifier,
            restarts_gracefully: restart.is_some_and(|it| !it.families.is_empty()),
        })
    }

    /// Those that both named. Who names none speaks of IPv4 alone.
    fn families(&self, theirs: &[Family]) -> Vec<Family> {
        let ours = self.offered.iter().copied();
        ours.filter(|family| match theirs {
            [] => *family == Family::Ipv4,
            named => named.contains(family),
        })
        .collect()
    }

    /// Something was heard that shows that the neighbour lives.
    pub(super) fn hear(&mut self, now: Instant) {
        let hold = self.agreed().map(|agreed| agreed.hold);
        self.hold_at = hold.filter(|hold| !hold.is_zero()).map(|hold| now + hold);
    }
}
