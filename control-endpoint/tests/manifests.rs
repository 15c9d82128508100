//! Manifests and tombstones, from files to what an appliance opens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use protocol::config::TierRole;
use protocol::control::{MANIFEST_HEADER, Report};
use protocol::manifest::keys::{PrivateKey, PublicKey};
use protocol::manifest::{Manifest, Serial, Source, seal};
use protocol::status::{Device, DeviceState, Directness, Space};
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use support::{Endpoint, errors, key_file, until};

const ID: &str = "c1.x";
const MANIFEST: &str = "/v1/appliances/c1.x/manifest";

#[tokio::test]
async fn what_is_ingested_is_wanted() {
    let mut endpoint = Endpoint::new();
    let root = endpoint.ingest("film.mp4", b"film");
    endpoint.ingest("list.m3u8", b"list");
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    endpoint.serve();
    let manifest = endpoint.manifest(ID, &token).await.unwrap();
    assert_eq!(manifest.sources, [Source::Control]);
    let film = manifest
        .objects
        .iter()
        .find(|wanted| &*wanted.path == "/film.mp4")
        .unwrap();
    assert_eq!(
        (film.root.to_string(), film.size, film.demand),
        (root, 4, 4)
    );
    assert_eq!(&*film.content_type, "video/mp4");
    assert_eq!(
        film.cache_control.as_deref(),
        Some("public, max-age=31536000, immutable")
    );
    assert!(endpoint.stop());
}

#[tokio::test]
async fn a_site_shares_its_rate_and_begins_together() {
    let lines = "[[site]]\nname = \"x\"\nrate = \"9 Gbit/s\"\n\
                 [[site]]\nname = \"nowhere\"\noffset = \"1 min\"";
    let mut endpoint = Endpoint::with(lines);
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance(ID);
    // Of one site, whatever their cluster.
    let elsewhere = ["appliance", "add", "c3.x", "--site", "y", "--cluster", "x"];
    endpoint.done(&elsewhere);
    let other = ["appliance", "add", "c2.x", "--site", "x", "--cluster", "y"];
    let other = endpoint.done(&other);
    let built = endpoint.run(&["build"]);
    assert!(errors(&built).contains("nowhere"), "{}", errors(&built));
    endpoint.serve();
    let manifest = endpoint.manifest(ID, &token).await.unwrap();
    let rate = manifest.site_rate.unwrap();
    assert_eq!((rate.bits_per_second, rate.appliances), (9_000_000_000, 2));
    let other = endpoint.manifest("c2.x", &other).await.unwrap();
    assert_eq!(other.site_rate, manifest.site_rate);
    assert!(manifest.site_offset_s.unwrap() < 1800);
    assert_eq!(other.site_offset_s, manifest.site_offset_s);
}

#[tokio::test]
async fn what_is_asked_for_most_has_a_copy_per_device_at_most() {
    let mut endpoint = Endpoint::with("[copies]\ncount = 3\nroom = \"50 %\"");
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance(ID);
    endpoint.serve();
    let report = Report {
        devices: vec![hot_device("nvme0"), hot_device("nvme1")],
        ..support::report(ID, 1)
    };
    endpoint.report(&report, &token).await;
    endpoint.done(&["build"]);
    let manifest = endpoint.manifest(ID, &token).await.unwrap();
    assert_eq!(manifest.objects[0].copies, 2);
}

fn hot_device(name: &str) -> Device {
    Device {
        name: name.to_owned(),
        path: format!("/srv/oca/{name}"),
        tier: "nvme".to_owned(),
        role: Some(TierRole::Hot),
        id: None,
        state: DeviceState::Ok,
        cause: String::new(),
        directness: Directness::Direct,
        space: Some(Space {
            total: 1000,
            available: 1000,
            read_only: false,
        }),
        objects: 0,
        queue_length: 0,
        in_flight: 0,
        errors: 0,
        checksum_failures: 0,
        wear: Vec::new(),
    }
}

