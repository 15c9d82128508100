//! Listening sockets that outlive the daemon: it is killed while a disk holds one of its threads, and nobody who comes meanwhile is lost.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

#[path = "support/frozen.rs"]
mod frozen;
#[path = "support/silent.rs"]
mod silent;
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use content_store::chunk_tree::ChunkTree;
use content_store::device;
use frozen::FrozenThread;
use platform::socket::{ListenOptions, bind_listeners};
use protocol::status::DeviceState;
use silent::SilentFile;
use support::http;
use support::tls::{self, Authority};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
const NEW_CONNECTIONS: usize = 1_000;
const AT_ONCE: usize = 20;
/// From the start of the new process to its first answer.
const SERVES_WITHIN: Duration = Duration::from_secs(15);

/// What the service manager is to a daemon: it holds the sockets, and starts it with them.
struct Manager {
    viewers: TcpListener,
    admin: TcpListener,
}

impl Manager {
    /// Two sockets, which the configuration of `site` names from now on.
    fn new(site: &Site) -> Self {
        let socket = || {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let made = bind_listeners(any, 1, &ListenOptions::default()).unwrap();
            made.into_iter().next().unwrap()
        };
        let (viewers, admin) = (socket(), socket());
        let address = |socket: &TcpListener| socket.local_addr().unwrap().to_string();
        let text = fs::read_to_string(site.config()).unwrap();
        let text = text.replacen("127.0.0.1:0", &address(&viewers), 1);
        let text = text.replacen("127.0.0.1:0", &address(&admin), 1);
        fs::write(site.config(), text).unwrap();
        Self { viewers, admin }
    }

    fn start(&self, site: &Site) -> Daemon {
        Daemon::spawn(self.command(site), &site.path("run"))
    }

    /// The shell moves the sockets to where `sd_listen_fds(3)` wants them, and becomes the daemon: the process is the one it names.
    fn command(&self, site: &Site) -> Command {
        const HAND_OVER: &str = "exec 3<&0 4<&1 0</dev/null 1>&2; \
             LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=http:admin exec \"$@\"";
        let hand = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
        let mut command = Command::new("sh");
        command
            .args(["-c", HAND_OVER, "sh", env!("CARGO_BIN_EXE_oca-daemon")])
            .arg("--config")
            .arg(site.config())
            .stdin(hand(&self.viewers))
            .stdout(hand(&self.admin));
        command
    }
}

/// Nothing in memory, and two films, each on its own device.
fn site(backend: &str) -> (Site, [Vec<u8>; 2]) {
    let site = Site::new(&Plan {
        backend,
        devices: 2,
        stripe_width: 1,
        workers: 2,
        memory: "0 B",
        ..Plan::default()
    });
    let films = [0, 1].map(|at| {
        let on_device = |film: &Vec<u8>| {
            site.publish(&format!("/film{at}"), film);
            site.devices_of(film) == [at]
        };
        let mut films = (1..).map(|seed| content(seed * 2 + at as u64, MIB));
        films.find(on_device).unwrap()
    });
    (site, films)
}

fn column(site: &Site, at: usize, film: &[u8]) -> std::path::PathBuf {
    let device = device::open(&site.device(at)).unwrap();
    device.column_path(&ChunkTree::of(film).object())
}

/// Whether the process was killed and cannot end.
fn is_corpse(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.starts_with(" Z"))
        && Path::new(&format!("/proc/{process}/task")).exists()
        && fs::read_dir(format!("/proc/{process}/task")).is_ok_and(|tasks| tasks.count() > 1)
}

