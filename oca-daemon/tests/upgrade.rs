//! One daemon takes the place of another under viewers, or does not, and no viewer notices. Everything is real: the parent, the processes
//! that it starts, their sockets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use protocol::operator::{Request, Response, Upgraded};
use protocol::status::State;
use rustls::HandshakeKind;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
use support::http::{self, Client};
use support::load::{Audience, Film, Met};
use support::tls::{self, Authority};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
/// More than both ends' sockets hold: who does not read has a running transfer.
const FILM_BYTES: usize = 12 * MIB;
const VIEWERS: u64 = 8;

/// So many upgrades, and so many requests at least; `scripts/upgrade.sh` asks for more.
fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// A box with the program installed as a package does it.
struct Installed {
    site: Site,
    films: Arc<Vec<Film>>,
}

impl Installed {
    fn new(backend: &str) -> Self {
        let site = Site::new(&Plan {
            backend,
            devices: 2,
            workers: 2,
            memory: "16 MiB",
            ..Plan::default()
        });
        let films = [FILM_BYTES, MIB, 3 * MIB].into_iter().enumerate();
        let films: Vec<Film> = films
            .map(|(number, bytes)| Film::new(number as u64, bytes))
            .collect();
        for film in &films {
            site.publish(&film.path, &film.bytes);
        }
        let text = fs::read_to_string(site.config()).unwrap();
        let number = BOXES.fetch_add(1, Relaxed);
        let address = |port: u16| format!("{}:{}", own_address(), port + number);
        let text = text.replacen("127.0.0.1:0", &address(8080), 1);
        let text = text.replacen("127.0.0.1:0", &address(9580), 1);
        fs::write(site.config(), text).unwrap();
        let installed = Self {
            site,
            films: Arc::new(films),
        };
        fs::create_dir(installed.site.path("bin")).unwrap();
        installed.install_again();
        installed
    }

    fn speak_tls(&self, authority: &Authority) {
        self.site.speak_tls(authority, "");
        let text = fs::read_to_string(self.site.config()).unwrap();
        let port = 8443 + BOXES.fetch_add(1, Relaxed);
        let text = text.replacen("127.0.0.1:0", &format!("{}:{port}", own_address()), 1);
        fs::write(self.site.config(), text).unwrap();
    }

    fn program(&self) -> PathBuf {
        self.site.path("bin/oca-daemon")
    }

    fn install_again(&self) {
        let _ = fs::remove_file(self.program());
        link(&self.program());
    }

    /// Another program takes the place of the one that runs.
    fn install_script(&self, script: &str) {
        let new = self.site.path("bin/new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.program()).unwrap();
    }

    fn start(&self) -> Daemon {
        let mut command = Command::new(self.program());
        command
            .arg("--config")
            .arg(self.site.config())
            .arg("parent")
            .stdin(Stdio::null());
        Daemon::spawn(command, &self.site.path("run"))
    }

    fn audience(&self, daemon: &Daemon) -> Audience {
        let audience = Audience::new(daemon.http, &self.films, VIEWERS, 64 << 10);
        audience.await_served(50);
        audience
    }

    /// The processes of this box that were started as `what`.
    fn processes(&self, what: &str) -> Vec<u32> {
        let config = self.site.config();
        let is_it = |process: &u32| {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            words.any(|word| word == config.to_string_lossy()) && words.any(|word| word == what)
        };
        let all = fs::read_dir("/proc").unwrap();
        let numbers = all.filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
        numbers.filter(is_it).collect()
    }
}

/// How many there are in this process.
static BOXES: AtomicU16 = AtomicU16::new(0);

/// Of this process alone: who takes over sockets has them by their addresses, so port 0 will not do.
fn own_address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high, middle, low)
}

fn link(to: &Path) {
    fs::hard_link(env!("CARGO_BIN_EXE_oca-daemon"), to).unwrap();
}

fn order(previous: bool, force: bool, within_s: u32) -> Request {
    Request::Upgrade {
        by: "ada".into(),
        previous,
        force,
        within_s,
    }
}

fn upgrade(daemon: &Daemon) -> Upgraded {
    done(daemon.ask_long(&order(false, false, 60)))
}

fn done(response: Response) -> Upgraded {
    match response {
        Response::Upgraded(upgraded) => upgraded,
        other => panic!("{other:?}"),
    }
}

fn refusal(response: Response) -> String {
    match response {
        Response::Refused(refusal) => refusal.message,
        other => panic!("{other:?}"),
    }
}

/// All that viewers met was right.
fn assert_nobody_noticed(audience: Audience, backend: &str) {
    let visits = audience.end();
    let wrong = visits.iter().filter(|visit| visit.met != Met::Right);
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{backend}: {wrong:?} of {}", visits.len());
    eprintln!("{backend}: {} requests, none failed", visits.len());
}

