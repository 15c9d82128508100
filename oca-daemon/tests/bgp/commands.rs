//! `ocactl bgp` with the real daemon, whose neighbour is BIRD.

use std::process::Command;

use serde_json::Value;

use crate::asked::{LARGE_AS, neighbor, of};
use crate::network::{BOX, BOX_6, Bird, Network, ROUTER, ROUTER_6, SERVICE, SERVICE_6};
use crate::program;
use crate::support::{Daemon, Site, eventually};

const SERVED: [&str; 3] = ["198.51.100.0/25", "198.51.100.128/25", "2001:db8:100::/48"];

/// What it prints: to the terminal, and as an error if it fails.
fn ocactl(site: &Site, command: &str) -> Result<String, String> {
    let mut ocactl = Command::new(program::of("ocactl", "ocactl"));
    ocactl.arg("--config").arg(site.config());
    let output = ocactl.args(command.split(' ')).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.code() {
        Some(0) => Ok(text(output.stdout)),
        Some(1) => Err(text(output.stderr)),
        code => panic!("{code:?}: {}", text(output.stderr)),
    }
}

fn json(site: &Site, command: &str) -> Value {
    let said = ocactl(site, &format!("{command} --json")).unwrap();
    serde_json::from_str(&said).unwrap()
}

/// The words of each line.
fn lines(said: &str) -> Vec<Vec<&str>> {
    let lines = said.lines();
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// A daemon to whom BIRD tells three prefixes over IPv4, and which tells it of its IPv6 service address.
struct Stand {
    network: Network,
    daemon: Daemon,
    bird: Bird,
    site: Site,
}

impl Stand {
    fn new() -> Self {
        let network = Network::new();
        let both = neighbor(ROUTER, "listen", "") + &neighbor(ROUTER_6, "announce", "");
        let site = network.site(&both);
        let session = |name, ours, theirs| {
            format!(
                "protocol bgp {name} from session {{ local {theirs} as 64496; neighbor {ours} as {LARGE_AS}; }}\n"
            )
        };
        let sessions = session("listened", BOX, ROUTER) + &session("told", BOX_6, ROUTER_6);
        let bird = network.bird(&site, &sessions);
        let daemon = network.start(&site);
        eventually("the status tells of both", || {
            let heard = of(&daemon, ROUTER).learned?;
            let told = !of(&daemon, ROUTER_6).advertised.is_empty();
            (heard.ipv4 + heard.ipv6 == 3 && told).then_some(())
        });
        Self {
            network,
            daemon,
            bird,
            site,
        }
    }
}

#[test]
fn what_is_learned_is_listed() {
    let mut stand = Stand::new();
    let site = &stand.site;
    let said = ocactl(site, "bgp routes").unwrap();
    let rows = lines(&said);
    let first = [SERVED[0], ROUTER, ROUTER, "7", "64496", "64496:1"];
    assert_eq!(rows[1][..6], first, "{said}");
    let prefixes: Vec<&str> = rows[1..4].iter().map(|row| row[0]).collect();
    assert_eq!(prefixes, SERVED);
    assert!(said.ends_with("Prefixes to serve: learned.\n"), "{said}");
    let routes = json(site, "bgp routes");
    assert_eq!(routes["feed"], "learned");
    let third = &routes["routes"][2];
    assert_eq!(
        (&third["prefix"], &third["neighbor"]),
        (&SERVED[2].into(), &ROUTER.into())
    );
    assert_eq!((&third["med"], &third["stale"]), (&7.into(), &false.into()));
    let only = json(site, &format!("bgp routes --neighbor {ROUTER}"));
    assert_eq!(only["routes"].as_array().unwrap().len(), 3);
    for other in ["10.9.9.9", ROUTER_6] {
        let refused = ocactl(site, &format!("bgp routes --neighbor {other}")).unwrap_err();
        let why = format!("{other} is not a [[bgp.neighbor]] with role = \"listen\"");
        assert!(refused.contains(&why), "{refused}");
    }
    stand.bird.kill();
    eventually("stale routes", || {
        let said = ocactl(site, "bgp routes").unwrap();
        let rows = lines(&said);
        let stale = rows.iter().filter(|row| row.last() == Some(&"stale"));
        (stale.count() == 3 && said.ends_with("Prefixes to serve: stale.\n")).then_some(())
    });
}

#[test]
fn what_is_told_is_listed() {
    let mut stand = Stand::new();
    let site = &stand.site;
    let said = ocactl(site, "bgp advertised").unwrap();
    let rows = lines(&said);
    assert_eq!(
        rows[1..3],
        [[SERVICE, "present", "-"], [SERVICE_6, "present", "-"]]
    );
    let told = [&format!("{SERVICE_6}/128"), ROUTER_6, "100", "65535:65281"];
    assert_eq!(rows.last().unwrap()[..], told);
    let advertised = json(site, "bgp advertised");
    assert_eq!(advertised["services"][0]["address"], SERVICE);
    let told = advertised["advertised"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]["med"]), (1, &100.into()));
    stand.bird.kill();
    eventually("nobody is told", || {
        let told = json(site, "bgp advertised")["advertised"].clone();
        told.as_array()?.is_empty().then_some(())
    });
}

