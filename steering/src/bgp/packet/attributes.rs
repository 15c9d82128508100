//! Path attributes (RFC 4271 section 5), read as RFC 7606 wants it: a mistake in one costs the routes of its message, or only the
//! attribute, and the session goes on wherever it is still known which routes were meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::notification::{Notification, Reason};
use super::reader::Reader;
use super::update::prefixes;
use crate::bgp::prefix::{Family, Prefix};

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MULTI_EXIT_DISC: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ATOMIC_AGGREGATE: u8 = 6;
const AGGREGATOR: u8 = 7;
const COMMUNITIES: u8 = 8;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;
const EXTENDED_COMMUNITIES: u8 = 16;
const AS4_PATH: u8 = 17;
const AS4_AGGREGATOR: u8 = 18;
const LARGE_COMMUNITIES: u8 = 32;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// RFC 8326: the neighbour is about to go away.
pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
/// RFC 1997: not to be told outside of the AS.
pub const NO_EXPORT: u32 = 0xffff_ff01;

/// What was agreed about the form of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// AS numbers have four octets.
    pub four_octet_as: bool,
    /// The neighbour is of our own AS.
    pub internal: bool,
}

/// What is said of the routes of one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathAttributes {
    /// 0: IGP, 1: EGP, 2: incomplete.
    pub origin: u8,
    /// The way, the nearest first.
    pub as_path: Vec<Hop>,
    /// Next hop of IPv4 routes.
    pub next_hop: Option<Ipv4Addr>,
    /// Next hop of IPv6 routes.
    pub next_hop_ipv6: Option<Ipv6Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF; from our own AS alone.
    pub local_preference: Option<u32>,
    /// RFC 1997.
    pub communities: Vec<u32>,
    /// RFC 8092.
    pub large_communities: Vec<[u32; 3]>,
}

/// A part of a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// One AS.
    As(u32),
    /// One or more of these, of an aggregate.
    Set(Vec<u32>),
}

impl PathAttributes {
    /// The length of the way, as it is compared: a set counts as one.
    #[must_use]
    pub fn path_length(&self) -> usize {
        self.as_path.len()
    }

    /// Whether the way leads through `autonomous_system`.
    #[must_use]
    pub fn passes(&self, autonomous_system: u32) -> bool {
        self.as_path.iter().any(|hop| match hop {
            Hop::As(number) => *number == autonomous_system,
            Hop::Set(numbers) => numbers.contains(&autonomous_system),
        })
    }

    /// Whether the routes are about to go away (RFC 8326).
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.communities.contains(&GRACEFUL_SHUTDOWN)
    }

    /// Where routes of `family` go.
    #[must_use]
    pub fn next_hop_of(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4 => self.next_hop.map(IpAddr::V4),
            Family::Ipv6 => self.next_hop_ipv6.map(IpAddr::V6),
        }
    }
}

/// What was done about a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handling {
    /// The attribute counts as not there.
    Discarded,
    /// The routes count as withdrawn.
    Withdrawn,
}

/// What [`read`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) attributes: PathAttributes,
    pub(super) reached: Option<(Family, Vec<Prefix>)>,
    pub(super) unreached: Option<(Family, Vec<Prefix>)>,
    /// The worst mistake and the type of its attribute; the first of its kind.
    pub(super) mistake: Option<(Handling, u8)>,
    as4_path: Option<Vec<Hop>>,
    /// A bit for each type that was there.
    seen: [u128; 2],
}

/// Why a value could not be taken.
enum Trouble {
    Discard,
    Withdraw,
    Reset(Notification),
}

/// Reads the attributes of an UPDATE.
///
/// # Errors
/// What ends the session: it is not known any more which routes were meant.
pub(super) fn read(mut reader: Reader<'_>, encoding: Encoding) -> Result<Found, Notification> {
    let mut found = Found::default();
    while !reader.is_empty() {
        let Some(Attribute { flags, code, value }) = Attribute::take(&mut reader) else {
            // RFC 7606 section 4: what follows is not known; the routes behind the attributes are.
            found.note(Handling::Withdrawn, reader.0.get(1).copied().unwrap_or(0));
            break;
        };
        if found.has(code) {
            if matches!(code, MP_REACH_NLRI | MP_UNREACH_NLRI) {
                return Err(Reason::MALFORMED_ATTRIBUTES.into());
            }
            found.note(Handling::Discarded, code);
            continue;
        }
        found.seen[usize::from(code >> 7)] |= 1 << (code & 127);
        if flags_of(code).is_some_and(|right| right != flags & (OPTIONAL | TRANSITIVE)) {
            found.note(Handling::Withdrawn, code);
        }
        match found.take(flags, code, value, encoding) {
            Ok(()) => {}
            Err(Trouble::Discard) => found.note(Handling::Discarded, code),
            Err(Trouble::Withdraw) => found.note(Handling::Withdrawn, code),
            Err(Trouble::Reset(notification)) => return Err(notification),
        }
    }
    found.join_paths();
    Ok(found)
}

