//! Hints, word for word: the files in `tests/hints` are what `/steering` answers.

use std::net::IpAddr;
use std::time::Duration;

use steering::health::{Component, Health, Sample, Severity, Thresholds};
use steering::hint::{Capacity, Facts, Hint, HintBook};
use steering::{State, UnixTime};

const GBIT: u64 = 1_000_000_000;

fn book() -> HintBook {
    HintBook::new(
        "c001.fra001.example".into(),
        "fra001.example".into(),
        Duration::from_secs(60),
    )
}

fn addresses() -> Vec<IpAddr> {
    vec![
        "192.0.2.1".parse().expect("a test value"),
        "2001:db8::1".parse().expect("a test value"),
    ]
}

fn facts(state: State, current: u64) -> Facts {
    let accepting = state.takes_viewers();
    Facts {
        state,
        accepting,
        causes: Vec::new(),
        service_addresses: addresses(),
        capacity: Some(Capacity::egress(85 * GBIT, current, accepting)),
    }
}

fn matches(hint: &Hint, golden: &str) {
    assert_eq!(
        format!(
            "{}\n",
            serde_json::to_string_pretty(hint).expect("a test value")
        ),
        golden
    );
    // Milliseconds do not go over the wire.
    assert_eq!(
        &serde_json::from_str::<Hint>(golden).expect("a test value"),
        hint
    );
}

#[test]
fn a_box_that_is_well() {
    let hint = book().issue(
        UnixTime::from_seconds(1_790_000_000),
        facts(State::Ok, 20 * GBIT),
    );
    matches(&hint, include_str!("hints/ok.json"));
}

#[test]
fn a_box_with_a_dead_device_and_no_control_endpoint() {
    let now = UnixTime::from_seconds(1_790_000_000);
    let mut health = Health::new(Thresholds::default());
    let sample = |component, subject: &str, detail: &str| Sample {
        component,
        subject: subject.into(),
        severity: Severity::Degraded,
        detail: detail.into(),
    };
    health.observe(
        now,
        &[
            sample(
                Component::Control,
                "",
                "https://control.example/ does not answer",
            ),
            sample(Component::Device, "hdd0", "no read came back for 30 s"),
        ],
    );
    let facts = Facts {
        causes: health.causes(),
        ..facts(State::Degraded, 80 * GBIT)
    };
    matches(
        &book().issue(now, facts),
        include_str!("hints/degraded.json"),
    );
}

#[test]
fn a_box_that_leaves_has_nothing_left_to_give() {
    let hint = book().issue(
        UnixTime::from_seconds(1_790_000_000),
        facts(State::Draining, 3 * GBIT),
    );
    matches(&hint, include_str!("hints/draining.json"));
}

#[test]
fn the_serial_rises_with_what_is_said() {
    let mut book = book();
    let now = UnixTime::from_milliseconds(5_000);
    let first = book.issue(now, facts(State::Ok, 0));
    let same = book.issue(UnixTime::from_milliseconds(7_000), facts(State::Ok, 0));
    assert_eq!(first.serial, same.serial);
    assert!(same.expires > first.expires);
    let other = book.issue(UnixTime::from_milliseconds(7_000), facts(State::Down, 0));
    assert!(other.serial > same.serial);
    // A clock that was set back does not set the serial back.
    let back = book.issue(UnixTime::from_milliseconds(1_000), facts(State::Ok, 0));
    assert_eq!(back.serial, other.serial + 1);
}

#[test]
fn what_is_left_never_wraps() {
    let over = Capacity::egress(10 * GBIT, 11 * GBIT, true);
    assert_eq!((over.maximum_soft, over.left), (9 * GBIT, 0));
    assert_eq!(
        Capacity::egress(u64::MAX, 0, true).maximum_soft,
        16_602_069_666_338_596_453
    );
}
