//! Reports: inventories, popularity, epochs; and what is no report.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;

use bytes::Bytes;
use futures_util::stream;
use protocol::control::{Problem, Report, Served};
use protocol::fill::{Activity, Contact, Facts, ManifestFacts, Progress};
use protocol::limits::REPORT_MAX_BYTES;
use protocol::manifest::{Serial, SourceKind};
use protocol::root::Root;
use protocol::status::State;
use reqwest::header::CONTENT_ENCODING;
use reqwest::{Body, Method, StatusCode};
use support::{Endpoint, report, until};

const REPORT: &str = "/v1/appliances/c1.x/report";

fn root(bytes: &[u8]) -> Root {
    Root(*blake3::hash(bytes).as_bytes())
}

#[tokio::test]
async fn inventories_are_told_as_changes_and_lead_to_peers() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("a.mp4", b"a");
    endpoint.ingest("b.mp4", b"b");
    let (one, two) = (endpoint.appliance("c1.x"), endpoint.appliance("c2.x"));
    endpoint.serve();
    // A change to a state that is not known here is asked for anew, as a whole.
    let mut holds = report("c1.x", 1);
    holds.inventory.since = Some(7);
    assert_eq!(endpoint.report(&holds, &one).await.known, None);
    let mut holds = report("c1.x", 2);
    holds.inventory.added = vec![root(b"a"), root(b"else")];
    assert_eq!(endpoint.report(&holds, &one).await.known, Some((1, 2)));
    let mut changed = report("c1.x", 3);
    changed.inventory.since = Some(2);
    changed.inventory.removed = vec![root(b"else")];
    changed.inventory.added = vec![root(b"b")];
    let answer = endpoint.report(&changed, &one).await;
    assert_eq!((answer.known, answer.next_s > 0), (Some((1, 3)), true));
    // Sent again because the answer was lost.
    assert_eq!(endpoint.report(&changed, &one).await.known, Some((1, 3)));
    // The daemon has started anew: nothing of what it calls known is known.
    let mut restarted = report("c1.x", 1);
    (restarted.started, restarted.inventory.since) = (2, Some(3));
    assert_eq!(endpoint.report(&restarted, &one).await.known, None);
    endpoint.report(&report("c2.x", 1), &two).await;
    // Addresses of a new peer are spread without waiting for the night.
    let manifest = until("c1 as a peer of c2", async || {
        let manifest = endpoint.manifest("c2.x", &two).await?;
        manifest
            .objects
            .iter()
            .all(|wanted| wanted.via.is_some())
            .then_some(manifest)
    });
    let manifest = manifest.await;
    assert_eq!(
        (manifest.sources[0].kind(), manifest.sources[0].name()),
        (SourceKind::Peer, "c1.x")
    );
    let list = endpoint
        .get("/v1/appliances", support::OPERATOR)
        .await
        .text()
        .await
        .unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (
            &list[0]["objects_held"],
            &list[0]["alive"],
            &list[1]["objects_held"]
        ),
        (&2.into(), &true.into(), &0.into())
    );
}

#[tokio::test]
async fn what_is_watched_is_wanted_before_what_was_expected() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("expected.mp4", b"expected");
    endpoint.ingest("watched.mp4", b"watched!");
    let arguments = [
        "appliance",
        "add",
        "c1.x",
        "--site",
        "x",
        "--cluster",
        "x",
        "--tier",
        "hot=8B",
    ];
    let token = endpoint.done(&arguments);
    endpoint.serve();
    let mut watched = report("c1.x", 1);
    watched.served = vec![Served {
        root: root(b"watched!"),
        bytes: 1_000_000,
        size: 8,
    }];
    endpoint.report(&watched, &token).await;
    let manifest = until("a manifest", async || {
        let manifest = endpoint.manifest("c1.x", &token).await?;
        (&*manifest.objects[0].path == "/watched.mp4").then_some(manifest)
    });
    let manifest = manifest.await;
    assert_eq!(manifest.objects.len(), 1);
    // The same report once more does not count twice.
    let demand = manifest.objects[0].demand;
    endpoint.report(&watched, &token).await;
    endpoint.done(&["build"]);
    assert_eq!(
        endpoint.manifest("c1.x", &token).await.unwrap().objects[0].demand,
        demand
    );
}

fn facts(serial: Serial) -> Facts {
    Facts {
        as_of: 1,
        activity: Activity::Complete,
        why: String::new(),
        manifest: Some(ManifestFacts {
            serial,
            built_at: 1,
            not_after: 2,
            objects: 1,
            bytes: 1,
            objects_held: 1,
            bytes_held: 1,
        }),
        held: None,
        tombstones: None,
        progress: Progress::default(),
        rate_now: 0,
        window_open: false,
        control: Contact::default(),
        clock_synchronised: true,
    }
}

#[tokio::test]
async fn a_serial_that_was_never_given_here_raises_the_epoch() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance("c1.x");
    endpoint.done(&["build"]);
    endpoint.serve();
    let ahead = |sequence, serial| Report {
        fill: Some(facts(serial)),
        ..report("c1.x", sequence)
    };
    endpoint
        .report(
            &ahead(
                1,
                Serial {
                    epoch: 3,
                    number: 9,
                },
            ),
            &token,
        )
        .await;
    let newer = async |epoch| {
        let manifest = endpoint.manifest("c1.x", &token).await?;
        (manifest.serial.epoch == epoch).then_some(manifest.serial)
    };
    let serial = until("a manifest of epoch 4", || newer(4)).await;
    assert!(
        endpoint
            .log()
            .contains("has accepted a serial that was never given here")
    );
    // The number of another manifest: it was built at another time.
    endpoint.report(&ahead(2, serial), &token).await;
    until("a manifest of epoch 5", || newer(5)).await;
    // Nonsense is not followed.
    endpoint
        .report(
            &ahead(
                3,
                Serial {
                    epoch: u64::MAX,
                    number: 1,
                },
            ),
            &token,
        )
        .await;
    let metrics = endpoint.get("/metrics", "").await.text().await.unwrap();
    assert!(
        metrics.contains("oca_control_epochs_raised_total 2"),
        "{metrics}"
    );
}

