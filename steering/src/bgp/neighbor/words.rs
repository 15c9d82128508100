//! What a neighbour and its caller say to each other.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::bgp::announcement::{Offer, ServicePrefix};
use crate::bgp::learned::{Import, Learned};
use crate::bgp::packet::notification::Notification;

/// A connection, as the caller numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What both sides must know of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our AS.
    pub local_as: u32,
    /// The neighbour's AS.
    pub remote_as: u32,
    /// Our BGP identifier.
    pub identifier: Ipv4Addr,
    /// The hold time that is offered: none, or 3 s and more.
    pub hold_time: Duration,
    /// Only wait for the neighbour to connect.
    pub is_passive: bool,
    /// Any number, another one for each neighbour: spreads timers.
    pub seed: u64,
}

impl Settings {
    /// Whether the neighbour is of our own AS.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.local_as == self.remote_as
    }
}

/// What a neighbour is for.
#[derive(Debug)]
pub enum Role {
    /// Its routes are learned, and it is told nothing.
    Listen(Box<Learned>),
    /// It is told these, and nothing is learned from it.
    Announce(BTreeMap<ServicePrefix, Offer>),
}

impl Role {
    /// To learn what `import` lets in.
    #[must_use]
    pub fn listen(import: Import) -> Self {
        Self::Listen(Box::new(Learned::new(import)))
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'b> {
    /// The one that [`Action::Connect`] asked for is open.
    Connected {
        /// Its number from now on.
        connection: ConnectionId,
        /// Our end.
        local: IpAddr,
    },
    /// It could not be opened.
    ConnectFailed {
        /// What the system said.
        why: String,
    },
    /// The neighbour has opened one.
    Accepted {
        /// Its number from now on.
        connection: ConnectionId,
        /// Our end.
        local: IpAddr,
    },
    /// Bytes came.
    Received {
        /// Over which.
        connection: ConnectionId,
        /// In the order in which they were sent.
        bytes: &'b [u8],
    },
    /// It is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// What the system said.
        why: String,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a connection to the neighbour; within a time that the caller bounds.
    Connect,
    /// Send bytes.
    Send {
        /// Over which.
        connection: ConnectionId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Close it when what was to be sent is sent. It is not heard of again.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages by [`Kind::index`](crate::bgp::packet::Kind::index).
    pub received: [u64; 5],
    /// Messages by [`Kind::index`](crate::bgp::packet::Kind::index).
    pub sent: [u64; 5],
    /// Sessions that were established.
    pub established: u64,
    /// UPDATEs with a mistake that cost only an attribute (RFC 7606).
    pub discarded: u64,
    /// UPDATEs with a mistake that cost their routes (RFC 7606).
    pub withdrawn: u64,
    /// KEEPALIVEs that left more than a second late.
    pub late_keepalives: u64,
}

/// How the last session, or attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// This box said so.
    Sent(Notification),
    /// The neighbour said so.
    Received(Notification),
    /// The system said so.
    Connection(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(notification) => write!(f, "sent {notification}"),
            Self::Received(notification) => write!(f, "received {notification}"),
            Self::Connection(why) => f.write_str(why),
        }
    }
}
