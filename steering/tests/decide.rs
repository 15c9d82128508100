//! Decisions, from reports and routes to the order of appliances.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use steering::bgp::Prefix;
use steering::decide::fleet::{Fleet, MemberId, Said, Setup, Standing, TooFew};
use steering::decide::limits::{GONE, HOLD, LEASE, REPORT_COUNTS};
use steering::decide::place::Place;
use steering::decide::prefix_map::PrefixMap;
use steering::decide::routes::{FeedId, Route, Routes};
use steering::decide::{Decision, PassedOver, Question, Scene, decide, prefix_of};
use steering::{State, UnixTime};

const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
const GBIT: u64 = 1_000_000_000;

/// A fleet, and the tables that go with it.
struct Stand {
    fleet: Fleet,
    now: UnixTime,
    routes: Routes,
    places: PrefixMap<Place>,
}

fn route(prefix: &str, hops: u16, med: u32) -> Route {
    Route {
        prefix: prefix.parse().expect("a prefix"),
        hops,
        med,
    }
}

fn said(load: u64) -> Said {
    Said {
        state: State::Ok,
        accepting: true,
        capacity: Some((10 * GBIT, load)),
        reaches: Vec::new(),
    }
}

impl Stand {
    /// One appliance per feed and site; each has reported.
    fn new(feeds: &[&[Route]]) -> Self {
        let mut stand = Self {
            fleet: Fleet::new(NOW),
            now: NOW,
            routes: Routes::of(
                feeds
                    .iter()
                    .enumerate()
                    .map(|(number, routes)| (FeedId(number as u16), routes.to_vec())),
            ),
            places: PrefixMap::default(),
        };
        for number in 0..feeds.len() {
            stand.enlist(number as u16, &format!("s{number}"), None);
        }
        stand
    }

    /// `boxes` that hear the same, in one site.
    fn site(boxes: u16) -> Self {
        let mut stand = Self::new(&[&[route("10.0.0.0/8", 1, 0)]]);
        for number in 1..boxes {
            stand.enlist(number, "s0", None);
            stand.fleet.enlist(Setup {
                feed: Some(FeedId(0)),
                ..setup(number, "s0", None)
            });
        }
        stand
    }

    fn enlist(&mut self, number: u16, site: &str, place: Option<Place>) {
        let member = self.fleet.enlist(setup(number, site, place));
        self.fleet
            .report(self.now, member.expect("there is room"), said(0));
    }

    fn says(&mut self, number: u16, said: Said) {
        self.fleet.report(self.now, MemberId(number), said);
    }

    /// Time goes on; all but `silent` report.
    fn pass(&mut self, time: Duration, silent: &[u16]) {
        let end = self.now + time;
        let members = self.fleet.look(self.now).members().collect::<Vec<_>>();
        while self.now < end {
            self.now = self.now + Duration::from_secs(10);
            for member in &members {
                if !silent.contains(&member.0) {
                    self.fleet.report(self.now, *member, said(0));
                }
            }
        }
    }

    fn standing(&self, number: u16) -> Standing {
        self.fleet.look(self.now).standing(MemberId(number))
    }

    fn ask_for(&self, client: &str, object: u64, holders: &[u16]) -> Decision {
        let holders: Vec<MemberId> = holders.iter().copied().map(MemberId).collect();
        let scene = Scene {
            view: &self.fleet.look(self.now),
            routes: &self.routes,
            places: &self.places,
        };
        let question = Question {
            client: client.parse().expect("an address"),
            object,
            holders: &holders,
        };
        decide(scene, question)
    }

    fn ask(&self, client: &str, holders: &[u16]) -> Decision {
        self.ask_for(client, 1, holders)
    }
}

fn setup(number: u16, site: &str, place: Option<Place>) -> Setup {
    Setup {
        id: format!("c{number}"),
        site: site.to_owned(),
        feed: Some(FeedId(number)),
        place,
    }
}

fn order(decision: &Decision) -> Vec<u16> {
    decision
        .ranked
        .iter()
        .map(|ranked| ranked.member.0)
        .collect()
}

