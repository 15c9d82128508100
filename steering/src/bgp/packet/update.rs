//! UPDATE: routes that come and go (RFC 4271 section 4.3, RFC 4760, RFC 7606). Read only: nothing that came in can be sent on.

use std::net::IpAddr;

use super::attributes::{self, Encoding, Handling, PathAttributes};
use super::notification::{Notification, Reason};
use super::reader::Reader;
use crate::bgp::prefix::{Family, Prefix};

/// What an UPDATE says, mistakes already handled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Routes that are gone, or count as gone.
    pub withdrawn: Vec<Prefix>,
    /// Routes that there are.
    pub announced: Vec<Prefix>,
    /// What is said of `announced`.
    pub attributes: PathAttributes,
    /// All routes of this family have been told (RFC 4724 section 2).
    pub end_of_rib: Option<Family>,
    /// The worst mistake, what was done about it, and the type of the attribute.
    pub mistake: Option<(Handling, u8)>,
}

impl Update {
    /// Reads what follows the header.
    ///
    /// # Errors
    /// What ends the session: it is not known which routes were meant.
    pub fn decode(body: &[u8], encoding: Encoding) -> Result<Self, Notification> {
        let malformed = || Notification::from(Reason::MALFORMED_ATTRIBUTES);
        let mut reader = Reader(body);
        let withdrawn = reader.block().ok_or_else(malformed)?;
        let listed = reader.block().ok_or_else(malformed)?;
        let bad_network = || Notification::from(Reason::BAD_NETWORK);
        let withdrawn = prefixes(withdrawn, Family::Ipv4).ok_or_else(bad_network)?;
        let announced = prefixes(reader, Family::Ipv4).ok_or_else(bad_network)?;
        let found = attributes::read(listed, encoding)?;
        let mut update = Self {
            end_of_rib: end_of_rib(body, &found),
            withdrawn,
            ..Self::default()
        };
        update
            .withdrawn
            .extend(found.unreached.iter().flat_map(|it| it.1.clone()));
        update.settle(announced, found, encoding);
        Ok(update)
    }

    /// Announces the routes, or withdraws them because of a mistake.
    fn settle(&mut self, mut announced: Vec<Prefix>, found: attributes::Found, encoding: Encoding) {
        let has_body_routes = !announced.is_empty();
        let mut mistake = found.mistake;
        let reached = found.reached.as_ref().map(|it| it.1.as_slice());
        announced.extend(reached.unwrap_or_default());
        if !announced.is_empty()
            && mistake.is_none_or(|(handling, _)| handling < Handling::Withdrawn)
            && let Some(code) = found.missing(has_body_routes, encoding.internal)
        {
            mistake = Some((Handling::Withdrawn, code));
        }
        self.mistake = mistake;
        if mistake.is_some_and(|(handling, _)| handling == Handling::Withdrawn) {
            self.withdrawn.extend(announced);
        } else if !announced.is_empty() {
            self.announced = announced;
            self.attributes = found.attributes;
        }
    }
}

/// An UPDATE without routes: an empty one for IPv4, else one with an empty MP_UNREACH_NLRI alone.
fn end_of_rib(body: &[u8], found: &attributes::Found) -> Option<Family> {
    if body.len() == 4 {
        return Some(Family::Ipv4);
    }
    let (family, gone) = found.unreached.as_ref()?;
    // Two lengths, three octets of head and three of value: nothing else is in there.
    let is_alone = gone.is_empty() && found.only_unreach() && body.len() <= 4 + 4 + 3;
    is_alone.then_some(*family)
}

/// All prefixes in `value`; `None` if they are not what they should be (RFC 7606 section 5.3).
pub(super) fn prefixes(mut value: Reader<'_>, family: Family) -> Option<Vec<Prefix>> {
    let mut prefixes = Vec::new();
    while !value.is_empty() {
        prefixes.push(prefix(&mut value, family)?);
    }
    Some(prefixes)
}

fn prefix(value: &mut Reader<'_>, family: Family) -> Option<Prefix> {
    let length = value.u8().filter(|length| *length <= family.bits())?;
    let bytes = value.take(usize::from(length).div_ceil(8))?;
    let mut octets = [0; 16];
    octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let address: IpAddr = match family {
        Family::Ipv4 => octets.first_chunk::<4>().copied()?.into(),
        Family::Ipv6 => octets.into(),
    };
    Prefix::of(address, length)
}
