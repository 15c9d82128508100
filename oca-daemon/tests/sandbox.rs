//! The real daemon is kept to its own files, and says so.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use protocol::config::Certificate;
use protocol::operator::{Request, Response};
use protocol::status::Sandbox;
use support::{Daemon, Plan, Site};

fn start(site: &Site, sandbox: &str) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
    command.arg("--config").arg(site.config());
    command.env("OCA_SANDBOX", sandbox).stdin(Stdio::null());
    Daemon::spawn(command, &site.path("run"))
}

fn sandbox(daemon: &Daemon) -> Sandbox {
    let Response::Status(status) = daemon.ask(&Request::Status) else {
        panic!("no status")
    };
    status.sandbox.expect("this release says so")
}

/// What the daemon finds when an operator makes it open a file in `folder`.
fn opens(daemon: &Daemon, folder: &Path) -> String {
    let file = folder.join("secret.pem");
    fs::write(&file, "no certificate").expect("written");
    let certificate = Certificate {
        cert: file.clone(),
        key: file,
    };
    let certificates = vec![certificate];
    let Response::TlsChecked { certificates } = daemon.ask(&Request::TlsCheck { certificates })
    else {
        panic!("no answer")
    };
    certificates[0]
        .problem
        .clone()
        .expect("it is no certificate")
}

#[test]
fn a_file_that_is_not_the_daemons_cannot_be_opened_by_it() {
    let site = Site::new(&Plan::default());
    let elsewhere = tempfile::tempdir().expect("a folder");
    let daemon = start(&site, "");
    let said = sandbox(&daemon);
    let denied = "Permission denied";
    let problem = opens(&daemon, elsewhere.path());
    if !said.enforced {
        // A kernel that cannot do it: that is said, and the daemon serves.
        assert!(!said.detail.is_empty() && !problem.contains(denied));
        return;
    }
    assert!(problem.contains(denied), "{problem}");
    assert!(said.no_new_privileges);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id()));
    let status = status.expect("Linux has it");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // Where its own certificates may lie, it looks.
    let problem = opens(&daemon, &site.path("state"));
    assert!(!problem.contains(denied), "{problem}");
    drop(daemon);

    let daemon = start(&site, "off");
    let said = sandbox(&daemon);
    assert_eq!(
        (said.enforced, said.detail.as_str()),
        (false, "OCA_SANDBOX=off")
    );
    let problem = opens(&daemon, elsewhere.path());
    assert!(!problem.contains(denied), "{problem}");
}
