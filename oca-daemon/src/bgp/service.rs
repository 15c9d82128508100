//! The service addresses: is each of them here, does it answer, and so, is it announced?

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use protocol::bgp;
use protocol::status::SelfTest;
use steering::bgp::announcement::{Offer, ServicePrefix};
use steering::bgp::presence::{Look, Phase, Presence};
use tokio::sync::mpsc;

use super::canary::{Answer, Canary};
use super::connection::Heard;
use crate::admin::Admin;
use crate::control::self_test;

/// All of them.
pub(super) struct Services {
    admin: Arc<Admin>,
    heard: mpsc::Sender<Heard>,
    services: Vec<Service>,
}

struct Service {
    prefix: ServicePrefix,
    presence: Presence,
    canary: Canary,
    is_here: bool,
    /// What came last instead of an answer, in a sentence.
    missed: String,
    /// Why it is not announced.
    why: String,
}

impl Services {
    pub(super) fn new(admin: Arc<Admin>, heard: mpsc::Sender<Heard>) -> Self {
        Self {
            admin,
            heard,
            services: Vec::new(),
        }
    }

    /// One look at everything; to be called every [`BGP_LOOK`](crate::limits::BGP_LOOK).
    pub(super) fn look(&mut self, now: Instant) {
        self.follow_configuration(now);
        let standing = self.admin.standing.load();
        let shared = &self.admin.shared;
        // Who is refused anyway is not asked whether he would be served.
        let is_asked = !shared.service().refuses() && !shared.is_stopping();
        for service in &mut self.services {
            let address = service.prefix.address();
            let here = match standing.self_test {
                SelfTest::Passed => self_test::served_here(address, &shared.listening),
                _ => Err("the self-test has not passed".to_owned()),
            };
            let answer = service.canary.take();
            service.is_here = here.is_ok();
            service.presence.observe(
                now,
                Look {
                    state: standing.hint.facts.state,
                    is_stopping: standing.stopping,
                    is_ready: service.is_here,
                    canary: match &answer {
                        Some(Answer::Answered) => Some(true),
                        Some(Answer::Missed(_)) => Some(false),
                        Some(Answer::Busy) | None => None,
                    },
                },
            );
            service.explain(here.as_ref().err(), answer);
            if let Ok(listener) = here
                && is_asked
                && service.canary.is_due(now)
            {
                let (shared, heard) = (Arc::clone(shared), self.heard.clone());
                service.canary.ask(listener, shared, heard);
            }
        }
    }

    /// SIGHUP may have changed the addresses.
    fn follow_configuration(&mut self, now: Instant) {
        let config = self.admin.shared.config.load();
        let wanted = config.steering.service_addresses.iter();
        let wanted: Vec<_> = wanted.filter_map(|it| ServicePrefix::of(*it)).collect();
        self.services.retain(|it| wanted.contains(&it.prefix));
        for prefix in wanted {
            if !self.services.iter().any(|it| it.prefix == prefix) {
                self.services.push(Service::new(now, prefix));
            }
        }
    }

    /// A canary is back.
    pub(super) fn heard(&mut self, address: IpAddr, answer: Answer) {
        let mut services = self.services.iter_mut();
        let of = |service: &&mut Service| service.prefix.address() == address;
        if let Some(service) = services.find(of) {
            let all_is_well = !service.presence.is_lost();
            service.canary.heard(answer, all_is_well);
        }
    }

    pub(super) fn release(&mut self) {
        for service in &mut self.services {
            service.presence.release();
        }
    }

    /// What neighbours are told.
    pub(super) fn offers(&self) -> BTreeMap<ServicePrefix, Offer> {
        let offered = self.services.iter();
        offered
            .filter_map(|it| Some((it.prefix, it.presence.offer()?)))
            .collect()
    }

    pub(super) fn status(&self) -> Vec<bgp::Service> {
        let service = |it: &Service| bgp::Service {
            address: it.prefix.address(),
            phase: it.presence.phase().as_str().to_owned(),
            why: it.why.clone(),
            is_here: it.is_here,
            lost: it.presence.is_lost().then(|| it.missed.clone()),
        };
        self.services.iter().map(service).collect()
    }
}

impl Service {
    fn new(now: Instant, prefix: ServicePrefix) -> Self {
        Self {
            prefix,
            presence: Presence::default(),
            canary: Canary::new(now),
            is_here: false,
            missed: String::new(),
            why: String::new(),
        }
    }

    /// In a sentence; what a canary found stays until the next one says something else.
    fn explain(&mut self, obstacle: Option<&String>, answer: Option<Answer>) {
        let address = self.prefix.address();
        match answer {
            Some(Answer::Missed(why)) => {
                self.missed = format!("{address} does not answer: {why}");
                tracing::warn!("{}", self.missed);
                self.why.clone_from(&self.missed);
            }
            Some(Answer::Busy) => tracing::debug!("{address} does not answer: the box is full"),
            Some(Answer::Answered) | None => {}
        }
        match self.presence.phase() {
            Phase::Present => self.why.clear(),
            Phase::Absent => {
                self.why = obstacle.cloned().unwrap_or("the box is down".to_owned());
            }
            Phase::Leaving { .. } | Phase::Left => {
                "the box is out of service".clone_into(&mut self.why)
            }
            Phase::Away { .. } | Phase::Held if self.why.is_empty() => {
                "the box was down".clone_into(&mut self.why);
            }
            Phase::Away { .. } | Phase::Held => {}
        }
    }
}
