//! What a neighbour is told of the service, and only what has changed since.

use std::collections::BTreeMap;

use super::{ConnectionId, Neighbor, Role};
use crate::bgp::announcement::{self, Offer, ServicePrefix, Wire};
use crate::bgp::packet::Kind;
use crate::bgp::prefix::Family;

impl Neighbor {
    /// What the neighbour is to be told; only what has changed is.
    pub fn announce(&mut self, wanted: &BTreeMap<ServicePrefix, Offer>) {
        if let Role::Announce(offers) = &mut self.role {
            offers.clone_from(wanted);
        }
        let session = self.sessions.iter().find(|it| it.established().is_some());
        if let Some(connection) = session.map(|it| it.connection) {
            self.tell(connection);
        }
    }

    /// All offers, none to whom we listen, and that these were all: a router that restarts gracefully waits for it (RFC 4724 section 4.1).
    pub(super) fn tell_all(&mut self, connection: ConnectionId) {
        self.told.clear();
        self.tell(connection);
        for family in self
            .agreed()
            .map_or(Vec::new(), |agreed| agreed.families.clone())
        {
            self.send(connection, Kind::Update, announcement::end_of_rib(family));
        }
    }

    /// ROUTE-REFRESH (RFC 2918).
    pub(super) fn tell_again(&mut self, connection: ConnectionId, family: Option<Family>) {
        self.told
            .retain(|prefix, _| Some(prefix.family()) != family);
        self.tell(connection);
    }

    /// The difference between what is wanted and what was told.
    fn tell(&mut self, connection: ConnectionId) {
        let Role::Announce(offers) = &self.role else {
            return;
        };
        let Some(wire) = self.wire() else {
            return;
        };
        let family = Family::of(wire.next_hop);
        let wanted = offers
            .iter()
            .filter(|(prefix, _)| prefix.family() == family);
        let wanted: BTreeMap<_, _> = wanted.map(|(prefix, offer)| (*prefix, *offer)).collect();
        let gone = self
            .told
            .keys()
            .filter(|prefix| !wanted.contains_key(prefix));
        let gone: Vec<_> = gone.copied().collect();
        if !gone.is_empty() {
            self.send(
                connection,
                Kind::Update,
                announcement::withdraw(family, &gone),
            );
        }
        for offer in Offer::ALL {
            let new = wanted
                .iter()
                .filter(|(prefix, of)| **of == offer && self.told.get(prefix) != Some(&offer));
            let new: Vec<_> = new.map(|(prefix, _)| *prefix).collect();
            if !new.is_empty() {
                let bytes = announcement::announce(&wire, offer, &new);
                self.send(connection, Kind::Update, bytes);
            }
        }
        self.told = wanted;
    }

    pub(super) fn wire(&self) -> Option<Wire> {
        let mut established = self.sessions.iter().filter(|it| it.established().is_some());
        let session = established.next()?;
        Some(Wire {
            local_as: self.settings.local_as,
            internal: self.settings.is_internal(),
            four_octet_as: session.agreed()?.encoding.four_octet_as,
            next_hop: session.local,
        })
    }
}
