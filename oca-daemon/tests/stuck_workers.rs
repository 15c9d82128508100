//! A worker that is really stuck: another one accepts in its place until it goes on, and a box on which most are stuck is given up.
#![cfg(target_os = "linux")]

#[path = "support/frozen.rs"]
mod frozen;
mod support;

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use frozen::FrozenThread;
use protocol::status::{State, Worker};
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually, http};

const WORKERS: u16 = 3;
const VIEWERS: usize = 200;
const SIGABRT: i32 = 6;

fn site(backend: &str) -> (Site, Vec<u8>) {
    let site = Site::new(&Plan {
        backend,
        workers: WORKERS,
        ..Plan::default()
    });
    let film = content(7, 1 << 20);
    site.publish("/film", &film);
    (site, film)
}

fn worker(daemon: &Daemon, number: usize) -> Worker {
    daemon.status().workers[number].clone()
}

/// Each over a connection of its own, one after another. A worker gets its share of them; of so many, it would be a wonder if one got none.
fn all_are_served(daemon: &Daemon, film: &[u8], when: &str) {
    for viewer in 0..VIEWERS {
        let answer = http::get(daemon.http, "/film", &["Range: bytes=1000-1999"]);
        let answer = answer.unwrap_or_else(|error| panic!("viewer {viewer} {when}: {error}"));
        assert_same(&answer.body, &film[1000..2000], when);
    }
}

/// Viewers stay until a worker has one of them.
fn comes_to(daemon: &Daemon, number: usize) {
    let mut viewers = Vec::new();
    eventually("a viewer comes to the worker", || {
        viewers.push(http::Client::connect(daemon.http).expect("a connection"));
        (worker(daemon, number).connections > 0).then_some(())
    });
}

#[test]
fn another_worker_accepts_for_one_that_is_stuck_until_it_goes_on() {
    for backend in BACKENDS {
        let (site, film) = site(backend);
        let daemon = site.start();
        all_are_served(&daemon, &film, "before");
        // Twice: it is given back whole.
        for _ in 0..2 {
            let stuck = FrozenThread::worker(&daemon, 0);
            let begun = Instant::now();
            all_are_served(&daemon, &film, "while a worker is stuck");
            eprintln!("{backend}: {VIEWERS} viewers in {:?}", begun.elapsed());
            let told = worker(&daemon, 0);
            assert_eq!((told.alive, told.relieved_by), (false, Some(1)));
            assert_eq!(daemon.metric("oca_worker_stuck", "worker=\"0\""), 1.0);
            assert_eq!(daemon.metric("oca_worker_relieved", ""), 1.0);
            let cause = eventually("it is a cause", || {
                let status = daemon.status();
                (status.state == State::Degraded).then(|| status.causes[0].clone())
            });
            assert_eq!(
                (cause.component.as_str(), cause.subject.as_str()),
                ("worker", "0")
            );
            assert!(
                cause.detail.ends_with("worker 1 accepts for it"),
                "{}",
                cause.detail
            );
            drop(stuck);
            eventually("it is taken back", || {
                let told = worker(&daemon, 0);
                (told.alive && told.relieved_by.is_none()).then_some(())
            });
            comes_to(&daemon, 0);
            all_are_served(&daemon, &film, "after");
        }
        eventually("well again", || {
            (daemon.status().state == State::Ok).then_some(())
        });
        assert_eq!(daemon.metric("oca_accept_errors_total", ""), 0.0);
    }
}

#[test]
fn the_one_that_accepts_for_another_may_be_stuck_as_well() {
    for backend in BACKENDS {
        let (site, film) = site(backend);
        let daemon = site.start();
        let _first = FrozenThread::worker(&daemon, 0);
        eventually("it is relieved", || {
            (worker(&daemon, 0).relieved_by == Some(1)).then_some(())
        });
        let second = FrozenThread::worker(&daemon, 1);
        all_are_served(&daemon, &film, "while one works");
        let relievers = daemon.status().workers.into_iter().map(|it| it.relieved_by);
        assert_eq!(relievers.collect::<Vec<_>>(), [Some(2), Some(2), None]);
        drop(second);
        eventually("the nearest takes over", || {
            (worker(&daemon, 0).relieved_by == Some(1)).then_some(())
        });
        all_are_served(&daemon, &film, "while two work");
    }
}

/// What a service manager hears.
struct Manager(UnixDatagram);

impl Manager {
    /// A message with `wanted` comes within `bound`.
    fn hears(&self, wanted: &str, bound: Duration) -> bool {
        let begun = Instant::now();
        let mut message = [0; 4096];
        while let Some(left) = bound
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())
        {
            self.0.set_read_timeout(Some(left)).expect("set");
            match self.0.recv(&mut message) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&message[..length]);
                    if text.lines().any(|line| line == wanted) {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
        false
    }

    /// Nothing is left of what was said before.
    fn forget(&self) {
        self.0.set_nonblocking(true).expect("set");
        while self.0.recv(&mut [0; 4096]).is_ok() {}
        self.0.set_nonblocking(false).expect("set");
    }
}

fn watched(site: &Site, seconds: u64) -> (Daemon, Manager) {
    let path = site.path("notify.sock");
    let manager = Manager(UnixDatagram::bind(&path).expect("a socket"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_oca-daemon"));
    command
        .arg("--config")
        .arg(site.config())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", format!("{}", seconds * 1_000_000))
        .stdin(Stdio::null());
    (Daemon::spawn(command, &site.path("run")), manager)
}

const ALIVE: &str = "WATCHDOG=1";
const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_service_manager_hears_nothing_while_most_are_stuck() {
    let (site, film) = site("auto");
    let (daemon, manager) = watched(&site, 3600);
    assert!(manager.hears(ALIVE, LONG));
    let _first = FrozenThread::worker(&daemon, 0);
    eventually("it is noticed", || {
        (!worker(&daemon, 0).alive).then_some(())
    });
    manager.forget();
    assert!(manager.hears(ALIVE, LONG), "one of three is stuck");
    let second = FrozenThread::worker(&daemon, 1);
    eventually("it is noticed", || {
        (worker(&daemon, 1).relieved_by == Some(2)).then_some(())
    });
    manager.forget();
    assert!(
        !manager.hears(ALIVE, Duration::from_secs(4)),
        "two of three are stuck"
    );
    all_are_served(&daemon, &film, "by the one that is left");
    drop(second);
    assert!(manager.hears(ALIVE, LONG), "one goes on");
}

#[test]
fn a_daemon_gives_up_when_most_of_its_workers_are_stuck_for_long() {
    let (site, film) = site("auto");
    let (mut daemon, _manager) = watched(&site, 3);
    let one = FrozenThread::worker(&daemon, 2);
    eventually("it is noticed", || {
        (!worker(&daemon, 2).alive).then_some(())
    });
    all_are_served(&daemon, &film, "by two of three");
    let two = FrozenThread::worker(&daemon, 0);
    let begun = Instant::now();
    // Counted, not timed: the whole machine may stand still meanwhile, which is no time for the daemon either.
    let gives_up = (0..300).any(|_| {
        std::thread::park_timeout(Duration::from_millis(100));
        http::get(daemon.admin, "/status", &[]).is_err()
    });
    assert!(gives_up, "it goes on");
    assert!(
        begun.elapsed() > Duration::from_secs(3),
        "after {:?}",
        begun.elapsed()
    );
    drop((one, two));
    let ended = eventually("it ends", || daemon.child.try_wait().expect("a child"));
    assert_eq!(ended.signal(), Some(SIGABRT), "{ended}");
}