#[test]
fn the_longest_prefix_decides_then_hops_then_med() {
    let stand = Stand::new(&[
        &[route("10.0.0.0/8", 1, 0), route("10.2.0.0/16", 9, 9)],
        &[route("10.1.0.0/16", 3, 0)],
        &[route("10.1.0.0/16", 2, 100)],
        &[route("10.1.0.0/16", 2, 50)],
    ]);
    let decision = stand.ask("10.1.2.3", &[0, 1, 2, 3]);
    assert_eq!((order(&decision), decision.busy), (vec![3, 2, 1, 0], 4));
    let prefix = prefix_of(
        "10.1.2.3".parse().expect("an address"),
        decision.ranked[3].rank,
    );
    assert_eq!(prefix, Some("10.0.0.0/8".parse().expect("a prefix")));
    assert_eq!(order(&stand.ask("10.2.0.1", &[0, 1, 2, 3])), [0]);
    // As an IPv6 socket shows an IPv4 viewer.
    assert_eq!(order(&stand.ask("::ffff:10.2.0.1", &[0])), [0]);
    let nobody = stand.ask("192.0.2.1", &[0, 1, 2, 3]);
    assert!(nobody.ranked.is_empty() && nobody.passed_over.is_empty() && nobody.wants_origin());
}

#[test]
fn of_equals_the_nearer_one_is_better_and_those_of_one_city_share() {
    let place = |latitude, longitude| Place::new(latitude, longitude).expect("a place");
    let all = [route("10.0.0.0/8", 1, 0)];
    let mut stand = Stand::new(&[&all, &all, &all]);
    stand.enlist(0, "s0", Some(place(52.5, 13.4)));
    stand.enlist(1, "s1", Some(place(50.1, 8.7)));
    let prefix: Prefix = "10.1.0.0/16".parse().expect("a prefix");
    stand.places.entry(prefix, || place(50.0, 8.2));
    assert_eq!(order(&stand.ask("10.1.0.1", &[0, 1, 2])), [1, 0, 2]);
    // Nobody knows where this one is: they share.
    let ranks = stand.ask("10.9.0.1", &[0, 1, 2]).ranked;
    assert!(ranks.iter().all(|one| one.rank == ranks[0].rank));
}

#[test]
fn who_is_not_to_be_used_is_named_with_the_reason() {
    let mut stand = Stand::site(6);
    let down = Said {
        state: State::Down,
        accepting: false,
        ..said(0)
    };
    let draining = Said {
        state: State::Draining,
        accepting: false,
        ..said(0)
    };
    stand.pass(REPORT_COUNTS, &[3]);
    stand.says(1, down);
    stand.says(2, draining);
    assert_eq!(
        stand.fleet.let_leave(stand.now, MemberId(4), 0, false),
        Ok(stand.now + LEASE)
    );
    let decision = stand.ask("10.0.0.1", &[0, 1, 2, 3, 4]);
    assert_eq!(order(&decision), [0]);
    let why = |number: u16| {
        let mut all = decision.passed_over.iter();
        all.find(|(member, _)| member.0 == number)
            .map(|(_, why)| *why)
    };
    assert_eq!(
        [1, 2, 3, 4, 5].map(why),
        [
            Some(PassedOver::Down),
            Some(PassedOver::Leaving),
            Some(PassedOver::Silent),
            Some(PassedOver::Leaving),
            Some(PassedOver::NotHeld)
        ]
    );
}

#[test]
fn a_drain_that_leaves_too_few_is_refused_unless_forced() {
    let mut stand = Stand::site(3);
    let now = stand.now;
    assert!(stand.fleet.let_leave(now, MemberId(0), 2, false).is_ok());
    let too_few = TooFew {
        site: "s0".into(),
        left: 1,
    };
    assert_eq!(
        stand.fleet.let_leave(now, MemberId(1), 2, false),
        Err(too_few)
    );
    // Asking again for the same one changes nothing.
    assert!(stand.fleet.let_leave(now, MemberId(0), 2, false).is_ok());
    assert!(stand.fleet.let_leave(now, MemberId(1), 2, true).is_ok());
    // One that is over ends its lease.
    assert_eq!(stand.standing(1), Standing::Leaving);
    stand.fleet.come_back(MemberId(1));
    assert_eq!(stand.standing(1), Standing::Well);
    // A drain that never began ends with its lease.
    stand.pass(LEASE, &[]);
    assert_eq!(stand.standing(0), Standing::Well);
    // One that is not in service takes nothing away.
    stand.says(
        2,
        Said {
            accepting: false,
            state: State::Down,
            ..said(0)
        },
    );
    assert!(
        stand
            .fleet
            .let_leave(stand.now, MemberId(2), 3, false)
            .is_ok()
    );
}