#[tokio::test]
async fn the_first_build_is_not_waited_for() {
    let mut endpoint = Endpoint::new();
    let token = endpoint.appliance(ID);
    endpoint.serve();
    // Nothing to build from: refused, and nothing is served.
    until("a refused build", async || {
        endpoint.log().contains("no objects").then_some(())
    })
    .await;
    assert_eq!(
        endpoint.get(MANIFEST, &token).await.status(),
        StatusCode::NOT_FOUND
    );
    let file = endpoint.path("media").join("now.mp4");
    fs::write(&file, "now").unwrap();
    endpoint.done(&["ingest", file.to_str().unwrap(), "--urgent"]);
    let manifest = until("a manifest", || endpoint.manifest(ID, &token)).await;
    assert!(manifest.objects[0].urgent);
}

#[tokio::test]
async fn a_serial_that_is_known_is_not_sent_again_and_only_changes_make_new_ones() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    assert!(
        endpoint
            .done(&["build"])
            .contains("nothing has changed since manifest 1.1")
    );
    endpoint.ingest("b.mp4", b"b");
    assert!(
        endpoint
            .done(&["build"])
            .contains("manifest 1.2: 2 objects")
    );
    endpoint.serve();
    let response = endpoint.get(MANIFEST, &token).await;
    assert_eq!(response.headers()[ETAG], "\"1.2\"");
    // Who asks for takedowns is told of it.
    let request = endpoint.request(Method::GET, "/v1/appliances/c1.x/tombstones", &token);
    for request in [
        request.try_clone().unwrap(),
        request.header(IF_NONE_MATCH, "\"1.0\""),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()[MANIFEST_HEADER], "1.2");
    }
    let request = endpoint.request(Method::GET, MANIFEST, &token);
    let response = request
        .header(IF_NONE_MATCH, "\"1.1\", \"1.2\"")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn manifests_are_given_to_the_appliance_alone() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("a.mp4", b"a");
    let (token, other) = (endpoint.appliance(ID), endpoint.appliance("c2.x"));
    endpoint.done(&["build"]);
    endpoint.serve();
    for (token, status) in [
        (&*token, StatusCode::OK),
        (&*other, StatusCode::FORBIDDEN),
        ("", StatusCode::UNAUTHORIZED),
        ("guessed", StatusCode::UNAUTHORIZED),
        (support::OPERATOR, StatusCode::UNAUTHORIZED),
    ] {
        for path in [MANIFEST, "/v1/appliances/c1.x/tombstones"] {
            assert_eq!(
                endpoint.get(path, token).await.status(),
                status,
                "{path} {token}"
            );
        }
    }
    let renewed = endpoint.done(&["appliance", "token", ID]);
    assert_eq!(
        endpoint.get(MANIFEST, &token).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        endpoint.get(MANIFEST, &renewed).await.status(),
        StatusCode::OK
    );
    endpoint.done(&["appliance", "rm", ID]);
    assert_eq!(
        endpoint.get(MANIFEST, &renewed).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn old_and_new_keys_sign_while_they_are_replaced() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    let new = key_file(&endpoint.path(""), 2);
    let file = endpoint.path("oca-control.toml");
    let config = fs::read_to_string(&file).unwrap();
    let both = config.replace("signing_keys = [", &format!("signing_keys = [{new:?}, "));
    fs::write(&file, both).unwrap();
    assert!(endpoint.done(&["build"]).contains("manifest 1.2"));
    endpoint.serve();
    let sealed = endpoint.get(MANIFEST, &token).await.bytes().await.unwrap();
    let open = |key: PublicKey| seal::open::<Manifest>(&sealed, &[key], ID);
    open(endpoint.key()).unwrap();
    open(PrivateKey::from_seed(&[2; 32]).public()).unwrap();
    assert!(open(PrivateKey::from_seed(&[3; 32]).public()).is_err());
}

