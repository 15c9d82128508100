//! What an operator does to the real daemon: signals, drain, a second start, and what the service manager hears.

mod support;

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use protocol::operator::{Request, Response};
use protocol::status::State;
use steering::hint::Hint;
use support::http::{self, Client};
use support::{Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill")
        .args(["-s", name, &pid])
        .status()
        .expect("kill runs");
    assert!(sent.success(), "{name} to {pid}");
}

/// Waits for the end; fails if it is not a success within `bound`.
fn ends_well(daemon: &mut Daemon, bound: Duration) {
    let begun = Instant::now();
    let status = eventually("the daemon ends", || {
        daemon.child.try_wait().expect("a child")
    });
    assert!(
        status.success() && begun.elapsed() < bound,
        "{status} after {:?}",
        begun.elapsed()
    );
}

fn hint(daemon: &Daemon) -> Hint {
    let page = http::get(daemon.admin, "/steering", &[]).expect("a hint");
    serde_json::from_slice(&page.body).expect("a hint")
}

fn ready(daemon: &Daemon) {
    eventually("ready", || {
        (http::get(daemon.admin, "/readyz", &[]).ok()?.status == 200).then_some(())
    });
}

#[test]
fn paths_of_this_system_are_printed_as_by_all_programs() {
    let daemon = Path::new(env!("CARGO_BIN_EXE_oca-daemon"));
    let output = Command::new(daemon).arg("--print-paths").output();
    let said = String::from_utf8(output.expect("it runs").stdout).expect("a text");
    assert_eq!(said, format!("{}\n", protocol::paths::Paths::here()));
}

