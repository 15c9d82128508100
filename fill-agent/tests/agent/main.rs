//! The real agent against a control endpoint: it fills, obeys, refuses, and says why.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod appliance;
mod beside;
mod copies;
mod damage;
mod devices;
mod endpoint;
mod hanging;
mod hostile;
mod inodes;
mod limits;
mod log;
mod mounts;
#[path = "../support/program.rs"]
mod program;
mod relief;
mod scrub;
mod state_loss;
mod tls;

use std::net::TcpListener;

use appliance::Appliance;
use endpoint::{Endpoint, key, manifest};
use protocol::fill::{Activity, Request, Response};
use protocol::manifest::{Manifest, Serial, Wanted, seal};
use protocol::root::Root;

fn content(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Objects of one group and of several.
fn objects(endpoint: &Endpoint, seeds: std::ops::Range<u8>) -> Vec<Wanted> {
    seeds
        .map(|seed| {
            endpoint.object(
                &format!("/{seed}.mp4"),
                content(seed, 300_000 * (1 + usize::from(seed % 8))),
            )
        })
        .collect()
}

/// Objects that nobody has.
fn many(endpoint: &Endpoint, count: u32) -> Vec<Wanted> {
    let object = endpoint.object("/0.mp4", content(0, 1));
    let named = |number: u32| Wanted {
        path: format!("/{number:05}.mp4").into(),
        root: Root(*blake3::hash(&number.to_le_bytes()).as_bytes()),
        ..object.clone()
    };
    (0..count).map(named).collect()
}

fn paths(of: &[Wanted]) -> Vec<String> {
    let mut paths: Vec<String> = of.iter().map(|wanted| wanted.path.to_string()).collect();
    paths.sort();
    paths
}

#[test]
fn once_fills_all_and_the_second_time_nothing() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..8);
    endpoint.offer(&manifest(1, wanted.clone()));
    let output = appliance.once();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(appliance.published(), paths(&wanted));
    let bytes: u64 = wanted.iter().map(|wanted| wanted.size).sum();
    assert_eq!(endpoint.sent_bytes(), bytes);
    assert!(appliance.once().status.success());
    assert_eq!(endpoint.sent_bytes(), bytes);
}

#[test]
fn without_a_manifest_once_says_why() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let output = appliance.once();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("has built no manifest"), "{said}");
}

#[test]
fn check_names_what_is_wrong() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    assert!(
        appliance.check().status.success(),
        "{:?}",
        appliance.check()
    );
    std::fs::write(appliance.path("token"), "forged").unwrap();
    std::fs::write(appliance.path("state/fill/ledger.json"), "{").unwrap();
    let output = appliance.check();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("who are you?") && said.contains("ledger.json: is damaged"),
        "{said}"
    );
}

#[test]
fn it_fills_inside_the_window_and_publishes_what_is_new() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let mut wanted = objects(&endpoint, 0..4);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.published(), paths(&wanted));
    wanted.extend(objects(&endpoint, 4..6));
    endpoint.offer(&manifest(2, wanted.clone()));
    agent.until("the second manifest", |status| {
        let serial = status
            .manifest
            .as_ref()
            .map(|manifest| manifest.serial.number);
        serial == Some(2) && status.activity == Activity::Complete
    });
    assert_eq!(appliance.published(), paths(&wanted));
}

#[test]
fn a_takedown_is_carried_out_while_it_is_paused_and_is_never_fetched_again() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..3);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    let pause = Request::Pause {
        by: "ada".to_owned(),
        until: None,
    };
    assert!(
        matches!(agent.ask(&pause), Response::Status(status) if status.activity == Activity::Paused)
    );
    endpoint.take_down(1, &[&wanted[0]]);
    appliance::eventually("taken down", || {
        (appliance.published() == paths(&wanted[1..])).then_some(())
    });
    let resume = Request::Resume {
        by: "ada".to_owned(),
    };
    agent.ask(&resume);
    let sent = endpoint.sent_bytes();
    agent.until("complete again", |status| {
        status.activity == Activity::Complete
    });
    assert_eq!(
        (appliance.published(), endpoint.sent_bytes()),
        (paths(&wanted[1..]), sent)
    );
    agent.kill();
    let agent = appliance.run();
    agent.until("complete after a restart", |status| {
        status.activity == Activity::Complete
    });
    assert_eq!(
        (appliance.published(), endpoint.sent_bytes()),
        (paths(&wanted[1..]), sent)
    );
}

