//! The window on ordinary days and on the days when clocks change.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fill_agent::window::{BadHours, Change, Hours, State, site_offset, spread};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

const NO_OFFSET: Duration = Duration::ZERO;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Openings and closings, in the zone's own words, from an instant on.
fn walk(zone: &str, window: &str, from: &str, offset: Duration, count: usize) -> Vec<String> {
    let hours = Hours::parse(window, zone).unwrap();
    let changes = hours.changes(at(from), offset).take(count);
    let word = |change: &Change| if change.opens { "opens" } else { "closes" };
    changes
        .map(|change| format!("{} {}", word(&change), hours.local(change.at)))
        .collect()
}

/// zone, window, from, then what follows.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

#[test]
fn changes_of_clocks() {
    for (zone, window, from, expected) in TABLE {
        let walked = walk(zone, window, from, NO_OFFSET, expected.len());
        assert_eq!(walked, *expected, "{zone} {window} from {from}");
    }
}

const TABLE: &[Row] = &[
    // Berlin, 2026-03-29: 02:00 +01:00 becomes 03:00 +02:00. 11 hours.
    (
        "Europe/Berlin",
        "02:00-14:00",
        "2026-03-28T20:00:00Z",
        &[
            "opens 2026-03-29T03:00:00+02:00",
            "closes 2026-03-29T14:00:00+02:00",
            "opens 2026-03-30T02:00:00+02:00",
            "closes 2026-03-30T14:00:00+02:00",
        ],
    ),
    // A start inside the gap is its end, not half an hour later.
    (
        "Europe/Berlin",
        "02:30-14:00",
        "2026-03-28T20:00:00Z",
        &[
            "opens 2026-03-29T03:00:00+02:00",
            "closes 2026-03-29T14:00:00+02:00",
        ],
    ),
    // An end inside the gap, too.
    (
        "Europe/Berlin",
        "22:00-02:30",
        "2026-03-28T20:00:00Z",
        &[
            "opens 2026-03-28T22:00:00+01:00",
            "closes 2026-03-29T03:00:00+02:00",
            "opens 2026-03-29T22:00:00+02:00",
            "closes 2026-03-30T02:30:00+02:00",
        ],
    ),
    // A window that lies in the gap does not open on that day.
    (
        "Europe/Berlin",
        "02:10-02:50",
        "2026-03-28T20:00:00Z",
        &[
            "opens 2026-03-30T02:10:00+02:00",
            "closes 2026-03-30T02:50:00+02:00",
        ],
    ),
    // Berlin, 2026-10-25: 03:00 +02:00 becomes 02:00 +01:00. 13 hours.
    (
        "Europe/Berlin",
        "02:00-14:00",
        "2026-10-24T20:00:00Z",
        &[
            "opens 2026-10-25T02:00:00+02:00",
            "closes 2026-10-25T14:00:00+01:00",
            "opens 2026-10-26T02:00:00+01:00",
        ],
    ),
    // A start inside the fold is its first occurrence; the second neither closes nor opens.
    (
        "Europe/Berlin",
        "02:30-14:00",
        "2026-10-24T20:00:00Z",
        &[
            "opens 2026-10-25T02:30:00+02:00",
            "closes 2026-10-25T14:00:00+01:00",
        ],
    ),
    // An end inside the fold: the first instant past it, and it does not open again.
    (
        "Europe/Berlin",
        "22:00-02:30",
        "2026-10-24T19:00:00Z",
        &[
            "opens 2026-10-24T22:00:00+02:00",
            "closes 2026-10-25T02:30:00+02:00",
            "opens 2026-10-25T22:00:00+01:00",
        ],
    ),
    // Both ends inside the fold: once.
    (
        "Europe/Berlin",
        "02:15-02:45",
        "2026-10-24T20:00:00Z",
        &[
            "opens 2026-10-25T02:15:00+02:00",
            "closes 2026-10-25T02:45:00+02:00",
            "opens 2026-10-26T02:15:00+01:00",
        ],
    ),
    // New York, 2026-03-08 and 2026-11-01, across midnight.
    (
        "America/New_York",
        "23:00-05:00",
        "2026-03-08T00:00:00Z",
        &[
            "opens 2026-03-07T23:00:00-05:00",
            "closes 2026-03-08T05:00:00-04:00",
            "opens 2026-03-08T23:00:00-04:00",
        ],
    ),
    (
        "America/New_York",
        "23:00-05:00",
        "2026-11-01T00:00:00Z",
        &[
            "opens 2026-10-31T23:00:00-04:00",
            "closes 2026-11-01T05:00:00-05:00",
            "opens 2026-11-01T23:00:00-05:00",
        ],
    ),
    (
        "America/New_York",
        "01:00-01:30",
        "2026-11-01T00:00:00Z",
        &[
            "opens 2026-11-01T01:00:00-04:00",
            "closes 2026-11-01T01:30:00-04:00",
            "opens 2026-11-02T01:00:00-05:00",
        ],
    ),
    // Lord Howe changes by half an hour: 2026-04-05 02:00 +11:00 becomes 01:30 +10:30,
    (
        "Australia/Lord_Howe",
        "01:45-14:00",
        "2026-04-04T10:00:00Z",
        &[
            "opens 2026-04-05T01:45:00+11:00",
            "closes 2026-04-05T14:00:00+10:30",
            "opens 2026-04-06T01:45:00+10:30",
        ],
    ),
    // and 2026-10-04 02:00 +10:30 becomes 02:30 +11:00.
    (
        "Australia/Lord_Howe",
        "02:15-14:00",
        "2026-10-03T10:00:00Z",
        &[
            "opens 2026-10-04T02:30:00+11:00",
            "closes 2026-10-04T14:00:00+11:00",
            "opens 2026-10-05T02:15:00+11:00",
        ],
    ),
    // Tehran changed at midnight, for the last time in 2022: 00:00 +03:30 became 01:00 +04:30,
    (
        "Asia/Tehran",
        "00:00-06:00",
        "2022-03-21T12:00:00Z",
        &[
            "opens 2022-03-22T01:00:00+04:30",
            "closes 2022-03-22T06:00:00+04:30",
            "opens 2022-03-23T00:00:00+04:30",
        ],
    ),
    (
        "Asia/Tehran",
        "20:00-00:30",
        "2022-03-21T12:00:00Z",
        &[
            "opens 2022-03-21T20:00:00+03:30",
            "closes 2022-03-22T01:00:00+04:30",
            "opens 2022-03-22T20:00:00+04:30",
        ],
    ),
    // and 00:00 +04:30 of September 22 became 23:00 +03:30 of the 21st.
    (
        "Asia/Tehran",
        "23:30-04:00",
        "2022-09-21T12:00:00Z",
        &[
            "opens 2022-09-21T23:30:00+04:30",
            "closes 2022-09-22T04:00:00+03:30",
            "opens 2022-09-22T23:30:00+03:30",
        ],
    ),
    (
        "Asia/Tehran",
        "20:00-24:00",
        "2022-09-21T12:00:00Z",
        &[
            "opens 2022-09-21T20:00:00+04:30",
            "closes 2022-09-22T00:00:00+03:30",
        ],
    ),
    (
        "Asia/Tehran",
        "02:00-14:00",
        "2026-03-21T12:00:00Z",
        &[
            "opens 2026-03-22T02:00:00+03:30",
            "closes 2026-03-22T14:00:00+03:30",
        ],
    ),
    // Kathmandu went from +05:30 to +05:45 at the beginning of 1986.
    (
        "Asia/Kathmandu",
        "00:05-06:00",
        "1985-12-31T12:00:00Z",
        &[
            "opens 1986-01-01T00:15:00+05:45",
            "closes 1986-01-01T06:00:00+05:45",
            "opens 1986-01-02T00:05:00+05:45",
        ],
    ),
    (
        "Asia/Kathmandu",
        "02:00-14:00",
        "2026-03-28T12:00:00Z",
        &[
            "opens 2026-03-29T02:00:00+05:45",
            "closes 2026-03-29T14:00:00+05:45",
        ],
    ),
    (
        "UTC",
        "14:00-02:00",
        "2026-03-29T02:00:00Z",
        &[
            "opens 2026-03-29T14:00:00+00:00",
            "closes 2026-03-30T02:00:00+00:00",
            "opens 2026-03-30T14:00:00+00:00",
        ],
    ),
    (
        "UTC",
        "02:00-24:00",
        "2026-03-29T01:00:00Z",
        &[
            "opens 2026-03-29T02:00:00+00:00",
            "closes 2026-03-30T00:00:00+00:00",
        ],
    ),
    // Samoa left out 2011-12-30: two windows touch there, and are one.
    (
        "Pacific/Apia",
        "22:00-21:00",
        "2011-12-29T06:00:00Z",
        &[
            "closes 2011-12-28T21:00:00-10:00",
            "opens 2011-12-28T22:00:00-10:00",
            "closes 2011-12-29T21:00:00-10:00",
            "opens 2011-12-29T22:00:00-10:00",
            "closes 2011-12-31T21:00:00+14:00",
        ],
    ),
];

