//! Writes the report: who, how, and the parts that [`super::inventory`] and [`super::tally`] keep.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use protocol::control::{REPORT_VERSION, Report};
use protocol::status::{Listener, ListenerPurpose};
use steering::UnixTime;

use super::inventory::InventoryBook;
use super::tally::Tally;
use crate::admin::Admin;
use crate::admin::observation::Observation;

/// What is the same in all reports, and their number.
pub struct Document {
    started: u64,
    sequence: u64,
}

impl Document {
    /// Begins to count. The start is taken once: the clock on the wall may step later.
    #[must_use]
    pub fn new(observed: &Observation) -> Self {
        Self {
            started: observed.started_unix().seconds(),
            sequence: 0,
        }
    }

    /// The next report. `local` is the address from which the endpoint is reached.
    pub fn write(
        &mut self,
        admin: &Admin,
        inventory: &InventoryBook,
        tally: &Tally,
        local: Option<IpAddr>,
    ) -> Report {
        self.sequence += 1;
        let status = admin.status();
        let standing = admin.standing.load();
        let addresses = &standing.hint.facts.service_addresses;
        Report {
            version: REPORT_VERSION,
            appliance: status.id,
            site: status.site,
            software: format!("oca-daemon {}", status.version),
            started: self.started,
            sequence: self.sequence,
            sent_at: UnixTime::from(SystemTime::now()).seconds(),
            state: status.state,
            causes: status.causes,
            steering: serde_json::to_value(&standing.hint).unwrap_or_default(),
            serves_at: serves_at(&status.listeners, addresses, local),
            devices: status.devices,
            fill: admin.shared.fill_facts(),
            inventory: inventory.told(),
            served: tally.most_served(),
            misses: tally.most_missed(),
            routes: None,
            reached: Vec::new(),
        }
    }
}

/// An address of a listener for viewers; where it listens on all addresses, those that viewers are sent to, else the one from
/// which the endpoint is reached.
fn serves_at(listeners: &[Listener], service: &[IpAddr], local: Option<IpAddr>) -> Vec<String> {
    let mut urls = Vec::new();
    for listener in listeners {
        let scheme = match listener.purpose {
            ListenerPurpose::Http => "http",
            ListenerPurpose::Https => "https",
            ListenerPurpose::Admin | ListenerPurpose::Metrics => continue,
        };
        let (address, port) = (listener.address.ip(), listener.address.port());
        let of_family = |other: &&IpAddr| other.is_ipv4() == address.is_ipv4();
        let mut addresses: Vec<&IpAddr> = service.iter().filter(of_family).collect();
        if addresses.is_empty() {
            addresses.extend(local.as_ref().filter(of_family));
        }
        if !address.is_unspecified() {
            addresses = vec![&address];
        }
        urls.extend(
            addresses
                .into_iter()
                .map(|address| format!("{scheme}://{}", SocketAddr::new(*address, port))),
        );
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_addresses_that_they_can_reach() {
        let listener = |address: &str| Listener {
            address: address.parse().unwrap(),
            purpose: ListenerPurpose::Http,
        };
        let everywhere = [listener("0.0.0.0:80"), listener("[::]:8080")];
        let service: Vec<IpAddr> = vec![[192, 0, 2, 1].into()];
        let local = Some("2001:db8::1".parse().unwrap());
        assert_eq!(
            serves_at(&everywhere, &service, local),
            ["http://192.0.2.1:80", "http://[2001:db8::1]:8080"]
        );
        assert!(serves_at(&everywhere, &[], None).is_empty());
        let mut some = ["127.0.0.1:4711", "127.0.0.1:9580", "[::1]:443"].map(listener);
        some[1].purpose = ListenerPurpose::Admin;
        some[2].purpose = ListenerPurpose::Https;
        assert_eq!(
            serves_at(&some, &service, local),
            ["http://127.0.0.1:4711", "https://[::1]:443"]
        );
    }
}
