//! Sessions: how they begin, live and end.

use std::time::Duration;

use steering::bgp::announcement::Offer;
use steering::bgp::packet::Kind;
use steering::bgp::packet::notification::{Notification, Reason};
use steering::bgp::packet::open::{Capabilities, Open};
use steering::bgp::presence::{Look, Presence};
use steering::bgp::{Event, Role, Settings, State, packet};

use crate::pair::{OURS, Pair, THEIRS, import, offers, settings};

const SECOND: Duration = Duration::from_secs(1);
const ESTABLISHED: [State; 2] = [State::Established; 2];

/// RFC 8212: without a policy that says what to take, what a neighbour tells is heard and not taken.
#[test]
fn who_is_announced_to_is_not_learned_from() {
    let side = |local, remote, identifier, address| {
        let offers = offers(&[(address, Offer::Present)]);
        (settings(local, remote, identifier), Role::Announce(offers))
    };
    let mut pair = Pair::new(
        side(64512, 64496, OURS, "198.51.100.1"),
        side(64496, 64512, THEIRS, "198.51.100.2"),
    );
    pair.pass(SECOND);
    assert_eq!(pair.states(), ESTABLISHED);
    for side in &pair.sides {
        // The address, and End-of-RIB.
        let received = side.neighbor.counters().received[Kind::Update.index()];
        assert_eq!((received, side.neighbor.learned().is_none()), (2, true));
    }
}

/// RFC 4724 section 4.1: a router that has restarted waits for it, also from who has nothing to tell.
#[test]
fn both_say_that_they_have_told_all() {
    let mut pair = Pair::announcing(&[]);
    pair.pass(SECOND);
    for side in &pair.sides {
        let counters = side.neighbor.counters();
        let updates = Kind::Update.index();
        assert_eq!((counters.sent[updates], counters.received[updates]), (1, 1));
    }
}

/// RFC 7606: the route of a bad UPDATE goes, the session stays; and what cannot be read ends it with the reason.
#[test]
fn a_bad_update_costs_its_routes_and_an_unreadable_one_the_session() {
    let mut pair = Pair::announcing(&[
        ("198.51.100.1", Offer::Present),
        ("198.51.100.2", Offer::Present),
    ]);
    pair.pass(SECOND);
    let connection = live_connection(&pair);
    // 198.51.100.1/32 again, with an ORIGIN that nobody knows.
    let attributes = [0x40, 1, 1, 9, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 2];
    let bytes = update(&attributes, &[32, 198, 51, 100, 1]);
    pair.tell(
        1,
        Event::Received {
            connection,
            bytes: &bytes,
        },
    );
    assert_eq!(pair.learned(), ["198.51.100.2/32 100"]);
    assert_eq!(pair.sides[1].neighbor.counters().withdrawn, 1);
    assert_eq!(pair.states(), ESTABLISHED);
    let bytes = update(&[], &[33, 198, 51, 100, 1]);
    pair.tell(
        1,
        Event::Received {
            connection,
            bytes: &bytes,
        },
    );
    pair.settle();
    assert_eq!(pair.ending(0), "received invalid network field (3/10)");
    assert_eq!(pair.learned(), ["198.51.100.2/32 100 stale"]);
}

pub(crate) fn update(attributes: &[u8], routes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    let length = 19 + 4 + attributes.len() + routes.len();
    bytes.extend((length as u16).to_be_bytes());
    bytes.extend([2, 0, 0]);
    bytes.extend((attributes.len() as u16).to_be_bytes());
    [&bytes, attributes, routes].concat()
}

#[test]
fn what_is_announced_is_learned_and_follows_every_change() {
    let mut pair = Pair::announcing(&[
        ("198.51.100.1", Offer::Present),
        ("2001:db8::1", Offer::Present),
    ]);
    pair.pass(SECOND);
    assert_eq!(
        pair.learned(),
        ["198.51.100.1/32 100"],
        "only the family of the next hop"
    );
    let wanted = offers(&[
        ("198.51.100.1", Offer::Leaving),
        ("198.51.100.2", Offer::Present),
    ]);
    pair.sides[0].neighbor.announce(&wanted);
    pair.pass(SECOND);
    assert_eq!(
        pair.learned(),
        ["198.51.100.1/32 500", "198.51.100.2/32 100"]
    );
    let learned = pair.sides[1].neighbor.learned().unwrap();
    let (_, leaving) = learned.routes_after(None).next().unwrap();
    assert!(leaving.attributes.is_leaving());
    pair.sides[0].neighbor.announce(&offers(&[]));
    pair.pass(SECOND);
    assert_eq!(pair.learned(), Vec::<String>::new());
}

