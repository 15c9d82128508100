//! Sessions with routers: what could never come about.

use std::net::IpAddr;

use super::{Findings, absolute};
use crate::config::{Config, Neighbor};
use crate::units::Interval;

pub(super) fn bgp(config: &Config, findings: &mut Findings<'_, '_>) {
    let bgp = &config.bgp;
    if bgp.neighbor.is_empty() {
        return;
    }
    if config.router_id().is_none() {
        findings.add(
            "bgp.router_id",
            "is missing, and steering.service_addresses has no IPv4 address; allowed: an IPv4 address of this box",
        );
    } else if bgp.router_id.is_some_and(|id| id.is_unspecified()) {
        findings.add(
            "bgp.router_id",
            "is 0.0.0.0; allowed: an IPv4 address of this box",
        );
    }
    for (index, neighbor) in bgp.neighbor.iter().enumerate() {
        if let Some(file) = &neighbor.password_file {
            absolute(
                file,
                &format!("bgp.neighbor.{index}.password_file"),
                findings,
            );
        }
        let mut add = |key: &str, message: String| {
            findings.add(&format!("bgp.neighbor.{index}.{key}"), message);
        };
        if bgp.neighbor[..index]
            .iter()
            .any(|other| other.address == neighbor.address)
        {
            let address = neighbor.address;
            add(
                "address",
                format!("{address} is there twice; allowed: one session per router"),
            );
        }
        if neighbor.passive && bgp.listen.is_empty() {
            add(
                "passive",
                "is true, and bgp.listen has no address; allowed: false, or addresses in bgp.listen".to_owned(),
            );
        }
        addresses(neighbor, &mut add);
        numbers(neighbor, &mut add);
    }
}

fn addresses(neighbor: &Neighbor, add: &mut impl FnMut(&str, String)) {
    let Neighbor {
        address,
        local_address,
        ..
    } = neighbor;
    let is_link_local = matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local());
    if address.is_unspecified() || address.is_multicast() || is_link_local {
        add(
            "address",
            format!("{address} is no router's address; allowed: global unicast addresses"),
        );
    }
    if local_address.is_some_and(|local| local.is_ipv4() != address.is_ipv4()) {
        add(
            "local_address",
            format!(
                "is of another family than {address}; allowed: an address of this box of the same family"
            ),
        );
    }
}

fn numbers(neighbor: &Neighbor, add: &mut impl FnMut(&str, String)) {
    // RFC 7607: AS 0 is never used; RFC 4893: 23456 stands for a number that does not fit; RFC 7300: the last one.
    for (key, number) in [
        ("local_as", neighbor.local_as),
        ("remote_as", neighbor.remote_as),
    ] {
        if matches!(number, 0 | 23_456 | u32::MAX) {
            add(
                key,
                format!("{number} is reserved; allowed: 1 to 4294967294, without 23456"),
            );
        }
    }
    let hold = neighbor.hold_time;
    let least = Interval::from_seconds(3);
    let most = Interval::from_seconds(65_535);
    if hold < least || hold > most || hold.duration().subsec_nanos() != 0 {
        add(
            "hold_time",
            format!("is {hold}; allowed: 3 s to 65535 s, whole seconds"),
        );
    }
    if neighbor.maximum_prefix == 0 {
        add("maximum_prefix", "is 0; allowed: 1 and more".to_owned());
    }
}
