//! The memory tier of the real daemon: what stays in memory, and that nothing which leaves it is missed by whoever is sending it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use content_store::chunk_tree::ChunkTree;
use support::http::Client;
use support::load::{Film, random};
use support::publish::written;
use support::{BACKENDS, Daemon, Plan, Site, assert_same, eventually};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Objects of one piece, in one column.
fn site(backend: &str, memory: &str, films: &[Film]) -> Site {
    let site = Site::new(&Plan {
        devices: 2,
        stripe_width: 1,
        workers: 2,
        backend,
        memory,
        ..Plan::default()
    });
    let mut store = site.store();
    for batch in films.chunks(64) {
        let written = |film: &Film| written(&mut store, &film.path, &film.bytes);
        let publications = batch.iter().map(written).collect();
        store.publish(publications).expect("published");
    }
    drop(store);
    site
}

fn films(numbers: std::ops::Range<u64>, length: usize) -> Vec<Film> {
    numbers.map(|number| Film::new(number, length)).collect()
}

/// Watches `films`. Returns how many bytes of them came from devices.
fn watch(daemon: &Daemon, client: &mut Client, films: &[Film]) -> f64 {
    watch_saying(&[], daemon, client, films)
}

fn watch_saying(fields: &[&str], daemon: &Daemon, client: &mut Client, films: &[Film]) -> f64 {
    let sent = |source| daemon.metric("oca_sent_bytes_total", source);
    let sent = || (sent("source=\"device\""), sent("source=\"memory\""));
    let before = sent();
    let mut all = 0;
    for Film { path, bytes } in films {
        let response = client.get(path, fields).expect("an answer");
        assert_same(&response.body, bytes, path);
        all += bytes.len();
    }
    // A worker counts bytes just after the kernel has taken them: a viewer may have them before.
    eventually("all of it is counted", || {
        let now = sent();
        let (device, memory) = (now.0 - before.0, now.1 - before.1);
        (device + memory == all as f64).then_some(device)
    })
}

/// Watches `films` until all of them come from memory.
fn bring_in(daemon: &Daemon, client: &mut Client, films: &[Film]) {
    eventually("the films are in memory", || {
        (watch(daemon, client, films) == 0.0).then_some(())
    });
}

/// Memory of 32 MiB, full: 40 % of it are watched by everybody, the rest was watched by somebody. Then comes 3 times as much that
/// is watched once.
#[test]
fn what_is_hot_outlives_one_time_traffic() {
    for backend in BACKENDS {
        const LENGTH: usize = 512 * KIB;
        let films = films(0..25 + 38 + 192, LENGTH);
        let (hot, rest) = films.split_at(25);
        let (warm, cold) = rest.split_at(38);
        let site = site(backend, "32 MiB", &films);
        let daemon = site.start();
        let mut client = Client::connect(daemon.http).expect("connected");
        bring_in(&daemon, &mut client, hot);
        bring_in(&daemon, &mut client, warm);
        for _ in 0..3 {
            watch(&daemon, &mut client, hot);
        }
        watch(&daemon, &mut client, cold);
        let missed = watch(&daemon, &mut client, hot) / LENGTH as f64;
        assert!(
            missed <= 0.05 * hot.len() as f64,
            "{missed} of {} hot films had to be read again on {backend}",
            hot.len()
        );
        let refused = |reason| daemon.metric("oca_memory_tier_refusals_total", reason);
        assert!(refused("seldom") >= 190.0, "once is not often");
    }
}

/// Viewers who all turn to another film again and again, while there is memory for two.
struct Crowd {
    films: Vec<Film>,
    requests: AtomicU64,
}

/// Requests until the crowd turns to the next film.
const TURN: u64 = 64;