#[test]
fn a_daemon_killed_beside_a_frozen_disk_starts_again_and_loses_nobody() {
    for backend in BACKENDS {
        let (site, films) = site(backend);
        let frozen = SilentFile::over(&column(&site, 0, &films[0]), &site.path("fuse"));
        let manager = Manager::new(&site);
        let mut daemon = manager.start(&site);
        let address = manager.viewers.local_addr().unwrap();
        assert_eq!(daemon.http, address);
        let before = http::get(address, "/film0", &[]).unwrap();
        assert_same(&before.body, &films[0], "before");

        frozen.fall_silent();
        let hung = http::get(address, "/film0", &[]).unwrap();
        assert_eq!(hung.status, 503, "{}", hung.head);
        assert_ne!(daemon.status().devices[0].state, DeviceState::Ok);
        daemon.child.kill().unwrap();
        eventually("the killed daemon is held by its disk", || {
            is_corpse(daemon.child.id()).then_some(())
        });
        let (served, took) = std::thread::scope(|scope| {
            let come = || {
                let each = NEW_CONNECTIONS / AT_ONCE;
                let get = |_: &usize| {
                    let answer = http::get(address, "/film1", &["Range: bytes=1000-1999"]);
                    answer.is_ok_and(|answer| answer.body == films[1][1000..2000])
                };
                (0..each).filter(get).count()
            };
            let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(come)).collect();
            let begun = Instant::now();
            let next = manager.start(&site);
            let answer = http::get(address, "/film1", &[]).unwrap();
            assert_same(&answer.body, &films[1], "after");
            let took = begun.elapsed();
            let served: usize = clients.into_iter().map(|it| it.join().unwrap()).sum();
            assert!(is_corpse(daemon.child.id()), "the old one is still there");
            drop(next);
            (served, took)
        });
        // Only now can the old one end, and be waited for.
        drop(frozen);
        assert_eq!(served, NEW_CONNECTIONS, "lost on {backend}");
        assert!(took < SERVES_WITHIN, "serving took {took:?} on {backend}");
        eprintln!("{backend}: served again after {took:?}");
    }
}

#[test]
fn a_socket_of_viewers_with_tls_is_taken_over() {
    for backend in BACKENDS {
        let (site, films) = site(backend);
        let manager = Manager::new(&site);
        let authority = Authority::new();
        site.speak_tls(&authority, "");
        let text = fs::read_to_string(site.config()).unwrap();
        let held = manager.viewers.local_addr().unwrap();
        let text = text.replace(&format!("http = [\"{held}\"]"), "http = [\"127.0.0.1:0\"]");
        let text = text.replacen("127.0.0.1:0", &held.to_string(), 1);
        fs::write(site.config(), text).unwrap();
        let daemon = manager.start(&site);
        assert_eq!(daemon.https, Some(held));
        assert_ne!(daemon.http, held);
        let client = Arc::new(authority.client(&[]));
        let answer = tls::connect(held, &client).get("/film0", &[]).unwrap();
        assert_same(&answer.body, &films[0], backend);
    }
}

#[test]
fn a_worker_that_is_stuck_keeps_nobody_from_a_socket_that_all_share() {
    for backend in BACKENDS {
        let (site, films) = site(backend);
        let manager = Manager::new(&site);
        let daemon = manager.start(&site);
        for stuck in 0..2 {
            let _stuck = FrozenThread::worker(&daemon, stuck);
            for _ in 0..100 {
                let answer = http::get(daemon.http, "/film0", &["Range: bytes=1000-1999"]);
                assert_same(&answer.unwrap().body, &films[0][1000..2000], backend);
            }
            eventually("it is relieved", || {
                let worker = daemon.status().workers[stuck].clone();
                (!worker.alive && worker.relieved_by.is_some()).then_some(())
            });
        }
    }
}

#[test]
fn sockets_that_nobody_asked_for_are_refused() {
    let (site, _) = site("auto");
    let manager = Manager::new(&site);
    let text = fs::read_to_string(site.config()).unwrap();
    let viewers = manager.viewers.local_addr().unwrap().to_string();
    fs::write(site.config(), text.replace(&viewers, "127.0.0.1:0")).unwrap();
    let output = manager
        .command(&site)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!("holds a socket for {viewers}, which is not among the addresses");
    assert!(said.contains(&expected), "{said}");
}
