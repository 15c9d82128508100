//! Other appliances that fill from this one: so many at once, and a place that is given back on every way out.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::io::Write;

use support::http::Client;
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

/// More than the kernel takes for a peer that does not read.
const LARGE: usize = 48 << 20;
const FILL: &str = "Oca-Fill: c002.test.example";

fn box_with_one_place(backend: &str, serve: &str) -> (Site, Daemon, Vec<u8>) {
    let site = Site::new(&Plan {
        backend,
        workers: 2,
        ..Plan::default()
    });
    let bytes = content(3, LARGE);
    site.publish("/film", &bytes);
    let mut config = std::fs::OpenOptions::new()
        .append(true)
        .open(site.config())
        .unwrap();
    write!(config, "[serve]\nmax_fills = 1\n{serve}").unwrap();
    let daemon = site.start();
    (site, daemon, bytes)
}

/// A peer that has begun to fetch and takes nothing more.
fn resting_peer(daemon: &Daemon) -> Client {
    let mut peer = Client::connect(daemon.http).unwrap();
    peer.send(&format!("GET /film HTTP/1.1\r\nHost: h\r\n{FILL}\r\n\r\n"))
        .unwrap();
    await_transfers(daemon, 1.0);
    peer
}

fn await_transfers(daemon: &Daemon, wanted: f64) {
    eventually("the transfers that fill", || {
        (daemon.metric("oca_fill_transfers", "") == wanted).then_some(())
    });
}

fn ask(daemon: &Daemon) -> support::http::Response {
    let fields = [FILL, "Range: bytes=0-999"];
    support::http::get(daemon.http, "/film", &fields).unwrap()
}

#[test]
fn one_more_than_allowed_is_told_to_come_later_and_viewers_are_not() {
    for backend in BACKENDS {
        let (_site, daemon, bytes) = box_with_one_place(backend, "");
        let mut peer = resting_peer(&daemon);
        let refused = ask(&daemon);
        assert_eq!(refused.status, 429, "{}", refused.head);
        assert!(refused.field("Retry-After").is_some(), "{}", refused.head);
        let viewer = support::http::get(daemon.http, "/film", &["Range: bytes=0-999"]).unwrap();
        assert_eq!(viewer.status, 206, "a viewer needs no such place");
        let got = peer.response(false).unwrap();
        assert_same(&got.body, &bytes, "what the peer got");
        await_transfers(&daemon, 0.0);
        assert_eq!(ask(&daemon).status, 206);
        eventually("all is counted", || {
            let sent = daemon.metric("oca_fill_sent_bytes_total", "");
            (sent == (LARGE + 1000) as f64).then_some(())
        });
        assert_eq!(daemon.metric("oca_fill_refused_total", ""), 1.0);
        let answered = |code: &str| daemon.metric("oca_http_requests_total", code);
        assert_eq!(answered("code=\"429\""), 1.0);
    }
}

#[test]
fn a_peer_that_goes_away_or_stops_reading_gives_its_place_back() {
    for backend in BACKENDS {
        let (_site, daemon, _) = box_with_one_place(backend, "send_timeout = \"4 s\"\n");
        drop(resting_peer(&daemon));
        await_transfers(&daemon, 0.0);
        let _resting = resting_peer(&daemon);
        await_transfers(&daemon, 0.0);
        assert_eq!(ask(&daemon).status, 206);
    }
}