#[test]
fn an_implausible_manifest_is_held_over_a_restart_until_it_is_accepted() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..6);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    for (number, shrunk) in [
        (2, Vec::new()),
        (3, wanted[..2].to_vec()),
        (4, objects(&endpoint, 10..16)),
    ] {
        endpoint.offer(&manifest(number, shrunk));
        let status = agent.until("held", |status| {
            status
                .held
                .as_ref()
                .is_some_and(|held| held.serial.number == number)
        });
        assert!(status.why.contains("ocactl fill accept"), "{}", status.why);
        assert_eq!(status.manifest.unwrap().serial.number, 1);
    }
    assert_eq!(appliance.published(), paths(&wanted));
    agent.kill();
    let agent = appliance.run();
    agent.until("still held", |status| status.held.is_some());
    let accept = |number| Request::Accept {
        by: "ada".to_owned(),
        serial: Serial { epoch: 1, number },
    };
    assert!(
        matches!(agent.ask(&accept(3)), Response::Refused(refusal) if refusal.message.contains("1.4 is held"))
    );
    assert!(matches!(agent.ask(&accept(4)), Response::Status(_)));
    agent.until("filled", |status| {
        status.held.is_none() && status.activity == Activity::Complete
    });
    // What is not wanted any more is served until its room is needed.
    assert_eq!(appliance.published().len(), 12);
}

#[test]
fn bad_manifests_are_refused_each_with_its_reason_and_change_nothing() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..2);
    endpoint.offer(&manifest(5, wanted.clone()));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    let sealed = |manifest: &Manifest, seed| seal::seal(manifest, &[&key(seed)]).unwrap();
    let good = manifest(6, wanted.clone());
    let mut flipped = sealed(&good, 7);
    *flipped.last_mut().unwrap() ^= 1;
    let other = Manifest {
        appliance: "c002.fra001.example".to_owned(),
        ..good.clone()
    };
    let over = Manifest {
        built_at: 1,
        not_after: 2,
        ..good.clone()
    };
    let table = [
        ("signature", flipped),
        ("unknown_key", sealed(&good, 8)),
        ("appliance", sealed(&other, 7)),
        ("older", sealed(&manifest(4, wanted.clone()), 7)),
        ("expired", sealed(&over, 7)),
        ("malformed", b"<html>".to_vec()),
    ];
    for (reason, bytes) in table {
        endpoint.offer_bytes(reason, bytes);
        let sample = format!("oca_fill_manifests_refused_total{{reason=\"{reason}\"}}");
        appliance::eventually(reason, || (agent.metric(&sample) >= 1.0).then_some(()));
        let status = agent.until("it says so", |status| {
            status.control.problem.contains("refused")
        });
        assert_eq!(status.manifest.unwrap().serial.number, 5);
    }
    endpoint.offer_endless();
    let sample = "oca_fill_manifests_refused_total{reason=\"too_large\"}";
    appliance::eventually("too large", || (agent.metric(sample) >= 1.0).then_some(()));
    assert_eq!(appliance.published(), paths(&wanted));
}

#[test]
fn what_is_urgent_does_not_wait_for_the_next_question_inside_the_window() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    appliance.configure(&endpoint, |text| {
        text.replace("manifest_interval = \"1 s\"", "manifest_interval = \"1 h\"")
    });
    let mut wanted = objects(&endpoint, 0..2);
    endpoint.offer(&manifest(1, wanted.clone()));
    endpoint.take_down(1, &[]);
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    wanted.push(Wanted {
        urgent: true,
        ..endpoint.object("/urgent.mp4", content(9, 300_000))
    });
    endpoint.offer(&manifest(2, wanted.clone()));
    appliance::eventually("published", || {
        (appliance.published() == paths(&wanted)).then_some(())
    });
}

/// The tombstones' answer tells of a manifest that is being judged: that takes a while, with so many objects.
#[test]
fn a_manifest_that_is_being_judged_is_not_taken_for_a_new_one() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    endpoint.offer(&manifest(1, many(&endpoint, 20_000)));
    endpoint.take_down(1, &[]);
    endpoint.hold_tombstones_back(true);
    let agent = appliance.run();
    let came = || appliance.log().matches("a new manifest").count();
    appliance::eventually("it came", || (came() > 0).then_some(()));
    endpoint.hold_tombstones_back(false);
    let asked = "oca_fill_tombstones_contacts_total{result=\"worked\"}";
    appliance::eventually("asked for tombstones again", || {
        (agent.metric(asked) >= 2.0).then_some(())
    });
    agent.until("the manifest", |status| status.manifest.is_some());
    assert_eq!(came(), 1);
}