#[test]
fn the_offset_of_a_site_shifts_both_ends_by_physical_time() {
    let offset = Duration::from_secs(20 * 60);
    let walked = walk(
        "Europe/Berlin",
        "01:50-02:30",
        "2026-03-28T20:00:00Z",
        offset,
        3,
    );
    assert_eq!(
        walked,
        [
            "opens 2026-03-29T03:10:00+02:00",
            "closes 2026-03-29T03:20:00+02:00",
            "opens 2026-03-30T02:10:00+02:00",
        ]
    );
}

#[test]
fn the_state_tells_both_ends() {
    let hours = Hours::parse("22:00-06:00", "Europe/Berlin").unwrap();
    let since = at("2026-07-01T20:00:00Z");
    let until = at("2026-07-02T04:00:00Z");
    let open = State::Open {
        since: Some(since),
        until: Some(until),
    };
    assert_eq!(hours.state(since, NO_OFFSET), open);
    assert_eq!(hours.state(at("2026-07-02T03:59:59.999Z"), NO_OFFSET), open);
    let closed = |opens: &str| State::Closed {
        opens: Some(at(opens)),
    };
    assert_eq!(
        hours.state(until, NO_OFFSET),
        closed("2026-07-02T20:00:00Z")
    );
    assert_eq!(
        hours.state(at("2026-07-01T19:59:59Z"), NO_OFFSET),
        closed("2026-07-01T20:00:00Z")
    );
}

