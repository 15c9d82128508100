//! An object with two copies is served as long as one of them can be read, and a transfer goes on from the other one.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::fs;
use std::io::Read;

use content_store::chunk_tree::ChunkTree;
use content_store::{Content, Publication, device};
use protocol::status::DeviceState;
use support::http::{self, Client};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;

/// Two copies, each over two of four devices; nothing of them in memory.
fn site(backend: &str, film: &[u8]) -> Site {
    let site = Site::new(&Plan {
        backend,
        memory: "0 B",
        ..Plan::default()
    });
    site.publish("/film", film);
    copy(&site, film);
    site
}

/// One copy more.
fn copy(site: &Site, film: &[u8]) {
    let mut store = site.store();
    let object = ChunkTree::of(film).object();
    let mut staging = store.stage_copy(&object, "nvme").unwrap();
    let reader = store.reader(&object).unwrap();
    staging.copy_from(reader, |_| ()).unwrap();
    let publication = Publication {
        content: Content::Copied(staging.seal().unwrap()),
        paths: Vec::new(),
    };
    store.publish(vec![publication]).unwrap();
}

/// Each of so many devices of equal speed has a copy.
fn copied_everywhere(backend: &str, devices: usize, film: &[u8]) -> Site {
    let site = Site::new(&Plan {
        devices,
        stripe_width: 1,
        backend,
        memory: "0 B",
        ..Plan::default()
    });
    site.publish("/film", film);
    (1..devices).for_each(|_| copy(&site, film));
    site
}

/// What share of all that is read each device has read.
fn shares(daemon: &Daemon, devices: usize) -> Vec<f64> {
    let label = |at: usize| format!("device=\"nvme{at}\"");
    let read = |at| daemon.metric("oca_device_read_bytes_total", &label(at));
    let read: Vec<f64> = (0..devices).map(read).collect();
    read.iter()
        .map(|bytes| bytes / read.iter().sum::<f64>())
        .collect()
}

/// The devices of each copy.
fn copies<const COPIES: usize>(site: &Site, film: &[u8]) -> [Vec<usize>; COPIES] {
    let object = ChunkTree::of(film).object();
    let store = site.store();
    let snapshot = content_store::catalog::CatalogReader::open(&site.path("state"))
        .unwrap()
        .load()
        .unwrap();
    let record = snapshot.objects.iter().find(|it| it.object == object);
    let place = |id: &content_store::DeviceId| {
        let mut slots = store.devices().iter();
        slots.position(|slot| slot.id() == Some(*id)).unwrap()
    };
    let mut copies = record.unwrap().copies.iter();
    [(); COPIES].map(|()| copies.next().unwrap().devices.iter().map(place).collect())
}

/// The device's folder is not there any more; what is open of it can still be read.
fn take_away(site: &Site, daemon: &Daemon, at: usize) {
    fs::rename(site.device(at), site.path(&format!("aside{at}"))).unwrap();
    eventually("the device has failed", || {
        (daemon.status().devices[at].state == DeviceState::Missing).then_some(())
    });
}