#[test]
fn site_mates_say_whether_a_silent_one_is_there() {
    let mut stand = Stand::site(4);
    stand.pass(REPORT_COUNTS, &[0]);
    assert_eq!(stand.standing(0), Standing::Silent);
    let reaches = |is_reached| Said {
        reaches: vec![("c0".into(), is_reached)],
        ..said(0)
    };
    stand.says(1, reaches(true));
    assert_eq!(stand.standing(0), Standing::Held);
    stand.says(1, reaches(false));
    assert_eq!(stand.standing(0), Standing::Unreachable);
    // One site-mate may be ill itself; two agree.
    stand.says(0, said(0));
    assert_eq!(stand.standing(0), Standing::Well);
    stand.says(2, reaches(false));
    assert_eq!(stand.standing(0), Standing::Unreachable);
    stand.says(3, reaches(true));
    assert_eq!(stand.standing(0), Standing::Well);
}

#[test]
fn what_ends_many_reports_at_once_holds_for_an_hour() {
    let mut stand = Stand::site(6);
    stand.pass(REPORT_COUNTS, &[0, 1]);
    assert_eq!(
        [0, 1].map(|number| stand.standing(number)),
        [Standing::Held; 2]
    );
    stand.pass(HOLD - Duration::from_secs(10), &[0, 1]);
    assert_eq!(stand.standing(0), Standing::Held);
    stand.pass(Duration::from_secs(10), &[0, 1]);
    assert_eq!(stand.standing(0), Standing::Silent);
    // A minute apart is not together.
    let mut stand = Stand::site(6);
    stand.pass(Duration::from_secs(60), &[0]);
    stand.pass(REPORT_COUNTS, &[0, 1]);
    assert_eq!(
        [0, 1].map(|number| stand.standing(number)),
        [Standing::Silent; 2]
    );
    // Two of seven are less than 30 % of the site, and more than 20 % of all; two of eleven are neither.
    for (boxes, standing) in [(7, Standing::Held), (11, Standing::Silent)] {
        let mut stand = Stand::site(boxes);
        stand.pass(REPORT_COUNTS, &[0, 1]);
        assert_eq!(stand.standing(0), standing, "{boxes}");
    }
    // Two of four of a site, beside eight others: more than 30 % of the site, and less than 20 % of all.
    let mut stand = Stand::site(4);
    for number in 4..12 {
        stand.enlist(number, "s1", None);
    }
    stand.pass(REPORT_COUNTS, &[0, 1]);
    assert_eq!(stand.standing(0), Standing::Held);
}

#[test]
fn after_a_start_the_last_states_hold() {
    let mut fleet = Fleet::new(NOW);
    let long_ago = UnixTime::from_seconds(NOW.seconds() - 3600);
    let before = UnixTime::from_seconds(long_ago.seconds() - 600);
    let ids: Vec<MemberId> = (0..4)
        .filter_map(|number| fleet.enlist(setup(number, "s", None)))
        .collect();
    let draining = Said {
        state: State::Draining,
        accepting: false,
        ..said(0)
    };
    fleet.remember(ids[0], long_ago, said(0));
    fleet.remember(ids[1], long_ago, said(0));
    fleet.remember(ids[2], long_ago, draining);
    // This one was silent before the others were.
    fleet.remember(ids[3], before, said(0));
    let at = |fleet: &Fleet, time: Duration| {
        ids.clone()
            .into_iter()
            .map(|id| fleet.look(NOW + time).standing(id))
            .collect::<Vec<_>>()
    };
    use Standing::{Held, Leaving, Silent, Well};
    assert_eq!(at(&fleet, Duration::ZERO), [Held, Held, Leaving, Silent]);
    fleet.report(NOW, ids[0], said(0));
    assert_eq!(at(&fleet, Duration::ZERO), [Well, Held, Leaving, Silent]);
    assert_eq!(at(&fleet, HOLD)[1], Silent);
}

#[test]
fn with_less_than_half_of_the_capacity_well_health_is_ignored_and_intent_is_not() {
    let mut stand = Stand::site(5);
    let down = Said {
        state: State::Down,
        accepting: false,
        ..said(0)
    };
    let drained = Said {
        state: State::Drained,
        accepting: false,
        ..said(0)
    };
    stand.says(4, drained);
    stand.says(0, down.clone());
    stand.says(1, down.clone());
    assert_eq!(
        stand.ask("10.0.0.1", &[0, 1, 2, 3, 4]).ranked.len(),
        2,
        "half is enough"
    );
    stand.says(2, down);
    let decision = stand.ask("10.0.0.1", &[0, 1, 2, 3, 4]);
    assert_eq!(decision.ranked.len(), 4);
    assert_eq!(decision.passed_over, [(MemberId(4), PassedOver::Leaving)]);
    // Who has not been there for a day is no part of the fleet.
    stand.pass(GONE, &[0, 1, 2]);
    assert_eq!(order(&stand.ask("10.0.0.1", &[0, 1, 2, 3, 4])).len(), 2);
}