#[tokio::test]
async fn a_takedown_is_known_at_once_and_can_be_taken_back() {
    let mut endpoint = Endpoint::new();
    let root = endpoint.ingest("a.mp4", b"a");
    endpoint.ingest("b.mp4", b"b");
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    endpoint.serve();
    let empty = endpoint.tombstones(ID, &token).await;
    assert_eq!(
        (empty.serial, empty.tombstones.len()),
        (
            Serial {
                epoch: 1,
                number: 0
            },
            0
        )
    );
    endpoint.done(&["rm", "/a.mp4"]);
    let list = endpoint.tombstones(ID, &token).await;
    assert_eq!(
        list.serial,
        Serial {
            epoch: 1,
            number: 1
        }
    );
    assert_eq!(
        (
            &*list.tombstones[0].path,
            list.tombstones[0].root.to_string()
        ),
        ("/a.mp4", root.clone())
    );
    // The bytes are gone, and the next manifest does without.
    assert_eq!(
        endpoint
            .get(&format!("/v1/bytes/{root}"), &token)
            .await
            .status(),
        StatusCode::NOT_FOUND
    );
    let manifest = until("a manifest without it", async || {
        endpoint
            .manifest(ID, &token)
            .await
            .filter(|manifest| manifest.objects.len() == 1)
    });
    assert_eq!(manifest.await.tombstones, list.tombstones);
    let output = endpoint.run(&["rm", "/a.mp4"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("nothing is published at /a.mp4"));
    // Not by the next ingest of the same folder, but by one that means it, it is wanted again.
    let file = endpoint.path("media/a.mp4").display().to_string();
    let output = endpoint.run(&["ingest", &file]);
    assert!(output.status.success());
    assert!(errors(&output).contains("was taken down; --lift-takedown publishes it again"));
    endpoint.done(&["ingest", &file, "--lift-takedown"]);
    let list = endpoint.tombstones(ID, &token).await;
    assert_eq!((list.serial.number, list.tombstones.len()), (2, 0));
}

#[tokio::test]
async fn an_implausible_manifest_is_refused_unless_it_is_meant() {
    let mut endpoint = Endpoint::new();
    for name in ["a", "b", "c", "d", "e"] {
        endpoint.ingest(&format!("{name}.mp4"), name.as_bytes());
    }
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    endpoint.done(&["rm", "/a.mp4", "/b.mp4", "/c.mp4"]);
    let refused = endpoint.run(&["build"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        errors(&refused).contains("it would have 2 objects; the one in force, 1.1, has 5"),
        "{}",
        errors(&refused)
    );
    endpoint.serve();
    assert_eq!(
        endpoint.manifest(ID, &token).await.unwrap().objects.len(),
        5,
        "the old one stays"
    );
    assert_eq!(
        endpoint.tombstones(ID, &token).await.tombstones.len(),
        3,
        "takedowns go on"
    );
    endpoint.done(&["rm", "/d.mp4", "/e.mp4"]);
    assert_eq!(endpoint.run(&["build"]).status.code(), Some(1), "empty");
    assert!(
        endpoint
            .done(&["build", "--allow-shrink"])
            .contains(": 0 objects")
    );
    assert_eq!(
        endpoint.manifest(ID, &token).await.unwrap().objects.len(),
        0
    );
}

#[tokio::test]
async fn one_that_nears_its_end_is_renewed() {
    // A quarter of the lifetime is left from the beginning of the wait on.
    let mut endpoint = Endpoint::with("manifest_lifetime = \"60 s\"");
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    age(&endpoint, 50).await;
    endpoint.serve();
    let manifest = until("a renewal", async || {
        endpoint
            .manifest(ID, &token)
            .await
            .filter(|manifest| manifest.serial.number > 1)
    });
    let manifest = manifest.await;
    assert_eq!(manifest.not_after, manifest.built_at + 60);
}

/// As if all had been built so many seconds earlier.
async fn age(endpoint: &Endpoint, seconds: i64) {
    let database = control_endpoint::database::Database::open(&endpoint.state())
        .await
        .unwrap();
    let older =
        sqlx::query("UPDATE manifest SET built_at = built_at - ?1, not_after = not_after - ?1")
            .bind(seconds);
    older.execute(&database.pool).await.unwrap();
    database.close().await;
}
