//! Which prefixes routers tell, as the control endpoint is told: of each the best route, the whole as one table with a digest. It is
//! written anew when a router has said something, at most every [`ROUTES_PAUSE`].

use std::collections::BTreeMap;
use std::time::Instant;

use protocol::bgp::{Bgp, Feed, Route};
use protocol::config::NeighborRole;
use protocol::limits::ROUTES_PAGE_MAX;
use protocol::root::Root;
use protocol::steer::{ROUTES_VERSION, RouteTable, RoutesHeard};
use tokio::sync::oneshot;

use crate::bgp::{Desk, Question};
use crate::limits::{ROUTES_PAUSE, ROUTES_SETTLE};
use crate::shared::Shared;

/// What is told.
pub struct RouteBook {
    began: Instant,
    looked: Option<Instant>,
    /// What the speaker had said when the table was written.
    seen: Vec<u64>,
    table: RouteTable,
    heard: Option<RoutesHeard>,
}

impl Default for RouteBook {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            looked: None,
            seen: Vec::new(),
            table: RouteTable {
                version: ROUTES_VERSION,
                routes: Vec::new(),
            },
            heard: None,
        }
    }
}

impl RouteBook {
    /// For the report; `None`: no router is listened to.
    #[must_use]
    pub fn heard(&self) -> Option<RoutesHeard> {
        self.heard
    }

    /// The table of it.
    #[must_use]
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// Asks the speaker, if it has heard something new.
    pub async fn look(&mut self, shared: &Shared) {
        let Some(desk) = &shared.bgp else {
            return;
        };
        let status = desk.status();
        if listened_to(&status).next().is_none() {
            return;
        }
        let unknown = RoutesHeard {
            digest: None,
            prefixes: 0,
        };
        let heard = *self.heard.get_or_insert(unknown);
        let is_settled = self.began.elapsed() >= ROUTES_SETTLE;
        let is_young = self.looked.is_some_and(|at| at.elapsed() < ROUTES_PAUSE);
        let seen = seen(&status);
        // Right after the start sessions are not there yet: that nothing is heard means nothing.
        let is_early = heard.digest.is_none() && status.feed != Feed::Learned && !is_settled;
        if is_young || is_early || (heard.digest.is_some() && seen == self.seen) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some(routes) = routes(desk, &status, shared).await else {
            return;
        };
        self.table.routes = routes;
        self.seen = seen;
        let lines = self.table.lines();
        self.heard = Some(RoutesHeard {
            digest: Some(Root(*blake3::hash(lines.as_bytes()).as_bytes())),
            prefixes: self.table.routes.len() as u64,
        });
    }
}

fn listened_to(status: &Bgp) -> impl Iterator<Item = &protocol::bgp::Neighbor> {
    let all = status.neighbors.iter();
    all.filter(|neighbor| neighbor.role == NeighborRole::Listen)
}

/// Changes whenever a neighbour's routes may have: messages, sessions, and how many routes there are.
fn seen(status: &Bgp) -> Vec<u64> {
    let of_one = |neighbor: &protocol::bgp::Neighbor| {
        let updates = neighbor
            .messages
            .iter()
            .filter(|kind| kind.kind == "update");
        let updates: u64 = updates.map(|kind| kind.received).sum();
        let learned = neighbor.learned.as_ref();
        let routes = learned.map_or(0, |learned| learned.ipv4 + learned.ipv6);
        [updates, neighbor.sessions, routes]
    };
    listened_to(status).flat_map(of_one).collect()
}

/// The best of each prefix. `None`: the speaker has ended.
async fn routes(desk: &Desk, status: &Bgp, shared: &Shared) -> Option<Vec<(String, u16, u32)>> {
    let mut best: BTreeMap<String, (u16, u32)> = BTreeMap::new();
    if matches!(status.feed, Feed::Static | Feed::Empty) {
        let config = shared.config.load();
        for prefix in &config.bgp.static_prefixes {
            best.insert(prefix.to_string(), (0, 0));
        }
    }
    for neighbor in listened_to(status) {
        let mut after = None;
        loop {
            let (reply, answer) = oneshot::channel();
            let question = Question {
                neighbor: neighbor.address,
                after,
                limit: ROUTES_PAGE_MAX as usize,
                reply,
            };
            desk.ask(question).await.ok()?;
            let page = answer.await.ok()??;
            after = page
                .routes
                .last()
                .and_then(|route| route.prefix.parse().ok());
            for route in page.routes {
                let told = (hops(&route), route.med.unwrap_or(0));
                let known = best.entry(route.prefix).or_insert(told);
                *known = told.min(*known);
            }
            if !page.more || after.is_none() {
                break;
            }
        }
    }
    let line = |(prefix, (hops, med))| (prefix, hops, med);
    Some(best.into_iter().map(line).collect())
}

/// A set, as in `{2,3}`, counts as one (RFC 4271 section 9.1.2.2).
fn hops(route: &Route) -> u16 {
    let hops = route.as_path.split_whitespace().count();
    u16::try_from(hops).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_one_hop() {
        let of = |as_path: &str| {
            hops(&Route {
                prefix: "192.0.2.0/24".to_owned(),
                next_hop: None,
                as_path: as_path.to_owned(),
                med: None,
                communities: Vec::new(),
                stale: false,
                age: 0,
            })
        };
        assert_eq!(["", "1", "1 2 3", "1 {2,3} 4"].map(of), [0, 1, 3, 3]);
    }
}