#[test]
fn a_busy_group_gives_away_a_part_of_its_viewers_and_never_all_at_once() {
    let given_away = |load: u64| {
        let mut stand = Stand::new(&[&[route("10.0.0.0/8", 1, 0)], &[route("10.0.0.0/8", 2, 0)]]);
        stand.says(0, said(load));
        stand.says(0, said(load));
        for _ in 0..20 {
            stand.says(0, said(load));
        }
        let ask = |object| order(&stand.ask_for("10.0.0.1", object, &[0, 1]))[0];
        (0..1000).filter(|object| ask(*object) == 1).count()
    };
    let parts = [5, 8, 9, 10].map(|load| given_away(load * GBIT));
    assert_eq!([parts[0], parts[1], parts[3]], [0, 0, 1000]);
    assert!((250..420).contains(&parts[2]), "{}", parts[2]);
    // With nobody behind, those given away ask for the origin, and have the busy ones if it is full.
    let mut stand = Stand::new(&[&[route("10.0.0.0/8", 1, 0)]]);
    for _ in 0..20 {
        stand.says(0, said(10 * GBIT));
    }
    let decision = stand.ask("10.0.0.1", &[0]);
    assert!(decision.wants_origin() && order(&decision) == [0]);
}

#[test]
fn a_busy_appliance_gets_less_than_its_equals() {
    let mut stand = Stand::site(2);
    for _ in 0..20 {
        stand.says(0, said(75 * GBIT / 10));
    }
    let first = |object| order(&stand.ask_for("10.0.0.1", object, &[0, 1]))[0];
    let at_busy = (0..3000).filter(|object| first(*object) == 0).count();
    // Half of the other's weight: a third.
    assert!((900..1100).contains(&at_busy), "{at_busy}");
}

proptest! {
    /// Whoever is ranked holds the object, hears the viewer and may be used; nobody is there twice; ranks never fall within a part.
    #[test]
    fn decisions_are_sound(
        clients in proptest::collection::vec(any::<u32>(), 1..20),
        routes in proptest::collection::vec((0_u16..6, any::<u8>(), 8_u8..20, 0_u16..3), 0..40),
        down in proptest::collection::vec(any::<bool>(), 6),
        holders in proptest::collection::btree_set(0_u16..6, 0..6),
        loads in proptest::collection::vec(0_u64..12, 6),
    ) {
        let told = |feed: u16| -> Vec<Route> {
            let of = routes.iter().filter(move |route| route.0 == feed);
            let prefix = |second: u8, length| Prefix::of(IpAddr::from([10, second, 0, 0]), length).expect("short enough");
            of.map(|(_, second, length, hops)| Route { prefix: prefix(*second, *length), hops: *hops, med: 0 }).collect()
        };
        let feeds: Vec<Vec<Route>> = (0..6).map(told).collect();
        let slices: Vec<&[Route]> = feeds.iter().map(Vec::as_slice).collect();
        let mut stand = Stand::new(&slices);
        for number in 0..6_u16 {
            let is_down = down[usize::from(number)];
            let state = if is_down { State::Down } else { State::Ok };
            stand.says(number, Said { state, accepting: !is_down, ..said(loads[usize::from(number)] * GBIT) });
        }
        let holders: Vec<u16> = holders.into_iter().collect();
        let panics = stand.fleet.look(NOW).panics();
        for client in clients {
            let client = IpAddr::from([10, (client >> 16) as u8, (client >> 8) as u8, client as u8]);
            let decision = stand.ask(&client.to_string(), &holders);
            let mut seen = order(&decision);
            for ranked in &decision.ranked {
                let number = ranked.member.0;
                prop_assert!(holders.contains(&number) && (panics || !down[usize::from(number)]));
                let host = Prefix::of(client, 32).expect("an address");
                let longest = feeds[usize::from(number)].iter().map(|route| route.prefix).filter(|prefix| prefix.covers(host));
                prop_assert_eq!(longest.max_by_key(|prefix| prefix.length()), prefix_of(client, ranked.rank));
            }
            for part in [&decision.ranked[..decision.busy], &decision.ranked[decision.busy..]] {
                prop_assert!(part.is_sorted_by_key(|ranked| ranked.rank));
            }
            seen.extend(decision.passed_over.iter().map(|(member, _)| member.0));
            let all = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), all);
            prop_assert_eq!(decision.clone(), stand.ask(&client.to_string(), &holders));
        }
    }
}
