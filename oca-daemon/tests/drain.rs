//! A drain of the real daemon: with two hundred viewers, with one who never ends, and over a kill and a reboot. Needs root.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use protocol::operator::{Request, Response};
use protocol::status::{self, State};
use support::http::{self, Client};
use support::{Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
const VIEWERS: usize = 200;
/// More than both ends' sockets hold: who does not read has a running transfer.
const FILM_BYTES: usize = 12 * MIB;

/// A box whose hints are forgotten after two seconds.
fn site(more: &str) -> Site {
    let site = Site::new(&Plan {
        memory: "64 MiB",
        ..Plan::default()
    });
    site.configure(&format!("[steering]\nhint_lifetime = \"2 s\"\n{more}"));
    site
}

fn drain(daemon: &Daemon) -> status::Drain {
    let request = Request::Drain {
        by: "ada".into(),
        reason: Some("new fans".into()),
        force: false,
    };
    match daemon.ask(&request) {
        Response::Drain(drain) => drain,
        other => panic!("{other:?}"),
    }
}

/// Viewers who have asked for the film and read nothing of it yet.
fn viewers(daemon: &Daemon, count: usize) -> Vec<Client> {
    let viewers = (0..count).map(|_| {
        let mut viewer = Client::connect(daemon.http).expect("a connection");
        let asked = viewer.send("GET /film HTTP/1.1\r\nHost: test\r\n\r\n");
        asked.expect("sent");
        viewer
    });
    let viewers = viewers.collect();
    eventually("all of it runs", || {
        (daemon.metric("oca_transfers", "") == count as f64).then_some(())
    });
    viewers
}

/// Whether a new viewer is turned away: the connection is closed or reset without an answer.
fn refuses(daemon: &Daemon) -> bool {
    http::get(daemon.http, "/film", &["Range: bytes=0-0"]).is_err()
}

fn await_state(daemon: &Daemon, state: State) -> status::Status {
    eventually(state.as_str(), || {
        Some(daemon.status()).filter(|it| it.state == state)
    })
}

#[test]
fn two_hundred_running_transfers_end_as_they_would_have() {
    let site = site("");
    let film = content(9, FILM_BYTES);
    site.publish("/film", &film);
    let daemon = site.start();
    let viewers = viewers(&daemon, VIEWERS);
    let told = drain(&daemon);
    assert_eq!(told.transfers, VIEWERS as u64);
    // Longer than any hint counts: nobody new is let in, and everybody who was there goes on.
    eventually("new viewers are refused", || refuses(&daemon).then_some(()));
    let status = daemon.status();
    let running = status.drain.expect("a drain").transfers;
    assert_eq!((status.state, running), (State::Draining, VIEWERS as u64));
    for mut viewer in viewers {
        let answer = viewer.response(false).expect("a whole answer, no reset");
        assert_same(&answer.body, &film, "what a viewer got");
        assert!(viewer.is_closed(), "an end, and no reset");
    }
    let status = await_state(&daemon, State::Drained);
    let drain = status.drain.expect("a drain");
    assert_eq!((drain.cut, drain.transfers), (0, 0));
}

#[test]
fn a_viewer_who_never_ends_is_cut_at_the_bound_and_counted() {
    let site = site("drain_bound = \"4 s\"\n");
    site.publish("/film", &content(9, FILM_BYTES));
    let daemon = site.start();
    let mut viewer = viewers(&daemon, 1).remove(0);
    drain(&daemon);
    let status = await_state(&daemon, State::DrainedForced);
    assert_eq!(status.drain.expect("a drain").cut, 1);
    let mut rest = Vec::new();
    let _ = viewer.stream.read_to_end(&mut rest);
    assert!(rest.len() < FILM_BYTES, "it was cut");
    let codes = ["/healthz", "/readyz"].map(|path| {
        let answer = http::get(daemon.admin, path, &[]);
        answer.expect("an answer").status
    });
    assert_eq!(codes, [200, 503]);
}

/// The daemon as another boot of the machine would start it: nothing in `run_dir`, and another boot id.
fn start_after_reboot(site: &Site) -> Daemon {
    fs::remove_dir_all(site.path("run")).expect("removed");
    let id = site.path("boot_id");
    fs::write(&id, "6f1f9d4e-0d4b-4b58-9a5f-2b0c6a0e7c11\n").expect("written");
    let script = format!(
        "mount --bind {id:?} /proc/sys/kernel/random/boot_id && exec {:?} --config {:?}",
        env!("CARGO_BIN_EXE_oca-daemon"),
        site.config()
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script])
        .stdin(Stdio::null());
    Daemon::spawn(command, &site.path("run"))
}

#[test]
fn a_drain_outlives_a_kill_and_a_reboot() {
    let site = site("");
    site.publish("/film", &content(9, MIB));
    let mut daemon = site.start();
    let told = drain(&daemon);
    daemon.kill();

    // Killed while it drained: it goes on from where it was, with whoever asked and why.
    let mut daemon = site.start();
    let again = daemon.status().drain.expect("a drain");
    assert_eq!(
        (again.since, &again.by, &again.reason),
        (told.since, &told.by, &told.reason)
    );
    assert_eq!(again.hints_expire, told.hints_expire, "no second wait");
    await_state(&daemon, State::Drained);
    daemon.kill();

    // Drained before: nobody is let in, from the first moment on.
    let mut daemon = start_after_reboot(&site);
    assert!(refuses(&daemon));
    assert_eq!(daemon.status().state, State::Drained);
    assert!(matches!(
        daemon.ask(&Request::Undrain { by: "bob".into() }),
        Response::Undrain { state: State::Ok }
    ));
    daemon.kill();

    let daemon = start_after_reboot(&site);
    assert_eq!(daemon.status().drain, None);
    assert!(TcpStream::connect(daemon.http).is_ok() && !refuses(&daemon));
}