#[test]
fn a_stop_lets_a_running_transfer_finish_and_nothing_else_begin() {
    let site = Site::new(&Plan::default());
    let bytes = content(3, 32 * MIB);
    site.publish("/title/video.mp4", &bytes);
    let mut daemon = site.start();
    ready(&daemon);
    let mut viewer = Client::connect(daemon.http).expect("a connection");
    let mut idle = Client::connect(daemon.http).expect("a connection");
    assert_eq!(
        idle.get("/title/video.mp4", &["Range: bytes=0-0"])
            .expect("an answer")
            .status,
        206
    );
    viewer
        .send("GET /title/video.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("sent");
    eventually("the transfer runs", || {
        (daemon.metric("oca_transfers", "") == 1.0).then_some(())
    });
    signal(&daemon.child, "TERM");
    assert!(idle.is_closed());
    eventually("it is not ready any more", || {
        (http::get(daemon.admin, "/readyz", &[]).ok()?.status == 503).then_some(())
    });
    let response = viewer.response(false).expect("a whole answer");
    assert_same(&response.body, &bytes, "the transfer that ran");
    assert!(viewer.is_closed());
    ends_well(&mut daemon, Duration::from_secs(5));
    assert!(!site.path("run/daemon.sock").exists());
}

#[test]
fn the_bound_of_a_stop_is_kept() {
    let site = Site::new(&Plan::default());
    site.publish("/title/video.mp4", &content(4, 32 * MIB));
    site.configure("[serve]\nstop_bound = \"1 s\"\n");
    let mut daemon = site.start();
    ready(&daemon);
    let mut viewer = Client::connect(daemon.http).expect("a connection");
    viewer
        .send("GET /title/video.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("sent");
    eventually("the transfer runs", || {
        (daemon.metric("oca_transfers", "") == 1.0).then_some(())
    });
    signal(&daemon.child, "TERM");
    ends_well(&mut daemon, Duration::from_secs(5));
    let mut rest = Vec::new();
    // Cut: what had left the box, then the end or a reset.
    let _ = viewer.stream.read_to_end(&mut rest);
    assert!(rest.len() < 32 * MIB);
}

#[test]
fn a_second_signal_stops_at_once() {
    let site = Site::new(&Plan::default());
    site.publish("/title/video.mp4", &content(5, 32 * MIB));
    let mut daemon = site.start();
    ready(&daemon);
    let mut viewer = Client::connect(daemon.http).expect("a connection");
    viewer
        .send("GET /title/video.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("sent");
    eventually("the transfer runs", || {
        (daemon.metric("oca_transfers", "") == 1.0).then_some(())
    });
    signal(&daemon.child, "INT");
    eventually("it is not ready any more", || {
        (http::get(daemon.admin, "/readyz", &[]).ok()?.status == 503).then_some(())
    });
    signal(&daemon.child, "INT");
    ends_well(&mut daemon, Duration::from_secs(5));
}

#[test]
fn hang_up_reads_the_configuration_again() {
    let site = Site::new(&Plan::default());
    let daemon = site.start();
    ready(&daemon);
    assert!(hint(&daemon).facts.service_addresses.is_empty());
    let good = fs::read_to_string(site.config()).expect("a configuration");

    site.configure("[steering]\nservice_addresses = [\"192.0.2.1\"]\ncapacity = \"1 Gbit/s\"\n");
    signal(&daemon.child, "HUP");
    eventually("the new hint", || {
        (hint(&daemon).facts.service_addresses.len() == 1).then_some(())
    });
    assert_eq!(
        hint(&daemon)
            .facts
            .capacity
            .expect("configured")
            .maximum_hard,
        1_000_000_000
    );

    fs::write(site.config(), "[appliance\n").expect("written");
    signal(&daemon.child, "HUP");
    eventually("it is said", || {
        (daemon.metric("oca_config_reload_success", "") == 0.0).then_some(())
    });
    assert_eq!(hint(&daemon).facts.service_addresses.len(), 1);

    fs::write(site.config(), good).expect("written");
    signal(&daemon.child, "HUP");
    eventually("the first hint again", || {
        hint(&daemon)
            .facts
            .service_addresses
            .is_empty()
            .then_some(())
    });
    assert_eq!(daemon.metric("oca_config_reload_success", ""), 1.0);
}

#[test]
fn a_drain_asks_viewers_to_leave_then_refuses_new_ones() {
    let site = Site::new(&Plan::default());
    site.publish("/title/video.mp4", &content(6, MIB));
    site.configure("[steering]\nhint_lifetime = \"3 s\"\n");
    let daemon = site.start();
    ready(&daemon);
    let mut idle = Client::connect(daemon.http).expect("a connection");
    assert_eq!(
        idle.get("/title/video.mp4", &[]).expect("an answer").status,
        200
    );
    daemon.drain();
    assert!(idle.is_closed());
    let late = http::get(daemon.http, "/title/video.mp4", &[]).expect("still served");
    assert_eq!(
        (late.status, late.field("Connection")),
        (200, Some("close"))
    );
    eventually("drained", || {
        (daemon.status().state == State::Drained).then_some(())
    });
    assert!(http::get(daemon.http, "/title/video.mp4", &[]).is_err());
    assert_eq!(
        daemon.ask(&Request::Undrain { by: "ada".into() }),
        Response::Undrain { state: State::Ok }
    );
    assert_eq!(
        http::get(daemon.http, "/title/video.mp4", &[])
            .expect("served")
            .status,
        200
    );
}

#[test]
fn a_damaged_intent_is_a_drain_that_undrain_ends() {
    let site = Site::new(&Plan::default());
    fs::write(site.path("state/drain.json"), "\0\0\0").expect("written");
    let daemon = site.start();
    let drain = daemon.status().drain.expect("a drain");
    assert!(drain.reason.expect("a reason").contains("ocactl undrain"));
    assert_eq!(
        daemon.ask(&Request::Undrain { by: "ada".into() }),
        Response::Undrain { state: State::Ok }
    );
    assert!(!site.path("state/drain.json").exists());
}

fn run(config: &Path) -> Output {
    let daemon = Command::new(env!("CARGO_BIN_EXE_oca-daemon"))
        .arg("--config")
        .arg(config)
        .output();
    daemon.expect("the daemon runs")
}

#[test]
fn a_second_daemon_is_refused_and_the_first_serves_on() {
    let site = Site::new(&Plan::default());
    let daemon = site.start();
    let second = run(&site.config());
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        said.contains("another oca-daemon serves this run_dir"),
        "{said}"
    );
    daemon.status();
    ready(&daemon);
}

#[test]
fn after_a_kill_the_stale_socket_is_replaced() {
    let site = Site::new(&Plan::default());
    let mut daemon = site.start();
    daemon.kill();
    assert!(site.path("run/daemon.sock").exists());
    site.start().status();
}

#[test]
fn the_service_manager_hears_of_everything() {
    let site = Site::new(&Plan::default());
    let path = site.path("notify.sock");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    let mut child = Command::new(env!("CARGO_BIN_EXE_oca-daemon"))
        .arg("--config")
        .arg(site.config())
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::null())
        .spawn()
        .expect("the daemon starts");
    let hears = |wanted: &str| {
        let mut message = [0; 4096];
        loop {
            let length = manager
                .recv(&mut message)
                .unwrap_or_else(|error| panic!("{wanted} did not come: {error}"));
            let text = String::from_utf8_lossy(&message[..length]);
            if text.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
        }
    };
    hears("READY=1");
    hears("WATCHDOG=1");
    signal(&child, "HUP");
    hears("RELOADING=1");
    hears("READY=1");
    signal(&child, "TERM");
    hears("STOPPING=1");
    let status = eventually("the daemon ends", || child.try_wait().expect("a child"));
    assert!(status.success());
}