impl Crowd {
    fn watch(&self, daemon: &Daemon, seed: u64, until: Instant) {
        let mut seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut client = Client::connect(daemon.http).expect("connected");
        while Instant::now() < until {
            let turn = self.requests.fetch_add(1, Relaxed) / TURN;
            let Film { path, bytes } = &self.films[turn as usize % self.films.len()];
            let first = random(&mut seed) as usize % bytes.len();
            let last = first + random(&mut seed) as usize % (bytes.len() - first);
            let range = format!("Range: bytes={first}-{last}");
            let response = client.get(path, &[&range]).expect("an answer");
            assert_eq!(response.status, 206, "{}", response.head);
            assert_same(&response.body, &bytes[first..=last], path);
        }
    }
}

/// Pieces come and go all the time under viewers who are being sent them: not a byte may differ, and none may be missing.
#[test]
fn eviction_never_races_a_sender() {
    for backend in BACKENDS {
        let crowd = Arc::new(Crowd {
            films: films(0..6, 2 * MIB),
            requests: AtomicU64::new(0),
        });
        let site = site(backend, "4 MiB", &crowd.films);
        let daemon = site.start();
        let evictions = || daemon.metric("oca_memory_tier_evictions_total", "");
        let begun = Instant::now();
        // At least so long, and until enough has been evicted.
        while begun.elapsed() < Duration::from_secs(4) || evictions() < 40.0 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "only {} evictions",
                evictions()
            );
            let until = Instant::now() + Duration::from_secs(1);
            std::thread::scope(|scope| {
                for viewer in 1..=12 {
                    let (crowd, daemon) = (&crowd, &daemon);
                    scope.spawn(move || crowd.watch(daemon, viewer, until));
                }
            });
        }
        let memory = daemon.metric("oca_sent_bytes_total", "source=\"memory\"");
        assert!(memory > 0.0, "nothing was sent from memory on {backend}");
        let locked = daemon.status().memory.locked;
        assert!(locked <= 4 * MIB as u64, "{locked} bytes are locked");
        eprintln!(
            "{backend}: {} evictions, {memory} bytes from memory",
            evictions()
        );
    }
}

/// Another appliance fetches a film once, however many reads that is, and viewers come for others.
#[test]
fn what_another_appliance_fetches_does_not_come_into_memory() {
    for backend in BACKENDS {
        let films = films(0..2, 512 * KIB);
        let site = site(backend, "8 MiB", &films);
        let daemon = site.start();
        let mut client = Client::connect(daemon.http).expect("connected");
        let fill = ["Oca-Fill: c002.test.example"];
        for _ in 0..8 {
            watch_saying(&fill, &daemon, &mut client, &films[..1]);
        }
        // The tier looks at reads in the order in which they were made.
        bring_in(&daemon, &mut client, &films[1..]);
        let fetched = watch_saying(&fill, &daemon, &mut client, &films[..1]);
        assert_eq!(fetched, films[0].bytes.len() as f64, "none from memory");
        // A viewer may have a piece from memory before its tier counts it.
        eventually("the other film is counted", || {
            (daemon.metric("oca_memory_tier_pieces", "") == 1.0).then_some(())
        });
    }
}

/// What the fill agent wrote down of the manifest brings a film in when the first viewer comes; without it, that takes a second one.
#[test]
fn what_the_manifest_expects_is_in_memory_after_the_first_viewer() {
    let films = films(0..4, 512 * KIB);
    let site = site("auto", "8 MiB", &films);
    let root = ChunkTree::of(&films[0].bytes).object();
    let expected = format!(
        "{{\"format\":1,\"demand\":1000,\"objects\":[{{\"root\":\"{root}\",\"size\":{},\"demand\":900}}]}}",
        512 * KIB
    );
    std::fs::create_dir_all(site.path("state/fill")).expect("a folder");
    std::fs::write(site.path("state/fill/demand.json"), expected).expect("written");
    let daemon = site.start();
    let mut client = Client::connect(daemon.http).expect("connected");
    watch(&daemon, &mut client, &films);
    eventually("one film is in memory", || {
        (daemon.metric("oca_memory_tier_pieces", "") == 1.0).then_some(())
    });
    let missed = watch(&daemon, &mut client, &films[..1]);
    assert_eq!(missed, 0.0, "it was the one that is expected");
}