#[test]
fn upgrades_under_viewers_fail_no_request() {
    for backend in BACKENDS {
        let installed = Installed::new(backend);
        let daemon = installed.start();
        let audience = installed.audience(&daemon);
        let mut before = installed.processes("child");
        assert_eq!(before.len(), 1);
        let upgrades = asked("OCA_UPGRADES", 4);
        let requests = asked("OCA_REQUESTS", 1_000);
        for _ in 0..upgrades {
            installed.install_again();
            let upgraded = upgrade(&daemon);
            assert!(!before.contains(&upgraded.process));
            assert_eq!(daemon.status().backend.name, backend);
            before = vec![upgraded.process];
            audience.await_served(requests.div_ceil(upgrades));
        }
        assert_nobody_noticed(audience, backend);
        eventually("those before have ended", || {
            (installed.processes("child").is_empty() && installed.processes("take-over") == before)
                .then_some(())
        });
    }
}

#[test]
fn what_runs_is_finished_and_who_rests_is_not_cut() {
    for backend in BACKENDS {
        let installed = Installed::new(backend);
        let daemon = installed.start();
        let film = &installed.films[0];
        let mut slow = Client::connect(daemon.http).unwrap();
        slow.send(&format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", film.path))
            .unwrap();
        let mut resting = Client::connect(daemon.http).unwrap();
        let answer = resting.get(&film.path, &["Range: bytes=0-9"]).unwrap();
        assert_eq!(answer.field("Connection"), None);
        eventually("it runs", || {
            (daemon.metric("oca_transfers", "") == 1.0).then_some(())
        });
        assert_eq!(upgrade(&daemon).transfers, 1);
        let told = resting.get(&film.path, &["Range: bytes=10-19"]).unwrap();
        assert_same(&told.body, &film.bytes[10..20], "the last answer");
        assert_eq!(told.field("Connection"), Some("close"));
        assert!(resting.is_closed());
        assert_eq!(installed.processes("child").len(), 1, "it has a transfer");
        let answer = slow.response(false).unwrap();
        assert_same(&answer.body, &film.bytes, "what a viewer got");
        eventually("it has no transfer", || {
            // Nobody told this viewer that there is no next request: its next one is answered, too.
            slow.get(&film.path, &["Range: bytes=0-0"]).ok();
            installed.processes("child").is_empty().then_some(())
        });
        assert_same(
            &http::get(daemon.http, &film.path, &[]).unwrap().body,
            &film.bytes,
            "of the new one",
        );
    }
}

#[test]
fn viewers_over_tls_are_finished_and_their_tickets_hold() {
    for backend in BACKENDS {
        let installed = Installed::new(backend);
        let authority = Authority::new();
        installed.speak_tls(&authority);
        let daemon = installed.start();
        let address = daemon.https.unwrap();
        let film = &installed.films[0];
        for suites in [&[][..], &[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]] {
            let mut config = authority.client(suites);
            config.resumption = Resumption::in_memory_sessions(8);
            let config = Arc::new(config);
            let mut slow = tls::connect(address, &config);
            assert_eq!(slow.stream.conn.handshake_kind(), Some(HandshakeKind::Full));
            slow.send(&format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", film.path))
                .unwrap();
            let mut resting = tls::connect(address, &config);
            resting.get(&film.path, &["Range: bytes=0-9"]).unwrap();
            eventually("it runs", || {
                (daemon.metric("oca_transfers", "") == 1.0).then_some(())
            });
            assert_eq!(upgrade(&daemon).transfers, 1);
            let told = resting.get(&film.path, &["Range: bytes=10-19"]).unwrap();
            assert_eq!(told.field("Connection"), Some("close"));
            let mut back = tls::connect(address, &config);
            let kind = back.stream.conn.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Resumed), "{backend}");
            let answer = back.get(&film.path, &["Range: bytes=20-29"]).unwrap();
            assert_same(&answer.body, &film.bytes[20..30], "of the new one");
            let answer = slow.response(false).unwrap();
            assert_same(&answer.body, &film.bytes, "what a viewer got");
        }
    }
}

