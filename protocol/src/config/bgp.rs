//! `[bgp]`: the routers that say whom to serve, and those that are told where the service is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::value::Prefix;
use crate::units::Interval;

/// `[bgp]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bgp {
    /// BGP identifier. Default: the first IPv4 address of `steering.service_addresses`.
    pub router_id: Option<Ipv4Addr>,
    /// Where neighbours may connect. Default: nowhere, the box connects to them.
    pub listen: Vec<SocketAddr>,
    /// How long the prefixes of a neighbour are kept after its session. Default: 1 h.
    pub stale_time: Interval,
    /// The prefixes that are to be served when no neighbour tells any, and none is kept. Default: none.
    pub static_prefixes: Vec<Prefix>,
    /// `[[bgp.neighbor]]`: one session each.
    pub neighbor: Vec<Neighbor>,
}

impl Default for Bgp {
    fn default() -> Self {
        Self {
            router_id: None,
            listen: Vec::new(),
            stale_time: Interval::from_seconds(3600),
            static_prefixes: Vec::new(),
            neighbor: Vec::new(),
        }
    }
}

/// `[[bgp.neighbor]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbor {
    /// The router's address.
    pub address: IpAddr,
    /// Where it listens. Default: 179.
    #[serde(default = "bgp_port")]
    pub port: u16,
    /// Our end of the session. Default: as the system routes.
    pub local_address: Option<IpAddr>,
    /// Our autonomous system.
    pub local_as: u32,
    /// The router's autonomous system.
    pub remote_as: u32,
    /// What the session is for.
    pub role: NeighborRole,
    /// Wait for the router to connect. Default: false.
    #[serde(default)]
    pub passive: bool,
    /// The hold time that is offered, whole seconds; the lower one of both counts. Default: 30 s.
    #[serde(default = "half_a_minute")]
    pub hold_time: Interval,
    /// GTSM (RFC 5082): the router is one hop away, and nobody else is heard. It must do the same. Default: false.
    #[serde(default)]
    pub ttl_security: bool,
    /// File with the password of TCP-MD5 (RFC 2385), in its first line. Default: none.
    pub password_file: Option<PathBuf>,
    /// Prefixes that are taken from it; one more ends the session. Default: 100 000.
    #[serde(default = "hundred_thousand")]
    pub maximum_prefix: u32,
    /// Only prefixes within these are taken. Default: all, but for the default route and what no viewer can have.
    #[serde(default)]
    pub accept: Vec<Prefix>,
}

/// `role` of a `[[bgp.neighbor]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NeighborRole {
    /// Learn the prefixes that are to be served.
    Listen,
    /// Announce the service addresses.
    Announce,
}

impl NeighborRole {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Announce => "announce",
        }
    }
}

fn bgp_port() -> u16 {
    179
}

fn half_a_minute() -> Interval {
    Interval::from_seconds(30)
}

fn hundred_thousand() -> u32 {
    100_000
}
