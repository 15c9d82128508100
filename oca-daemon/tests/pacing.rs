//! Pacing, as a real client sees it: a connection is held to the rate that its player asks for, and another one is not.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use support::http::Client;
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content};

/// Four seconds at the rate that is asked for.
const BYTES: usize = 4_000_000;
/// 8 Mbit/s.
const ASKED: &str = "CMCD-Status: rtp=8000";
/// What the kernel may send in a burst before it paces: some segments, and what the rate is rounded by.
const TOLERANCE: f64 = 1.15;

fn paced(backend: &str, memory: &str, pacing: &str) -> (Site, Daemon, Vec<u8>) {
    let site = Site::new(&Plan {
        backend,
        memory,
        ..Plan::default()
    });
    let mut config = std::fs::OpenOptions::new()
        .append(true)
        .open(site.config())
        .unwrap();
    write!(config, "[serve]\npacing = {{ {pacing} }}\n").unwrap();
    let bytes = content(11, BYTES);
    site.publish("/film", &bytes);
    let daemon = site.start();
    (site, daemon, bytes)
}

/// How long a request for the film takes.
fn ask(client: &mut Client, bytes: &[u8], fields: &[&str]) -> Duration {
    let begun = Instant::now();
    let response = client.get("/film", fields).unwrap();
    let took = begun.elapsed();
    assert_same(&response.body, bytes, "the film");
    took
}

fn assert_held(took: Duration, what: &str) {
    let rate = BYTES as f64 / took.as_secs_f64();
    assert!(rate < 1e6 * TOLERANCE, "{what}: {rate} bytes a second");
    assert!(rate > 1e6 / 2.0, "{what}: starved, {rate} bytes a second");
}

#[test]
fn a_player_is_held_to_the_rate_that_it_asks_for_and_others_are_not() {
    for backend in BACKENDS {
        for memory in ["64 MiB", "0 B"] {
            let (_site, daemon, bytes) = paced(backend, memory, "cmcd = true");
            let client = || Client::connect(daemon.http).unwrap();
            let (slow, fast) = std::thread::scope(|scope| {
                let slow = scope.spawn(|| ask(&mut client(), &bytes, &[ASKED]));
                let fast = ask(&mut client(), &bytes, &[]);
                (slow.join().unwrap(), fast)
            });
            assert_held(slow, &format!("{backend}, memory tier {memory}"));
            assert!(fast < slow / 2, "not held: {fast:?} beside {slow:?}");
            assert_eq!(daemon.metric("oca_pacing_changes_total", ""), 1.0);
        }
    }
}

#[test]
fn the_kernel_is_told_when_the_rate_changes_and_only_then() {
    for backend in BACKENDS {
        let (_site, daemon, bytes) = paced(backend, "64 MiB", "cmcd = true");
        let mut client = Client::connect(daemon.http).unwrap();
        let small = [ASKED, "Range: bytes=0-9"];
        let changes = || daemon.metric("oca_pacing_changes_total", "");
        for _ in 0..5 {
            client.get("/film", &small).unwrap();
        }
        client.request("HEAD", "/film", &[]).unwrap();
        client.get("/gone", &[]).unwrap();
        assert_eq!(changes(), 1.0);
        assert_held(ask(&mut client, &bytes, &[ASKED]), backend);
        let free = ask(&mut client, &bytes, &["CMCD-Status: bs,rtp=8000"]);
        assert!(free < Duration::from_secs(2), "let go: {free:?}");
        assert_eq!(changes(), 2.0);
    }
}

#[test]
fn the_bound_of_the_configuration_holds_for_viewers_and_not_for_appliances_that_fill() {
    for backend in BACKENDS {
        let (_site, daemon, bytes) = paced(backend, "64 MiB", "rate = \"8 Mbit/s\"");
        let client = || Client::connect(daemon.http).unwrap();
        let (held, fill) = std::thread::scope(|scope| {
            // What players ask is not heard.
            let held = scope.spawn(|| ask(&mut client(), &bytes, &["CMCD-Status: rtp=90000"]));
            let fill = ask(&mut client(), &bytes, &["Oca-Fill: c002.test.example"]);
            (held.join().unwrap(), fill)
        });
        assert_held(held, backend);
        assert!(fill < held / 2, "{fill:?} beside {held:?}");
    }
}
