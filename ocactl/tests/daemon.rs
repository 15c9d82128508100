//! What goes through the daemon's socket, with a daemon of a few lines.

mod appliance;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use appliance::daemon::{daemon, device, drain, status, tls};
use appliance::{Appliance, text};
use protocol::operator::{CheckedCertificate, Fault, Generation, Refusal, Request, Response};
use protocol::status::{Cause, DeviceState, Scope, State, Status};

fn reloaded(current: u64, oldest_in_use: u64) -> Response {
    Response::Reload(Generation {
        current,
        oldest_in_use,
    })
}

#[test]
fn a_daemon_that_is_not_running_is_said_with_the_way_out() {
    let appliance = Appliance::bare();
    for command in [&["status"][..], &["drain"], &["undrain"]] {
        appliance
            .run(command)
            .failed(1, "the daemon is not running")
            .failed(1, "systemctl start oca-daemon");
    }
    // A socket that a killed daemon has left.
    drop(UnixListener::bind(appliance.path("run/daemon.sock")).unwrap());
    appliance
        .run(&["status"])
        .failed(1, "the daemon is not running");
}

#[test]
fn a_status_is_shown_as_table_and_as_json() {
    let appliance = Appliance::bare();
    daemon(&appliance, |_| {
        let mut status = status(State::Degraded);
        status.causes.push(Cause {
            component: "device".into(),
            subject: "hdd0".into(),
            scope: Scope::Local,
            severity: State::Degraded,
            detail: "no read came back for 30 s".into(),
            since: 1_789_999_000,
        });
        status.devices = vec![device("hdd0", DeviceState::Failed)];
        Response::Status(Box::new(status))
    });
    let said = appliance.run(&["status"]).done().out;
    for words in [
        "c001.fra001.example: degraded",
        "! device hdd0: degraded for 16 min 40 s: no read came back for 30 s",
        "up 1 d 3 h",
        "512.00 MiB of 1.00 GiB locked",
        "failed",
        "25 %",
        "127.0.0.1:8080",
        "report     answered 1 min ago by https://control.example/ (answered 503: busy)",
        "fill       closed: the window opens at 02:00 (told 3 s ago)",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    let (_, json) = appliance.json(&["status"]);
    assert_eq!(json["devices"][0]["state"], "failed");
}

#[test]
fn a_drain_is_asked_for_and_waited_for() {
    let appliance = Appliance::bare();
    let mut left = 2;
    let asked = daemon(&appliance, move |request| match request {
        Request::Drain { .. } => Response::Drain(drain(2)),
        _ => {
            left -= 1;
            let state = if left == 0 {
                State::Drained
            } else {
                State::Draining
            };
            Response::Status(Box::new(Status {
                drain: Some(drain(left)),
                ..status(state)
            }))
        }
    });
    let said = appliance
        .run(&["drain", "--reason", "new fans", "--wait"])
        .done();
    assert!(
        said.err.contains("1 transfer running, 3 connections open"),
        "{said:?}"
    );
    assert!(said.out.contains("drained; safe to unplug"), "{said:?}");
    let asked = asked.lock().unwrap();
    let Request::Drain { by, reason, force } = &asked[0] else {
        panic!("{asked:?}")
    };
    assert!(!by.is_empty());
    assert_eq!((reason.as_deref(), *force), (Some("new fans"), false));
}

#[test]
fn a_refusal_is_passed_on() {
    let appliance = Appliance::bare();
    daemon(&appliance, |_| {
        Response::Refused(Refusal {
            fault: Fault::State,
            message: "the self-test fails: no worker listens".into(),
        })
    });
    appliance.run(&["undrain"]).failed(
        1,
        "the daemon refuses: the self-test fails: no worker listens",
    );
}

#[test]
fn nonsense_and_silence_are_said() {
    let appliance = Appliance::bare();
    daemon(&appliance, |_| Response::Undrain { state: State::Ok });
    appliance
        .run(&["status"])
        .failed(1, "gave another answer than was asked for");

    let appliance = Appliance::bare();
    let listener = UnixListener::bind(appliance.path("run/daemon.sock")).unwrap();
    let hangs_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
    appliance.run(&["status"]).failed(1, "has hung up");
    hangs_up.join().unwrap();

    let appliance = Appliance::bare();
    let listener = UnixListener::bind(appliance.path("run/daemon.sock")).unwrap();
    let newer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        BufReader::new(&stream)
            .read_until(b'\n', &mut Vec::new())
            .unwrap();
        stream.write_all(b"{\"protocol\":9}\n").unwrap();
    });
    appliance.run(&["status"]).failed(1, "speaks version 9");
    newer.join().unwrap();
}

