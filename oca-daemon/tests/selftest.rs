//! `ocactl selftest`, as the daemon answers it: with real faults. Needs root and `/dev/fuse`.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; the exception for tests covers test functions alone"
)]

#[path = "support/silent.rs"]
mod silent;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use protocol::operator::{Refusal, Request, Response};
use protocol::status::{Check, SelfTestReport, State};
use silent::SilentFile;
use support::{Daemon, Plan, Site, eventually};

fn site(devices: usize) -> Site {
    Site::new(&Plan {
        devices,
        stripe_width: 1,
        ..Plan::default()
    })
}

fn tested(daemon: &Daemon) -> SelfTestReport {
    match daemon.ask(&Request::SelfTest) {
        Response::SelfTest(report) => report,
        other => panic!("{other:?}"),
    }
}

fn all_well(daemon: &Daemon) -> SelfTestReport {
    eventually("all is well", || {
        Some(tested(daemon)).filter(|it| it.result == State::Ok)
    })
}

fn of<'r>(report: &'r SelfTestReport, component: &str, subject: &str) -> &'r Check {
    let mut checks = report.checks.iter();
    let is_it = |it: &&Check| it.component == component && it.subject == subject;
    checks.find(is_it).expect("the check was made")
}

fn undrain(daemon: &Daemon) -> Response {
    daemon.ask(&Request::Undrain { by: "ada".into() })
}

/// Puts something else in place of a device's identity, and says what was there.
fn replace_identity(device: &Path, with: &Path) -> Vec<u8> {
    let identity = device.join("oca-device.toml");
    let before = fs::read(&identity).unwrap();
    fs::remove_file(&identity).unwrap();
    symlink(with, identity).unwrap();
    before
}

#[test]
fn everything_that_serves_is_tested() {
    let site = site(2);
    let daemon = site.start();
    let report = all_well(&daemon);
    let listener = format!("http {}", daemon.http);
    for (component, subject) in [
        ("listener", listener.as_str()),
        ("device", "nvme0"),
        ("device", "nvme1"),
        ("worker", "0"),
        ("catalog", ""),
        ("egress", ""),
    ] {
        assert_eq!(of(&report, component, subject).result, State::Ok);
    }
}

#[test]
fn a_frozen_disk_is_named_in_time_and_the_box_serves_on() {
    let site = site(2);
    let daemon = site.start();
    all_well(&daemon);
    let identity = site.device(1).join("oca-device.toml");
    let silent = SilentFile::over(&identity, &site.path("fuse"));
    silent.fall_silent();
    // The second time, with the first read still out.
    for _ in 0..2 {
        let begun = Instant::now();
        let report = tested(&daemon);
        assert!(begun.elapsed() < Duration::from_secs(4), "{report:?}");
        assert_eq!(report.result, State::Degraded, "{report:?}");
        assert_eq!(of(&report, "device", "nvme0").result, State::Ok);
        let frozen = of(&report, "device", "nvme1");
        assert!(
            frozen.result == State::Degraded && !frozen.detail.is_empty(),
            "{frozen:?}"
        );
    }
    drop(silent);
    all_well(&daemon);
}

#[test]
fn a_check_names_the_frozen_disk_and_ends() {
    let site = site(2);
    let identity = site.device(1).join("oca-device.toml");
    let silent = SilentFile::over(&identity, &site.path("fuse"));
    silent.fall_silent();
    let mut command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
    command.arg("--config").arg(site.config()).arg("check");
    let (sender, ended) = mpsc::channel();
    let checking = thread::spawn(move || sender.send(command.output().unwrap()));
    let said = ended.recv_timeout(Duration::from_secs(30));
    // Now it ends in any case.
    drop(silent);
    checking.join().unwrap().unwrap();
    let said = String::from_utf8(said.expect("it ends by itself").stderr).unwrap();
    assert!(said.contains("nvme1 has not answered within 5 s"), "{said}");
}

#[test]
fn a_box_whose_disks_return_errors_stays_drained_and_says_why() {
    let site = site(1);
    let daemon = site.start();
    all_well(&daemon);
    daemon.drain();
    // The kernel's own EIO: nothing is mapped at the beginning of a process's memory.
    let before = replace_identity(&site.device(0), Path::new("/proc/self/mem"));
    let Response::Refused(Refusal { message, .. }) = undrain(&daemon) else {
        panic!("it was put back into service");
    };
    assert!(message.contains("device: no device"), "{message}");
    let report = tested(&daemon);
    assert_eq!(report.result, State::Down);
    let failed = of(&report, "device", "nvme0");
    assert!(!failed.detail.is_empty(), "{failed:?}");
    let state = daemon.status().state;
    assert!(
        matches!(state, State::Draining | State::Down),
        "{state:?}: a self-test ends no drain"
    );
    let identity = site.device(0).join("oca-device.toml");
    fs::remove_file(&identity).unwrap();
    fs::write(&identity, before).unwrap();
    all_well(&daemon);
    assert!(matches!(undrain(&daemon), Response::Undrain { .. }));
    eventually("it serves", || {
        (daemon.status().state == State::Ok).then_some(())
    });
}

#[test]
fn a_drained_box_can_be_tested_and_stays_closed() {
    let site = site(1);
    site.configure("[steering]\nhint_lifetime = \"1 s\"\n");
    let daemon = site.start();
    daemon.drain_to_the_end();
    assert_eq!(tested(&daemon).result, State::Ok);
    assert_eq!(daemon.status().state, State::Drained);
    assert!(support::http::get(daemon.http, "/film", &[]).is_err());
}
