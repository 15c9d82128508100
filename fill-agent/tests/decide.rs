//! Every reason for filling or not, with the sentence that the operator reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fill_agent::window::{Circumstances, Decision, Hours, Reason, Setting, decide};
use jiff::Timestamp;
use protocol::fill::{Overridden, Pause};

fn setting(window: &str) -> Setting {
    Setting {
        hours: Hours::parse(window, "Europe/Berlin").unwrap(),
        rate: Some(1_200_000_000),
    }
}

const INSIDE: &str = "2026-07-01T04:00:00Z";
const OUTSIDE: &str = "2026-07-01T18:00:00Z";
const LATER: &str = "2026-07-01T20:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seconds(text: &str) -> Option<u64> {
    Some(at(text).as_second() as u64)
}

fn ordinary<'a>(now: &str, configured: &'a Setting) -> Circumstances<'a> {
    Circumstances {
        now: at(now),
        configured: Some(configured),
        set: None,
        overridden: None,
        pause: None,
        clock_trusted: true,
        site_offset: Duration::ZERO,
    }
}

fn order(open: bool, until: Option<u64>) -> Overridden {
    Overridden {
        open,
        by: "anna".to_owned(),
        at: 0,
        until,
    }
}

fn pause(until: Option<u64>) -> Pause {
    Pause {
        since: 0,
        by: "ben".to_owned(),
        until,
    }
}

#[track_caller]
fn expect(circumstances: &Circumstances<'_>, reason: Reason, until: Option<&str>, why: &str) {
    let decision = decide(circumstances);
    let open = matches!(reason, Reason::Inside | Reason::OverrideOpen);
    let expected = Decision {
        open,
        until: until.map(at),
        reason,
        why: why.to_owned(),
    };
    assert_eq!(decision, expected);
    assert_eq!(decision.urgent(), open || reason == Reason::Outside);
}

#[test]
fn by_the_hours() {
    let night = setting("02:00-14:00");
    expect(
        &ordinary(INSIDE, &night),
        Reason::Inside,
        Some("2026-07-01T12:00:00Z"),
        "inside the window 02:00-14:00 Europe/Berlin until 2026-07-01T14:00:00+02:00",
    );
    expect(
        &ordinary(OUTSIDE, &night),
        Reason::Outside,
        Some("2026-07-02T00:00:00Z"),
        "outside the window 02:00-14:00 Europe/Berlin, which opens at 2026-07-02T02:00:00+02:00",
    );
    expect(
        &ordinary(OUTSIDE, &setting("00:00-24:00")),
        Reason::Inside,
        None,
        "the window 00:00-24:00 Europe/Berlin is always open",
    );
}

#[test]
fn what_an_operator_set_goes_before_the_configuration() {
    let (night, evening) = (setting("02:00-14:00"), setting("19:00-23:00"));
    let set = Circumstances {
        set: Some(&evening),
        ..ordinary(OUTSIDE, &night)
    };
    expect(
        &set,
        Reason::Inside,
        Some("2026-07-01T21:00:00Z"),
        "inside the window 19:00-23:00 Europe/Berlin until 2026-07-01T23:00:00+02:00",
    );
    assert_eq!(set.effective(), Some(&evening));
}

#[test]
fn overrides_hold_until_they_are_over() {
    let night = setting("02:00-14:00");
    let open = order(true, seconds(LATER));
    let opened = Circumstances {
        overridden: Some(&open),
        ..ordinary(OUTSIDE, &night)
    };
    expect(
        &opened,
        Reason::OverrideOpen,
        Some(LATER),
        "anna opened the window until 2026-07-01T22:00:00+02:00",
    );
    let over = Circumstances {
        now: at(LATER),
        ..opened
    };
    assert_eq!(decide(&over).reason, Reason::Outside);
    let close = order(false, None);
    let closed = Circumstances {
        overridden: Some(&close),
        ..ordinary(INSIDE, &night)
    };
    expect(
        &closed,
        Reason::OverrideClosed,
        None,
        "anna closed the window until `ocactl fill-window override clear`",
    );
}

#[test]
fn a_pause_goes_before_everything_that_is_configured() {
    let night = setting("02:00-14:00");
    let open = order(true, None);
    let (for_ever, short) = (pause(None), pause(seconds(LATER)));
    let paused = Circumstances {
        overridden: Some(&open),
        pause: Some(&for_ever),
        ..ordinary(INSIDE, &night)
    };
    expect(
        &paused,
        Reason::Paused,
        None,
        "ben paused it until `ocactl fill resume`",
    );
    let paused = Circumstances {
        pause: Some(&short),
        ..paused
    };
    expect(
        &paused,
        Reason::Paused,
        Some(LATER),
        "ben paused it until 2026-07-01T22:00:00+02:00",
    );
    let over = Circumstances {
        now: at(LATER),
        ..paused
    };
    assert_eq!(decide(&over).reason, Reason::OverrideOpen);
}

#[test]
fn without_a_section_a_rate_or_a_clock_nothing_is_filled() {
    let night = setting("02:00-14:00");
    let none = Circumstances {
        configured: None,
        set: Some(&night),
        ..ordinary(INSIDE, &night)
    };
    expect(
        &none,
        Reason::NoFill,
        None,
        "the configuration has no [fill], so nothing is fetched: add it with window and rate",
    );
    let open = order(true, None);
    let rateless = Setting {
        rate: None,
        ..night.clone()
    };
    let unset = Circumstances {
        overridden: Some(&open),
        ..ordinary(INSIDE, &rateless)
    };
    expect(
        &unset,
        Reason::NoRate,
        None,
        "no rate is set, so nothing is fetched: set fill.rate, or `ocactl fill-window set --rate`",
    );
    let adrift = Circumstances {
        overridden: Some(&open),
        clock_trusted: false,
        ..ordinary(INSIDE, &night)
    };
    expect(
        &adrift,
        Reason::Clock,
        None,
        "the system's clock is not synchronised, so the hours are not known: start NTP, or set fill.require_synchronised_clock = false",
    );
}

#[test]
fn a_time_beyond_the_calendar_never_comes() {
    let night = setting("02:00-14:00");
    let close = order(false, Some(u64::MAX));
    let closed = Circumstances {
        overridden: Some(&close),
        ..ordinary(INSIDE, &night)
    };
    assert_eq!(decide(&closed).reason, Reason::OverrideClosed);
}
