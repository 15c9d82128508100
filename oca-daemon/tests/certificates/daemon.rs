//! Certificates of the real daemon, replaced under its connections, seen with `openssl s_client`.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use protocol::operator::{Request, Response};
use protocol::status::{SelfTest, State, Tls};

use crate::folder::{GOOD, OVER, authority, issue};
use crate::support::tls::{Authority, NAME, connect};
use crate::support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

pub(crate) struct Server {
    pub(crate) site: Site,
    daemon: Daemon,
    pub(crate) authority: Authority,
    pub(crate) film: Vec<u8>,
}

impl Server {
    pub(crate) fn start(backend: &str) -> Self {
        let site = Site::new(&Plan {
            backend,
            workers: 2,
            ..Plan::default()
        });
        let authority = Authority::new();
        site.speak_tls(&authority, "");
        let film = content(5, 8 << 20);
        site.publish("/film", &film);
        let daemon = site.start();
        Self {
            site,
            daemon,
            authority,
            film,
        }
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.daemon.https.unwrap()
    }

    pub(crate) fn tls(&self) -> Tls {
        self.daemon.status().tls.unwrap()
    }

    /// As a program does that renews: to a file beside it, renamed.
    fn replace(&self, name: &str, text: &str) {
        let beside = self.site.path("beside.pem");
        fs::copy(self.site.path(name), &beside).unwrap();
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.site.path(name)).unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.daemon.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Names and serial of what a new connection is shown, in the words of openssl.
    pub(crate) fn shown(&self) -> String {
        let mut client = Command::new("openssl")
            .args(["s_client", "-servername", NAME, "-connect"])
            .arg(self.https().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        client
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut said)
            .unwrap();
        client.wait().unwrap();
        let mut reader = Command::new("openssl")
            .args(["x509", "-noout", "-serial", "-ext", "subjectAltName"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        reader.stdin.take().unwrap().write_all(&said).unwrap();
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    for backend in BACKENDS {
        let server = Server::start(backend);
        let before = server.shown();
        assert!(before.contains(NAME), "{before}");
        let client = Arc::new(server.authority.client(&[]));
        let mut idle = connect(server.https(), &client);
        let first = idle.get("/film", &["Range: bytes=0-9"]).unwrap();
        assert_eq!(first.body, server.film[..10]);
        let mut running = connect(server.https(), &client);
        running
            .send("GET /film HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        let (chain, key) = server.authority.certificate(&[NAME, "new.example"], false);
        server.replace("chain.pem", &chain);
        server.replace("key.pem", &key);
        let after = eventually("the new certificate is shown", || {
            let shown = server.shown();
            shown.contains("new.example").then_some(shown)
        });
        assert_ne!(before, after);
        let whole = running.response(false).unwrap();
        assert_same(&whole.body, &server.film, "a transfer across the reload");
        let second = idle.get("/film", &["Range: bytes=10-19"]).unwrap();
        assert_eq!(second.body, server.film[10..20]);
        let tls = server.tls();
        assert_eq!((tls.problems.len(), tls.failures), (0, 0), "{tls:?}");
        assert_eq!(tls.certificates[0].names, [NAME, "new.example"]);
        assert_eq!(server.daemon.metric("oca_tls_reload_success", ""), 1.0);
    }
}

#[test]
fn a_bad_file_keeps_the_old_certificate_and_is_told_until_it_is_right() {
    let server = Server::start("auto");
    let before = server.shown();
    let key = fs::read_to_string(server.site.path("key.pem")).unwrap();
    server.replace("key.pem", &server.authority.certificate(&[NAME], false).1);
    server.signal("HUP");
    let problem = eventually("the reload has failed", || server.tls().problems.pop());
    assert!(
        problem.contains("key.pem: is not the key of the certificate in "),
        "{problem}"
    );
    assert_eq!(server.shown(), before);
    assert_eq!(server.daemon.metric("oca_tls_reload_success", ""), 0.0);
    assert_eq!(
        server.daemon.metric("oca_tls_reload_failures_total", ""),
        1.0
    );
    eventually("it is a cause", || {
        let status = server.daemon.status();
        let named = |cause: &&protocol::status::Cause| {
            cause.component == "certificate" && cause.subject == "reload"
        };
        status.causes.iter().find(named)?;
        (status.state == State::Degraded).then_some(())
    });
    server.replace("key.pem", &key);
    eventually("all is well again", || {
        (server.daemon.metric("oca_tls_reload_success", "") == 1.0).then_some(())
    });
}

/// Another list is taken over by SIGHUP; what else `[tls]` says is not.
#[test]
fn a_certificate_that_is_added_is_shown_after_a_reload() {
    let server = Server::start("auto");
    let (chain, key) = server.authority.certificate(&["other.example"], false);
    for (name, text) in [("other.pem", chain), ("other.key", key)] {
        fs::copy(server.site.path("key.pem"), server.site.path(name)).unwrap();
        fs::write(server.site.path(name), text).unwrap();
    }
    let config = fs::read_to_string(server.site.config()).unwrap();
    let (cert, key) = (server.site.path("other.pem"), server.site.path("other.key"));
    let added = format!("certificates = [{{ cert = {cert:?}, key = {key:?} }}, ");
    fs::write(
        server.site.config(),
        config.replace("certificates = [", &added),
    )
    .unwrap();
    server.signal("HUP");
    eventually("both are there", || {
        let tls = server.tls();
        (tls.certificates.len() == 2).then_some(())
    });
    assert!(server.shown().contains(NAME), "by name, not the first");
}

/// Whoever restarts a box does not lose the viewers in clear as well.
#[test]
fn an_expired_certificate_is_shown_on_and_is_a_cause() {
    let site = Site::new(&Plan::default());
    let issued = issue(&authority(GOOD), &[NAME], OVER);
    site.speak_tls(&Authority::new(), "");
    fs::write(site.path("chain.pem"), issued.chain).unwrap();
    fs::write(site.path("key.pem"), issued.key).unwrap();
    let check = Command::new(env!("CARGO_BIN_EXE_oca-daemon"))
        .arg("--config")
        .arg(site.config())
        .arg("check")
        .output()
        .unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(1), "{said}");
    let expected = "chain.pem: certificate 1 in it expired on Wed, 01 Jan 2020 00:00:00 GMT";
    assert!(said.contains(expected), "{said}");
    let daemon = site.start();
    let status = eventually("it serves", || {
        let status = daemon.status();
        (status.self_test == SelfTest::Passed).then_some(status)
    });
    assert_eq!(status.state, State::Degraded);
    let file = site.path("chain.pem").display().to_string();
    let cause = status.causes.iter().find(|cause| cause.subject == file);
    assert!(cause.unwrap().detail.contains("expired on"), "{cause:?}");
    let Response::SelfTest(tested) = daemon.ask(&Request::SelfTest) else {
        panic!("another answer");
    };
    assert_eq!(tested.result, State::Degraded);
    let mut checks = tested.checks.iter();
    let expired = checks.find(|it| it.component == "certificate" && it.subject == file);
    assert!(
        expired.unwrap().detail.contains("expired on"),
        "{expired:?}"
    );
    let ends = daemon.metric("oca_tls_cert_not_after_seconds", &file);
    assert_eq!(ends, 1_577_836_800.0);
}

#[test]
fn the_self_test_asks_over_tls() {
    let server = Server::start("auto");
    eventually("ready", || {
        (server.daemon.status().self_test == SelfTest::Passed).then_some(())
    });
}
