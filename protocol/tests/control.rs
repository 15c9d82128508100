//! Documents between appliance and control endpoint, as tables used both ways.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use protocol::config::TierRole;
use protocol::control::{Answer, Inventory, Miss, Problem, REPORT_VERSION, Report, Served};
use protocol::fill::{Activity, Contact, Facts, Progress};
use protocol::manifest::{
    MANIFEST_VERSION, Manifest, Serial, SiteRate, Source, Tombstone, Tombstones, Wanted,
};
use protocol::root::Root;
use protocol::status::{Cause, Device, DeviceState, Directness, Scope, Space, State};
use protocol::steer::{Neighbour, Reached, RoutesHeard};
use support::line;

fn both_ways<T>(document: &T, text: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let line = line(text);
    assert_eq!(serde_json::to_string(document).unwrap(), line);
    assert_eq!(serde_json::from_str::<T>(&line).unwrap(), *document);
}

const SERIAL: Serial = Serial {
    epoch: 1,
    number: 42,
};

fn sources() -> Vec<Source> {
    vec![
        Source::Peer {
            appliance: "c002.fra001.example".into(),
            urls: vec![
                "http://192.0.2.2:80".into(),
                "http://[2001:db8::2]:80".into(),
            ],
        },
        Source::Upstream {
            appliance: "c001.fra002.example".into(),
            urls: vec!["https://c001.fra002.example".into()],
        },
        Source::Control,
        Source::Http {
            name: "origin".into(),
            url: "https://origin.example/media".into(),
        },
        Source::S3 {
            name: "archive".into(),
            endpoint: "https://s3.example".into(),
            region: "eu-central-1".into(),
            bucket: "media".into(),
            prefix: "vod/".into(),
        },
    ]
}

/// Every field said, and every field left out that may be.
fn objects() -> Vec<Wanted> {
    let least = Wanted {
        path: "/ä b.mp4".into(),
        root: Root([0xb2; 32]),
        size: 0,
        content_type: "video/mp4".into(),
        cache_control: None,
        modified: 0,
        tier: TierRole::Capacity,
        demand: 0,
        copies: 1,
        urgent: false,
        via: None,
    };
    let most = Wanted {
        path: "/a.mp4".into(),
        root: Root([0xa1; 32]),
        size: 1 << 20,
        cache_control: Some("max-age=60".into()),
        modified: 1_780_000_000,
        tier: TierRole::Hot,
        demand: 5 << 20,
        copies: 2,
        urgent: true,
        via: Some(0),
        ..least.clone()
    };
    vec![most, least]
}

fn tombstones() -> Vec<Tombstone> {
    vec![Tombstone {
        path: "/c.mp4".into(),
        root: Root([0xc3; 32]),
        at: 1_789_999_999,
    }]
}

#[test]
fn a_manifest_has_this_text() {
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        appliance: "c001.fra001.example".into(),
        serial: SERIAL,
        built_at: 1_790_000_000,
        not_after: 1_790_200_000,
        site_offset_s: Some(900),
        site_rate: Some(SiteRate {
            bits_per_second: 2_000_000_000,
            appliances: 2,
        }),
        sources: sources(),
        objects: objects(),
        tombstones: tombstones(),
    };
    manifest.check().unwrap();
    both_ways(
        &manifest,
        r#"{"version":1,"appliance":"c001.fra001.example","serial":{"epoch":1,"number":42},
            "built_at":1790000000,"not_after":1790200000,"site_offset_s":900,
            "site_rate":{"bits_per_second":2000000000,"appliances":2},
            "sources":[
            {"kind":"peer","appliance":"c002.fra001.example","urls":["http://192.0.2.2:80","http://[2001:db8::2]:80"]},
            {"kind":"upstream","appliance":"c001.fra002.example","urls":["https://c001.fra002.example"]},
            {"kind":"control"},
            {"kind":"http","name":"origin","url":"https://origin.example/media"},
            {"kind":"s3","name":"archive","endpoint":"https://s3.example","region":"eu-central-1","bucket":"media","prefix":"vod/"}
            ],"objects":[
            {"path":"/a.mp4","root":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
            "size":1048576,"content_type":"video/mp4","cache_control":"max-age=60","modified":1780000000,
            "tier":"hot","demand":5242880,"copies":2,"urgent":true,"via":0},
            {"path":"/ä b.mp4","root":"b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2",
            "size":0,"content_type":"video/mp4","modified":0,"tier":"capacity","demand":0}
            ],"tombstones":[
            {"path":"/c.mp4","root":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","at":1789999999}
            ]}"#,
    );
}

