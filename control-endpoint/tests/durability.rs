//! What survives: restarts, kill -9 at any moment, backup and restore, a database put back by copying.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use control_endpoint::database::Database;
use protocol::control::Report;
use protocol::fill::{Activity, Contact, Facts, ManifestFacts, Progress};
use protocol::manifest::{Manifest, Serial, seal};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use support::{Endpoint, OPERATOR, report, until};

const ID: &str = "c1.x";

/// What an agent does with serials: it refuses older ones, for good.
#[derive(Default)]
struct Agent {
    accepted: Option<Manifest>,
    refused: u32,
}

impl Agent {
    async fn look(&mut self, endpoint: &Endpoint, token: &str) -> Option<Serial> {
        let manifest = endpoint.manifest(ID, token).await?;
        match &self.accepted {
            Some(accepted) if manifest.serial < accepted.serial => {
                self.refused += 1;
                return None;
            }
            Some(accepted) if manifest.serial == accepted.serial => {
                assert_eq!(&manifest, accepted, "one serial, one manifest");
            }
            _ => self.accepted = Some(manifest),
        }
        self.accepted.as_ref().map(|manifest| manifest.serial)
    }

    fn report(&self, sequence: u64) -> Report {
        let facts = |manifest: &Manifest| ManifestFacts {
            serial: manifest.serial,
            built_at: manifest.built_at,
            not_after: manifest.not_after,
            objects: 1,
            bytes: 1,
            objects_held: 1,
            bytes_held: 1,
        };
        let fill = Facts {
            as_of: 1,
            activity: Activity::Complete,
            why: String::new(),
            manifest: self.accepted.as_ref().map(facts),
            held: None,
            tombstones: None,
            progress: Progress::default(),
            rate_now: 0,
            window_open: false,
            control: Contact::default(),
            clock_synchronised: true,
        };
        Report {
            fill: Some(fill),
            ..report(ID, sequence)
        }
    }
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    let mut endpoint = Endpoint::new();
    let root = endpoint.ingest("a.mp4", b"a");
    endpoint.ingest("b.mp4", b"b");
    let token = endpoint.appliance(ID);
    endpoint.serve();
    let mut agent = Agent::default();
    let mut holds = report(ID, 1);
    holds.inventory.added = vec![root.parse().unwrap()];
    let answer = endpoint.report(&holds, &token).await;
    endpoint.done(&["rm", "/b.mp4"]);
    endpoint.done(&["build"]);
    let serial = agent.look(&endpoint, &token).await;
    let tombstones = endpoint.tombstones(ID, &token).await;
    for graceful in [true, false] {
        if graceful {
            assert!(endpoint.stop());
        } else {
            endpoint.kill();
        }
        endpoint.serve();
        assert_eq!(agent.look(&endpoint, &token).await, serial);
        assert_eq!(endpoint.tombstones(ID, &token).await, tombstones);
        assert_eq!(endpoint.report(&holds, &token).await.known, answer.known);
        let bytes = endpoint.get(&format!("/v1/bytes/{root}"), &token).await;
        assert_eq!(bytes.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_restored_endpoint_does_not_brick_the_fleet() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    endpoint.serve();
    let backup = endpoint.path("backup").display().to_string();
    endpoint.done(&["backup", &backup]);
    assert_eq!(
        endpoint.run(&["backup", &backup]).status.code(),
        Some(1),
        "nothing is overwritten"
    );
    endpoint.ingest("b.mp4", b"b");
    endpoint.done(&["build"]);
    let mut agent = Agent::default();
    assert_eq!(
        agent.look(&endpoint, &token).await,
        Some(Serial {
            epoch: 1,
            number: 2
        })
    );
    assert_eq!(
        endpoint.run(&["restore", &backup]).status.code(),
        Some(1),
        "it runs"
    );
    endpoint.stop();
    assert!(
        endpoint
            .done(&["restore", &backup])
            .contains("the epoch is now 2")
    );
    endpoint.serve();
    until("a manifest of epoch 2", async || {
        endpoint
            .manifest(ID, &token)
            .await
            .filter(|manifest| manifest.serial.epoch == 2)
    })
    .await;
    let serial = agent.look(&endpoint, &token).await.unwrap();
    assert_eq!((serial.epoch, agent.refused), (2, 0));
    assert_eq!(
        agent.accepted.unwrap().objects.len(),
        1,
        "as at the time of the backup"
    );
    let garbage = endpoint.path("garbage").display().to_string();
    fs::write(&garbage, "no database").unwrap();
    endpoint.stop();
    assert_eq!(endpoint.run(&["restore", &garbage]).status.code(), Some(1));
    assert!(
        endpoint.done(&["ls"]).ends_with("/a.mp4"),
        "nothing has changed"
    );
}

#[tokio::test]
async fn a_database_put_back_by_copying_is_noticed_by_reports() {
    let mut endpoint = Endpoint::new();
    endpoint.ingest("a.mp4", b"a");
    let token = endpoint.appliance(ID);
    endpoint.done(&["build"]);
    let (place, copy) = (
        endpoint.state().join("control.sqlite"),
        endpoint.path("copy"),
    );
    fs::copy(&place, &copy).unwrap();
    for name in ["b", "c"] {
        endpoint.ingest(&format!("{name}.mp4"), name.as_bytes());
        endpoint.done(&["build"]);
    }
    endpoint.serve();
    let mut agent = Agent::default();
    assert_eq!(
        agent.look(&endpoint, &token).await,
        Some(Serial {
            epoch: 1,
            number: 3
        })
    );
    endpoint.stop();
    fs::copy(&copy, &place).unwrap();
    endpoint.serve();
    endpoint.report(&agent.report(1), &token).await;
    let agent = tokio::sync::Mutex::new(agent);
    until("a manifest that the agent takes", async || {
        agent
            .lock()
            .await
            .look(&endpoint, &token)
            .await
            .filter(|serial| serial.epoch == 2)
    })
    .await;
}

/// What was acknowledged before a kill.
#[derive(Default, Clone)]
struct Acknowledged {
    published: HashMap<String, String>,
    serial: Option<Serial>,
    tombstones: u64,
}

async fn look(
    endpoint: &Endpoint,
    token: &str,
    known: &Mutex<Acknowledged>,
) -> reqwest::Result<()> {
    let get = |what: &str| {
        endpoint
            .request(Method::GET, &format!("/v1/appliances/{ID}/{what}"), token)
            .send()
    };
    let response = get("manifest").await?;
    if response.status() == StatusCode::OK {
        let manifest: Manifest =
            seal::open(&response.bytes().await?, &[endpoint.key()], ID).unwrap();
        let mut known = known.lock().unwrap();
        assert!(
            known.serial <= Some(manifest.serial),
            "never an older serial"
        );
        known.serial = Some(manifest.serial);
    }
    let sealed = get("tombstones").await?.bytes().await?;
    let list: protocol::manifest::Tombstones = seal::open(&sealed, &[endpoint.key()], ID).unwrap();
    let mut known = known.lock().unwrap();
    assert!(
        known.tombstones <= list.serial.number,
        "never an older list"
    );
    known.tombstones = list.serial.number;
    Ok(())
}

/// Publishes, takes down, reports and reads until the server is gone.
async fn work(
    endpoint: &Endpoint,
    token: &str,
    round: u64,
    known: &Mutex<Acknowledged>,
) -> reqwest::Result<()> {
    for step in 0.. {
        let path = format!("/{round}/{step}.mp4");
        let bytes = format!("{round} {}", step % 3);
        let root = blake3::hash(bytes.as_bytes()).to_string();
        let url = format!("/v1/objects{path}?urgent=true");
        let put = endpoint
            .request(Method::PUT, &url, OPERATOR)
            .body(bytes)
            .send()
            .await?;
        assert_eq!(put.status(), StatusCode::CREATED);
        known.lock().unwrap().published.insert(path.clone(), root);
        if step % 4 == 3 {
            // From now on it may be there or not, until it is acknowledged.
            known.lock().unwrap().published.remove(&path);
            endpoint
                .request(Method::DELETE, &format!("/v1/objects{path}"), OPERATOR)
                .send()
                .await?
                .error_for_status()?;
        }
        let mut said = report(ID, step + 1);
        said.started = round;
        let said = serde_json::to_vec(&said).unwrap();
        let path = format!("/v1/appliances/{ID}/report");
        endpoint
            .request(Method::POST, &path, token)
            .body(said)
            .send()
            .await?
            .error_for_status()?;
        look(endpoint, token, known).await?;
    }
    Ok(())
}

/// All that was acknowledged is there, and what is there is whole.
async fn check(endpoint: &Endpoint, known: &Acknowledged) {
    let database = Database::open(&endpoint.state()).await.unwrap();
    let (sound,): (String,) = sqlx::query_as("PRAGMA integrity_check")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(sound, "ok");
    let mut listed = HashMap::new();
    let mut after = String::new();
    loop {
        let page = database.published(&after, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(&last.path);
        listed.extend(
            page.into_iter()
                .map(|published| (published.path, published.root.to_string())),
        );
    }
    for (path, root) in &known.published {
        assert_eq!(listed.get(path), Some(root), "{path}");
    }
    for root in listed.values() {
        let file = endpoint.state().join("objects").join(&root[..2]).join(root);
        assert_eq!(blake3::hash(&fs::read(file).unwrap()).to_string(), *root);
    }
    database.close().await;
}

/// `OCA_KILLS=200 OCA_SEED=7` for more, or for the same again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_keeps_what_it_has_acknowledged() {
    let from = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let (kills, seed) = (
        from("OCA_KILLS").unwrap_or(12),
        from("OCA_SEED").unwrap_or_else(rand::random),
    );
    eprintln!("OCA_SEED={seed}");
    let mut moments = SmallRng::seed_from_u64(seed);
    let mut endpoint = Endpoint::new();
    let token = endpoint.appliance(ID);
    let known = Mutex::new(Acknowledged::default());
    for round in 1..=kills {
        endpoint.serve();
        let moment = Duration::from_micros(moments.random_range(0..600_000));
        let mut build = endpoint.command();
        build
            .arg("build")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut build = build.spawn().unwrap();
        let ended = tokio::time::timeout(moment, work(&endpoint, &token, round, &known)).await;
        assert!(
            ended.is_err(),
            "the work ends only with the server: {ended:?}"
        );
        endpoint.kill();
        build.kill().unwrap();
        build.wait().unwrap();
        let acknowledged = known.lock().unwrap().clone();
        check(&endpoint, &acknowledged).await;
    }
    endpoint.serve();
    look(&endpoint, &token, &known).await.unwrap();
    let known = known.into_inner().unwrap();
    eprintln!(
        "{} paths kept over {kills} kills, last serial {:?}",
        known.published.len(),
        known.serial
    );
}
