//! A router that restarts, gracefully (RFC 4724) or not, and one that does not come back.

use std::fs;
use std::time::{Duration, Instant};

use protocol::bgp::Feed;

use crate::asked::{LARGE_AS, ended, established, learns, neighbor, of, routes, status};
use crate::network::{BIRD_LOG, BOX, Bird, Network, ROUTER};
use crate::support::{Daemon, Site, eventually};

const SERVED: [&str; 3] = ["198.51.100.0/25", "198.51.100.128/25", "2001:db8:100::/48"];
/// BIRD goes on from where it was.
const GO_ON: &str = "-R";
/// What BIRD does not tell any more after its restart.
const GIVEN_UP: &str = "198.51.100.128/25";

/// The box waits for the router to connect: it is the one that was away.
fn site(network: &Network) -> Site {
    let listen = format!("[bgp]\nlisten = [\"{BOX}:179\"]\n");
    let more = "passive = true\nhold_time = \"60 s\"";
    network.site(&(listen + &neighbor(ROUTER, "listen", more)))
}

fn session_that(restarts: &str) -> String {
    format!(
        "protocol bgp listened from session {{ local {ROUTER} as 64496; neighbor {BOX} as {LARGE_AS}; {restarts} }}\n"
    )
}

fn session() -> String {
    session_that("hold time 60; graceful restart on; graceful restart time 1;")
}

/// BIRD with one route less.
fn restarted(network: &Network, site: &Site, arguments: &str) -> Bird {
    let configuration = site.path("bird.conf");
    let text = fs::read_to_string(&configuration).unwrap();
    let route = format!("    route {GIVEN_UP} blackhole;\n");
    assert!(text.contains(&route), "{text}");
    fs::write(&configuration, text.replace(&route, "")).unwrap();
    network.start_bird(site, arguments)
}

/// The names of the routes, those of an earlier session marked.
fn names(daemon: &Daemon) -> Vec<String> {
    let name = |stale: bool, prefix: String| if stale { prefix + " stale" } else { prefix };
    let routes = routes(daemon, ROUTER).into_iter();
    routes.map(|it| name(it.stale, it.prefix)).collect()
}

/// All that was told before is there all the time until it was told again; what was not told again goes with End-of-RIB, and not
/// minutes later.
fn is_swept(daemon: &Daemon) {
    eventually("the second session", || {
        let names = names(daemon);
        let mut missing = SERVED.iter().filter(|it| **it != GIVEN_UP);
        let is_there = |prefix: &&&str| names.iter().any(|name| name.starts_with(**prefix));
        assert!(missing.all(|prefix| is_there(&prefix)), "{names:?}");
        (of(daemon, ROUTER).sessions == 2).then_some(())
    });
    eventually("what was not told again is gone", || {
        (names(daemon) == [SERVED[0], SERVED[2]]).then_some(())
    });
}

#[test]
fn a_router_that_was_killed_and_restarts_gracefully_is_waited_for_and_swept() {
    let network = Network::new();
    let site = site(&network);
    let mut bird = network.bird(&site, &session());
    let daemon = network.start(&site);
    learns(&daemon, ROUTER, &SERVED);
    bird.kill();
    eventually("stale routes", || {
        (status(&daemon).feed == Feed::Stale).then_some(())
    });
    // Longer than it has said that a restart takes: whom to serve is known for `stale_time`.
    eventually("the restart takes longer", || {
        (of(&daemon, ROUTER).ended? >= 3).then_some(())
    });
    let stale = SERVED.map(|prefix| format!("{prefix} stale"));
    assert_eq!(names(&daemon), stale);
    let _bird = restarted(&network, &site, GO_ON);
    is_swept(&daemon);
}

/// The box has not noticed: for it, the old session is as good as ever (RFC 4724 section 5).
#[test]
fn a_router_that_lost_its_power_takes_its_old_sessions_place() {
    let network = Network::new();
    let site = site(&network);
    let mut bird = network.bird(&site, &session());
    let daemon = network.start(&site);
    established(&daemon, ROUTER);
    learns(&daemon, ROUTER, &SERVED);
    network.power_off_router();
    bird.kill();
    network.power_on_router();
    assert_eq!(names(&daemon), SERVED);
    assert_eq!(of(&daemon, ROUTER).state, "established");
    let _bird = restarted(&network, &site, GO_ON);
    is_swept(&daemon);
    ended(&daemon, ROUTER, "opened another connection");
}

/// RFC 4271 section 6.8: its new connection is refused until the box has noticed, which is at its next KEEPALIVE, or at hold time.
#[test]
fn a_router_that_lost_its_power_and_restarts_like_any_other_waits_for_the_end_of_its_old_session() {
    let network = Network::new();
    let site = site(&network);
    let mut bird = network.bird(
        &site,
        &session_that("hold time 30; graceful restart aware;"),
    );
    let daemon = network.start(&site);
    learns(&daemon, ROUTER, &SERVED);
    network.power_off_router();
    bird.kill();
    network.power_on_router();
    fs::remove_file(site.path(BIRD_LOG)).unwrap();
    let _bird = restarted(&network, &site, "");
    is_swept(&daemon);
    ended(&daemon, ROUTER, "reset by peer");
    let said = fs::read_to_string(site.path(BIRD_LOG)).unwrap();
    assert!(said.contains("Connection collision resolution"), "{said}");
}

#[test]
fn what_a_router_told_is_forgotten_when_it_does_not_come_back() {
    let network = Network::new();
    let own = "[bgp]\nstale_time = \"3 s\"\nstatic_prefixes = [\"203.0.113.0/24\"]\n";
    let site = network.site(&(own.to_owned() + &neighbor(ROUTER, "listen", "")));
    let mut bird = network.bird(&site, &session());
    let daemon = network.start(&site);
    eventually("what it tells counts", || {
        (status(&daemon).feed == Feed::Learned).then_some(())
    });
    let killed = Instant::now();
    bird.kill();
    eventually("what is configured counts", || {
        (status(&daemon).feed == Feed::Static).then_some(())
    });
    assert!(killed.elapsed() >= Duration::from_secs(3));
    assert!(routes(&daemon, ROUTER).is_empty());
}
