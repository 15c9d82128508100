//! Sessions with routers. Neighbours and service addresses go by their addresses in the configuration; prefixes are no labels.

use prometheus::proto::Metric;
use protocol::bgp::{Learned, Neighbor};
use steering::bgp::State;

use super::page::{Page, counted, holds, measured};
use crate::admin::observation::Observation;

/// Nothing, if there is no neighbour.
pub(super) fn add(page: &mut Page, observed: &Observation) {
    let Some(bgp) = &observed.bgp else {
        return;
    };
    sessions(page, &bgp.neighbors);
    messages(page, &bgp.neighbors);
    routes(page, &bgp.neighbors);
    page.gauges(
        "oca_bgp_service_announced",
        "1 if neighbours are told of the service address.",
        bgp.services.iter().map(|it| {
            let announced = matches!(it.phase.as_str(), "present" | "leaving");
            measured(&[("address", &it.address.to_string())], holds(announced))
        }),
    );
}

fn sessions(page: &mut Page, neighbors: &[Neighbor]) {
    page.gauges(
        "oca_bgp_neighbor_state",
        "1 for the state of the session, of RFC 4271.",
        neighbors.iter().flat_map(|it| {
            State::ALL.map(|state| {
                let labels = [
                    ("neighbor", &*it.address.to_string()),
                    ("state", state.as_str()),
                ];
                measured(&labels, holds(it.state == state.as_str()))
            })
        }),
    );
    page.counters(
        "oca_bgp_sessions_total",
        "Sessions that were established.",
        each(neighbors, |it| it.sessions),
    );
    page.counters(
        "oca_bgp_late_keepalives_total",
        "KEEPALIVEs that left more than a second late.",
        each(neighbors, |it| it.late_keepalives),
    );
}

fn messages(page: &mut Page, neighbors: &[Neighbor]) {
    page.counters(
        "oca_bgp_messages_total",
        "Messages, by type and direction.",
        neighbors.iter().flat_map(|it| {
            it.messages.iter().flat_map(|of| {
                [("received", of.received), ("sent", of.sent)].map(|(direction, count)| {
                    let labels = [
                        ("neighbor", &*it.address.to_string()),
                        ("direction", direction),
                        ("type", &of.kind),
                    ];
                    counted(&labels, count as f64)
                })
            })
        }),
    );
    page.counters(
        "oca_bgp_update_mistakes_total",
        "UPDATEs with a mistake (RFC 7606), by what it cost: an attribute, or the routes.",
        neighbors.iter().flat_map(|it| {
            [("attribute", it.discarded), ("routes", it.withdrawn)].map(|(cost, count)| {
                let labels = [("neighbor", &*it.address.to_string()), ("cost", cost)];
                counted(&labels, count as f64)
            })
        }),
    );
}

fn routes(page: &mut Page, neighbors: &[Neighbor]) {
    let learned = |it: &Neighbor| Some((it.address.to_string(), it.learned.clone()?));
    let learned: Vec<(String, Learned)> = neighbors.iter().filter_map(learned).collect();
    page.gauges(
        "oca_bgp_routes",
        "Prefixes that a neighbour wants served, stale ones too.",
        learned.iter().flat_map(|(address, it)| {
            [("ipv4", it.ipv4), ("ipv6", it.ipv6)].map(|(family, count)| {
                measured(&[("neighbor", address), ("family", family)], count as f64)
            })
        }),
    );
    page.gauges(
        "oca_bgp_stale_routes",
        "Those of a session that has ended.",
        learned
            .iter()
            .map(|(address, it)| measured(&[("neighbor", address)], it.stale as f64)),
    );
    page.gauges(
        "oca_bgp_maximum_routes",
        "Prefixes that are taken from a neighbour; one more ends the session.",
        learned
            .iter()
            .map(|(address, it)| measured(&[("neighbor", address)], it.maximum.into())),
    );
    page.counters(
        "oca_bgp_refused_routes_total",
        "Routes that did not come in, by reason.",
        learned.iter().flat_map(|(address, it)| {
            it.refused.iter().map(|of| {
                let labels = [("neighbor", &**address), ("reason", &of.reason)];
                counted(&labels, of.routes as f64)
            })
        }),
    );
}

fn each(neighbors: &[Neighbor], value: impl Fn(&Neighbor) -> u64) -> Vec<Metric> {
    let sample =
        |it: &Neighbor| counted(&[("neighbor", &it.address.to_string())], value(it) as f64);
    neighbors.iter().map(sample).collect()
}
