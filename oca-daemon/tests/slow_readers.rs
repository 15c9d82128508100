//! Viewers who do not take what was read for them: the budget of bytes read and not yet sent holds, and others are served.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::io::Read;
use std::time::Duration;

use support::http::{self, Client};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
const BUDGET: f64 = 4.0 * MIB as f64;
const SLOW: usize = 48;

fn site(backend: &str, in_flight: &str) -> (Site, Vec<u8>) {
    let site = Site::new(&Plan {
        backend,
        devices: 1,
        stripe_width: 1,
        memory: "0 B",
        in_flight,
        ..Plan::default()
    });
    let film = content(1, 24 * MIB);
    site.publish("/film", &film);
    (site, film)
}

/// Where in the film each of `count` slow ones begins: elsewhere, so that they share no read.
fn first_byte(viewer: usize, count: usize, film: &[u8]) -> usize {
    viewer * (film.len() / 2 / count)
}

/// They have asked, and read nothing yet.
fn slow_viewers(count: usize, daemon: &Daemon, film: &[u8]) -> Vec<Client> {
    let ask = |viewer| {
        let mut client = Client::connect(daemon.http).unwrap();
        let first = first_byte(viewer, count, film);
        let request = format!("GET /film HTTP/1.1\r\nHost: t\r\nRange: bytes={first}-\r\n\r\n");
        client.send(&request).unwrap();
        client
    };
    (0..count).map(ask).collect()
}

#[test]
fn those_who_do_not_read_keep_nobody_from_being_served() {
    for backend in BACKENDS {
        let (site, film) = site(backend, "4 MiB");
        let daemon = site.start();
        let in_flight = || daemon.metric("oca_device_inflight_bytes", "");
        let most = || daemon.metric("oca_device_inflight_bytes_max", "");
        assert_eq!(
            daemon.metric("oca_device_inflight_budget_bytes", ""),
            BUDGET
        );
        let mut slow = slow_viewers(SLOW, &daemon, &film);
        // They hold all there is, and never more.
        eventually("every buffer is taken", || {
            assert!(in_flight() <= BUDGET);
            (most() == BUDGET).then_some(())
        });
        let quick = http::get(daemon.http, "/film", &[]).unwrap();
        assert_same(&quick.body, &film, "a viewer who reads");
        assert!(in_flight() <= BUDGET && most() == BUDGET);
        // Nobody waits any more, and those who do not read give back what they hold.
        eventually("the buffers are given back", || {
            let now = in_flight();
            assert!(now <= BUDGET, "{now} bytes in flight");
            (now == 0.0).then_some(())
        });
        // Who begins to read again gets every byte.
        let viewer = slow.last_mut().unwrap();
        let response = viewer.response(false).unwrap();
        let rest = &film[first_byte(SLOW - 1, SLOW, &film)..];
        assert_same(&response.body, rest, "a viewer who has slept");
    }
}

/// Many more than there are buffers: each holds one for its share of the time, or whoever reads would wait for all of them in turn,
/// longer than a client waits.
#[test]
fn a_crowd_of_those_who_do_not_read_keeps_nobody_waiting() {
    for backend in BACKENDS {
        let (site, film) = site(backend, "1 MiB");
        let daemon = site.start();
        let crowd = slow_viewers(800, &daemon, &film);
        let quick = http::get(daemon.http, "/film", &[]).unwrap();
        assert_same(&quick.body, &film, "a viewer who reads");
        assert_eq!(
            daemon.metric("oca_device_inflight_bytes_max", ""),
            MIB as f64
        );
        drop(crowd);
    }
}

/// A trickle is not enough to keep a buffer that others wait for.
#[test]
fn those_who_trickle_give_way_too() {
    for backend in BACKENDS {
        let (site, film) = site(backend, "4 MiB");
        let daemon = site.start();
        let slow = slow_viewers(SLOW, &daemon, &film);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut some = vec![0; 2048];
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    slow.iter().for_each(|viewer| {
                        _ = (&viewer.stream).read(&mut some).unwrap();
                    });
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            });
            let quick: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| http::get(daemon.http, "/film", &[]).unwrap()))
                .collect();
            let quick: Vec<_> = quick.into_iter().map(|quick| quick.join()).collect();
            over.store(true, std::sync::atomic::Ordering::SeqCst);
            for response in quick {
                assert_same(&response.unwrap().body, &film, "a viewer who reads");
            }
        });
        assert_eq!(daemon.metric("oca_device_inflight_bytes_max", ""), BUDGET);
    }
}
