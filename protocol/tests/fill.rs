//! Lines of the fill agent's socket, and what it tells of itself, as tables used both ways.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use protocol::fill::{
    Activity, Change, Contact, DamagedColumn, DeviceFill, Facts, Failure, Held, Hours,
    ManifestFacts, Overridden, Pause, Plan, PlanTotals, PlannedCopy, PlannedEviction, PlannedFetch,
    PlannedMove, PlannedRepair, Progress, Request, Response, SetHours, SourceStatus, Status,
    Transfer, Window,
};
use protocol::manifest::{Serial, SourceKind};
use protocol::operator::{self, Fault, Refusal};
use protocol::root::Root;
use support::line;

fn both_ways<T>(message: &T, text: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let line = line(text);
    let encoded = String::from_utf8(operator::encode(message)).unwrap();
    assert_eq!(encoded, format!("{line}\n"));
    assert_eq!(operator::decode::<T>(line.as_bytes()).unwrap(), *message);
}

const SERIAL: Serial = Serial {
    epoch: 1,
    number: 42,
};

#[test]
fn requests_have_these_lines() {
    let by = || "ada".to_owned();
    let table = [
        (Request::Status, r#"{"protocol":1,"request":"status"}"#),
        (
            Request::Plan { limit: 20 },
            r#"{"protocol":1,"request":"plan","limit":20}"#,
        ),
        (Request::Window, r#"{"protocol":1,"request":"window"}"#),
        (
            Request::SetWindow {
                by: by(),
                window: Some("02:00-14:00".into()),
                timezone: Some("Europe/Berlin".into()),
                rate: Some(1_200_000_000),
            },
            r#"{"protocol":1,"request":"set-window","by":"ada","window":"02:00-14:00","timezone":"Europe/Berlin","rate":1200000000}"#,
        ),
        (
            Request::SetWindow {
                by: by(),
                window: None,
                timezone: None,
                rate: None,
            },
            r#"{"protocol":1,"request":"set-window","by":"ada","window":null,"timezone":null,"rate":null}"#,
        ),
        (
            Request::Override {
                by: by(),
                open: true,
                until: Some(1_790_003_600),
            },
            r#"{"protocol":1,"request":"override","by":"ada","open":true,"until":1790003600}"#,
        ),
        (
            Request::ClearOverride { by: by() },
            r#"{"protocol":1,"request":"clear-override","by":"ada"}"#,
        ),
        (
            Request::Pause {
                by: by(),
                until: None,
            },
            r#"{"protocol":1,"request":"pause","by":"ada","until":null}"#,
        ),
        (
            Request::Resume { by: by() },
            r#"{"protocol":1,"request":"resume","by":"ada"}"#,
        ),
        (
            Request::Accept {
                by: by(),
                serial: SERIAL,
            },
            r#"{"protocol":1,"request":"accept","by":"ada","serial":{"epoch":1,"number":42}}"#,
        ),
    ];
    for (request, text) in table {
        both_ways(&request, text);
    }
}

#[test]
fn damage_and_scrub_have_these_lines() {
    let by = || "ada".into();
    let table = [
        (
            Request::Damaged {
                columns: vec![DamagedColumn {
                    object: Root([1; 32]),
                    device: "02".repeat(16),
                    seen: 7,
                    certain: true,
                }],
            },
            r#"{"protocol":1,"request":"damaged","columns":[{"object":"0101010101010101010101010101010101010101010101010101010101010101","device":"02020202020202020202020202020202","seen":7,"certain":true}]}"#,
        ),
        (
            Request::ScrubStatus,
            r#"{"protocol":1,"request":"scrub-status"}"#,
        ),
        (
            Request::ScrubStart {
                by: by(),
                device: Some("nvme0".into()),
            },
            r#"{"protocol":1,"request":"scrub-start","by":"ada","device":"nvme0"}"#,
        ),
        (
            Request::ScrubPause {
                by: by(),
                until: Some(5),
            },
            r#"{"protocol":1,"request":"scrub-pause","by":"ada","until":5}"#,
        ),
        (
            Request::ScrubResume { by: by() },
            r#"{"protocol":1,"request":"scrub-resume","by":"ada"}"#,
        ),
    ];
    for (request, text) in table {
        both_ways(&request, text);
    }
}

#[test]
fn a_refusal_has_this_line() {
    let refused = Response::Refused(Refusal {
        fault: Fault::State,
        message: "no manifest is held".into(),
    });
    both_ways(
        &refused,
        r#"{"protocol":1,"response":"refused","fault":"state","message":"no manifest is held"}"#,
    );
}

fn manifest() -> ManifestFacts {
    ManifestFacts {
        serial: SERIAL,
        built_at: 1_790_000_000,
        not_after: 1_790_200_000,
        objects: 1000,
        bytes: 5_000_000_000,
        objects_held: 900,
        bytes_held: 4_500_000_000,
    }
}

fn held() -> Held {
    Held {
        serial: Serial {
            epoch: 1,
            number: 43,
        },
        since: 1_790_000_010,
        why: "it has 10 objects, the one in force has 1000".into(),
    }
}

fn contact() -> Contact {
    Contact {
        succeeded: Some(1_790_000_000),
        tried: Some(1_790_000_030),
        problem: "connection refused".into(),
    }
}

fn progress() -> Progress {
    Progress {
        objects: 100,
        objects_done: 60,
        bytes: 500_000_000,
        bytes_done: 300_000_001,
        objects_without_room: 2,
        bytes_without_room: 3000,
    }
}

fn status() -> Status {
    Status {
        as_of: 1_790_000_040,
        version: "0.1.0".into(),
        started: 1_789_900_000,
        activity: Activity::Filling,
        why: "40 of 100 objects are still to come".into(),
        window_open: true,
        window_changes: Some(1_790_010_000),
        rate: Some(1_200_000_000),
        rate_now: 1_190_000_000,
        eta: Some(1_790_000_100),
        clock_synchronised: true,
        manifest: Some(manifest()),
        held: Some(held()),
        control: contact(),
        pause: Some(Pause {
            since: 1_790_000_020,
            by: "ada".into(),
            until: None,
        }),
        progress: progress(),
        transfers: vec![Transfer {
            path: "/a.mp4".into(),
            bytes: 2_097_152,
            bytes_done: 1_048_576,
            source: "c002.fra001.example".into(),
            moves_to: None,
            waits_for: String::new(),
        }],
        sources: vec![SourceStatus {
            name: "c002.fra001.example".into(),
            kind: SourceKind::Peer,
            state: "ok".into(),
            retry_at: None,
            rate: 600_000_000,
            bytes: 100_000_000,
            errors: 1,
        }],
        devices: vec![DeviceFill {
            name: "nvme0".into(),
            path: "/srv/oca/nvme0".into(),
            tier: "hot".into(),
            verdict: Some(protocol::status::DeviceState::Ok),
            state: "ok".into(),
            rate: 1_190_000_000,
            queue: 4,
            room: 1_000_000_000_000,
            total: 4_000_000_000_000,
            object_bytes: 2_900_000_000_000,
            doomed_bytes: 1_000_000_000,
            used_bytes: 2_902_000_000_000,
        }],
        waiting: vec!["12 objects wait for c002.fra001.example to have them".into()],
        failures: vec![Failure {
            at: 1_790_000_005,
            path: "/b.mp4".into(),
            source: "control".into(),
            reason: "bytes that do not fit the root".into(),
        }],
    }
}

#[test]
fn a_status_has_this_line() {
    both_ways(
        &Response::Status(Box::new(status())),
        r#"{"protocol":1,"response":"status","as_of":1790000040,"version":"0.1.0","started":1789900000,
            "activity":"filling","why":"40 of 100 objects are still to come",
            "window_open":true,"window_changes":1790010000,"rate":1200000000,"rate_now":1190000000,"eta":1790000100,
            "clock_synchronised":true,
            "manifest":{"serial":{"epoch":1,"number":42},"built_at":1790000000,"not_after":1790200000,
            "objects":1000,"bytes":5000000000,"objects_held":900,"bytes_held":4500000000},
            "held":{"serial":{"epoch":1,"number":43},"since":1790000010,
            "why":"it has 10 objects, the one in force has 1000"},
            "control":{"succeeded":1790000000,"tried":1790000030,"problem":"connection refused"},
            "pause":{"since":1790000020,"by":"ada","until":null},
            "progress":{"objects":100,"objects_done":60,"bytes":500000000,"bytes_done":300000001,
            "objects_without_room":2,"bytes_without_room":3000},
            "transfers":[{"path":"/a.mp4","bytes":2097152,"bytes_done":1048576,
            "source":"c002.fra001.example","waits_for":""}],
            "sources":[{"name":"c002.fra001.example","kind":"peer","state":"ok","retry_at":null,
            "rate":600000000,"bytes":100000000,"errors":1}],
            "devices":[{"name":"nvme0","path":"/srv/oca/nvme0","tier":"hot","verdict":"ok","state":"ok",
            "rate":1190000000,"queue":4,
            "room":1000000000000,"total":4000000000000,"object_bytes":2900000000000,
            "doomed_bytes":1000000000,"used_bytes":2902000000000}],
            "waiting":["12 objects wait for c002.fra001.example to have them"],
            "failures":[{"at":1790000005,"path":"/b.mp4","source":"control",
            "reason":"bytes that do not fit the root"}]}"#,
    );
}

/// A box that has just been set up.
#[test]
fn a_status_of_nothing_has_this_line() {
    let empty = Status {
        activity: Activity::Blocked,
        why: "no manifest yet".into(),
        window_open: false,
        window_changes: None,
        rate: None,
        rate_now: 0,
        eta: None,
        clock_synchronised: false,
        manifest: None,
        held: None,
        control: Contact::default(),
        pause: None,
        progress: Progress::default(),
        transfers: Vec::new(),
        sources: Vec::new(),
        devices: Vec::new(),
        waiting: Vec::new(),
        failures: Vec::new(),
        ..status()
    };
    both_ways(
        &Response::Status(Box::new(empty)),
        r#"{"protocol":1,"response":"status","as_of":1790000040,"version":"0.1.0","started":1789900000,
            "activity":"blocked","why":"no manifest yet",
            "window_open":false,"window_changes":null,"rate":null,"rate_now":0,"eta":null,
            "clock_synchronised":false,"manifest":null,"held":null,
            "control":{"succeeded":null,"tried":null,"problem":""},"pause":null,
            "progress":{"objects":0,"objects_done":0,"bytes":0,"bytes_done":0,
            "objects_without_room":0,"bytes_without_room":0},
            "transfers":[],"sources":[],"devices":[],"waiting":[],"failures":[]}"#,
    );
}

