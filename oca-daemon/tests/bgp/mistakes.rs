//! UPDATEs that are wrong, from ExaBGP and from a speaker of a few lines: what each costs (RFC 7606).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use protocol::bgp::Neighbor;
use steering::bgp::Family;
use steering::bgp::packet::keepalive;
use steering::bgp::packet::open::{Capabilities, Open};

use crate::asked::{ended, established, learns, neighbor, of, routes};
use crate::network::{BOX, Network, ROUTER};
use crate::routers::{Program, Router};
use crate::support::{Daemon, Plan, Site, eventually};

/// What is wrong with an attribute, and the attribute as ExaBGP is told it: type, flags, value.
const COSTS_THE_ROUTE: [(&str, &str); 7] = [
    ("ORIGIN that nobody knows", "0x01 0x40 0x09"),
    ("AS_PATH that is cut short", "0x02 0x40 0x02020000fbf0"),
    ("MED of three octets", "0x04 0x80 0x010101"),
    ("communities that are cut short", "0x08 0xc0 0x010101"),
    (
        "extended communities that are cut short",
        "0x10 0xc0 0x0101",
    ),
    (
        "large communities that are cut short",
        "0x20 0xc0 0x01010101",
    ),
    ("communities as well-known", "0x08 0x40 0xfbf00001"),
];
const COSTS_THE_ATTRIBUTE: [(&str, &str); 3] = [
    ("ATOMIC_AGGREGATE with a value", "0x06 0x40 0x00"),
    ("AGGREGATOR of six octets", "0x07 0xc0 0xfbf0c0000201"),
    ("ORIGINATOR_ID from outside", "0x09 0x80 0x0a000001"),
];
const COSTS_NOTHING: [(&str, &str); 2] = [
    ("an attribute of tomorrow", "0xc8 0xc0 0x0102"),
    (
        "an attribute of tomorrow that goes no further",
        "0xc9 0x80 0x",
    ),
];

/// The route with the `at`th attribute.
fn prefix(at: usize) -> String {
    format!("203.0.113.{}/30", at * 4)
}

/// ExaBGP tells a route with each of the attributes.
fn told_by_exabgp(network: &Network, site: &Site, attributes: &[&str]) -> Router {
    let line = |(at, attribute): (usize, &&str)| {
        let prefix = prefix(at);
        format!("            unicast {prefix} next-hop self attribute [ {attribute} ];\n")
    };
    let lines: String = attributes.iter().enumerate().map(line).collect();
    let place = "            unicast 0.0.0.0/0";
    let text = Program::ExaBgp.configuration();
    assert!(text.contains(place));
    let text = text.replace(place, &format!("{lines}{place}"));
    Router::run(network, site, Program::ExaBgp, &text)
}

fn site(network: &Network) -> Site {
    let listen = format!("[bgp]\nlisten = [\"{BOX}:179\"]\n");
    network.site(&(listen + &neighbor(ROUTER, "listen", "passive = true")))
}

#[test]
fn what_exabgp_gets_wrong_costs_a_route_an_attribute_or_nothing() {
    let network = Network::new();
    let site = site(&network);
    let tables = [&COSTS_THE_ROUTE[..], &COSTS_THE_ATTRIBUTE, &COSTS_NOTHING];
    let attributes: Vec<&str> = tables.concat().iter().map(|(_, it)| *it).collect();
    let _router = told_by_exabgp(&network, &site, &attributes);
    let daemon = network.start(&site);
    let (lost, kept) = (COSTS_THE_ROUTE.len(), attributes.len());
    // Each of the others is there, with all that is right of it.
    let others = ["198.51.100.0/25", "198.51.100.128/25", "2001:db8:100::/48"];
    let mut expected: Vec<String> = (lost..kept).map(prefix).collect();
    expected.splice(0..0, others[..2].iter().map(|it| (*it).to_owned()));
    expected.push(others[2].to_owned());
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    learns(&daemon, ROUTER, &expected);
    eventually("all are counted", || {
        let it = of(&daemon, ROUTER);
        ((it.withdrawn, it.discarded, it.sessions) == (lost as u64, 3, 1)).then_some(())
    });
}

#[test]
fn a_well_known_attribute_of_exabgp_that_nobody_knows_costs_the_session() {
    let network = Network::new();
    let site = site(&network);
    let _router = told_by_exabgp(&network, &site, &["0x63 0x40 0x00"]);
    let daemon = network.start(&site);
    ended(
        &daemon,
        ROUTER,
        "sent unrecognised well-known attribute (3/2)",
    );
}

/// A router on the same host that says whatever it is told to say.
struct Speaker(TcpStream);

const SPEAKER: &str = "127.0.0.1";

