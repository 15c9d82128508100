//! The daemon is killed under load, and content is replaced under load: every byte that a viewer gets is right.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use content_store::{Generation, Store};
use support::http::{self, Client};
use support::load::{Audience, Film, Met, random};
use support::publish::publish;
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
/// On each backend: a hundred in all.
const KILLS: u64 = 50;
const SEED: u64 = 0x0CA0_CA0C;

fn plan(backend: &str) -> Plan<'_> {
    Plan {
        backend,
        workers: 2,
        memory: "8 MiB",
        ..Plan::default()
    }
}

#[test]
fn a_daemon_that_is_killed_starts_again_and_never_sends_a_wrong_byte() {
    for backend in BACKENDS {
        eprintln!("seed {SEED:#x} on {backend}");
        let mut seed = SEED;
        let site = Site::new(&plan(backend));
        let films: Vec<Film> = (0..6)
            .map(|number| Film::new(number, 3 * MIB + 77_777))
            .collect();
        let mut store = site.store();
        films
            .iter()
            .for_each(|film| publish(&mut store, &film.path, &film.bytes));
        drop(store);
        let films = Arc::new(films);
        let mut daemon = site.start();
        let audience = Audience::new(daemon.http, &films, 8, 900_000);
        for _ in 0..KILLS {
            // A moment of the load, not of the clock: the kill falls into requests that are under way.
            audience.await_served(10 + random(&mut seed) % 60);
            daemon.kill();
            assert!(
                site.path("run").join("daemon.sock").exists(),
                "a killed daemon leaves its socket"
            );
            let begun = Instant::now();
            daemon = site.start();
            audience.move_to(daemon.http);
            audience.await_served(1);
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(5), "serving again took {took:?}");
        }
        audience.await_served(50);
        let visits = audience.end();
        let count = |met| visits.iter().filter(|visit| visit.met == met).count();
        assert!(count(Met::Right) as u64 >= KILLS * 10);
        assert!(count(Met::Cut) > 0, "no kill fell into a transfer");
        assert_eq!(count(Met::Unavailable), 0, "a start is not half done");
    }
}

/// Readers of what is replaced or removed keep what they began; new readers see the change within a second.
#[test]
fn content_changes_under_load_without_a_wrong_byte() {
    for backend in BACKENDS {
        let site = Site::new(&plan(backend));
        let films: Vec<Film> = (0..4).map(|number| Film::new(number, 2 * MIB)).collect();
        let mut store = site.store();
        films
            .iter()
            .for_each(|film| publish(&mut store, &film.path, &film.bytes));
        let versions: Vec<Vec<u8>> = (0..4)
            .map(|version| content(100 + version, 8 * MIB + version as usize))
            .collect();
        publish(&mut store, "/changing", &versions[0]);
        let daemon = site.start();
        let audience = Audience::new(daemon.http, &Arc::new(films), 4, 300_000);
        audience.await_served(20);
        let replaced = versions
            .windows(2)
            .map(|pair| replace_under_a_reader(&daemon, &mut store, &pair[0], &pair[1]));
        // The machine may be busy with other things: the quickest counts.
        let took = replaced.collect::<Vec<_>>().into_iter().min().unwrap();
        assert!(took < Duration::from_secs(1), "it took {took:?}");
        store.remove(&["/changing"]).unwrap();
        eventually("the path is gone", || {
            (http::get(daemon.http, "/changing", &[]).unwrap().status == 404).then_some(())
        });
        eventually("nobody uses the old generations", || {
            let catalog = daemon.status().catalog;
            (catalog.oldest_in_use == catalog.generation).then_some(())
        });
        store
            .reap(Generation(daemon.status().catalog.generation))
            .unwrap();
        drop(store);
        for old in &versions {
            assert_eq!(site.devices_of(old), [0_usize; 0], "its files are gone");
        }
        audience.await_served(20);
        let visits = audience.end();
        assert!(visits.iter().all(|visit| visit.met == Met::Right));
    }
}

/// Returns how long it took until new readers got the new bytes.
fn replace_under_a_reader(daemon: &Daemon, store: &mut Store, old: &[u8], new: &[u8]) -> Duration {
    let mut reader = Client::connect(daemon.http).unwrap();
    reader
        .send("GET /changing HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    // The reader's answer has begun, and does not fit into any socket buffer.
    assert_eq!(reader.stream.peek(&mut [0; 1]).unwrap(), 1);
    publish(store, "/changing", new);
    let published = Instant::now();
    let expected = format!("{}", new.len());
    eventually("new readers get the new bytes", || {
        let mut newcomer = Client::connect(daemon.http).unwrap();
        let head = newcomer.request("HEAD", "/changing", &[]).unwrap();
        (head.field("Content-Length") == Some(&expected)).then_some(())
    });
    let took = published.elapsed();
    // What nobody reads any more may be unlinked; this one is being read.
    let oldest = Generation(daemon.status().catalog.oldest_in_use);
    store.reap(oldest).unwrap();
    let got = reader.response(false).unwrap();
    assert_same(&got.body, old, "the reader who began before");
    let got = reader.get("/changing", &[]).unwrap();
    assert_same(&got.body, new, "the same reader, asking again");
    took
}
