//! What this box announces: the addresses of its service, and nothing else. There is no other encoder of an UPDATE.

use std::net::IpAddr;

use super::packet::attributes::{GRACEFUL_SHUTDOWN, NO_EXPORT};
use super::packet::open::AS_TRANS;
use super::packet::{Kind, framed};
use super::prefix::{Family, Prefix, UNICAST};

/// A whole address that viewers are sent to: /32 or /128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePrefix(IpAddr);

impl ServicePrefix {
    /// `None`: not an address that one box can have.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        let is_broadcast = matches!(address, IpAddr::V4(ip) if ip.is_broadcast());
        let is_unfit = address.is_unspecified()
            || address.is_multicast()
            || address.is_loopback()
            || is_broadcast;
        (!is_unfit).then_some(Self(address))
    }

    /// The address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// Its family.
    #[must_use]
    pub fn family(self) -> Family {
        Family::of(self.0)
    }

    /// As a prefix, to be shown.
    #[must_use]
    pub fn prefix(self) -> Option<Prefix> {
        Prefix::of(self.0, self.family().bits())
    }

    fn octets(self) -> Vec<u8> {
        let mut octets = vec![self.family().bits()];
        match self.0 {
            IpAddr::V4(ip) => octets.extend(ip.octets()),
            IpAddr::V6(ip) => octets.extend(ip.octets()),
        }
        octets
    }
}

/// What is said of a service prefix: there are two things to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offer {
    /// It is here.
    Present,
    /// It is here, and about to go: GRACEFUL_SHUTDOWN (RFC 8326), and a MED for those who do not know that.
    Leaving,
}

impl Offer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Present, Self::Leaving];

    /// MULTI_EXIT_DISC.
    #[must_use]
    pub fn med(self) -> u32 {
        match self {
            Self::Present => 100,
            Self::Leaving => 500,
        }
    }

    /// The communities.
    #[must_use]
    pub fn communities(self) -> &'static [u32] {
        match self {
            Self::Present => &[NO_EXPORT],
            Self::Leaving => &[GRACEFUL_SHUTDOWN, NO_EXPORT],
        }
    }
}

/// How one neighbour is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// Our AS.
    pub local_as: u32,
    /// The neighbour is of the same AS.
    pub internal: bool,
    /// AS numbers have four octets.
    pub four_octet_as: bool,
    /// Our own end of the connection; only prefixes of its family are announced.
    pub next_hop: IpAddr,
}

/// The UPDATE that announces `prefixes`, which are of the family of the next hop.
#[must_use]
pub fn announce(wire: &Wire, offer: Offer, prefixes: &[ServicePrefix]) -> Vec<u8> {
    let routes: Vec<u8> = prefixes.iter().flat_map(|prefix| prefix.octets()).collect();
    let mut attributes = Vec::new();
    let body_routes = match wire.next_hop {
        IpAddr::V4(next_hop) => {
            attributes.extend(path_attributes(wire));
            attributes.extend(attribute(0x40, 3, &next_hop.octets()));
            routes
        }
        // RFC 7606 section 5.1: MP_REACH_NLRI comes first.
        IpAddr::V6(next_hop) => {
            let mut reach = vec![0, 2, UNICAST, 16];
            reach.extend(next_hop.octets());
            reach.push(0);
            reach.extend(routes);
            attributes.extend(long_attribute(0x80, 14, &reach));
            attributes.extend(path_attributes(wire));
            Vec::new()
        }
    };
    attributes.extend(offered(wire, offer));
    update(&[], &attributes, &body_routes)
}

/// The UPDATE that withdraws `prefixes`, all of one family.
#[must_use]
pub fn withdraw(family: Family, prefixes: &[ServicePrefix]) -> Vec<u8> {
    let routes: Vec<u8> = prefixes.iter().flat_map(|prefix| prefix.octets()).collect();
    match family {
        Family::Ipv4 => update(&routes, &[], &[]),
        Family::Ipv6 => {
            let value = [&[0, 2, UNICAST], routes.as_slice()].concat();
            update(&[], &long_attribute(0x80, 15, &value), &[])
        }
    }
}

/// The UPDATE that says that all of a family was told (RFC 4724 section 2).
#[must_use]
pub fn end_of_rib(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4 => update(&[], &[], &[]),
        Family::Ipv6 => update(&[], &attribute(0x80, 15, &[0, 2, UNICAST]), &[]),
    }
}

/// ORIGIN and AS_PATH.
fn path_attributes(wire: &Wire) -> Vec<u8> {
    const IGP: u8 = 0;
    const ONE_AS: [u8; 2] = [2, 1];
    let mut attributes = attribute(0x40, 1, &[IGP]);
    let path = match (wire.internal, wire.four_octet_as) {
        (true, _) => Vec::new(),
        (false, true) => [&ONE_AS[..], &wire.local_as.to_be_bytes()].concat(),
        (false, false) => {
            let short = u16::try_from(wire.local_as).unwrap_or(AS_TRANS);
            [&ONE_AS[..], &short.to_be_bytes()].concat()
        }
    };
    attributes.extend(attribute(0x40, 2, &path));
    attributes
}

/// MED, LOCAL_PREF within our own AS, communities, and the AS number that did not fit.
fn offered(wire: &Wire, offer: Offer) -> Vec<u8> {
    const LOCAL_PREFERENCE: u32 = 100;
    let mut attributes = attribute(0x80, 4, &offer.med().to_be_bytes());
    if wire.internal {
        attributes.extend(attribute(0x40, 5, &LOCAL_PREFERENCE.to_be_bytes()));
    }
    let communities = offer.communities().iter();
    let communities: Vec<u8> = communities.flat_map(|it| it.to_be_bytes()).collect();
    attributes.extend(attribute(0xc0, 8, &communities));
    if !wire.internal && !wire.four_octet_as && u16::try_from(wire.local_as).is_err() {
        let path = [&[2, 1], &wire.local_as.to_be_bytes()[..]].concat();
        attributes.extend(attribute(0xc0, 17, &path));
    }
    attributes
}

fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut attribute = vec![flags, code, value.len() as u8];
    attribute.extend(value);
    attribute
}

fn long_attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut attribute = vec![flags | 0x10, code];
    attribute.extend((value.len() as u16).to_be_bytes());
    attribute.extend(value);
    attribute
}

fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((withdrawn.len() as u16).to_be_bytes());
    body.extend(withdrawn);
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(announced);
    framed(Kind::Update, &body)
}
