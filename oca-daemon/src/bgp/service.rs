//! The service addresses: is each of them here, does it answer, and so, is it announced?
//!
//! A canary asks the self-test's question through the address, where viewers come in. It asks for no content: a box that has
//! none is reachable all the same, and what viewers miss is counted elsewhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::bgp;
use protocol::status::{Listener, SelfTest};
use steering::bgp::announcement::{Offer, ServicePrefix};
use steering::bgp::presence::{Look, Phase, Presence};
use tokio::sync::mpsc;

use super::connection::Heard;
use crate::admin::Admin;
use crate::control::self_test;
use crate::limits::{BGP_CANARY, BGP_LOOK};

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
    /// Why it is not announced.
    why: String,
}

/// The question, and the answer that was not looked at yet.
struct Canary {
    next: Instant,
    is_out: bool,
    answered: Option<Result<(), String>>,
}

impl Services {
    pub(super) fn new(admin: Arc<Admin>, heard: mpsc::Sender<Heard>) -> Self {
        Self {
            admin,
            heard,
            services: Vec::new(),
        }
    }

    /// One look at everything; to be called every [`BGP_LOOK`].
    pub(super) fn look(&mut self, now: Instant) {
        self.follow_configuration(now);
        let standing = self.admin.standing.load();
        let listening = &self.admin.shared.listening;
        for service in &mut self.services {
            let address = service.prefix.address();
            let listener = listening.iter().find(|it| serves(it, address));
            let refuses = self.admin.shared.service().refuses();
            let obstacle = obstacle(address, listener, &standing.self_test);
            let answered = service.canary.answered.take();
            service.presence.observe(
                now,
                Look {
                    state: standing.hint.facts.state,
                    is_stopping: standing.stopping,
                    is_ready: obstacle.is_none(),
                    canary: answered.as_ref().map(Result::is_ok),
                },
            );
            service.explain(obstacle, answered);
            if let Some(listener) = listener
                && service.canary.is_due(now, refuses)
            {
                service.canary.is_out = true;
                ask(address, listener, self.heard.clone());
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
    pub(super) fn heard(&mut self, address: IpAddr, answered: Result<(), String>) {
        let mut services = self.services.iter_mut();
        let of = |service: &&mut Service| service.prefix.address() == address;
        if let Some(service) = services.find(of) {
            let pause = if answered.is_ok() {
                BGP_CANARY
            } else {
                BGP_LOOK
            };
            service.canary.next = Instant::now() + pause;
            service.canary.is_out = false;
            service.canary.answered = Some(answered);
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
        };
        self.services.iter().map(service).collect()
    }
}

impl Service {
    fn new(now: Instant, prefix: ServicePrefix) -> Self {
        Self {
            prefix,
            presence: Presence::default(),
            canary: Canary {
                next: now,
                is_out: false,
                answered: None,
            },
            why: String::new(),
        }
    }

    /// In a sentence; what a canary found stays until the next one says something else.
    fn explain(&mut self, obstacle: Option<String>, answered: Option<Result<(), String>>) {
        if let Some(Err(why)) = answered {
            let address = self.prefix.address();
            self.why = format!("{address} does not answer: {why}");
            tracing::warn!("{}", self.why);
        }
        match self.presence.phase() {
            Phase::Present => self.why.clear(),
            Phase::Absent => self.why = obstacle.unwrap_or_else(|| "the box is down".to_owned()),
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

impl Canary {
    fn is_due(&self, now: Instant, refuses: bool) -> bool {
        !self.is_out && !refuses && self.next <= now
    }
}

/// What keeps an address from being announced.
fn obstacle(address: IpAddr, listener: Option<&Listener>, self_test: &SelfTest) -> Option<String> {
    if *self_test != SelfTest::Passed {
        Some("the self-test has not passed".to_owned())
    } else if listener.is_none() {
        Some(format!("nothing listens at {address}: see [listen]"))
    } else if let Err(error) = UdpSocket::bind((address, 0)) {
        // Port 0 of an address can be had exactly if the address is this system's.
        Some(format!(
            "{address} is not an address of this system: {error}"
        ))
    } else {
        None
    }
}

fn serves(listener: &Listener, address: IpAddr) -> bool {
    let own = listener.address.ip();
    own == address || own.is_unspecified() && own.is_ipv4() == address.is_ipv4()
}

fn ask(address: IpAddr, listener: &Listener, heard: mpsc::Sender<Heard>) {
    let listener = Listener {
        address: (address, listener.address.port()).into(),
        purpose: listener.purpose,
    };
    tokio::spawn(async move {
        let answered = self_test::ask(listener.address, listener.purpose).await;
        // The speaker has ended.
        let _ = heard.send(Heard::Canary { address, answered }).await;
    });
}

const _: () = assert!(BGP_CANARY.as_millis() >= Duration::as_millis(&BGP_LOOK));