fn repair() -> PlannedRepair {
    PlannedRepair {
        path: "/e.mp4".into(),
        bytes: 131_072,
        tier: "hot".into(),
        is_lost: true,
        now: false,
    }
}

#[test]
fn a_plan_has_this_line() {
    let plan = Plan {
        as_of: 1_790_000_040,
        serial: Some(SERIAL),
        fetch: vec![PlannedFetch {
            path: "/a.mp4".into(),
            bytes: 2_097_152,
            tier: "hot".into(),
            source: "c002.fra001.example".into(),
        }],
        moves: vec![PlannedMove {
            path: "/b.mp4".into(),
            bytes: 1_048_576,
            from: "warm".into(),
            to: "hot".into(),
        }],
        copies: vec![PlannedCopy {
            path: "/d.mp4".into(),
            bytes: 262_144,
            tier: "hot".into(),
            count: 1,
        }],
        evict: vec![PlannedEviction {
            path: "/c.mp4".into(),
            bytes: 524_288,
            tier: "hot".into(),
        }],
        repair: vec![repair()],
        totals: PlanTotals {
            repair_objects: 1,
            repair_bytes: 131_072,
            fetch_objects: 10,
            fetch_bytes: 20_971_520,
            move_objects: 1,
            move_bytes: 1_048_576,
            copy_objects: 1,
            copy_bytes: 262_144,
            evict_objects: 2,
            evict_bytes: 1_048_577,
            no_room_objects: 3,
            no_room_bytes: 4,
        },
        blocked: "outside the window until 02:00".into(),
    };
    both_ways(
        &Response::Plan(Box::new(plan)),
        r#"{"protocol":1,"response":"plan","as_of":1790000040,"serial":{"epoch":1,"number":42},
            "fetch":[{"path":"/a.mp4","bytes":2097152,"tier":"hot","source":"c002.fra001.example"}],
            "moves":[{"path":"/b.mp4","bytes":1048576,"from":"warm","to":"hot"}],
            "copies":[{"path":"/d.mp4","bytes":262144,"tier":"hot","count":1}],
            "evict":[{"path":"/c.mp4","bytes":524288,"tier":"hot"}],
            "repair":[{"path":"/e.mp4","bytes":131072,"tier":"hot","is_lost":true,"now":false}],
            "totals":{"fetch_objects":10,"fetch_bytes":20971520,"move_objects":1,"move_bytes":1048576,
            "copy_objects":1,"copy_bytes":262144,"repair_objects":1,"repair_bytes":131072,
            "evict_objects":2,"evict_bytes":1048577,"no_room_objects":3,"no_room_bytes":4},
            "blocked":"outside the window until 02:00"}"#,
    );
}