#[test]
fn a_successor_that_does_not_come_to_serve_changes_nothing() {
    for backend in BACKENDS {
        let installed = Installed::new(backend);
        let daemon = installed.start();
        let serving = installed.processes("child");
        let audience = installed.audience(&daemon);

        installed.install_script("exit 3");
        let said = refusal(daemon.ask_long(&order(false, false, 60)));
        assert!(said.contains("ended too early: exit status: 3"), "{said}");

        installed.install_script("exec sleep 600");
        let said = refusal(daemon.ask_long(&order(false, false, 1)));
        assert!(said.contains("not ready within 1 s"), "{said}");

        fs::remove_file(installed.program()).unwrap();
        let said = refusal(daemon.ask_long(&order(false, false, 60)));
        assert!(said.contains("bin/oca-daemon cannot be started"), "{said}");

        installed.install_again();
        let right = fs::read_to_string(installed.site.config()).unwrap();
        fs::write(installed.site.config(), format!("{right}[bogus]\n")).unwrap();
        let said = refusal(daemon.ask_long(&order(false, false, 60)));
        assert!(
            said.contains("bogus") && said.contains("serves on"),
            "{said}"
        );

        // Found out only once it has the other's sockets.
        let elsewhere = right.replacen("http = [", "http = [\"192.0.2.1:80\", ", 1);
        fs::write(installed.site.config(), elsewhere).unwrap();
        let said = refusal(daemon.ask_long(&order(false, false, 60)));
        assert!(said.contains("cannot listen on 192.0.2.1:80"), "{said}");
        fs::write(installed.site.config(), right).unwrap();

        assert_eq!(installed.processes("child"), serving);
        audience.await_served(50);
        upgrade(&daemon);
        audience.await_served(50);
        assert_nobody_noticed(audience, backend);
    }
}

#[test]
fn a_successor_that_is_killed_changes_nothing() {
    for backend in BACKENDS {
        let installed = Installed::new(backend);
        let daemon = installed.start();
        // It stands still until then, so that it cannot have taken over.
        installed.install_script("kill -STOP $$");
        let audience = installed.audience(&daemon);
        let said = std::thread::scope(|scope| {
            let asked = scope.spawn(|| daemon.ask_long(&order(false, false, 60)));
            let successor = eventually("a successor", || installed.processes("take-over").pop());
            let killed = Command::new("kill")
                .args(["-9", &successor.to_string()])
                .status();
            assert!(killed.unwrap().success());
            refusal(asked.join().unwrap())
        });
        assert!(said.contains("signal: 9"), "{said}");
        audience.await_served(200);
        assert_nobody_noticed(audience, backend);
        assert_eq!(installed.processes("child").len(), 1);
    }
}

#[test]
fn what_its_check_finds_keeps_it_back_unless_forced() {
    let installed = Installed::new("auto");
    let daemon = installed.start();
    let device = installed.site.device(1);
    fs::rename(device.join("oca-device.toml"), device.join("away")).unwrap();
    let said = refusal(daemon.ask_long(&order(false, false, 60)));
    assert!(
        said.contains("its check found") && said.contains(&*device.to_string_lossy()),
        "{said}"
    );
    done(daemon.ask_long(&order(false, true, 60)));
}

#[test]
fn a_rollback_starts_the_program_before() {
    let installed = Installed::new("auto");
    let daemon = installed.start();
    let said = refusal(daemon.ask_long(&order(true, false, 60)));
    assert!(said.contains("lib/oca/previous/oca-daemon"), "{said}");
    let previous = installed.site.path("lib/oca/previous/oca-daemon");
    fs::create_dir_all(previous.parent().unwrap()).unwrap();
    link(&previous);
    installed.install_script("exit 1");
    let upgraded = done(daemon.ask_long(&order(true, false, 60)));
    let runs = fs::read_link(format!("/proc/{}/exe", upgraded.process)).unwrap();
    assert_eq!(runs, previous.canonicalize().unwrap());
}

#[test]
fn a_drained_box_stays_drained() {
    let installed = Installed::new("auto");
    let daemon = installed.start();
    let site = &installed.site;
    site.configure("[steering]\nhint_lifetime = \"1 s\"\n");
    upgrade(&daemon);
    daemon.drain_to_the_end();
    upgrade(&daemon);
    assert_eq!(daemon.status().state, State::Drained);
    assert!(http::get(daemon.http, &installed.films[1].path, &[]).is_err());
}

#[test]
fn the_parent_ends_as_the_daemon_does() {
    let installed = Installed::new("auto");
    let mut daemon = installed.start();
    upgrade(&daemon);
    let stop = |signal: &str, process: u32| {
        let told = Command::new("kill")
            .args([signal, &process.to_string()])
            .status();
        assert!(told.unwrap().success());
    };
    stop("-TERM", daemon.child.id());
    assert!(daemon.child.wait().unwrap().success());
    assert!(installed.processes("take-over").is_empty());

    let mut daemon = installed.start();
    stop("-KILL", upgrade(&daemon).process);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(1));
    eventually("those before are gone, too", || {
        installed.processes("child").is_empty().then_some(())
    });

    let mut daemon = installed.start();
    daemon.kill();
    eventually("nobody is left", || {
        installed.processes("child").is_empty().then_some(())
    });
}

#[test]
fn a_daemon_without_a_parent_says_so() {
    let site = Site::new(&Plan::default());
    site.publish("/film", &content(1, MIB));
    let daemon = site.start();
    let said = refusal(daemon.ask(&order(false, false, 60)));
    assert!(said.contains("oca-daemon parent"), "{said}");
}