#[test]
fn a_source_that_is_down_is_waited_for() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..2);
    endpoint.offer(&manifest(1, wanted.clone()));
    let agent = appliance.run();
    agent.until("the manifest", |status| status.manifest.is_some());
    endpoint.be_down(true);
    agent.open();
    agent.until("an error", |status| {
        status.sources.iter().any(|source| source.errors > 0)
    });
    assert!(appliance.published().is_empty());
    endpoint.be_down(false);
    agent.until("complete", |status| status.activity == Activity::Complete);
    assert_eq!(appliance.published(), paths(&wanted));
}

#[test]
fn a_damaged_state_stops_filling_and_empties_nothing() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..2);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    std::fs::write(appliance.path("state/fill/manifest.accepted"), "torn").unwrap();
    endpoint.offer(&manifest(2, objects(&endpoint, 4..5)));
    let agent = appliance.run();
    agent.open_refused();
    let status = agent.until("blocked", |status| status.activity == Activity::Blocked);
    assert!(
        status.why.contains("manifest.accepted: is damaged"),
        "{}",
        status.why
    );
    assert_eq!(appliance.published(), paths(&wanted));
}

/// As beside an agent that was killed, and that a disk keeps from ending.
#[test]
fn an_agent_whose_address_for_metrics_is_taken_works_without_until_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let metrics = format!("metrics = \"{address}\"");
    appliance.configure(&endpoint, |text| {
        text.replace("metrics = \"127.0.0.1:0\"", &metrics)
    });
    endpoint.offer(&manifest(1, objects(&endpoint, 0..1)));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    let said = appliance.log();
    assert!(
        said.contains("no metrics while another process listens"),
        "{said}"
    );
    drop(taken);
    assert_eq!(agent.metric("oca_fill_published_objects_total"), 1.0);
}

#[test]
fn a_damaged_file_that_filling_does_not_need_is_said_and_written_anew() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let wanted = objects(&endpoint, 0..2);
    endpoint.offer(&manifest(1, wanted.clone()));
    assert!(appliance.once().status.success());
    let [scrub, demand] =
        ["scrub", "demand"].map(|name| appliance.path(&format!("state/fill/{name}.json")));
    let expected = std::fs::read(&demand).unwrap();
    for file in [&scrub, &demand] {
        std::fs::write(file, "torn").unwrap();
    }
    let are_said = |said: &str| {
        for (file, cost) in [
            (
                &scrub,
                "The scrub of all devices begins anew, and writes the file anew",
            ),
            (
                &demand,
                "the daemon expects of viewers what it did before, and after a start nothing",
            ),
        ] {
            let damaged = format!("{}: is damaged: ", file.display());
            assert!(said.contains(&damaged) && said.contains(cost), "{said}");
        }
        assert!(!said.contains("nothing is fetched"), "{said}");
    };
    let check = appliance.check();
    assert!(check.status.success(), "{check:?}");
    are_said(&String::from_utf8_lossy(&check.stdout));
    let agent = appliance.run();
    are_said(&appliance.log());
    assert_eq!(std::fs::read(&demand).unwrap(), expected);
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    appliance::eventually("the scrub has written its file", || {
        let written = std::fs::read_to_string(&scrub).ok()?;
        written.starts_with("{\"format\":2").then_some(())
    });
    drop(agent);
    // Lost, it comes again too.
    std::fs::remove_file(&demand).unwrap();
    let _agent = appliance.run();
    assert_eq!(std::fs::read(&demand).unwrap(), expected);
}

#[test]
fn the_metrics_are_what_prometheus_expects() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    endpoint.offer(&manifest(1, objects(&endpoint, 0..1)));
    let agent = appliance.run();
    agent.open();
    agent.until("complete", |status| status.activity == Activity::Complete);
    let answer = agent.get("/metrics");
    let (_, page) = answer.split_once("\r\n\r\n").unwrap();
    assert_cmd::Command::new("promtool")
        .args(["check", "metrics"])
        .write_stdin(page)
        .assert()
        .success();
    assert!(agent.get("/healthz").starts_with("HTTP/1.1 200"));
    assert_eq!(agent.metric("oca_fill_published_objects_total"), 1.0);
}