#[test]
fn the_whole_day_is_always() {
    let hours = Hours::parse("00:00-24:00", "Europe/Berlin").unwrap();
    let always = State::Open {
        since: None,
        until: None,
    };
    assert_eq!(hours.state(at("2026-10-25T00:30:00Z"), NO_OFFSET), always);
    assert_eq!(
        hours.changes(at("2026-10-25T00:30:00Z"), NO_OFFSET).count(),
        0
    );
}

#[test]
fn the_end_of_the_calendar_is_no_panic() {
    let hours = Hours::parse("02:00-14:00", "Europe/Berlin").unwrap();
    for now in [Timestamp::MIN, Timestamp::MAX] {
        let _ = hours.state(now, site_offset("a"));
        let _ = hours.changes(now, site_offset("a")).take(3).count();
    }
    assert_eq!(
        hours.state(Timestamp::MAX, NO_OFFSET),
        State::Closed { opens: None }
    );
}

#[test]
fn what_is_no_window_is_refused() {
    for text in [
        "",
        "02:00",
        "2:00-14:00",
        "02:00-02:00",
        "24:00-02:00",
        "02:00-24:01",
        "02:60-03:00",
        "02:00-14:00-15:00",
        "0a:00-14:00",
        "-",
    ] {
        let refused = Hours::parse(text, "UTC");
        assert_eq!(refused, Err(BadHours::Window(text.to_owned())));
    }
    let error = Hours::parse("02:00-14:00", "Europe/Atlantis").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"Europe/Atlantis\" is not in the time zone database; allowed: a name as in \"Europe/Berlin\""
    );
}

#[test]
fn offsets_of_sites_are_spread_over_half_an_hour() {
    let offsets: Vec<u64> = (0..1000)
        .map(|number| site_offset(&format!("fra{number:03}.example")).as_secs())
        .collect();
    assert!(offsets.iter().all(|offset| *offset < 1800));
    for third in 0..3 {
        let range = third * 600..(third + 1) * 600;
        let count = offsets
            .iter()
            .filter(|offset| range.contains(*offset))
            .count();
        assert!((270..400).contains(&count), "{count} of 1000");
    }
    // The same in every process and release: sites must not change their hour with an update.
    assert_eq!(site_offset("fra001.example").as_secs(), 909);
    assert_eq!(spread("a", Duration::ZERO), Duration::ZERO);
}

