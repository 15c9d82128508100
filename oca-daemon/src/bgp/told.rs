//! What operators and metrics are told: the machines' state in the words of `protocol`.

use std::fmt::Write as _;
use std::time::Instant;

use protocol::bgp::{
    Advertised, Agreed, Feed, Learned as LearnedCounts, Messages, Neighbor, Refused, Route,
    RoutePage,
};
use protocol::config::NeighborRole;
use steering::bgp::learned::Refused as Refusal;
use steering::bgp::packet::Kind;
use steering::bgp::packet::attributes::Hop;
use steering::bgp::{Learned, LearnedRoute, Prefix, State};

use super::peer::Peer;

/// Where prefixes come from; `None`: no neighbour has told any.
pub(super) fn feed(peers: &[Peer]) -> Option<Feed> {
    let machines = peers.iter().map(|peer| &peer.machine);
    let telling = machines.filter(|it| it.learned().is_some_and(|it| !it.is_empty()));
    let live = telling.map(|it| it.state() == State::Established);
    Some(if live.max()? {
        Feed::Learned
    } else {
        Feed::Stale
    })
}

pub(super) fn neighbor(now: Instant, peer: &Peer) -> Neighbor {
    let (machine, configured) = (&peer.machine, &peer.configured);
    let counters = machine.counters();
    let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
    let messages = Kind::ALL.map(|kind| Messages {
        kind: kind.as_str().to_owned(),
        received: counters.received[kind.index()],
        sent: counters.sent[kind.index()],
    });
    Neighbor {
        address: configured.address,
        local_as: configured.local_as,
        remote_as: configured.remote_as,
        role: configured.role,
        state: machine.state().as_str().to_owned(),
        established: machine.established_at().map(ago),
        agreed: agreed(peer),
        ending: machine
            .ending()
            .map_or(String::new(), |(_, it)| it.to_string()),
        ended: machine.ending().map(|(at, _)| ago(*at)),
        learned: machine.learned().map(counts),
        advertised: advertised(peer),
        messages: messages.to_vec(),
        sessions: counters.established,
        discarded: counters.discarded,
        withdrawn: counters.withdrawn,
        late_keepalives: counters.late_keepalives,
    }
}

fn agreed(peer: &Peer) -> Option<Agreed> {
    let agreed = peer.machine.agreed()?;
    let families = agreed.families.iter().map(|it| it.as_str().to_owned());
    Some(Agreed {
        local: peer.machine.local()?,
        identifier: agreed.identifier,
        hold_time: agreed.hold.as_secs(),
        families: families.collect(),
        four_octet_as: agreed.encoding.four_octet_as,
    })
}

fn counts(learned: &Learned) -> LearnedCounts {
    let counts = learned.counts();
    let refused = Refusal::ALL.iter().zip(learned.refused());
    LearnedCounts {
        ipv4: counts.ipv4,
        ipv6: counts.ipv6,
        stale: counts.stale,
        maximum: learned.maximum(),
        refused: refused
            .map(|(reason, routes)| Refused {
                reason: reason.as_str().to_owned(),
                routes,
            })
            .collect(),
    }
}

fn advertised(peer: &Peer) -> Vec<Advertised> {
    if peer.configured.role != NeighborRole::Announce {
        return Vec::new();
    }
    let told = peer.machine.told().iter().filter_map(|(prefix, offer)| {
        Some(Advertised {
            prefix: prefix.prefix()?.to_string(),
            med: offer.med(),
            communities: offer.communities().iter().copied().map(community).collect(),
        })
    });
    told.collect()
}

/// As everybody writes them (RFC 1997).
fn community(number: u32) -> String {
    format!("{}:{}", number >> 16, number & 0xffff)
}

pub(super) fn page(
    now: Instant,
    learned: &Learned,
    after: Option<Prefix>,
    limit: usize,
) -> RoutePage {
    let mut routes = learned.routes_after(after);
    let page: Vec<Route> = routes
        .by_ref()
        .take(limit)
        .map(|(prefix, it)| route(now, prefix, it, learned.is_stale(it)))
        .collect();
    RoutePage {
        routes: page,
        more: routes.next().is_some(),
    }
}

fn route(now: Instant, prefix: Prefix, route: &LearnedRoute, stale: bool) -> Route {
    let attributes = &route.attributes;
    let large = attributes.large_communities.iter();
    let large = large.map(|[one, two, three]| format!("{one}:{two}:{three}"));
    let communities = attributes.communities.iter().copied().map(community);
    Route {
        prefix: prefix.to_string(),
        next_hop: attributes.next_hop_of(prefix.family()),
        as_path: path(&attributes.as_path),
        med: attributes.med,
        communities: communities.chain(large).collect(),
        stale,
        age: now.saturating_duration_since(route.told).as_secs(),
    }
}

fn path(hops: &[Hop]) -> String {
    let mut text = String::new();
    for hop in hops {
        let gap = if text.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = match hop {
            Hop::As(number) => write!(text, "{gap}{number}"),
            Hop::Set(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
                write!(text, "{gap}{{{}}}", numbers.join(","))
            }
        };
    }
    text
}
