//! What operators rely on between the box and a router that is not ours.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::bgp::Feed;
use protocol::operator::{Request, Response};
use protocol::status::{Scope, State};
use steering::bgp::Prefix;

use crate::asked::{
    LARGE_AS, ended, established, learns, neighbor, of, routes, status, told_too_much,
};
use crate::network::{BIRD_LOG, BOX, BOX_6, Network, ROUTER, ROUTER_6, SERVICE, SERVICE_6};
use crate::support::{Daemon, Site, eventually};

fn session(name: &str, ours: &str, theirs: &str, more: &str) -> String {
    format!(
        "protocol bgp {name} from session {{ local {theirs} as 64496; neighbor {ours} as {LARGE_AS}; {more} }}\n"
    )
}

#[test]
fn routes_go_both_ways_over_ipv4_and_ipv6_with_large_as_numbers() {
    let network = Network::new();
    let site =
        network.site(&(neighbor(ROUTER, "listen", "") + &neighbor(ROUTER_6, "announce", "")));
    let bird = network.bird(
        &site,
        &(session("listened", BOX, ROUTER, "") + &session("told", BOX_6, ROUTER_6, "")),
    );
    let daemon = network.start(&site);
    let agreed = established(&daemon, ROUTER).agreed.unwrap();
    assert_eq!((agreed.hold_time, agreed.four_octet_as), (9, true));
    assert_eq!(agreed.families, ["ipv4", "ipv6"]);
    assert_eq!(agreed.local.to_string(), BOX);
    let served = ["198.51.100.0/25", "198.51.100.128/25", "2001:db8:100::/48"];
    let learned = learns(&daemon, ROUTER, &served);
    let first = &learned[0];
    assert_eq!((first.med, first.as_path.as_str()), (Some(7), "64496"));
    assert_eq!(first.communities, ["64496:1"]);
    assert_eq!(
        first.next_hop.map(|it| it.to_string()).as_deref(),
        Some(ROUTER)
    );
    eventually("the default route is refused", || {
        let status = status(&daemon);
        let refused = status.neighbors[0].learned.clone()?.refused;
        let counted = refused
            .iter()
            .any(|it| it.reason == "default" && it.routes == 1);
        (counted && status.feed == Feed::Learned).then_some(())
    });

    let route = bird.route(SERVICE_6, |route| !route.is_empty());
    for said in [
        "BGP.as_path: 4200000001",
        "BGP.med: 100",
        "BGP.community: (65535,65281)",
        &format!("BGP.next_hop: {BOX_6}"),
        "/128",
    ] {
        assert!(route.contains(said), "{said} in {route}");
    }
    // What was learned from one router was not told to the other, nor to itself.
    let told = bird.asks("show route where source = RTS_BGP count");
    assert!(told.contains("1 of"), "{told}");
}

#[test]
fn a_drain_is_told_when_it_is_done_and_undrain_takes_it_back() {
    let network = Network::new();
    let site = network.site(&neighbor(ROUTER, "announce", ""));
    let bird = network.bird(&site, &session("told", BOX, ROUTER, ""));
    let daemon = network.start(&site);
    bird.route(SERVICE, |route| route.contains("BGP.med: 100"));
    let by = || "ada".to_owned();
    daemon.drain();
    let leaving = bird.route(SERVICE, |route| route.contains("BGP.med: 500"));
    assert!(
        leaving.contains("(65535,0)") && leaving.contains("(65535,65281)"),
        "{leaving}"
    );
    daemon.ask(&Request::Undrain { by: by() });
    bird.route(SERVICE, |route| route.contains("BGP.med: 100"));
    let told = &of(&daemon, ROUTER).advertised;
    assert_eq!((told.len(), told[0].med), (1, 100));
    assert_eq!(told[0].prefix, format!("{SERVICE}/32"));
}

#[test]
fn a_daemon_that_is_killed_takes_its_routes_along_and_one_that_stops_says_so() {
    let network = Network::new();
    let site = network.site(&neighbor(ROUTER, "announce", ""));
    let bird = network.bird(&site, &session("told", BOX, ROUTER, ""));
    let mut daemon = network.start(&site);
    bird.route(SERVICE, |route| !route.is_empty());
    let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    daemon.kill();
    bird.route(SERVICE, str::is_empty);
    // The connection ends with the process, not at hold time. Over midnight, BIRD begins with 0 again.
    let day = Duration::from_secs(86_400).as_millis();
    let after = (bird.since("told").as_millis() + day - killed.as_millis() % day) % day;
    assert!(after < 1000, "gone {after} ms after the kill");

    let mut daemon = network.start(&site);
    bird.route(SERVICE, |route| !route.is_empty());
    let pid = daemon.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    eventually("the daemon ends", || daemon.child.try_wait().unwrap());
    bird.route(SERVICE, str::is_empty);
    let said = bird.asks("show protocols all told");
    assert!(said.contains("Received: Administrative shutdown"), "{said}");
}

