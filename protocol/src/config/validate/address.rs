//! Addresses: none twice, none that could never work.

use std::net::{IpAddr, SocketAddr};

use super::Findings;
use crate::config::Config;
use crate::limits::SERVICE_ADDRESSES_MAX;

pub(super) fn listen(config: &Config, findings: &mut Findings<'_, '_>) {
    let listen = &config.listen;
    if listen.http.is_empty() && listen.https.is_empty() {
        findings.add(
            "listen.http",
            "no address for viewers; allowed: http or https with one or more addresses",
        );
    }
    let mut seen: Vec<(SocketAddr, String)> = Vec::new();
    let lists = [
        ("http", &listen.http),
        ("https", &listen.https),
        ("metrics", &listen.metrics),
    ];
    let listed = lists.iter().flat_map(|(name, addresses)| {
        addresses
            .iter()
            .enumerate()
            .map(move |(index, address)| (*address, format!("listen.{name}.{index}")))
    });
    for (address, path) in std::iter::once((listen.admin, "listen.admin".to_owned())).chain(listed)
    {
        if let Some((other, first)) = seen.iter().find(|(other, _)| overlap(address, *other)) {
            let clash = if *other == address {
                format!("{address} is")
            } else {
                format!("{address} meets {other},")
            };
            let place = super::shown(first);
            findings.add(
                &path,
                format!("{clash} already in use by {place}; allowed: each address and port once"),
            );
        }
        seen.push((address, path));
    }
    if !listen.metrics.is_empty() && listen.metrics_allow.is_empty() {
        findings.add(
            "listen.metrics",
            "has addresses, but nobody may ask there; allowed: [] or prefixes in metrics_allow, as in [\"192.0.2.0/24\"]",
        );
    }
}

/// Two listeners would get in each other's way. Port 0 is a fresh port each time, so it never does.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let covered =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_family && covered
}

pub(super) fn steering(config: &Config, findings: &mut Findings<'_, '_>) {
    let addresses = &config.steering.service_addresses;
    if addresses.len() > SERVICE_ADDRESSES_MAX {
        findings.add(
            "steering.service_addresses",
            format!(
                "has {} addresses; allowed: at most {SERVICE_ADDRESSES_MAX}",
                addresses.len()
            ),
        );
    }
    for (index, address) in addresses.iter().enumerate() {
        let path = format!("steering.service_addresses.{index}");
        if address.is_unspecified() || address.is_multicast() || *address == IpAddr::from([255; 4])
        {
            findings.add(
                &path,
                format!("{address} cannot be one box's address; allowed: unicast addresses"),
            );
        }
        if addresses[..index].contains(address) {
            findings.add(
                &path,
                format!("{address} is there twice; allowed: each address once"),
            );
        }
    }
    interfaces(&config.steering.interfaces, findings);
    if config
        .steering
        .capacity
        .fixed()
        .is_some_and(|rate| rate.bits_per_second() == 0)
    {
        findings.add(
            "steering.capacity",
            "is 0 bit/s; allowed: \"auto\" or more; to send viewers away: ocactl drain",
        );
    }
}

/// netdevice(7): a name has less than `IFNAMSIZ`, 16, bytes; Linux takes no slash, no colon and no blank.
fn interfaces(names: &[String], findings: &mut Findings<'_, '_>) {
    for (index, name) in names.iter().enumerate() {
        let path = format!("steering.interfaces.{index}");
        let is_odd = |letter: char| letter.is_whitespace() || "/:".contains(letter);
        if name.is_empty() || name.len() > 15 || name.contains(is_odd) {
            findings.add(
                &path,
                format!("{name:?} is no name of an interface; allowed: a name as in \"bond0\""),
            );
        }
        if names[..index].contains(name) {
            findings.add(
                &path,
                format!("{name} is there twice; allowed: each interface once"),
            );
        }
    }
}