#[test]
fn each_neighbour_has_its_metrics() {
    let stand = Stand::new();
    for (name, label, value) in [
        (
            "oca_bgp_neighbor_state",
            "10.0.0.1\",state=\"established",
            1.0,
        ),
        ("oca_bgp_neighbor_state", ROUTER, 1.0),
        ("oca_bgp_sessions_total", ROUTER, 1.0),
        (
            "oca_bgp_messages_total",
            "10.0.0.1\",direction=\"sent\",type=\"open",
            1.0,
        ),
        ("oca_bgp_routes", ROUTER, 3.0),
        ("oca_bgp_stale_routes", ROUTER, 0.0),
        (
            "oca_bgp_refused_routes_total",
            "10.0.0.1\",reason=\"default",
            1.0,
        ),
        ("oca_bgp_service_announced", SERVICE_6, 1.0),
    ] {
        assert_eq!(
            stand.network.sample(&stand.daemon, name, label),
            value,
            "{name} {label}"
        );
    }
}

#[test]
fn where_nobody_has_told_anything_it_is_said() {
    let network = Network::new();
    let both = neighbor(ROUTER, "listen", "") + &neighbor(ROUTER_6, "announce", "");
    let site = network.site(&both);
    let daemon = network.start(&site);
    of(&daemon, ROUTER);
    let said = ocactl(&site, "bgp routes").unwrap();
    assert!(said.starts_with("PREFIX"), "{said}");
    assert_eq!(
        lines(&said)[1..],
        [vec![], vec!["Prefixes", "to", "serve:", "empty."]]
    );
    let routes = json(&site, "bgp routes");
    assert_eq!(
        (&routes["feed"], &routes["routes"]),
        (&"empty".into(), &Value::Array(Vec::new()))
    );
    let said = ocactl(&site, "bgp advertised").unwrap();
    assert!(!said.contains('/'), "{said}");
    assert_eq!(
        json(&site, "bgp advertised")["services"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn configured_prefixes_count_where_nobody_tells_any() {
    let network = Network::new();
    let own = "[bgp]\nstatic_prefixes = [\"203.0.113.0/24\"]\n".to_owned();
    let site = network.site(&(own + &neighbor(ROUTER, "listen", "")));
    let daemon = network.start(&site);
    of(&daemon, ROUTER);
    let said = ocactl(&site, "bgp routes").unwrap();
    assert_eq!(lines(&said)[1], ["203.0.113.0/24", "static"]);
    assert_eq!(
        json(&site, "bgp routes")["static_prefixes"][0],
        "203.0.113.0/24"
    );
}

#[test]
fn without_a_neighbour_there_is_nothing_to_list() {
    let network = Network::new();
    let site = network.site("");
    let daemon = network.start(&site);
    assert_eq!(daemon.status().bgp, None);
    for command in ["bgp neighbors", "bgp routes", "bgp advertised"] {
        let refused = ocactl(&site, command).unwrap_err();
        assert!(refused.contains("without a [[bgp.neighbor]]"), "{refused}");
    }
}
