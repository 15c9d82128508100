use super::*;
use platform::interface::Member;
use std::time::Duration;

const GBIT: u64 = 1_000_000_000;

fn card(name: &str, gigabits: u64, addresses: &[&str]) -> Interface {
    Interface {
        name: name.into(),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        has_link: gigabits > 0,
        speed: (gigabits > 0).then_some(gigabits * GBIT),
        is_hardware: true,
        ..Interface::default()
    }
}

fn made_up(name: &str, below: &[&str], addresses: &[&str]) -> Interface {
    Interface {
        is_hardware: false,
        below: below.iter().map(ToString::to_string).collect(),
        ..card(name, if below.is_empty() { 0 } else { 10 }, addresses)
    }
}

fn bond(name: &str, members: &[(&str, bool)]) -> Interface {
    let up = members.iter().filter(|(_, carries)| *carries).count() as u64;
    Interface {
        is_hardware: false,
        members: members
            .iter()
            .map(|(name, carries)| Member {
                name: (*name).into(),
                carries: *carries,
            })
            .collect(),
        below: members.iter().map(|(name, _)| (*name).into()).collect(),
        ..card(name, up * 10, &["192.0.2.1"])
    }
}

fn steering(addresses: &[&str], interfaces: &[&str]) -> config::Steering {
    config::Steering {
        service_addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        interfaces: interfaces.iter().map(ToString::to_string).collect(),
        ..config::Steering::default()
    }
}

/// Looks once a second at what is there.
struct Looking {
    watch: Watch,
    now: Instant,
    steering: config::Steering,
}

impl Looking {
    fn for_one_address() -> Self {
        Self {
            watch: Watch::default(),
            now: Instant::now(),
            steering: steering(&["192.0.2.1"], &[]),
        }
    }

    fn look(&mut self, found: &[Interface]) -> Interfaces {
        self.now += Duration::from_secs(1);
        self.watch.look(self.now, &self.steering, found.to_vec())
    }

    /// What is wrong, all of it.
    fn wrong(&mut self, found: &[Interface]) -> String {
        let seen = self.look(found).serving.into_iter();
        let wrong = seen.filter_map(|it| Some(format!("{} {}", it.now.name, it.wrong?)));
        wrong.collect::<Vec<_>>().join(", ")
    }
}

/// Who serves, at the first look.
fn names(addresses: &[&str], named: &[&str], found: &[Interface]) -> Vec<String> {
    let asked = steering(addresses, named);
    let seen = Watch::default().look(Instant::now(), &asked, found.to_vec());
    seen.serving.into_iter().map(|it| it.now.name).collect()
}

fn lo(address: &str) -> Interface {
    made_up("lo", &[], &[address])
}

#[test]
fn who_serves_is_who_has_the_address_or_is_named() {
    let (eth0, eth1) = (
        card("eth0", 10, &["192.0.2.1"]),
        card("eth1", 10, &["10.0.0.1"]),
    );
    let unplugged = card("eth2", 0, &[]);
    let both = [eth0, eth1.clone(), unplugged.clone()];
    let one = ["192.0.2.1"];
    assert_eq!(names(&one, &[], &both), ["eth0"]);
    assert!(names(&[], &[], &both).is_empty(), "nobody is sent here");
    assert_eq!(names(&one, &["eth1", "eth2"], &both), ["eth1", "eth2"]);
    let vlan = made_up("eth1.5", &["eth1"], &one);
    assert_eq!(names(&one, &[], &[eth1.clone(), vlan]), ["eth1"]);
    let elsewhere = [lo("192.0.2.1"), card("eth0", 10, &[]), eth1, unplugged];
    assert_eq!(
        names(&one, &[], &elsewhere),
        ["eth0", "eth1"],
        "with a link"
    );
}

#[test]
fn a_bond_serves_and_not_its_members() {
    let mut found = vec![
        bond("bond0", &[("eth0", true), ("eth1", true)]),
        card("eth0", 10, &[]),
        card("eth1", 10, &[]),
        made_up("bond0.7", &["bond0"], &["192.0.2.2"]),
    ];
    assert_eq!(names(&["192.0.2.1"], &[], &found), ["bond0"]);
    assert_eq!(names(&["192.0.2.2"], &[], &found), ["bond0"], "on a VLAN");
    found.push(lo("192.0.2.9"));
    assert_eq!(names(&["192.0.2.9"], &[], &found), ["bond0"], "on loopback");
}

