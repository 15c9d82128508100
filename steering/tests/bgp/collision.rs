//! Two connections at once: which one stays, also when one of them is with a router that is not there any more.

use std::time::Duration;

use proptest::prelude::*;
use steering::bgp::announcement::Offer;
use steering::bgp::packet::open::{Capabilities, GracefulRestart, Open};
use steering::bgp::{Action, ConnectionId, Event, Family, Role, Settings, State, packet};

use crate::pair::{OURS, Pair, THEIRS, import, offers, settings};
use crate::sessions::update;

const SECOND: Duration = Duration::from_secs(1);
const ESTABLISHED: [State; 2] = [State::Established; 2];

#[test]
fn both_connect_at_once_and_one_connection_stays() {
    for [ours, theirs] in IDENTIFIERS {
        let mut pair = Pair::new(the_box(ours), router(theirs));
        pair.pass(SECOND);
        assert_eq!(pair.states(), ESTABLISHED);
        for side in &pair.sides {
            assert_eq!(side.neighbor.counters().established, 1);
            assert_eq!(side.neighbor.ending(), None, "a collision is no trouble");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever arrives first: one of the two connections stays, and both sides take the same one.
    #[test]
    fn a_collision_leaves_one_connection_in_every_order(seed in 1_u64.., swap: bool) {
        let [ours, theirs] = IDENTIFIERS[usize::from(swap)];
        let mut pair = Pair::new(the_box(ours), router(theirs));
        pair.settle_in_any_order(chooser(seed));
        prop_assert_eq!(pair.states(), ESTABLISHED);
    }

    /// With connections beside it that lead nowhere, too.
    #[test]
    fn what_a_router_left_is_no_obstacle_in_any_order(seed in 1_u64.., swap: bool) {
        let [ours, theirs] = IDENTIFIERS[usize::from(swap)];
        let mut pair = left_behind(ours, theirs);
        pair.power_cycle(1, router(theirs));
        pair.settle_in_any_order(chooser(seed));
        pair.pass(20 * SECOND);
        prop_assert_eq!(pair.states(), ESTABLISHED);
    }
}

/// Ours, theirs.
const IDENTIFIERS: [[&str; 2]; 2] = [[OURS, THEIRS], [THEIRS, OURS]];

fn the_box(identifier: &str) -> (Settings, Role) {
    let settings = settings(64512, 64496, identifier);
    (settings, Role::listen(import(64512)))
}

fn router(identifier: &str) -> (Settings, Role) {
    let told = offers(&[("198.51.100.1", Offer::Present)]);
    (settings(64496, 64512, identifier), Role::Announce(told))
}

fn chooser(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |of| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % of
    }
}

/// Each has connected, and the router has lost its power before it said anything: the box has two connections with nobody.
fn left_behind(ours: &str, theirs: &str) -> Pair {
    let mut pair = Pair::new(the_box(ours), router(theirs));
    pair.carries = false;
    pair.settle();
    assert_eq!(pair.states()[0], State::OpenSent);
    pair.carries = true;
    pair
}

#[test]
fn a_router_that_comes_back_is_not_kept_away_by_what_it_left() {
    for [ours, theirs] in IDENTIFIERS {
        let mut pair = left_behind(ours, theirs);
        pair.power_cycle(1, router(theirs));
        pair.pass(6 * SECOND);
        assert_eq!(pair.states(), ESTABLISHED);
        assert_eq!(pair.sides[0].neighbor.counters().established, 1);
    }
}

#[test]
fn a_router_that_only_waits_is_connected_to_though_it_left_a_connection() {
    for [ours, theirs] in IDENTIFIERS {
        let mut pair = left_behind(ours, theirs);
        let (mut settings, role) = router(theirs);
        settings.is_passive = true;
        pair.power_cycle(1, (settings, role));
        // Its new system knows nothing of the box's connection; the other one is silent for ever.
        pair.reset(0, 1..=1);
        pair.pass(11 * SECOND);
        assert_eq!(pair.states(), ESTABLISHED);
    }
}

#[test]
fn who_is_kept_waiting_is_taken_up_when_the_other_connection_ends() {
    let mut pair = left_behind(OURS, THEIRS);
    pair.power_cycle(1, router(THEIRS));
    pair.settle();
    assert_eq!(pair.states()[0], State::OpenSent, "ours may be alive");
    pair.reset(0, 1..=1);
    pair.settle();
    assert_eq!(pair.states(), ESTABLISHED);
}

/// Two ends that follow RFC 4271 alone may wait for a KEEPALIVE for as long as the hold time.
#[test]
fn nobody_is_kept_waiting_longer_than_a_third_of_the_hold_time() {
    let mut pair = left_behind(OURS, THEIRS);
    let (mut settings, role) = router(THEIRS);
    settings.hold_time = 3 * SECOND;
    pair.power_cycle(1, (settings, role));
    pair.pass(SECOND);
    assert_eq!(pair.states(), ESTABLISHED);
}

#[test]
fn who_says_much_while_he_is_kept_waiting_is_let_go() {
    let mut pair = left_behind(OURS, THEIRS);
    let connection = ConnectionId(9);
    let local = OURS.parse().unwrap();
    pair.tell(0, Event::Accepted { connection, local });
    let bytes = [open(false), vec![0; 5000]].concat();
    let event = Event::Received {
        connection,
        bytes: &bytes,
    };
    pair.tell(0, event);
    let closed = std::iter::from_fn(|| pair.sides[0].neighbor.poll()).last();
    assert_eq!(closed, Some(Action::Close { connection }));
}

/// RFC 4271 section 6.8: the session is there, as far as the box knows.
#[test]
fn a_router_that_lost_its_power_is_back_when_the_hold_time_is_over() {
    let mut pair = Pair::new(router(THEIRS), the_box(OURS));
    pair.pass(SECOND);
    pair.power_cycle(0, router(THEIRS));
    for second in 2..60 {
        pair.pass(SECOND);
        let fresh = "198.51.100.1/32 100".to_owned();
        let kept = [fresh.clone(), format!("{fresh} stale")];
        let learned = pair.learned();
        assert!(
            learned.len() == 1 && kept.contains(&learned[0]),
            "{learned:?}"
        );
        if second < 30 {
            assert_eq!(learned, [fresh], "nobody has noticed");
            assert_eq!(
                pair.ending(0),
                "received connection collision resolution (6/7)"
            );
        }
    }
    assert_eq!(pair.ending(1), "sent hold timer expired (4/0)");
    assert_eq!(pair.states(), ESTABLISHED);
    assert_eq!(pair.learned(), ["198.51.100.1/32 100"]);
}

/// RFC 4724 section 5: one that restarts gracefully need not wait for that.
#[test]
fn a_router_that_restarts_gracefully_takes_its_old_sessions_place() {
    for graceful in [false, true] {
        let mut pair = left_behind(OURS, THEIRS);
        pair.reset(0, 1..=1);
        let mut says = |connection, bytes: &[u8]| {
            let connection = ConnectionId(connection);
            let local = OURS.parse().unwrap();
            pair.tell(0, Event::Accepted { connection, local });
            pair.tell(0, Event::Received { connection, bytes });
            std::iter::from_fn(|| pair.sides[0].neighbor.poll()).collect::<Vec<_>>()
        };
        let all = [open(graceful), packet::keepalive(), route()].concat();
        says(8, &all);
        let actions = says(9, &[]);
        let close = |connection| Action::Close {
            connection: ConnectionId(connection),
        };
        assert_eq!(actions.contains(&close(8)), graceful);
        assert_eq!(actions.contains(&close(9)), !graceful);
        let neighbor = &pair.sides[0].neighbor;
        let state = if graceful {
            State::OpenSent
        } else {
            State::Established
        };
        let counts = neighbor.learned().unwrap().counts();
        assert_eq!(
            (neighbor.state(), counts.ipv4, counts.stale),
            (state, 1, u64::from(graceful))
        );
    }
}

/// A router's. Its identifier is the lower one.
fn open(graceful: bool) -> Vec<u8> {
    let families = if graceful {
        vec![Family::Ipv4]
    } else {
        Vec::new()
    };
    let graceful_restart = Some(GracefulRestart {
        families,
        ..GracefulRestart::default()
    });
    let capabilities = Capabilities {
        four_octet_as: true,
        graceful_restart,
        ..Capabilities::default()
    };
    let open = Open {
        autonomous_system: 64496,
        hold_time: 90,
        identifier: THEIRS.parse().unwrap(),
        capabilities,
    };
    open.encode()
}

fn route() -> Vec<u8> {
    let attributes = [
        0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf0, 0x40, 3, 4, 192, 0, 2, 1,
    ];
    update(&attributes, &[32, 198, 51, 100, 1])
}