/// An alarm is raised over those that are silent, of those that should not be.
#[tokio::test]
async fn who_does_not_report_is_silent_unless_it_never_did_or_has_left() {
    let mut endpoint = Endpoint::new();
    let boxes = [
        ("alive.x", State::Degraded),
        ("down.x", State::Down),
        ("draining.x", State::Draining),
        ("gone-drained.x", State::Drained),
        ("gone-down.x", State::Down),
        ("gone-well.x", State::Ok),
    ];
    let tokens = boxes.map(|(id, _)| endpoint.appliance(id));
    endpoint.appliance("new.x");
    endpoint.serve();
    for ((id, state), token) in boxes.iter().zip(&tokens) {
        let report = Report {
            state: *state,
            ..report(id, 1)
        };
        endpoint.report(&report, token).await;
    }
    let database = control_endpoint::database::Database::open(&endpoint.state())
        .await
        .unwrap();
    let older =
        sqlx::query("UPDATE report SET received = received - 3600 WHERE appliance LIKE 'gone-%'");
    older.execute(&database.pool).await.unwrap();
    database.close().await;
    let metrics = endpoint.get("/metrics", "").await.text().await.unwrap();
    let counted = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("oca_control_appliances{liveness="))
        .collect::<Vec<_>>();
    let expected = [
        "\"alive\"} 1",
        "\"down\"} 1",
        "\"leaving\"} 2",
        "\"new\"} 1",
        "\"silent\"} 2",
    ];
    assert_eq!(counted, expected);
}

async fn refused(
    endpoint: &Endpoint,
    token: &str,
    packed: bool,
    body: impl Into<Body>,
) -> (StatusCode, String) {
    let mut request = endpoint.request(Method::POST, REPORT, token);
    if packed {
        request = request.header(CONTENT_ENCODING, "zstd");
    }
    let response = request.body(body).send().await.unwrap();
    let status = response.status();
    let problem: Problem = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (status, problem.error)
}

fn json(report: &Report) -> Vec<u8> {
    serde_json::to_vec(report).unwrap()
}

#[tokio::test]
async fn reports_are_taken_from_the_appliance_alone() {
    let mut endpoint = Endpoint::new();
    let (token, other) = (endpoint.appliance("c1.x"), endpoint.appliance("c2.x"));
    endpoint.serve();
    for (token, of, status, said) in [
        ("guessed", "c1.x", 401, "no token of a registered appliance"),
        (
            &other,
            "c1.x",
            403,
            "this is the token of c2.x, not of c1.x",
        ),
        (&token, "c2.x", 400, "the report is of c2.x"),
    ] {
        let (found, error) = refused(&endpoint, token, false, json(&report(of, 1))).await;
        assert_eq!(
            (found.as_u16(), error.contains(said)),
            (status, true),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_no_report_is_refused_with_the_reason() {
    let mut endpoint = Endpoint::new();
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    let good = json(&report("c1.x", 1));
    let newer = json(&Report {
        version: 2,
        ..report("c1.x", 1)
    });
    let bomb = zstd::encode_all(&vec![b' '; REPORT_MAX_BYTES + 1][..], 1).unwrap();
    for (packed, body, status, said) in [
        (
            false,
            newer,
            400,
            "a report of version 2; this program reads version 1",
        ),
        (false, b"{}".to_vec(), 400, "not a report: missing field"),
        (false, vec![0xff; 100], 400, "not a report"),
        (true, good.clone(), 400, "not zstd"),
        (true, bomb, 413, "at most 134217728 bytes"),
    ] {
        let (found, error) = refused(&endpoint, &token, packed, body).await;
        assert_eq!(
            (found.as_u16(), error.contains(said)),
            (status, true),
            "{error}"
        );
    }
    let packed = zstd::encode_all(&good[..], 1).unwrap();
    let request = endpoint
        .request(Method::POST, REPORT, &token)
        .header(CONTENT_ENCODING, "zstd");
    assert_eq!(
        request.body(packed).send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_endless_report_is_cut_off() {
    let mut endpoint = Endpoint::new();
    let token = endpoint.appliance("c1.x");
    endpoint.serve();
    let blanks = Bytes::from(vec![b' '; 1 << 20]);
    let endless = Body::wrap_stream(stream::repeat_with(move || {
        Ok::<_, std::io::Error>(blanks.clone())
    }));
    let sent = endpoint
        .request(Method::POST, REPORT, &token)
        .body(endless)
        .send()
        .await;
    // Either the answer is read, or the connection is closed before it could be.
    if let Ok(response) = sent {
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(endpoint.get("/healthz", "").await.status(), StatusCode::OK);
    let ps = Command::new("ps")
        .args(["-o", "rss=", "-p", &endpoint.pid().to_string()])
        .output()
        .unwrap();
    let resident_kib: u64 = String::from_utf8(ps.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(
        resident_kib < 4 * REPORT_MAX_BYTES as u64 / 1024,
        "{resident_kib} KiB"
    );
}
