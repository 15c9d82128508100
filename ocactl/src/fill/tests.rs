//! The words of the fill commands, whole, and never wider than 80 columns.

use jiff::tz::TimeZone;
use protocol::fill::{
    Activity, Contact, DeviceFill, Failure, Held, ManifestFacts, Pause, Plan, PlanTotals,
    PlannedCopy, PlannedEviction, PlannedFetch, PlannedMove, PlannedRepair, Progress, SourceStatus,
    Status, Transfer,
};
use protocol::manifest::{Serial, SourceKind};

use super::Changed;
use crate::agent::Aged;
use crate::clock::Clock;
use crate::output::Report;

/// 2026-11-21 10:58:03 in Berlin.
const NOW: u64 = 1_795_255_083;

fn clock() -> Clock {
    Clock {
        now: NOW,
        zone: TimeZone::get("Europe/Berlin").unwrap(),
    }
}

fn serial(number: u64) -> Serial {
    Serial { epoch: 1, number }
}

fn filling() -> Status {
    Status {
        as_of: NOW - 1,
        version: "0.1.0".into(),
        started: NOW - 90_000,
        activity: Activity::Filling,
        why: "fetching 3 objects from 2 sources".into(),
        window_open: true,
        window_changes: Some(NOW + 10_917),
        rate: Some(1_200_000_000),
        rate_now: 1_187_000_000,
        eta: Some(NOW + 7_380),
        clock_synchronised: true,
        manifest: Some(ManifestFacts {
            serial: serial(42),
            built_at: NOW - 36_000,
            not_after: NOW + 136_800,
            objects: 10_000,
            bytes: 10_000 << 30,
            objects_held: 9_120,
            bytes_held: 9_000 << 30,
        }),
        held: None,
        control: Contact {
            succeeded: Some(NOW - 312),
            tried: Some(NOW - 312),
            problem: String::new(),
        },
        pause: None,
        progress: Progress {
            objects: 880,
            objects_done: 357,
            bytes: 1_000 << 30,
            bytes_done: 412 << 30,
            objects_without_room: 0,
            bytes_without_room: 0,
        },
        transfers: vec![
            transfer(
                "/series/a-very-long-name/season-1/episode-07-stream3.mp4",
                "",
            ),
            transfer("/b.mp4", "hdd1, whose write takes 4 s by now"),
        ],
        sources: vec![
            source("c002.fra001.example", SourceKind::Peer, "ok"),
            source("control", SourceKind::Origin, "429, told to wait"),
        ],
        devices: vec![
            device("nvme0", "nvme", "ok"),
            device("hdd1", "hdd", "a write takes too long"),
        ],
        waiting: vec!["12 objects wait for c002.fra001.example to have them".into()],
        failures: Vec::new(),
    }
}

fn transfer(path: &str, waits_for: &str) -> Transfer {
    Transfer {
        path: path.into(),
        bytes: 3 << 30,
        bytes_done: 1 << 30,
        source: "c002.fra001.example".into(),
        moves_to: None,
        waits_for: waits_for.into(),
    }
}

fn source(name: &str, kind: SourceKind, state: &str) -> SourceStatus {
    SourceStatus {
        name: name.into(),
        kind,
        state: state.into(),
        retry_at: (state != "ok").then_some(NOW + 29),
        rate: 600_000_000,
        bytes: 412 << 30,
        errors: 3,
    }
}

fn device(name: &str, tier: &str, state: &str) -> DeviceFill {
    DeviceFill {
        name: name.into(),
        path: format!("/srv/oca/{name}").into(),
        tier: tier.into(),
        verdict: None,
        state: state.into(),
        rate: 593_000_000,
        queue: 4,
        room: 812 << 30,
        total: 16 << 40,
        object_bytes: 15 << 40,
        doomed_bytes: 0,
        used_bytes: 15 << 40,
    }
}

fn shown(status: &Status) -> String {
    fits(Aged::new(status, status.as_of, &clock()).text())
}

fn fits(text: String) -> String {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    text
}

#[test]
fn a_filling_agent() {
    assert_eq!(
        shown(&filling()),
        include_str!("tests/filling.txt").trim_end()
    );
}

#[test]
fn a_held_manifest_a_pause_and_what_is_wrong() {
    let status = Status {
        activity: Activity::Paused,
        why: "paused by ada until 2026-11-21T12:58:03+01:00".into(),
        window_open: false,
        window_changes: None,
        rate: None,
        rate_now: 0,
        eta: None,
        clock_synchronised: false,
        held: Some(Held {
            serial: serial(43),
            since: NOW - 600,
            why: "it has 400 objects, fewer than half of the 10000 of manifest 1.42".into(),
        }),
        control: Contact {
            succeeded: None,
            tried: Some(NOW - 20),
            problem: "https://control.example/: connection refused".into(),
        },
        pause: Some(Pause {
            since: NOW - 60,
            by: "ada".into(),
            until: Some(NOW + 7_200),
        }),
        progress: Progress {
            objects_without_room: 1,
            bytes_without_room: 30 << 30,
            ..Progress::default()
        },
        transfers: Vec::new(),
        sources: Vec::new(),
        devices: Vec::new(),
        waiting: Vec::new(),
        failures: vec![Failure {
            at: NOW - 3_600,
            path: "/title/title-stream0.mp4".into(),
            source: "c002.fra001.example".into(),
            reason: "group 7 does not match its checksum".into(),
        }],
        ..filling()
    };
    assert_eq!(shown(&status), include_str!("tests/paused.txt").trim_end());
    assert_eq!(
        fits(Changed(Aged::new(&status, status.as_of, &clock())).text()),
        include_str!("tests/changed.txt").trim_end()
    );
}