#[test]
fn what_a_killed_router_told_is_kept_as_stale_until_it_tells_again() {
    let network = Network::new();
    let site = network.site(&neighbor(ROUTER, "listen", ""));
    let sessions = session("listened", BOX, ROUTER, "");
    let mut bird = network.bird(&site, &sessions);
    let daemon = network.start(&site);
    let served = ["198.51.100.0/25", "198.51.100.128/25", "2001:db8:100::/48"];
    learns(&daemon, ROUTER, &served);
    bird.kill();
    eventually("stale routes", || {
        (status(&daemon).feed == Feed::Stale).then_some(())
    });
    assert!(routes(&daemon, ROUTER).iter().all(|it| it.stale));
    eventually("a shared cause", || {
        let causes = daemon.status().causes;
        let feed = causes.iter().find(|it| it.component == "route-feed")?;
        (feed.scope == Scope::Shared).then_some(())
    });
    assert_eq!(daemon.status().state, State::Ok);
    let _bird = network.bird(&site, &sessions);
    established(&daemon, ROUTER);
    eventually("fresh routes", || {
        let routes = routes(&daemon, ROUTER);
        (routes.len() == 3 && routes.iter().all(|it| !it.stale)).then_some(())
    });
}

#[test]
fn a_router_that_falls_silent_is_given_up_at_hold_time() {
    let network = Network::new();
    let site = network.site(&neighbor(ROUTER, "listen", "hold_time = \"3 s\""));
    let bird = network.bird(&site, &session("listened", BOX, ROUTER, ""));
    let daemon = network.start(&site);
    established(&daemon, ROUTER);
    let pid = bird.child.id().to_string();
    let signal = |name| {
        Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap()
    };
    assert!(signal("STOP").success());
    ended(&daemon, ROUTER, "sent hold timer expired (4/0)");
    assert!(signal("CONT").success());
    established(&daemon, ROUTER);
}

#[test]
fn one_prefix_more_than_the_maximum_ends_the_session() {
    let network = Network::new();
    let site = network.site(&neighbor(ROUTER, "listen", "maximum_prefix = 2"));
    // It does not try again meanwhile.
    let patient = session("listened", BOX, ROUTER, "error wait time 300, 300;");
    let _bird = network.bird(&site, &patient);
    let daemon = network.start(&site);
    told_too_much(&daemon);
    // What it shows of a session is the last error, and that may be a later one.
    eventually("BIRD knows why", || {
        let said = std::fs::read_to_string(site.path(BIRD_LOG)).unwrap();
        said.contains("listened: Received: Maximum number of prefixes reached")
            .then_some(())
    });
}

#[test]
fn a_router_that_connects_is_let_in_and_nobody_else() {
    let network = Network::new();
    let listen = format!("[bgp]\nlisten = [\"{BOX}:179\"]\n");
    let site = network.site(&(listen + &neighbor(ROUTER, "listen", "passive = true")));
    let bird = network.bird(&site, &session("listened", BOX, ROUTER, ""));
    let daemon = network.start(&site);
    established(&daemon, ROUTER);
    drop(bird);
    ended(&daemon, ROUTER, "closed by the neighbour");
    let elsewhere = session("listened", BOX, "10.0.0.3", "");
    let _bird = network.bird(&site, &elsewhere);
    assert_eq!(of(&daemon, ROUTER).sessions, 1);
}