#[test]
fn tombstones_have_this_text() {
    let tombstones = Tombstones {
        version: MANIFEST_VERSION,
        appliance: "c001.fra001.example".into(),
        serial: SERIAL,
        built_at: 1_790_000_000,
        tombstones: tombstones(),
    };
    both_ways(
        &tombstones,
        r#"{"version":1,"appliance":"c001.fra001.example","serial":{"epoch":1,"number":42},"built_at":1790000000,
            "tombstones":[{"path":"/c.mp4",
            "root":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","at":1789999999}]}"#,
    );
}

fn device() -> Device {
    Device {
        name: "nvme0".into(),
        path: "/srv/nvme0".into(),
        tier: "hot".into(),
        role: Some(TierRole::Hot),
        id: Some("00112233445566778899aabbccddeeff".into()),
        state: DeviceState::Ok,
        cause: String::new(),
        directness: Directness::Direct,
        space: Some(Space {
            total: 4_000_000_000_000,
            available: 1_000_000_000_000,
            read_only: false,
        }),
        objects: 900,
        queue_length: 1,
        in_flight: 2,
        errors: 3,
        checksum_failures: 4,
        wear: Vec::new(),
    }
}

fn facts() -> Facts {
    Facts {
        as_of: 1_790_000_040,
        activity: Activity::Complete,
        why: "all that is wanted is here".into(),
        manifest: None,
        held: None,
        tombstones: None,
        progress: Progress::default(),
        rate_now: 0,
        window_open: false,
        control: Contact::default(),
        clock_synchronised: true,
    }
}

fn report() -> Report {
    Report {
        version: REPORT_VERSION,
        appliance: "c001.fra001.example".into(),
        site: "fra001.example".into(),
        software: "oca-daemon 0.1.0".into(),
        started: 1_789_900_000,
        sequence: 7,
        sent_at: 1_790_000_041,
        state: State::Degraded,
        causes: vec![Cause {
            component: "device".into(),
            subject: "nvme1".into(),
            scope: Scope::Local,
            severity: State::Degraded,
            detail: "Input/output error".into(),
            since: 1_790_000_001,
        }],
        steering: serde_json::json!({"state": "degraded"}),
        serves_at: vec!["http://192.0.2.1:80".into()],
        devices: vec![device()],
        fill: Some(facts()),
        inventory: Inventory {
            revision: 3,
            since: Some(2),
            added: vec![Root([0xa1; 32])],
            removed: vec![Root([0xb2; 32])],
        },
        served: vec![Served {
            root: Root([0xa1; 32]),
            bytes: 5_242_880,
            size: 1_048_576,
        }],
        misses: vec![Miss {
            path: "/d.mp4".into(),
            requests: 9,
        }],
        routes: Some(RoutesHeard {
            digest: Some(Root([0xd1; 32])),
            prefixes: 3,
        }),
        reached: vec![Reached {
            id: "c002.fra001.example".into(),
            answers: true,
        }],
    }
}

#[test]
fn a_report_has_this_text() {
    both_ways(
        &report(),
        r#"{"version":1,"appliance":"c001.fra001.example","site":"fra001.example","software":"oca-daemon 0.1.0",
            "started":1789900000,"sequence":7,"sent_at":1790000041,"state":"degraded",
            "causes":[{"component":"device","subject":"nvme1","scope":"local","severity":"degraded",
            "detail":"Input/output error","since":1790000001}],
            "steering":{"state":"degraded"},"serves_at":["http://192.0.2.1:80"],
            "devices":[{"name":"nvme0","path":"/srv/nvme0","tier":"hot","role":"hot",
            "id":"00112233445566778899aabbccddeeff","state":"ok","cause":"","directness":"direct",
            "space":{"total":4000000000000,"available":1000000000000,"read_only":false},
            "objects":900,"queue_length":1,"in_flight":2,"errors":3,"checksum_failures":4}],
            "fill":{"as_of":1790000040,"activity":"complete","why":"all that is wanted is here",
            "manifest":null,"held":null,"tombstones":null,
            "progress":{"objects":0,"objects_done":0,"bytes":0,"bytes_done":0,
            "objects_without_room":0,"bytes_without_room":0},
            "rate_now":0,"window_open":false,
            "control":{"succeeded":null,"tried":null,"problem":""},"clock_synchronised":true},
            "inventory":{"revision":3,"since":2,
            "added":["a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"],
            "removed":["b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"]},
            "served":[{"root":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
            "bytes":5242880,"size":1048576}],
            "misses":[{"path":"/d.mp4","requests":9}],
            "routes":{"digest":"d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1","prefixes":3},
            "reached":[{"id":"c002.fra001.example","answers":true}]}"#,
    );
}

#[test]
fn answers_have_these_texts() {
    let table = [
        (
            Answer {
                version: REPORT_VERSION,
                known: Some((1_789_900_000, 3)),
                next_s: 5,
                manifest: Some(SERIAL),
                routes_wanted: true,
                neighbours: vec![Neighbour {
                    id: "c002.fra001.example".into(),
                    serves_at: vec!["http://192.0.2.2:80".into()],
                }],
            },
            r#"{"version":1,"known":[1789900000,3],"next_s":5,"manifest":{"epoch":1,"number":42},"routes_wanted":true,
            "neighbours":[{"id":"c002.fra001.example","serves_at":["http://192.0.2.2:80"]}]}"#,
        ),
        (
            Answer {
                version: REPORT_VERSION,
                known: None,
                next_s: 60,
                manifest: None,
                routes_wanted: false,
                neighbours: Vec::new(),
            },
            r#"{"version":1,"known":null,"next_s":60,"manifest":null,"routes_wanted":false,"neighbours":[]}"#,
        ),
    ];
    for (answer, text) in table {
        both_ways(&answer, text);
    }
    let problem = Problem {
        error: "no such appliance".into(),
    };
    both_ways(&problem, r#"{"error":"no such appliance"}"#);
}

/// A newer appliance or control endpoint may say more.
#[test]
fn a_reader_passes_over_fields_that_it_does_not_know() {
    let text = r#"{"version":1,"known":null,"next_s":5,"manifest":null,"mood":"good"}"#;
    let answer: Answer = serde_json::from_str(text).unwrap();
    // And an older one less.
    assert_eq!((answer.next_s, answer.routes_wanted), (5, false));
}