#[test]
fn an_agent_that_knows_nothing_yet() {
    let status = Status {
        activity: Activity::Blocked,
        why: "no manifest yet".into(),
        manifest: None,
        window_open: false,
        window_changes: None,
        control: Contact::default(),
        progress: Progress::default(),
        rate_now: 0,
        eta: None,
        transfers: Vec::new(),
        sources: Vec::new(),
        devices: Vec::new(),
        waiting: Vec::new(),
        ..filling()
    };
    assert_eq!(
        shown(&status),
        "blocked: no manifest yet\n\n\
         window     closed\n\
         rate       0 bit/s now, at most 1.20 Gbit/s\n\
         to fetch   nothing\n\
         manifest   none yet\n\
         control    not reached yet\n\n\
         as of 2026-11-21T10:58:02+01:00, 1 s ago"
    );
}

/// The largest amounts and the longest words.
#[test]
fn nothing_is_wider_than_a_terminal() {
    let long = "w".repeat(60);
    let mut status = filling();
    status.rate = Some(999_900_000_000);
    status.rate_now = 999_900_000_000;
    status.transfers[0].bytes = 1023 << 40;
    status.transfers[0].path = format!("/{long}");
    status.transfers[0].source = long.clone();
    status.transfers[0].waits_for = long.clone();
    status.sources[0].name = long.clone();
    status.sources[0].rate = 999_900_000_000;
    status.sources[0].bytes = 1023 << 40;
    status.sources[0].errors = 99_999;
    status.sources[1].kind = SourceKind::Upstream;
    status.sources[1].state = long.clone();
    status.devices[0].name = long.clone();
    status.devices[0].tier = long.clone();
    status.devices[0].state = long.clone();
    status.devices[0].rate = 999_900_000_000;
    status.devices[0].queue = 9_999;
    status.devices[0].room = 1023 << 40;
    status.devices[0].total = 1023 << 40;
    shown(&status);
    let entry = || PlannedFetch {
        path: format!("/{long}"),
        bytes: 1023 << 40,
        tier: long.clone(),
        source: long.clone(),
    };
    let plan = Plan {
        fetch: vec![entry()],
        ..plan()
    };
    fits(Aged::new(&plan, plan.as_of, &clock()).text());
}

fn plan() -> Plan {
    Plan {
        as_of: NOW,
        serial: Some(serial(42)),
        fetch: vec![PlannedFetch {
            path: "/title/title-stream0.mp4".into(),
            bytes: 3 << 30,
            tier: "nvme".into(),
            source: "control".into(),
        }],
        moves: vec![PlannedMove {
            path: "/old.mp4".into(),
            bytes: 1 << 30,
            from: "nvme".into(),
            to: "hdd".into(),
        }],
        copies: vec![PlannedCopy {
            path: "/new.mp4".into(),
            bytes: 1 << 30,
            tier: "nvme".into(),
            count: 2,
        }],
        evict: vec![PlannedEviction {
            path: "/older.mp4".into(),
            bytes: 2 << 30,
            tier: "hdd".into(),
        }],
        repair: ["/broken.mp4", "/copied.mp4"]
            .map(|path| PlannedRepair {
                path: path.into(),
                bytes: 1 << 30,
                tier: "nvme".into(),
                is_lost: path == "/broken.mp4",
                now: false,
            })
            .into(),
        totals: PlanTotals {
            repair_objects: 2,
            repair_bytes: 2 << 30,
            fetch_objects: 880,
            fetch_bytes: 1_000 << 30,
            move_objects: 1,
            move_bytes: 1 << 30,
            copy_objects: 1,
            copy_bytes: 2 << 30,
            evict_objects: 1,
            evict_bytes: 2 << 30,
            no_room_objects: 7,
            no_room_bytes: 9 << 30,
        },
        blocked: "outside the window 02:00-14:00 Europe/Berlin".into(),
    }
}

#[test]
fn a_plan() {
    let text = |plan: &Plan| fits(Aged::new(plan, plan.as_of, &clock()).text());
    assert_eq!(text(&plan()), include_str!("tests/plan.txt").trim_end());
    let nothing = Plan {
        serial: None,
        fetch: Vec::new(),
        moves: Vec::new(),
        copies: Vec::new(),
        evict: Vec::new(),
        repair: Vec::new(),
        totals: PlanTotals::default(),
        blocked: String::new(),
        ..plan()
    };
    assert_eq!(
        text(&nothing),
        "no manifest yet: nothing to do\n\nas of 2026-11-21T10:58:03+01:00, 0 s ago"
    );
}

#[test]
fn the_age_stands_in_json() {
    let status = filling();
    let json = serde_json::to_value(Aged::new(&status, status.as_of, &clock())).unwrap();
    assert_eq!(json["age_s"], 1);
    assert_eq!(json["activity"], "filling");
    assert_eq!(json["manifest"]["serial"]["number"], 42);
    let back: Status = serde_json::from_value(json).unwrap();
    assert_eq!(back, status);
}
