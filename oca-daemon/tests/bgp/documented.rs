//! The configurations of routers in docs/steering.md, with BIRD and FRR: a box that leaves loses its traffic before its route goes.

use std::fs;
use std::process::Command;

use crate::asked::{LARGE_AS, neighbor};
use crate::network::{Network, ROUTER, SERVICE};
use crate::routers::{Program, Router};
use crate::support::{Site, eventually};

const STEERING: &str = include_str!("../../../docs/steering.md");
const BGP: &str = include_str!("../../../docs/bgp.md");

/// The first block of text behind this line of a page.
fn block<'p>(page: &'p str, line: &str) -> &'p str {
    let (_, behind) = page.split_once(&format!("\n{line}")).expect(line);
    let (_, block) = behind.split_once("```text\n").expect(line);
    block.split_once("```").expect(line).0
}

/// The box of the page: of AS 64512.
fn site(network: &Network) -> Site {
    let told = neighbor(ROUTER, "announce", "");
    network.site(&told.replace(&LARGE_AS.to_string(), "64512"))
}

#[test]
fn bird_prefers_others_while_a_box_leaves() {
    let network = Network::new();
    let site = site(&network);
    let bird = network.bird(&site, block(STEERING, "### BIRD 2"));
    let daemon = network.start(&site);
    bird.route(SERVICE, |route| {
        route.contains("BGP.med: 100") && route.contains("BGP.local_pref: 100")
    });
    daemon.drain();
    bird.route(SERVICE, |route| {
        route.contains("BGP.med: 500") && route.contains("BGP.local_pref: 0")
    });
}

#[test]
fn frr_prefers_others_while_a_box_leaves() {
    let network = Network::new();
    let site = site(&network);
    let own = "router bgp 64496\n bgp router-id 10.0.0.1";
    let configuration = block(STEERING, "### FRR").replace("router bgp 64496", own);
    let router = Router::run(&network, &site, Program::Frr, &configuration);
    let daemon = network.start(&site);
    let shows = |marks: [&str; 2]| {
        eventually(&format!("FRR shows {marks:?}"), || {
            let said = router.asks(&format!("show bgp ipv4 unicast {SERVICE}/32"))?;
            marks.iter().all(|mark| said.contains(mark)).then_some(())
        });
    };
    shows(["metric 100", "external"]);
    daemon.drain();
    shows(["metric 500", "localpref 0"]);
}

#[test]
fn the_configuration_of_bird_beside_the_other_guards_is_read() {
    let network = Network::new();
    let site = site(&network);
    let file = site.path("bird.conf");
    let block = block(BGP, "## Routers");
    fs::write(
        &file,
        format!("router id 10.0.0.1;\nprotocol device {{}}\n{block}"),
    )
    .unwrap();
    let read = Command::new("bird")
        .args(["-p", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
}