#[test]
fn capacity_is_what_is_up_and_nothing_if_somebody_does_not_say() {
    let speed = |found: &[Interface]| {
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        let asked = steering(&["192.0.2.1"], &names);
        let seen = Watch::default().look(Instant::now(), &asked, found.to_vec());
        seen.speed()
    };
    assert_eq!(
        speed(&[card("a", 25, &[]), card("b", 100, &[])]),
        Some(125 * GBIT)
    );
    assert_eq!(
        speed(&[card("a", 25, &[]), card("b", 0, &[])]),
        Some(25 * GBIT)
    );
    let silent = Interface {
        speed: None,
        ..card("b", 1, &[])
    };
    assert_eq!(speed(&[card("a", 25, &[]), silent]), None);
    assert_eq!(Interfaces::default().speed(), None);
}

#[test]
fn a_lost_link_is_said_until_it_is_back() {
    let mut it = Looking::for_one_address();
    let mut veth = made_up("v0", &[], &["192.0.2.1"]);
    (veth.has_link, veth.speed) = (true, Some(10 * GBIT));
    assert_eq!(it.wrong(std::slice::from_ref(&veth)), "");
    let dark = made_up("v0", &[], &["192.0.2.1"]);
    assert_eq!(it.wrong(std::slice::from_ref(&dark)), "v0 has no link");
    assert_eq!(it.look(&[dark]).speed(), Some(0));
    assert_eq!(it.wrong(&[]), "v0 is not there any more");
    assert_eq!(it.wrong(&[veth]), "");
}

#[test]
fn a_port_that_never_had_a_link_is_not_missed_unless_it_is_named() {
    let mut it = Looking::for_one_address();
    let found = [card("eth0", 10, &[]), card("eth1", 0, &[])];
    assert_eq!(it.wrong(&found), "");
    assert_eq!(
        it.wrong(&[card("eth0", 10, &[]), card("eth1", 10, &[])]),
        ""
    );
    assert_eq!(it.wrong(&found), "eth1 has no link");
    it.steering = steering(&["192.0.2.1"], &["eth0", "eth9"]);
    assert_eq!(
        it.wrong(&found),
        "eth9 is not there: see steering.interfaces"
    );
}

#[test]
fn a_bond_misses_what_was_once_its_own() {
    let mut it = Looking::for_one_address();
    assert_eq!(
        it.wrong(&[bond("bond0", &[("eth0", true), ("eth1", true)])]),
        ""
    );
    let dark = [bond("bond0", &[("eth0", true), ("eth1", false)])];
    assert_eq!(
        it.wrong(&dark),
        "bond0 1 of its 2 links carry nothing: eth1"
    );
    assert_eq!(it.look(&dark).speed(), Some(10 * GBIT));
    let pulled = [bond("bond0", &[("eth0", true)])];
    assert_eq!(
        it.wrong(&pulled),
        "bond0 1 of its 2 links carry nothing: eth1"
    );
    assert_eq!(
        it.wrong(&[bond("bond0", &[("eth0", true), ("eth1", true)])]),
        ""
    );
}

#[test]
fn a_link_that_came_back_slower_is_said() {
    let mut it = Looking::for_one_address();
    assert_eq!(it.wrong(&[card("eth0", 100, &["192.0.2.1"])]), "");
    let said = it.wrong(&[card("eth0", 10, &["192.0.2.1"])]);
    assert_eq!(said, "eth0 its link is at 10 Gbit/s, it was at 100 Gbit/s");
}

#[test]
fn errors_count_while_they_grow_and_are_more_than_a_few() {
    let mut it = Looking::for_one_address();
    let mut counted = |packets, errors| {
        let seen = Interface {
            packets,
            errors,
            ..card("eth0", 10, &["192.0.2.1"])
        };
        it.wrong(&[seen]).contains("packets had an error")
    };
    // What was counted before the first look is of no interest.
    assert!(!counted(1_000_000, 500_000));
    assert!(!counted(1_001_000, 500_009), "nine are few");
    assert!(counted(1_002_000, 500_010), "ten of two thousand are many");
    assert!(
        !counted(3_000_000, 500_011),
        "eleven of two millions are few"
    );
    assert!(counted(3_000_100, 500_900));
    let calm = (0..61).map(|second| counted(3_000_100 + second, 500_900));
    assert!(!calm.last().unwrap(), "a minute without a new one");
    assert!(!counted(7, 3), "a driver that began anew");
}
