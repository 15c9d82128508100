//! The same with each router's program: what operators rely on does not depend on whose router it is.

use std::process::Command;
use std::time::{Duration, Instant};

use protocol::bgp::Feed;

use crate::asked::{ended, established, learns, neighbor, of, routes, status, told_too_much};
use crate::network::{BOX, BOX_6, Network, ROUTER, ROUTER_6};
use crate::routers::{Guard, Program, Router};
use crate::support::{Site, eventually};

const SERVED: [&str; 3] = ["198.51.100.0/25", "198.51.100.128/25", "2001:db8:100::/48"];

/// A box that is told what to serve over IPv4, and tells where it is over IPv6. ExaBGP only connects, so it can be connected to.
fn site(network: &Network, more: &str) -> Site {
    let listen = format!("[bgp]\nlisten = [\"{BOX}:179\", \"[{BOX_6}]:179\"]\n");
    network
        .site(&(listen + &neighbor(ROUTER, "listen", more) + &neighbor(ROUTER_6, "announce", more)))
}

fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    let sent = kill.args(["-s", name, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

fn routes_go_both_ways(program: Program) {
    let network = Network::new();
    let site = site(&network, "");
    let router = Router::start(&network, &site, program, Guard::None);
    let daemon = network.start(&site);
    let agreed = established(&daemon, ROUTER).agreed.unwrap();
    assert_eq!((agreed.hold_time, agreed.four_octet_as), (9, true));
    assert_eq!(agreed.families, ["ipv4", "ipv6"]);
    let first = &learns(&daemon, ROUTER, &SERVED)[0];
    assert_eq!((first.med, first.as_path.as_str()), (Some(7), "64496"));
    assert_eq!(first.communities, ["64496:1"]);
    assert_eq!(first.next_hop, Some(ROUTER.parse().unwrap()));
    eventually("the default route is refused", || {
        let refused = of(&daemon, ROUTER).learned?.refused;
        let mut refused = refused.iter();
        refused.find(|it| it.reason == "default" && it.routes == 1)?;
        Some(())
    });
    let route = router.hears(true);
    for mark in router.marks() {
        assert!(route.contains(mark), "{mark} in {route}");
    }
    assert!(route.contains(BOX_6), "{route}");
    let sessions = || [ROUTER, ROUTER_6].map(|address| of(&daemon, address).sessions);
    assert_eq!(sessions(), [1, 1]);
}

fn a_killed_router_is_waited_for(program: Program) {
    let network = Network::new();
    let site = site(&network, "");
    let mut router = Router::start(&network, &site, program, Guard::None);
    let daemon = network.start(&site);
    learns(&daemon, ROUTER, &SERVED);
    router.hears(true);
    router.kill();
    eventually("stale routes", || {
        (status(&daemon).feed == Feed::Stale).then_some(())
    });
    assert!(routes(&daemon, ROUTER).iter().all(|it| it.stale));
    drop(router);
    let router = Router::start(&network, &site, program, Guard::None);
    eventually("fresh routes", || {
        let routes = routes(&daemon, ROUTER);
        (routes.len() == 3 && routes.iter().all(|it| !it.stale)).then_some(())
    });
    router.hears(true);
}

fn a_killed_daemon_takes_its_routes_along(program: Program) {
    let network = Network::new();
    let site = site(&network, "");
    let router = Router::start(&network, &site, program, Guard::None);
    let mut daemon = network.start(&site);
    router.hears(true);
    let begun = Instant::now();
    daemon.kill();
    router.hears(false);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "the connection ends with the process, not at hold time"
    );
    let _daemon = network.start(&site);
    router.hears(true);
}

/// With each of `wrong`, the kernel drops what comes; with `right`, they speak.
fn a_guard_lets_only_the_right_one_in(
    program: Program,
    more: &str,
    wrong: &[Guard<'_>],
    right: Guard<'_>,
) {
    let network = Network::new();
    let site = site(&network, more);
    let daemon = network.start(&site);
    for guard in wrong {
        let _router = Router::start(&network, &site, program, *guard);
        let before = network.dropped();
        eventually("segments are dropped", || {
            (network.dropped() > before + 3).then_some(())
        });
    }
    let sessions = [ROUTER, ROUTER_6].map(|address| of(&daemon, address).sessions);
    assert_eq!(sessions, [0, 0]);
    // Of a router that is not heard, the end is not heard either: the daemon would wait long for its OPEN.
    drop(daemon);
    let daemon = network.start(&site);
    let router = Router::start(&network, &site, program, right);
    learns(&daemon, ROUTER, &SERVED);
    router.hears(true);
}

fn passwords_guard_both_sessions(program: Program) {
    let file = std::env::temp_dir().join(format!("oca-{program:?}-{}", std::process::id()));
    std::fs::write(&file, "not-guessed\n").unwrap();
    let wrong = [Guard::None, Guard::Password("guessed")];
    let more = format!("password_file = {file:?}");
    a_guard_lets_only_the_right_one_in(program, &more, &wrong, Guard::Password("not-guessed"));
    std::fs::remove_file(file).unwrap();
}

fn ttl_security_guards_both_sessions(program: Program) {
    let more = "ttl_security = true";
    a_guard_lets_only_the_right_one_in(program, more, &[Guard::None], Guard::Ttl);
}

fn one_prefix_more_than_the_maximum_ends_the_session(program: Program) {
    let network = Network::new();
    let site = site(&network, "maximum_prefix = 2");
    let _router = Router::start(&network, &site, program, Guard::None);
    let daemon = network.start(&site);
    told_too_much(&daemon);
    // The other session goes on.
    established(&daemon, ROUTER_6);
    assert_eq!(of(&daemon, ROUTER).sessions, 1);
}

fn who_falls_silent_is_given_up_at_hold_time(program: Program) {
    let network = Network::new();
    let site = site(&network, "hold_time = \"3 s\"");
    let router = Router::start(&network, &site, program, Guard::None);
    let daemon = network.start(&site);
    established(&daemon, ROUTER);
    router.hears(true);
    signal("STOP", router.pid());
    ended(&daemon, ROUTER, "sent hold timer expired (4/0)");
    signal("CONT", router.pid());
    router.hears(true);
    established(&daemon, ROUTER);

    let begun = Instant::now();
    signal("STOP", daemon.child.id());
    router.hears(false);
    // The last KEEPALIVE before may be a second old.
    assert!(begun.elapsed() > Duration::from_millis(1500));
    signal("CONT", daemon.child.id());
    router.hears(true);
}

macro_rules! with {
    ($name:ident, $program:expr) => {
        mod $name {
            use crate::routers::Program;

            #[test]
            fn routes_go_both_ways() {
                super::routes_go_both_ways($program);
            }
            #[test]
            fn a_killed_router_is_waited_for() {
                super::a_killed_router_is_waited_for($program);
            }
            #[test]
            fn a_killed_daemon_takes_its_routes_along() {
                super::a_killed_daemon_takes_its_routes_along($program);
            }
            #[test]
            fn passwords_guard_both_sessions() {
                super::passwords_guard_both_sessions($program);
            }
            #[test]
            fn ttl_security_guards_both_sessions() {
                super::ttl_security_guards_both_sessions($program);
            }
            #[test]
            fn one_prefix_more_than_the_maximum_ends_the_session() {
                super::one_prefix_more_than_the_maximum_ends_the_session($program);
            }
            #[test]
            fn who_falls_silent_is_given_up_at_hold_time() {
                super::who_falls_silent_is_given_up_at_hold_time($program);
            }
        }
    };
}

with!(gobgp, Program::GoBgp);
with!(frr, Program::Frr);
with!(exabgp, Program::ExaBgp);