struct Attribute<'b> {
    flags: u8,
    code: u8,
    value: Reader<'b>,
}

impl<'b> Attribute<'b> {
    /// Leaves `reader` as it was if there is no whole attribute.
    fn take(reader: &mut Reader<'b>) -> Option<Self> {
        let mut ahead = *reader;
        let (flags, code) = (ahead.u8()?, ahead.u8()?);
        let value = if flags & EXTENDED_LENGTH == 0 {
            ahead.short_block()?
        } else {
            ahead.block()?
        };
        *reader = ahead;
        Some(Self { flags, code, value })
    }
}

/// Optional and transitive, as each type must have them.
fn flags_of(code: u8) -> Option<u8> {
    match code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => Some(TRANSITIVE),
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI => {
            Some(OPTIONAL)
        }
        AGGREGATOR | COMMUNITIES | EXTENDED_COMMUNITIES | AS4_PATH | AS4_AGGREGATOR
        | LARGE_COMMUNITIES => Some(OPTIONAL | TRANSITIVE),
        _ => None,
    }
}

impl Found {
    pub(super) fn has(&self, code: u8) -> bool {
        self.seen[usize::from(code >> 7)] >> (code & 127) & 1 == 1
    }

    fn note(&mut self, handling: Handling, code: u8) {
        if self.mistake.is_none_or(|(worst, _)| worst < handling) {
            self.mistake = Some((handling, code));
        }
    }

