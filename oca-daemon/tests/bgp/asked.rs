//! What a running daemon says of its neighbours.

use protocol::bgp::{Bgp, Feed, Neighbor, Route};
use protocol::operator::{Request, Response};

use crate::network::ROUTER;
use crate::support::{Daemon, eventually};

/// The box's.
pub(crate) const LARGE_AS: u32 = 4_200_000_001;

pub(crate) fn neighbor(address: &str, role: &str, more: &str) -> String {
    format!(
        "[[bgp.neighbor]]\naddress = \"{address}\"\nlocal_as = {LARGE_AS}\nremote_as = 64496\nrole = \"{role}\"\n{more}\n"
    )
}

pub(crate) fn status(daemon: &Daemon) -> Bgp {
    daemon.status().bgp.unwrap()
}

/// Of a daemon that has just been started, too: the thread of BGP is the last to tell anything.
pub(crate) fn of(daemon: &Daemon, address: &str) -> Neighbor {
    eventually(&format!("{address} is told"), || {
        let mut neighbors = status(daemon).neighbors.into_iter();
        neighbors.find(|it| it.address.to_string() == address)
    })
}

/// Waits for the session with `address`.
pub(crate) fn established(daemon: &Daemon, address: &str) -> Neighbor {
    eventually(&format!("the session with {address}"), || {
        let all = status(daemon).neighbors;
        all.into_iter()
            .find(|it| it.address.to_string() == address && it.agreed.is_some())
    })
}

/// Waits until the last session with `address` has ended as `how` says.
pub(crate) fn ended(daemon: &Daemon, address: &str, how: &str) {
    eventually(&format!("{address} ended: {how}"), || {
        let neighbor = of(daemon, address);
        neighbor.ending.contains(how).then_some(())
    });
}

/// Waits until the router has told one prefix too many. It is left alone for long, and nothing that it told is kept.
pub(crate) fn told_too_much(daemon: &Daemon) {
    ended(
        daemon,
        ROUTER,
        "sent maximum number of prefixes reached (6/1)",
    );
    assert_eq!(of(daemon, ROUTER).state, "idle");
    assert_eq!(status(daemon).feed, Feed::Empty);
}

pub(crate) fn routes(daemon: &Daemon, address: &str) -> Vec<Route> {
    let request = Request::BgpRoutes {
        neighbor: address.parse().unwrap(),
        after: None,
        limit: 10,
    };
    match daemon.ask(&request) {
        Response::BgpRoutes(page) => page.routes,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn learns(daemon: &Daemon, address: &str, prefixes: &[&str]) -> Vec<Route> {
    eventually(&format!("{prefixes:?} of {address}"), || {
        let routes = routes(daemon, address);
        let names: Vec<&str> = routes.iter().map(|it| &*it.prefix).collect();
        (names == prefixes).then_some(routes)
    })
}
