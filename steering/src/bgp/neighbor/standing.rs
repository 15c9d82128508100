//! How it is with a neighbour: for metrics, `/status` and operators.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::{Counters, Dial, Ending, Neighbor, Role};
use crate::bgp::announcement::{Offer, ServicePrefix};
use crate::bgp::learned::Learned;
use crate::bgp::session::{Agreed, Session, State};

impl Neighbor {
    /// How far it is with the neighbour.
    #[must_use]
    pub fn state(&self) -> State {
        let sessions = self.sessions.iter().map(Session::state);
        sessions.max().unwrap_or(match self.dial {
            Dial::Idle(_) => State::Idle,
            Dial::Waiting(_) => State::Active,
            Dial::Connecting => State::Connect,
        })
    }

    /// What an established session agreed on.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.sessions.iter().find_map(Session::established)
    }

    /// Our end of an established session.
    #[must_use]
    pub fn local(&self) -> Option<IpAddr> {
        self.wire().map(|wire| wire.next_hop)
    }

    /// Since when the session is established.
    #[must_use]
    pub fn established_at(&self) -> Option<Instant> {
        self.established_at
    }

    /// How and when the last session, or attempt, ended.
    #[must_use]
    pub fn ending(&self) -> Option<&(Instant, Ending)> {
        self.ending.as_ref()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What was learned, if it is listened to.
    #[must_use]
    pub fn learned(&self) -> Option<&Learned> {
        match &self.role {
            Role::Listen(learned) => Some(learned),
            Role::Announce(_) => None,
        }
    }

    /// What it was told in this session.
    #[must_use]
    pub fn told(&self) -> &BTreeMap<ServicePrefix, Offer> {
        &self.told
    }
}