#[test]
fn a_window_has_this_line() {
    let hours = |window: &str, rate| Hours {
        window: window.into(),
        timezone: "Europe/Berlin".into(),
        rate,
    };
    let window = Window {
        as_of: 1_790_000_040,
        configured: Some(hours("02:00-14:00", Some(1_200_000_000))),
        set: Some(SetHours {
            hours: hours("03:00-05:00", None),
            by: "ada".into(),
            at: 1_789_990_000,
        }),
        overridden: Some(Overridden {
            open: true,
            by: "ada".into(),
            at: 1_790_000_000,
            until: Some(1_790_003_600),
        }),
        effective: None,
        site_offset_s: 900,
        open: true,
        why: "opened by ada".into(),
        next: vec![Change {
            at: 1_790_003_600,
            opens: false,
            local: "2026-09-21T16:13:20+02:00".into(),
        }],
    };
    both_ways(
        &Response::Window(Box::new(window)),
        r#"{"protocol":1,"response":"window","as_of":1790000040,
            "configured":{"window":"02:00-14:00","timezone":"Europe/Berlin","rate":1200000000},
            "set":{"hours":{"window":"03:00-05:00","timezone":"Europe/Berlin","rate":null},"by":"ada","at":1789990000},
            "overridden":{"open":true,"by":"ada","at":1790000000,"until":1790003600},
            "effective":null,"site_offset_s":900,"open":true,"why":"opened by ada",
            "next":[{"at":1790003600,"opens":false,"local":"2026-09-21T16:13:20+02:00"}]}"#,
    );
}