/// Ten minutes round the soft limit: the state swings, and routers hear nothing.
#[test]
fn load_sends_no_update() {
    let mut pair = Pair::announcing(&[("198.51.100.1", Offer::Present)]);
    pair.pass(SECOND);
    let updates = |pair: &Pair| pair.sides[0].neighbor.counters().sent[Kind::Update.index()];
    let before = updates(&pair);
    let mut presence = Presence::default();
    for second in 0..600 {
        let look = Look {
            state: [steering::State::Ok, steering::State::Degraded][second / 7 % 2],
            is_stopping: false,
            is_ready: true,
            canary: Some(true),
        };
        presence.observe(pair.now, look);
        let offer = presence.offer().unwrap();
        pair.sides[0]
            .neighbor
            .announce(&offers(&[("198.51.100.1", offer)]));
        pair.pass(SECOND);
    }
    assert_eq!(updates(&pair), before);
    assert_eq!(
        pair.states(),
        ESTABLISHED,
        "KEEPALIVEs hold it for ten minutes"
    );
}

#[test]
fn an_end_that_nobody_sends_is_noticed_at_hold_time() {
    let mut pair = Pair::announcing(&[("198.51.100.1", Offer::Present)]);
    pair.pass(SECOND);
    pair.carries = false;
    pair.reachable = [false; 2];
    pair.pass(21 * SECOND);
    assert_eq!(pair.states(), ESTABLISHED);
    pair.pass(9 * SECOND);
    for at in [0, 1] {
        assert_ne!(pair.states()[at], State::Established);
        assert_eq!(pair.ending(at), "sent hold timer expired (4/0)");
    }
    assert_eq!(pair.learned(), ["198.51.100.1/32 100 stale"]);
    pair.pass(3600 * SECOND);
    assert_eq!(pair.learned(), Vec::<String>::new());
}

#[test]
fn a_neighbour_that_was_killed_is_back_and_tells_all_again() {
    let mut pair = Pair::announcing(&[
        ("198.51.100.1", Offer::Present),
        ("198.51.100.2", Offer::Present),
    ]);
    pair.pass(SECOND);
    let role = Role::Announce(offers(&[("198.51.100.2", Offer::Present)]));
    pair.replace(0, settings(64512, 64496, OURS), role);
    assert_eq!(
        pair.learned(),
        ["198.51.100.1/32 100 stale", "198.51.100.2/32 100 stale"]
    );
    pair.pass(10 * SECOND);
    assert_eq!(pair.states(), ESTABLISHED);
    assert_eq!(
        pair.learned(),
        ["198.51.100.2/32 100"],
        "End-of-RIB ends what was not told again"
    );
}

#[test]
fn a_stop_is_told_and_nothing_follows() {
    let mut pair = Pair::announcing(&[("198.51.100.1", Offer::Present)]);
    pair.pass(SECOND);
    let now = pair.now;
    pair.sides[0].neighbor.stop(now, Reason::SHUTDOWN);
    pair.pass(600 * SECOND);
    assert_eq!(pair.states()[0], State::Idle);
    assert_eq!(pair.sides[1].neighbor.counters().established, 1);
    assert!(
        pair.ending(1).contains("connection rejected (6/5)"),
        "{}",
        pair.ending(1)
    );
}

#[test]
fn more_routes_than_the_maximum_end_the_session_for_long_and_leave_none() {
    let mut many = import(64496);
    many.maximum = 1;
    let told = [
        ("198.51.100.1", Offer::Present),
        ("198.51.100.2", Offer::Present),
    ];
    let mut pair = Pair::new(
        (settings(64512, 64496, OURS), Role::Announce(offers(&told))),
        (settings(64496, 64512, THEIRS), Role::listen(many)),
    );
    pair.pass(SECOND);
    assert_eq!(pair.states()[1], State::Idle);
    assert_eq!(
        pair.ending(1),
        "sent maximum number of prefixes reached (6/1)"
    );
    assert_eq!(pair.learned(), Vec::<String>::new());
    pair.pass(29 * 60 * SECOND);
    assert_eq!(pair.sides[1].neighbor.counters().established, 1);
    pair.sides[0].neighbor.announce(&offers(&told[..1]));
    pair.pass(5 * 60 * SECOND);
    assert_eq!(pair.learned(), ["198.51.100.1/32 100"]);
}