#[test]
fn certificates_are_listed_with_how_the_last_reload_ended() {
    let appliance = Appliance::bare();
    daemon(&appliance, |_| {
        Response::Status(Box::new(status(State::Ok)))
    });
    let said = appliance.run(&["tls", "ls"]).done().out;
    for words in [
        "media.example *.media.example",
        "2026-10-01 14:13:20 UTC",
        "  10 ",
        "ECDSA P-256",
        "/etc/oca/tls/chain.pem",
        "/etc/oca/tls/key.pem",
        "Not reloaded 1 min ago; what was loaded before is shown on:\n! /etc/oca/tls/key.pem: is empty",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    let (code, json) = appliance.json(&["tls", "ls"]);
    assert_eq!(
        (code, &json["certificates"][0]["days_left"]),
        (0, &10.into())
    );
    assert_eq!(json["reload"]["failures"], 1);
}

#[test]
fn a_daemon_without_tls_lists_no_certificates() {
    let appliance = Appliance::bare();
    daemon(&appliance, |_| {
        Response::Status(Box::new(Status {
            tls: None,
            ..status(State::Ok)
        }))
    });
    appliance
        .run(&["tls", "ls"])
        .failed(1, "it was started without [listen] https");
    appliance
        .run(&["tls", "check"])
        .failed(2, "there is no [tls] in the configuration");
}

#[test]
fn the_daemon_reads_the_files_that_the_configuration_names() {
    let appliance = Appliance::bare();
    let of = |name: &str| protocol::config::Certificate {
        cert: format!("/{name}.pem").into(),
        key: format!("/{name}.key").into(),
    };
    let named = [of("good"), of("bad")];
    appliance.configure(|plain| {
        plain
            + "[tls]\ncertificates = [{ cert = \"/good.pem\", key = \"/good.key\" }, \
               { cert = \"/bad.pem\", key = \"/bad.key\" }]\n"
    });
    let asked = daemon(&appliance, |_| {
        let good = tls().certificates.pop();
        let of = |cert: &str, found, problem| CheckedCertificate {
            cert: cert.into(),
            found,
            problem,
        };
        let problem = Some("/bad.key: is empty".to_owned());
        Response::TlsChecked {
            certificates: vec![of("/good.pem", good, None), of("/bad.pem", None, problem)],
        }
    });
    let said = appliance.run(&["tls", "check"]);
    assert_eq!(said.code, 1, "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines[1].starts_with("ok") && lines[1].contains("/good.pem"));
    assert!(lines[2].starts_with("FAIL") && lines[2].ends_with("/bad.key: is empty"));
    let (_, json) = appliance.json(&["tls", "check"]);
    assert_eq!(json["certificates"][1]["problem"], "/bad.key: is empty");
    let said = appliance.run(&["check"]).out;
    let line = |subject: &str| said.lines().find(|line| line.contains(subject)).unwrap();
    assert!(line("certificate /good.pem").ends_with("fits its key"));
    assert!(line("certificate /bad.pem").ends_with("/bad.key: is empty"));
    let certificates = named.to_vec();
    assert_eq!(asked.lock().unwrap()[0], Request::TlsCheck { certificates });
}

#[test]
fn an_import_makes_the_daemon_look() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", b"a");
    let asked = daemon(&appliance, |_| reloaded(2, 2));
    let (code, report) = appliance.json(&["content", "import", text(&appliance.path("media"))]);
    assert_eq!((code, &report["served"]), (0, &true.into()));
    assert_eq!(*asked.lock().unwrap(), [Request::Reload]);
}

#[test]
fn files_are_deleted_only_when_the_daemon_has_let_go() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", b"a");
    appliance.import_media().done();
    let columns = appliance.columns();
    let column = columns[0].clone();
    let mut polls = 0;
    daemon(&appliance, move |request| {
        assert!(column.exists(), "deleted while it is in use");
        match request {
            Request::Reload => reloaded(3, 2),
            _ => {
                polls += 1;
                let oldest_in_use = if polls < 3 { 2 } else { 3 };
                Response::Generation(Generation {
                    current: 3,
                    oldest_in_use,
                })
            }
        }
    });
    let (code, removed) = appliance.json(&["content", "rm", "/a.mp4"]);
    assert_eq!(
        (code, &removed["objects"], &removed["waiting"]),
        (0, &1.into(), &0.into())
    );
    assert!(appliance.columns().is_empty());
}

#[test]
fn a_daemon_that_does_not_answer_keeps_the_files() {
    let appliance = Appliance::new();
    appliance.media("a.mp4", b"a");
    appliance.import_media().done();
    daemon(&appliance, |_| {
        Response::Refused(Refusal {
            fault: Fault::Disk,
            message: "EIO".into(),
        })
    });
    appliance
        .run(&["content", "rm", "/a.mp4"])
        .failed(1, "the paths are removed, but the daemon refuses: EIO");
    assert_eq!(appliance.columns().len(), 1);
}