const ZONES: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Asia/Tehran", "2022-03-21T20:30:00Z"),
    ("Asia/Tehran", "2022-09-21T19:30:00Z"),
    ("Asia/Kathmandu", "2026-06-01T00:00:00Z"),
];

/// Another way to say the rule: it is open while the latest civil time seen so far is inside. Minutes from two days before the
/// change to two days after it.
fn by_the_latest_civil_time(
    zone: &str,
    change: Timestamp,
    inside: impl Fn(i32) -> bool,
) -> Vec<(Timestamp, bool)> {
    let zone = TimeZone::get(zone).unwrap();
    let mut latest = zone.to_datetime(change - 100.hours());
    let minutes = -48 * 60..48 * 60_i64;
    minutes
        .map(|minute| {
            let now = change + minute.minutes();
            latest = latest.max(zone.to_datetime(now));
            let minute_of_day = i32::from(latest.hour()) * 60 + i32::from(latest.minute());
            (now, inside(minute_of_day))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn state_and_changes_agree_with_the_latest_civil_time(
        zone in prop::sample::select(&ZONES[..]), start in 0..1440_i32, length in 1..1440_i32,
    ) {
        let (zone, change) = (zone.0, at(zone.1));
        let end = (start + length) % 1440;
        let text = |minute: i32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let hours = Hours::parse(&format!("{}-{}", text(start), text(end)), zone).unwrap();
        let inside = |minute: i32| (minute - start).rem_euclid(1440) < length;
        let expected = by_the_latest_civil_time(zone, change, inside);

        let from = expected[0].0;
        let mut changes = hours.changes(from, NO_OFFSET).peekable();
        let mut open = expected[0].1;
        let mut open_minutes = 0_i64;
        for (now, inside) in &expected {
            while let Some(change) = changes.next_if(|change| change.at <= *now) {
                prop_assert_ne!(change.opens, open, "changes alternate");
                open = change.opens;
            }
            prop_assert_eq!(open, *inside, "walked to {}", now);
            open_minutes += i64::from(*inside);
            if now.as_second() / 60 % 13 != 0 {
                continue;
            }
            let state = hours.state(*now, NO_OFFSET);
            prop_assert_eq!(matches!(state, State::Open { .. }), *inside, "state at {}", now);
            if let State::Open { since: Some(since), until: Some(until) } = state {
                prop_assert!(since <= *now && *now < until);
            }
            if let State::Closed { opens } = state {
                prop_assert_eq!(opens, changes.peek().map(|change| change.at));
            }
        }
        prop_assert_eq!(open_minutes, open_time(&hours, from, from + 96.hours()) / 60);
    }

    #[test]
    fn an_offset_only_shifts(
        zone in prop::sample::select(&ZONES[..]), minutes in -3000..3000_i64, offset in 0..1800_u64,
    ) {
        let hours = Hours::parse("21:17-02:31", zone.0).unwrap();
        let now = at(zone.1) + minutes.minutes();
        let shift = Duration::from_secs(offset);
        let shifted: Vec<_> = hours.changes(now + shift, shift).take(5).collect();
        let plain = hours.changes(now, NO_OFFSET).take(5);
        let moved: Vec<_> = plain.map(|change| Change { at: change.at + shift, ..change }).collect();
        prop_assert_eq!(shifted, moved);
    }
}

/// Seconds open between two instants, by the changes alone.
fn open_time(hours: &Hours, from: Timestamp, to: Timestamp) -> i64 {
    let mut open = matches!(hours.state(from, NO_OFFSET), State::Open { .. });
    let mut since = from;
    let mut total = 0;
    let changes = hours.changes(from, NO_OFFSET);
    for change in changes.take_while(|change| change.at < to) {
        if open {
            total += change.at.as_second() - since.as_second();
        }
        (open, since) = (change.opens, change.at);
    }
    total
        + if open {
            to.as_second() - since.as_second()
        } else {
            0
        }
}
