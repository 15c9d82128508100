//! What the daemon hears when it asks itself through its service addresses, and what it makes of it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::operator::{Request, Response};
use protocol::status::State;

use crate::asked::{LARGE_AS, neighbor, of, status};
use crate::network::{BOX, Bird, Network, ROUTER, SERVICE, SERVICE_6};
use crate::support::{Daemon, Site, content, eventually};

/// A box that tells BIRD where it serves.
fn site(network: &Network, more: &str) -> Site {
    network.site(&(more.to_owned() + &neighbor(ROUTER, "announce", "")))
}

fn bird(network: &Network, site: &Site) -> Bird {
    let session = format!(
        "protocol bgp told from session {{ local {ROUTER} as 64496; neighbor {BOX} as {LARGE_AS}; }}\n"
    );
    network.bird(site, &session)
}

/// The state, and what is said of the service addresses.
fn told(daemon: &Daemon) -> (State, Vec<(String, State)>) {
    let status = daemon.status();
    let causes = status.causes.into_iter();
    let causes = causes.filter(|it| it.component == "service-address");
    let causes = causes.map(|it| (it.subject, it.severity)).collect();
    (status.state, causes)
}

fn phases(daemon: &Daemon) -> Vec<String> {
    let services = status(daemon).services.into_iter();
    services.map(|it| it.phase).collect()
}

#[test]
fn a_box_whose_service_addresses_do_not_answer_is_down_until_they_do() {
    let network = Network::new();
    let site = site(&network, "");
    let bird = bird(&network, &site);
    let daemon = network.start(&site);
    bird.route(SERVICE, |route| !route.is_empty());

    // One of two: that one is withdrawn, and the box serves on.
    network.cut_off(SERVICE_6);
    eventually("a degraded box", || {
        let lost = (SERVICE_6.to_owned(), State::Degraded);
        (told(&daemon) == (State::Degraded, vec![lost])).then_some(())
    });
    eventually("one is withdrawn", || {
        (phases(&daemon) == ["present", "away"]).then_some(())
    });

    network.cut_off(SERVICE);
    bird.route(SERVICE, str::is_empty);
    let (_, causes) = eventually("a box that is down", || {
        Some(told(&daemon)).filter(|(state, _)| *state == State::Down)
    });
    assert!(causes.contains(&(String::new(), State::Down)), "{causes:?}");
    let url = format!("http://{}/healthz", daemon.admin);
    let healthz = network
        .at_box(&format!("curl -s -w %{{http_code}} {url}"))
        .output();
    let said = String::from_utf8(healthz.expect("ip runs").stdout).unwrap();
    assert!(
        said.contains("192.0.2.80 does not answer: ") && said.ends_with("503"),
        "{said}"
    );
    let undrain = Request::Undrain { by: "ada".into() };
    // The self-test asks there too: a drain does not end like that.
    daemon.drain();
    let Response::Refused(refusal) = daemon.ask(&undrain) else {
        panic!("the drain has ended");
    };
    assert!(
        refusal.message.contains("no service address answers"),
        "{refusal:?}"
    );

    for address in [SERVICE, SERVICE_6] {
        network.let_in(address);
    }
    let Response::Undrain { state } = daemon.ask(&undrain) else {
        panic!("the drain goes on");
    };
    assert_eq!(state, State::Ok);
    bird.route(SERVICE, |route| !route.is_empty());
}

/// Viewers, and others who hold connections open; killed when dropped.
struct Crowd(Child);

impl Crowd {
    fn of(network: &Network, many: u32) -> Self {
        let script =
            format!("for i in {{1..{many}}}; do exec {{fd}}<>/dev/tcp/{SERVICE}/80; done; read");
        let mut bash = network.at_box("bash -c");
        let bash = bash.arg(script).stdin(Stdio::piped());
        Self(bash.spawn().expect("ip runs"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_box_that_is_full_stays_announced() {
    let network = Network::new();
    let site = site(&network, "[serve]\nmax_connections = 8\n");
    let bird = bird(&network, &site);
    let daemon = network.start(&site);
    bird.route(SERVICE, |route| !route.is_empty());
    // With all places taken, and all of those where one is told so.
    let _crowd = Crowd::of(&network, 8 + 48);
    let refused = || network.sample(&daemon, "oca_refused_connections_total", "all");
    let crowded = eventually("the box is full", || {
        Some(refused()).filter(|it| *it >= 48.0)
    });
    // More than it takes to be lost: the canaries of two addresses are asked every second once they were not answered.
    eventually("canaries find no place", || {
        (refused() >= crowded + 8.0).then_some(())
    });
    assert_eq!(told(&daemon), (State::Ok, Vec::new()));
    let announced = of(&daemon, ROUTER);
    let updates = announced.messages.iter().find(|it| it.kind == "update");
    // The address, and End-of-RIB.
    assert_eq!(updates.map(|it| it.sent), Some(2));
}

/// A daemon that ends takes nobody in any more, and asks itself nothing. Who is being served needs the route until the end.
#[test]
fn a_stop_withdraws_nothing_before_what_runs_has_ended() {
    let network = Network::new();
    let site = site(&network, "");
    // What sockets do not hold of it takes longer than three misses would.
    site.publish("/film", &content(9, 22 << 20));
    let hold_little = "sysctl -qw net.ipv4.tcp_moderate_rcvbuf=0";
    assert!(network.at_router(hold_little).status().unwrap().success());
    let bird = bird(&network, &site);
    let mut daemon = network.start(&site);
    bird.route(SERVICE, |route| !route.is_empty());
    network.route_to_service();
    let url = format!("http://{SERVICE}/film");
    let mut viewer = network.at_router(&format!("curl -sf --limit-rate 900K -o /dev/null {url}"));
    let mut viewer = Crowd(viewer.spawn().expect("ip runs"));
    eventually("the film runs", || {
        (network.sample(&daemon, "oca_transfers", "") == 1.0).then_some(())
    });
    let pid = daemon.child.id().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(sent.unwrap().success());
    bird.route(SERVICE, |route| route.contains("BGP.med: 500"));
    let begun = Instant::now();
    while daemon.child.try_wait().unwrap().is_none() {
        let said = bird.asks("show protocols all told");
        let of = |line: &&str| line.contains("Import withdraws:");
        let withdraws = said.lines().find(of).unwrap_or_default();
        let count = withdraws.split_whitespace().nth(2);
        // A session that has ended has no such line.
        assert!(matches!(count, None | Some("0")), "{said}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let lasted = begun.elapsed();
    assert!(lasted > Duration::from_secs(12), "{lasted:?}");
    assert!(viewer.0.wait().unwrap().success(), "a whole film");
}