    /// One attribute (RFC 7606 section 7, in its order).
    fn take(
        &mut self,
        flags: u8,
        code: u8,
        value: Reader<'_>,
        encoding: Encoding,
    ) -> Result<(), Trouble> {
        let attributes = &mut self.attributes;
        let bytes = value.0;
        match code {
            ORIGIN => attributes.origin = origin(bytes).ok_or(Trouble::Withdraw)?,
            AS_PATH => {
                attributes.as_path =
                    path(value, encoding.four_octet_as).ok_or(Trouble::Withdraw)?;
            }
            NEXT_HOP => attributes.next_hop = Some(next_hop(bytes).ok_or(Trouble::Withdraw)?),
            MULTI_EXIT_DISC => attributes.med = Some(number(bytes).ok_or(Trouble::Withdraw)?),
            LOCAL_PREF | ORIGINATOR_ID | CLUSTER_LIST if !encoding.internal => {
                return Err(Trouble::Discard);
            }
            LOCAL_PREF => {
                attributes.local_preference = Some(number(bytes).ok_or(Trouble::Withdraw)?);
            }
            ATOMIC_AGGREGATE if !bytes.is_empty() => return Err(Trouble::Discard),
            AGGREGATOR if bytes.len() != if encoding.four_octet_as { 8 } else { 6 } => {
                return Err(Trouble::Discard);
            }
            COMMUNITIES => attributes.communities = communities(value).ok_or(Trouble::Withdraw)?,
            ORIGINATOR_ID if bytes.len() != 4 => return Err(Trouble::Withdraw),
            CLUSTER_LIST if !is_list(bytes, 4) => return Err(Trouble::Withdraw),
            MP_REACH_NLRI => self.reach(value)?,
            MP_UNREACH_NLRI => self.unreach(value)?,
            EXTENDED_COMMUNITIES if !is_list(bytes, 8) => return Err(Trouble::Withdraw),
            AS4_PATH if !encoding.four_octet_as => {
                self.as4_path = Some(path(value, true).ok_or(Trouble::Discard)?);
            }
            LARGE_COMMUNITIES => {
                attributes.large_communities = large_communities(value).ok_or(Trouble::Withdraw)?;
            }
            _ if flags_of(code).is_none() && flags & OPTIONAL == 0 => {
                let data = [&[flags, code], bytes].concat();
                let reason = Reason::UNRECOGNISED_WELL_KNOWN;
                return Err(Trouble::Reset(Notification::with(reason, data)));
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 4760 section 3. A family that was not agreed on is passed over.
    fn reach(&mut self, mut value: Reader<'_>) -> Result<(), Trouble> {
        let unreadable = || Trouble::Reset(Reason::OPTIONAL_ATTRIBUTE.into());
        let (afi, safi) = value.u16().zip(value.u8()).ok_or_else(unreadable)?;
        let next_hop = value.short_block().ok_or_else(unreadable)?.0;
        value.u8().ok_or_else(unreadable)?;
        let Some(family) = Family::from_wire(afi, safi) else {
            return Err(Trouble::Discard);
        };
        let reached = prefixes(value, family).ok_or_else(unreadable)?;
        match (family, next_hop.len()) {
            (Family::Ipv4, 4) => self.attributes.next_hop = self::next_hop(next_hop),
            // A link-local address may follow (RFC 2545 section 3).
            (Family::Ipv6, 16 | 32) => self.attributes.next_hop_ipv6 = next_hop_ipv6(next_hop),
            _ => return Err(unreadable()),
        }
        self.reached = Some((family, reached));
        let is_there = self.attributes.next_hop_of(family).is_some();
        is_there.then_some(()).ok_or(Trouble::Withdraw)
    }

    /// RFC 4760 section 4.
    fn unreach(&mut self, mut value: Reader<'_>) -> Result<(), Trouble> {
        let unreadable = || Trouble::Reset(Reason::OPTIONAL_ATTRIBUTE.into());
        let (afi, safi) = value.u16().zip(value.u8()).ok_or_else(unreadable)?;
        let Some(family) = Family::from_wire(afi, safi) else {
            return Err(Trouble::Discard);
        };
        self.unreached = Some((family, prefixes(value, family).ok_or_else(unreadable)?));
        Ok(())
    }

    /// RFC 6793 section 4.2.3: the numbers that did not fit into two octets.
    fn join_paths(&mut self) {
        let Some(long) = self.as4_path.take() else {
            return;
        };
        let path = &mut self.attributes.as_path;
        if let Some(ahead) = path.len().checked_sub(long.len()) {
            path.truncate(ahead);
            path.extend(long);
        }
    }

    /// The first of those that routes must have and these have not (RFC 4271 section 5, RFC 7606 section 3 d).
    pub(super) fn missing(&self, has_body_routes: bool, internal: bool) -> Option<u8> {
        let needed = [
            (ORIGIN, true),
            (AS_PATH, true),
            (NEXT_HOP, has_body_routes),
            (LOCAL_PREF, internal),
        ];
        let mut missing = needed.iter().filter(|(code, is)| *is && !self.has(*code));
        missing.next().map(|(code, _)| *code)
    }

    /// Whether there was none but MP_UNREACH_NLRI.
    pub(super) fn only_unreach(&self) -> bool {
        self.seen == [1 << MP_UNREACH_NLRI, 0]
    }
}

fn origin(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [origin @ 0..=2] => Some(*origin),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn is_list(bytes: &[u8], of: usize) -> bool {
    !bytes.is_empty() && bytes.len().is_multiple_of(of)
}

fn next_hop(bytes: &[u8]) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from_bits(number(bytes)?);
    let is_host = !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
    is_host.then_some(address)
}

fn next_hop_ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    let address = Ipv6Addr::from(*bytes.first_chunk::<16>()?);
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

fn communities(mut value: Reader<'_>) -> Option<Vec<u32>> {
    if !is_list(value.0, 4) {
        return None;
    }
    Some(std::iter::from_fn(|| value.u32()).collect())
}

fn large_communities(mut value: Reader<'_>) -> Option<Vec<[u32; 3]>> {
    if !is_list(value.0, 12) {
        return None;
    }
    let mut next = || Some([value.u32()?, value.u32()?, value.u32()?]);
    Some(std::iter::from_fn(&mut next).collect())
}

/// RFC 4271 section 4.3, RFC 7606 section 7.2. Segments of confederations have no place here (RFC 5065), nor has AS 0 (RFC 7607).
fn path(mut value: Reader<'_>, four_octets: bool) -> Option<Vec<Hop>> {
    const SET: u8 = 1;
    const SEQUENCE: u8 = 2;
    let mut path = Vec::new();
    while !value.is_empty() {
        let (kind, count) = (value.u8()?, value.u8()?);
        let mut next = || {
            let number = if four_octets {
                value.u32()?
            } else {
                value.u16()?.into()
            };
            (number != 0).then_some(number)
        };
        let numbers: Vec<u32> = (0..count).map(|_| next()).collect::<Option<_>>()?;
        match kind {
            _ if numbers.is_empty() => return None,
            SET => path.push(Hop::Set(numbers)),
            SEQUENCE => path.extend(numbers.into_iter().map(Hop::As)),
            _ => return None,
        }
    }
    Some(path)
}