#[test]
fn a_transfer_goes_on_from_the_other_copy() {
    for backend in BACKENDS {
        let film = content(1, 40 * MIB + 4_321);
        let site = site(backend, &film);
        let [first, second] = copies(&site, &film);
        let daemon = site.start();
        let mut viewer = Client::connect(daemon.http).unwrap();
        let last = film.len() - 1;
        let request = format!("GET /film HTTP/1.1\r\nHost: t\r\nRange: bytes=0-{last}\r\n\r\n");
        viewer.send(&request).unwrap();
        let mut begun = [0; 1];
        viewer.stream.read_exact(&mut begun).unwrap();
        take_away(&site, &daemon, first[0]);
        // Whoever comes now, and who was here before, gets every byte.
        let other = http::get(daemon.http, "/film", &[]).unwrap();
        assert_same(&other.body, &film, "a new viewer");
        let mut rest = begun.to_vec();
        while rest.windows(4).all(|end| end != b"\r\n\r\n") {
            let mut byte = [0; 1];
            viewer.stream.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
        let mut body = vec![0; film.len()];
        viewer.stream.read_exact(&mut body).unwrap();
        assert_same(&body, &film, "the viewer who was in the middle");
        // Neither copy is whole, but what the one lacks the other has.
        take_away(&site, &daemon, second[1]);
        let both = http::get(daemon.http, "/film", &[]).unwrap();
        assert_same(&both.body, &film, "half of each copy");
        take_away(&site, &daemon, second[0]);
        let none = http::get(daemon.http, "/film", &[]).unwrap();
        assert_eq!(none.status, 503, "{}", none.head);
        assert!(none.field("Retry-After").is_some());
        assert_eq!(daemon.metric("oca_aborted_transfers_total", "device"), 0.0);
    }
}

#[test]
fn a_bad_block_of_one_copy_is_read_from_the_other() {
    for backend in BACKENDS {
        let film = content(2, 9 * MIB);
        let site = site(backend, &film);
        let copies: [_; 2] = copies(&site, &film);
        let asked_first = usize::from(ChunkTree::of(&film).object().0[0]) % 2;
        for at in &copies[asked_first] {
            let at = *at;
            let device = device::open(&site.device(at)).unwrap();
            let column = device.column_path(&ChunkTree::of(&film).object());
            let mut bytes = fs::read(&column).unwrap();
            bytes[2 * MIB + 77] ^= 1;
            fs::write(&column, bytes).unwrap();
        }
        let daemon = site.start();
        let mut viewer = Client::connect(daemon.http).unwrap();
        for _ in 0..3 {
            let response = viewer.get("/film", &[]).unwrap();
            assert_eq!(response.status, 200, "{}", response.head);
            assert_same(&response.body, &film, "the whole film");
        }
        let errors = daemon.metric("oca_device_errors_total", "kind=\"checksum\"");
        assert!(
            errors >= 2.0,
            "both columns of the first copy are bad: {errors}"
        );
    }
}

#[test]
fn many_viewers_of_one_object_read_evenly_from_all_copies() {
    for backend in BACKENDS {
        for devices in [2, 3] {
            let film = content(3, 48 * MIB);
            let site = copied_everywhere(backend, devices, &film);
            let daemon = site.start();
            std::thread::scope(|scope| {
                for viewer in 0..64 {
                    let (film, address) = (&film, daemon.http);
                    scope.spawn(move || {
                        // Nobody reads what another one reads at the same time.
                        for turn in 0..4 {
                            let start = (viewer * MIB / 2 + turn * 8 * MIB) % film.len();
                            let end = start + MIB / 2;
                            let range = format!("Range: bytes={start}-{}", end - 1);
                            let response = http::get(address, "/film", &[&range]).unwrap();
                            assert_same(&response.body, &film[start..end], &range);
                        }
                    });
                }
            });
            let shares = shares(&daemon, devices);
            println!("{backend}, many viewers: {shares:.3?}");
            let least = 0.7 / devices as f64;
            assert!(shares.iter().all(|share| *share > least), "{shares:?}");
        }
    }
}

/// Also while no queue is long enough to tell the devices apart.
#[test]
fn one_viewer_reads_evenly_from_all_copies() {
    for backend in BACKENDS {
        for devices in [2, 3] {
            let film = content(5, 48 * MIB);
            let site = copied_everywhere(backend, devices, &film);
            let daemon = site.start();
            let whole = http::get(daemon.http, "/film", &[]).unwrap();
            assert_same(&whole.body, &film, "the film");
            let shares = shares(&daemon, devices);
            println!("{backend}, one viewer: {shares:.3?}");
            let least = 0.9 / devices as f64;
            assert!(shares.iter().all(|share| *share > least), "{shares:?}");
        }
    }
}

/// A box that has the beginning and not the end says so before the first byte, also if the end is a part of several.
#[test]
fn what_cannot_be_finished_is_not_begun() {
    for backend in BACKENDS {
        let film = content(4, 4 * MIB);
        let site = Site::new(&Plan {
            backend,
            memory: "0 B",
            ..Plan::default()
        });
        site.publish("/film", &film);
        let [devices] = copies(&site, &film);
        let daemon = site.start();
        take_away(&site, &daemon, devices[1]);
        let mut viewer = Client::connect(daemon.http).unwrap();
        let begin = viewer.get("/film", &["Range: bytes=0-9"]).unwrap();
        assert_same(&begin.body, &film[..10], "the beginning");
        let fields: [&[&str]; 3] = [
            &[],
            &["Range: bytes=0-1048576"],
            &["Range: bytes=0-9,1048576-1048585"],
        ];
        for fields in fields {
            let answer = viewer.get("/film", fields).unwrap();
            assert_eq!(answer.status, 503, "{fields:?}: {}", answer.head);
            assert!(answer.field("Retry-After").is_some());
        }
        let head = viewer.request("HEAD", "/film", &[]).unwrap();
        assert_eq!(head.status, 503, "HEAD says what GET says");
    }
}