impl Speaker {
    /// With the daemon that it speaks to.
    fn start() -> (Site, Daemon, Self) {
        let listener = TcpListener::bind((SPEAKER, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = Site::new(&Plan::default());
        let text = std::fs::read_to_string(site.config()).unwrap();
        let bgp = format!("[bgp]\nrouter_id = \"{BOX}\"\n");
        let own = neighbor(SPEAKER, "listen", &format!("port = {port}"));
        std::fs::write(site.config(), text + &bgp + &own).unwrap();
        let daemon = site.start();
        let (stream, _) = listener.accept().unwrap();
        let mut speaker = Self(stream);
        let open = Open {
            autonomous_system: 64496,
            hold_time: 90,
            identifier: ROUTER.parse().unwrap(),
            capabilities: Capabilities {
                families: Family::ALL.to_vec(),
                four_octet_as: true,
                ..Capabilities::default()
            },
        };
        speaker.0.write_all(&open.encode()).unwrap();
        speaker.0.write_all(&keepalive()).unwrap();
        established(&daemon, SPEAKER);
        (site, daemon, speaker)
    }

    fn says(&mut self, body: &[u8]) {
        let length = (19 + body.len() as u16).to_be_bytes();
        let message = [&[0xff; 16], &length[..], &[2], body].concat();
        self.0.write_all(&message).unwrap();
    }

    /// The last message that comes before the end, without its header.
    fn last_words(mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        self.0.read_to_end(&mut heard).unwrap();
        let mut last = &heard[..];
        let length = |message: &[u8]| usize::from(u16::from_be_bytes([message[16], message[17]]));
        while last.len() > length(last) {
            last = &last[length(last)..];
        }
        last[18..].to_vec()
    }
}

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf0];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];

/// An UPDATE of `attributes`, and of what they are said of.
fn update(attributes: &[&[u8]], routes: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = (attributes.len() as u16).to_be_bytes();
    [&[0, 0], &length[..], &attributes, routes].concat()
}

/// 198.51.100.0/24.
const FIRST: &[u8] = &[24, 198, 51, 100];
/// 203.0.113.0/24.
const SECOND: &[u8] = &[24, 203, 0, 113];

#[test]
fn an_update_whose_routes_are_known_costs_them_alone() {
    let (_site, daemon, mut speaker) = Speaker::start();
    let good: &[&[u8]] = &[ORIGIN, PATH, NEXT_HOP];
    let wrong: [&[&[u8]]; 5] = [
        &[PATH, NEXT_HOP],
        &[ORIGIN, NEXT_HOP],
        &[ORIGIN, PATH],
        &[ORIGIN, PATH, &[0x40, 3, 4, 224, 0, 0, 1]],
        // An attribute that goes on behind the end of them all.
        &[ORIGIN, PATH, NEXT_HOP, &[0x80, 4, 9, 1]],
    ];
    let counted = |it: &Neighbor| (it.withdrawn, it.discarded);
    for (before, attributes) in (0..).zip(wrong) {
        speaker.says(&update(good, &[FIRST, SECOND].concat()));
        learns(&daemon, SPEAKER, &["198.51.100.0/24", "203.0.113.0/24"]);
        // It was there, and is withdrawn.
        speaker.says(&update(attributes, SECOND));
        learns(&daemon, SPEAKER, &["198.51.100.0/24"]);
        eventually("it is counted", || {
            (counted(&of(&daemon, SPEAKER)) == (before + 1, 0)).then_some(())
        });
    }
    // The first of two counts.
    speaker.says(&update(&[ORIGIN, PATH, NEXT_HOP, &[0x40, 1, 1, 9]], SECOND));
    learns(&daemon, SPEAKER, &["198.51.100.0/24", "203.0.113.0/24"]);
    eventually("it is counted", || {
        (counted(&of(&daemon, SPEAKER)) == (5, 1)).then_some(())
    });
    assert_eq!(of(&daemon, SPEAKER).sessions, 1);
}

/// Code and subcode, and what was said.
fn costs_the_session(body: &[u8], reason: [u8; 2]) {
    let (_site, daemon, mut speaker) = Speaker::start();
    speaker.says(&update(&[ORIGIN, PATH, NEXT_HOP], FIRST));
    learns(&daemon, SPEAKER, &["198.51.100.0/24"]);
    speaker.says(body);
    let said = speaker.last_words();
    assert_eq!((said[0], &said[1..3]), (3, &reason[..]), "{said:?}");
    let [code, subcode] = reason;
    ended(&daemon, SPEAKER, &format!("({code}/{subcode})"));
    // What it told before is another matter.
    assert!(routes(&daemon, SPEAKER)[0].stale);
}

#[test]
fn a_prefix_of_33_bits_costs_the_session() {
    let body = update(&[ORIGIN, PATH, NEXT_HOP], &[33, 198, 51, 100, 0, 0]);
    costs_the_session(&body, [3, 10]);
}

#[test]
fn lengths_that_do_not_fit_cost_the_session() {
    costs_the_session(&[0, 9, 0, 0], [3, 1]);
}

#[test]
fn ipv6_routes_that_cannot_be_read_cost_the_session() {
    // MP_REACH_NLRI without a next hop.
    costs_the_session(&update(&[&[0x80, 14, 5, 0, 2, 1, 0, 0]], &[]), [3, 9]);
}

#[test]
fn ipv6_routes_told_twice_in_one_update_cost_the_session() {
    let gone: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    costs_the_session(&update(&[gone, gone], &[]), [3, 1]);
}