#[test]
fn the_wrong_as_identifier_version_or_hold_time_is_refused() {
    let right = Open {
        autonomous_system: 64496,
        hold_time: 90,
        identifier: THEIRS.parse().unwrap(),
        capabilities: Capabilities {
            four_octet_as: true,
            ..Capabilities::default()
        },
    };
    let other = |change: fn(&mut Open)| {
        let mut open = right.clone();
        change(&mut open);
        open.encode()
    };
    let mut version = right.encode();
    version[19] = 3;
    let table = [
        (right.encode(), "", State::OpenConfirm),
        (
            other(|it| it.autonomous_system = 64497),
            "bad peer AS (2/2)",
            State::Active,
        ),
        (
            other(|it| it.identifier = [0; 4].into()),
            "bad BGP identifier (2/3)",
            State::Active,
        ),
        (
            other(|it| it.hold_time = 2),
            "unacceptable hold time (2/6)",
            State::Active,
        ),
        (version, "unsupported version (2/1)", State::Active),
        (
            packet::keepalive(),
            "unexpected message in OpenSent (5/1)",
            State::Active,
        ),
        (vec![0], "connection not synchronised (1/1)", State::Active),
    ];
    for (bytes, said, state) in table {
        let (connection, neighbor) = lonely(settings(64512, 64496, OURS));
        let mut pair = neighbor;
        pair.tell(
            0,
            Event::Received {
                connection,
                bytes: &bytes,
            },
        );
        assert_eq!(pair.states()[0], state, "{said}");
        assert!(pair.ending(0).ends_with(said), "{}", pair.ending(0));
    }
}

/// One whose neighbour says nothing by itself, in OpenSent.
fn lonely(ours: Settings) -> (steering::bgp::ConnectionId, Pair) {
    let mut theirs = settings(64496, 64512, THEIRS);
    theirs.is_passive = true;
    let mut pair = Pair::new(
        (ours, Role::listen(import(64512))),
        (theirs, Role::listen(import(64496))),
    );
    pair.carries = false;
    pair.settle();
    assert_eq!(pair.states()[0], State::OpenSent);
    (steering::bgp::ConnectionId(1), pair)
}

#[test]
fn an_old_neighbour_without_capabilities_speaks_ipv4_with_two_octets() {
    let (connection, mut pair) = lonely(settings(64512, 64496, OURS));
    let open = Open {
        autonomous_system: 64496,
        hold_time: 0,
        identifier: THEIRS.parse().unwrap(),
        capabilities: Capabilities::default(),
    };
    for bytes in [open.encode(), packet::keepalive()] {
        pair.tell(
            0,
            Event::Received {
                connection,
                bytes: &bytes,
            },
        );
    }
    let agreed = pair.sides[0].neighbor.agreed().unwrap();
    assert!(!agreed.encoding.four_octet_as);
    assert_eq!(agreed.families, [steering::bgp::Family::Ipv4]);
    pair.pass(3600 * SECOND);
    assert_eq!(
        pair.states()[0],
        State::Established,
        "a hold time of 0 is none"
    );
}

#[test]
fn as_numbers_beyond_two_octets_go_both_ways() {
    let mut pair = Pair::new(
        (
            settings(4_200_000_001, 4_200_000_002, OURS),
            Role::Announce(offers(&[("198.51.100.1", Offer::Present)])),
        ),
        (
            settings(4_200_000_002, 4_200_000_001, THEIRS),
            Role::listen(import(4_200_000_002)),
        ),
    );
    pair.pass(SECOND);
    let learned = pair.sides[1].neighbor.learned().unwrap();
    let (_, route) = learned.routes_after(None).next().unwrap();
    assert!(route.attributes.passes(4_200_000_001));
}

#[test]
fn route_refresh_brings_everything_again() {
    let mut pair = Pair::announcing(&[("198.51.100.1", Offer::Present)]);
    pair.pass(SECOND);
    let before = pair.sides[0].bytes_sent.len();
    let connection = live_connection(&pair);
    let bytes = packet::route_refresh(steering::bgp::Family::Ipv4);
    pair.tell(
        0,
        Event::Received {
            connection,
            bytes: &bytes,
        },
    );
    pair.settle();
    assert!(pair.sides[0].bytes_sent.len() > before);
    let bytes = packet::route_refresh(steering::bgp::Family::Ipv6);
    let before = pair.sides[0].bytes_sent.len();
    pair.tell(
        0,
        Event::Received {
            connection,
            bytes: &bytes,
        },
    );
    pair.settle();
    assert_eq!(pair.sides[0].bytes_sent.len(), before);
}

/// The one of the two that stayed: with the higher identifier, ours.
fn live_connection(pair: &Pair) -> steering::bgp::ConnectionId {
    assert_eq!(pair.states(), ESTABLISHED);
    steering::bgp::ConnectionId(1)
}

#[test]
fn a_notification_is_shown_with_the_words_of_the_other_operator() {
    let (connection, mut pair) = lonely(settings(64512, 64496, OURS));
    let data = [&[5], &b"m\nved"[..]].concat();
    let bytes = Notification::with(Reason::SHUTDOWN, data).encode();
    pair.tell(
        0,
        Event::Received {
            connection,
            bytes: &bytes,
        },
    );
    assert_eq!(
        pair.ending(0),
        "received administrative shutdown (6/2): \"m\\nved\""
    );
}