#[test]
fn a_password_that_both_know_lets_them_speak_and_another_does_not() {
    let network = Network::new();
    let file = std::env::temp_dir().join(format!("oca-bgp-password-{}", std::process::id()));
    std::fs::write(&file, "not guessed\n").unwrap();
    let site = network.site(&neighbor(
        ROUTER,
        "listen",
        &format!("password_file = {file:?}"),
    ));
    let right = session("listened", BOX, ROUTER, "password \"not guessed\";");
    let wrong = session("listened", BOX, ROUTER, "password \"guessed\";");
    let daemon = network.start(&site);
    let bird = network.bird(&site, &right);
    established(&daemon, ROUTER);
    drop(bird);
    ended(&daemon, ROUTER, "closed by the neighbour");
    let _bird = network.bird(&site, &wrong);
    ended(&daemon, ROUTER, "cannot connect: timed out");
    assert_eq!(of(&daemon, ROUTER).sessions, 1);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn ttl_security_on_both_sides_or_on_none() {
    let network = Network::new();
    let site = network.site(&neighbor(ROUTER, "listen", "ttl_security = true"));
    let daemon = network.start(&site);
    let bird = network.bird(&site, &session("listened", BOX, ROUTER, "ttl security on;"));
    established(&daemon, ROUTER);
    drop(bird);
    ended(&daemon, ROUTER, "closed by the neighbour");
    // What BIRD sends over the connection has a TTL of 1, and is not heard; nor is what it says in the end.
    let deaf = session("listened", BOX, ROUTER, "startup hold time 3;");
    let bird = network.bird(&site, &deaf);
    eventually("BIRD gives up", || {
        let said = bird.asks("show protocols all listened");
        said.contains("Hold timer expired").then_some(())
    });
    assert_eq!(of(&daemon, ROUTER).sessions, 1);
}

/// 200 000 /28 of 20.0.0.0/8.
const MANY: u32 = 200_000;

fn many_routes() -> String {
    let route = |at: u32| {
        let address = Ipv4Addr::from_bits((20 << 24) + at * 16);
        format!("route {address}/28 blackhole;\n")
    };
    let routes: String = (0..MANY).map(route).collect();
    format!("protocol static many {{ ipv4;\n{routes}}}\n")
}

#[test]
fn a_large_table_delays_no_keepalive_and_no_scrape() {
    let network = Network::new();
    let site = network.site(&neighbor(ROUTER, "listen", "maximum_prefix = 300000"));
    let told = session("listened", BOX, ROUTER, "debug { packets };");
    let clock = "timeformat log iso short ms;\n".to_owned();
    let _bird = network.bird(&site, &(clock + &many_routes() + &told));
    let daemon = network.start(&site);
    let begun = Instant::now();
    while loaded(&network.scrape(&daemon)) < f64::from(MANY + 2) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:?}",
            of(&daemon, ROUTER)
        );
        std::thread::park_timeout(Duration::from_millis(90));
    }
    let neighbor = of(&daemon, ROUTER);
    assert_eq!(
        (neighbor.sessions, neighbor.late_keepalives),
        (1, 0),
        "{}",
        neighbor.ending
    );
    assert_eq!(pages(&daemon), MANY as usize + 3);
    assert_eq!(of(&daemon, ROUTER).late_keepalives, 0);
    // At the router: a third of the hold time from one to the next, and a second.
    let heard = eventually("KEEPALIVEs", || {
        Some(heard_keepalives(&site)).filter(|it| it.len() >= 3)
    });
    let gaps = heard.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.fold(0.0, f64::max);
    assert!(longest < 4.0, "{longest} s in {heard:?}");
}

/// When BIRD heard each, in seconds; it says so with the time of the day.
fn heard_keepalives(site: &Site) -> Vec<f64> {
    let said = std::fs::read_to_string(site.path(BIRD_LOG)).unwrap();
    let heard = said.lines().filter(|it| it.contains("Got KEEPALIVE"));
    let second = |line: &str| {
        let mut parts = line.split_whitespace().next()?.split(':');
        let mut part = || parts.next()?.parse::<f64>().ok();
        Some((part()? * 60.0 + part()?) * 60.0 + part()?)
    };
    heard
        .map(|line| second(line).unwrap_or_else(|| panic!("no time in {line}")))
        .collect()
}

/// The IPv4 routes that a page of metrics counts.
fn loaded(page: &str) -> f64 {
    let of = |line: &&str| line.starts_with("oca_bgp_routes{") && line.contains("\"ipv4\"");
    let line = page
        .lines()
        .find(of)
        .and_then(|line| line.rsplit(' ').next());
    line.map_or(0.0, |count| count.parse().unwrap())
}

/// The routes on all pages; each is behind the one before.
fn pages(daemon: &Daemon) -> usize {
    let mut prefixes: Vec<Prefix> = Vec::new();
    loop {
        let request = Request::BgpRoutes {
            neighbor: ROUTER.parse().unwrap(),
            after: prefixes.last().map(Prefix::to_string),
            limit: 10_000,
        };
        let Response::BgpRoutes(page) = daemon.ask(&request) else {
            panic!("no page");
        };
        assert!(page.routes.len() <= 1000);
        prefixes.extend(
            page.routes
                .iter()
                .map(|it| it.prefix.parse::<Prefix>().unwrap()),
        );
        if !page.more {
            assert!(prefixes.is_sorted());
            return prefixes.len();
        }
    }
}