#[test]
fn facts_have_this_line() {
    let facts = Facts {
        as_of: 1_790_000_040,
        activity: Activity::Waiting,
        why: "for c002.fra001.example".into(),
        manifest: Some(manifest()),
        held: Some(held()),
        tombstones: Some(Serial {
            epoch: 1,
            number: 7,
        }),
        progress: progress(),
        rate_now: 8,
        window_open: true,
        control: contact(),
        clock_synchronised: true,
    };
    both_ways(
        &operator::Request::Fill(Box::new(facts)),
        r#"{"protocol":1,"request":"fill","as_of":1790000040,
            "activity":"waiting","why":"for c002.fra001.example",
            "manifest":{"serial":{"epoch":1,"number":42},"built_at":1790000000,"not_after":1790200000,
            "objects":1000,"bytes":5000000000,"objects_held":900,"bytes_held":4500000000},
            "held":{"serial":{"epoch":1,"number":43},"since":1790000010,
            "why":"it has 10 objects, the one in force has 1000"},
            "tombstones":{"epoch":1,"number":7},
            "progress":{"objects":100,"objects_done":60,"bytes":500000000,"bytes_done":300000001,
            "objects_without_room":2,"bytes_without_room":3000},
            "rate_now":8,"window_open":true,
            "control":{"succeeded":1790000000,"tried":1790000030,"problem":"connection refused"},
            "clock_synchronised":true}"#,
    );
    both_ways(
        &operator::Response::Noted,
        r#"{"protocol":1,"response":"noted"}"#,
    );
}

/// The words that scripts and metrics compare with.
#[test]
fn activities_and_kinds_have_these_words() {
    let quoted = |word: &str| format!("\"{word}\"");
    for activity in Activity::ALL {
        let text = serde_json::to_string(&activity).unwrap();
        assert_eq!(text, quoted(activity.as_str()));
    }
    for kind in SourceKind::ALL {
        let text = serde_json::to_string(&kind).unwrap();
        assert_eq!(text, quoted(kind.as_str()));
    }
}
