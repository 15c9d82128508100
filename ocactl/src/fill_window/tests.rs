//! The words about the window, whole.

use jiff::tz::TimeZone;

use super::*;

/// 2026-11-21 10:58:03 in Berlin.
const NOW: u64 = 1_795_255_083;

fn clock() -> Clock {
    Clock {
        now: NOW,
        zone: TimeZone::get("Europe/Berlin").unwrap(),
    }
}

fn hours(window: &str) -> Hours {
    Hours {
        window: window.into(),
        timezone: "Europe/Berlin".into(),
        rate: Some(1_200_000_000),
    }
}

fn window() -> Window {
    Window {
        as_of: NOW,
        configured: Some(hours("02:00-14:00")),
        set: Some(SetHours {
            hours: hours("01:00-05:00"),
            by: "ada".into(),
            at: NOW - 7_380,
        }),
        overridden: Some(Overridden {
            open: true,
            by: "grace".into(),
            at: NOW - 5,
            until: Some(NOW + 7_200),
        }),
        effective: Some(hours("01:00-05:00")),
        site_offset_s: 723,
        open: true,
        why: "grace opened the window until 2026-11-21T12:58:03+01:00".into(),
        next: vec![
            Change {
                at: NOW + 7_200,
                opens: false,
                local: "2026-11-21T12:58:03+01:00".into(),
            },
            Change {
                at: NOW + 51_440,
                opens: true,
                local: "2026-11-22T01:15:23+01:00".into(),
            },
        ],
    }
}

#[test]
fn a_window_with_all_that_may_be_said_of_it() {
    let (window, clock) = (window(), clock());
    assert_eq!(
        Aged::new(&window, window.as_of, &clock).text(),
        "open: grace opened the window until 2026-11-21T12:58:03+01:00\n\
         configured 02:00-14:00 Europe/Berlin, at most 1.20 Gbit/s\n\
         set        01:00-05:00 Europe/Berlin, at most 1.20 Gbit/s; by ada, 2 h 3 min ago\n\
         override   open until 2026-11-21T12:58:03+01:00, in 2 h; by grace, 5 s ago\n\
         in force   01:00-05:00 Europe/Berlin, at most 1.20 Gbit/s\n\
         offset     12 min 3 s later than these hours, as all of this site\n\
         next       closes 2026-11-21T12:58:03+01:00, in 2 h\n\
         as of      2026-11-21T10:58:03+01:00, 0 s ago"
    );
    assert_eq!(
        Next(Aged::new(&window, window.as_of, &clock)).text(),
        "open now: grace opened the window until 2026-11-21T12:58:03+01:00\n\
         closes  2026-11-21T12:58:03+01:00, in 2 h\n\
         opens   2026-11-22T01:15:23+01:00, in 14 h 17 min\n\
         as of 2026-11-21T10:58:03+01:00, 0 s ago"
    );
}

#[test]
fn a_box_without_hours() {
    let window = Window {
        configured: None,
        set: None,
        overridden: None,
        effective: None,
        site_offset_s: 0,
        open: false,
        why: "there is no [fill] in the configuration".into(),
        next: Vec::new(),
        ..window()
    };
    assert_eq!(
        Aged::new(&window, window.as_of, &clock()).text(),
        "closed: there is no [fill] in the configuration\n\
         configured nothing: there is no [fill] in the configuration\n\
         in force   no hours: nothing is fetched\n\
         as of      2026-11-21T10:58:03+01:00, 0 s ago"
    );
    let no_rate = Hours {
        rate: None,
        ..hours("02:00-14:00")
    };
    assert_eq!(
        in_words(&no_rate),
        "02:00-14:00 Europe/Berlin, no rate, so nothing is fetched"
    );
}
