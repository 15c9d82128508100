//! What the daemon tells of its sessions with routers: a part of the status, and pages of routes.
//!
//! Words (`state`, `phase`, `reason`) are those of the crate `steering`, which closes their sets.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::config::NeighborRole;

/// The sessions, and what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bgp {
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// In the order of the configuration.
    pub neighbors: Vec<Neighbor>,
    /// Each service address.
    pub services: Vec<Service>,
    /// Where the prefixes that are to be served come from.
    pub feed: Feed,
}

/// Where the prefixes that are to be served come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feed {
    /// Neighbours tell them.
    Learned,
    /// Neighbours told them, and no session is left.
    Stale,
    /// `bgp.static_prefixes`: nobody tells any.
    Static,
    /// There are none.
    Empty,
}

impl Feed {
    /// The word in JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Stale => "stale",
            Self::Static => "static",
            Self::Empty => "empty",
        }
    }
}

/// A router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// Our AS.
    pub local_as: u32,
    /// Its AS.
    pub remote_as: u32,
    /// What the session is for.
    pub role: NeighborRole,
    /// `idle`, `connect`, `active`, `open-sent`, `open-confirm`, `established`.
    pub state: String,
    /// How long it has been established, seconds.
    pub established: Option<u64>,
    /// What both agreed on; only of an established session.
    pub agreed: Option<Agreed>,
    /// How the last session, or attempt, ended; empty: none has.
    pub ending: String,
    /// How long ago, seconds.
    pub ended: Option<u64>,
    /// What was learned; only from those that are listened to.
    pub learned: Option<Learned>,
    /// What it was told in this session.
    pub advertised: Vec<Advertised>,
    /// Messages since the start.
    pub messages: Vec<Messages>,
    /// Sessions that were established since the start.
    pub sessions: u64,
    /// UPDATEs with a mistake that cost only an attribute (RFC 7606).
    pub discarded: u64,
    /// UPDATEs with a mistake that cost their routes (RFC 7606).
    pub withdrawn: u64,
    /// KEEPALIVEs that left more than a second late.
    pub late_keepalives: u64,
}

/// What both sides of a session agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// Our end.
    pub local: IpAddr,
    /// The neighbour's identifier.
    pub identifier: Ipv4Addr,
    /// Seconds; 0: none.
    pub hold_time: u64,
    /// `ipv4`, `ipv6`.
    pub families: Vec<String>,
    /// AS numbers have four octets.
    pub four_octet_as: bool,
}

/// How much was learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// IPv4 prefixes, stale ones too.
    pub ipv4: u64,
    /// IPv6 prefixes, stale ones too.
    pub ipv6: u64,
    /// Those of a session that has ended.
    pub stale: u64,
    /// So many of one session are taken.
    pub maximum: u32,
    /// Routes that did not come in since the start.
    pub refused: Vec<Refused>,
}

/// Routes that did not come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// `default`, `martian`, `not-accepted`, `loop`.
    pub reason: String,
    /// How many.
    pub routes: u64,
}

/// A prefix that a neighbour was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertised {
    /// As in `192.0.2.1/32`.
    pub prefix: String,
    /// MULTI_EXIT_DISC.
    pub med: u32,
    /// As in `65535:65281`.
    pub communities: Vec<String>,
}

/// Messages of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// `open`, `update`, `notification`, `keepalive`, `route-refresh`.
    pub kind: String,
    /// From the neighbour.
    pub received: u64,
    /// To it.
    pub sent: u64,
}

/// A service address, and whether it is announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The address.
    pub address: IpAddr,
    /// `absent`, `present`, `leaving`, `left`, `away`, `held`.
    pub phase: String,
    /// Why it is not `present`; empty if it is.
    pub why: String,
    /// It is an address of this system, and somebody listens there.
    #[serde(default)]
    pub is_here: bool,
    /// What came instead of answers, if it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// Routes that were learned from one neighbour, in the order of their prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePage {
    /// At most [`crate::limits::ROUTES_PAGE_MAX`].
    pub routes: Vec<Route>,
    /// There are more behind the last one.
    pub more: bool,
}

/// A route that was learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// As in `192.0.2.0/24`.
    pub prefix: String,
    /// Where it leads.
    pub next_hop: Option<IpAddr>,
    /// AS numbers, the nearest first; sets in braces.
    pub as_path: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// As in `65535:0`, and large ones as in `64496:1:2`.
    pub communities: Vec<String>,
    /// The session that told it has ended.
    pub stale: bool,
    /// How long ago it was told, seconds.
    pub age: u64,
}
