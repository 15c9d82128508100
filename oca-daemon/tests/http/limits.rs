//! How long a connection may take, how slow a viewer may be, and how many there may be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use oca_daemon::limits::TURNED_AWAY;
use protocol::status::SelfTest;
use tokio::net::TcpSocket;

use crate::support::http::Client;
use crate::support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

/// More than the kernel takes for a viewer that reads nothing.
const BYTES: usize = 16 << 20;

/// A daemon with a film and these keys in `[serve]`, on each backend, once it has tested itself.
fn each_backend(serve: &str, test: impl Fn(&Daemon, &[u8])) {
    let film = content(3, BYTES);
    for backend in BACKENDS {
        let site = Site::new(&Plan {
            backend,
            ..Plan::default()
        });
        let mut config = std::fs::OpenOptions::new()
            .append(true)
            .open(site.config())
            .unwrap();
        write!(config, "[serve]\n{serve}\n").unwrap();
        site.publish("/film", &film);
        let daemon = site.start();
        eventually("the daemon has tested itself", || {
            (daemon.status().self_test == SelfTest::Passed).then_some(())
        });
        eventually("and hung up", || {
            (connections(&daemon) == 0.0).then_some(())
        });
        test(&daemon, &film);
    }
}

fn connections(daemon: &Daemon) -> f64 {
    daemon.metric("oca_connections", "")
}

fn timed_out(daemon: &Daemon) -> f64 {
    daemon.metric("oca_timed_out_connections_total", "")
}

/// A connection from an address of this machine.
fn connect_from(source: &str, daemon: &Daemon) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        socket
            .connect(daemon.http)
            .await
            .unwrap()
            .into_std()
            .unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    Client::over(stream).unwrap()
}

/// RFC 9110 section 15.5.9. The clock begins with the first byte, and is not set back by the next ones.
#[test]
fn a_slow_head_is_answered_408() {
    each_backend("head_timeout = \"1 s\"", |daemon, _| {
        let mut slow: Vec<Client> = (0..20)
            .map(|_| Client::connect(daemon.http).unwrap())
            .collect();
        for client in &mut slow {
            client.send("HEAD /film HTTP/1.1\r\nA: ").unwrap();
        }
        for client in &mut slow {
            let response = client.response(true).unwrap();
            assert_eq!(
                (response.status, response.field("Connection")),
                (408, Some("close"))
            );
            assert!(client.is_closed());
        }
        // Whoever never stops typing.
        let mut client = Client::connect(daemon.http).unwrap();
        client
            .stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        client.send("GET /film HTTP/1.1\r\nA: ").unwrap();
        eventually("an answer", || {
            client.send("b").unwrap();
            client
                .response(false)
                .ok()
                .map(|response| assert_eq!(response.status, 408))
        });
    });
}

/// RFC 9112 section 9.5.
#[test]
fn an_idle_connection_is_closed_without_a_word() {
    each_backend("idle_timeout = \"1 s\"", |daemon, _| {
        let mut fresh = Client::connect(daemon.http).unwrap();
        let mut used = Client::connect(daemon.http).unwrap();
        assert_eq!(used.get("/none", &[]).unwrap().status, 404);
        assert!(fresh.is_closed() && used.is_closed());
        assert_eq!(timed_out(daemon), 2.0);
    });
}

/// A viewer that takes bytes, but too few: not by `send_timeout`, which is an hour here.
#[test]
fn a_viewer_below_the_least_rate_is_let_go() {
    let serve = "min_rate = \"80 Mbit/s\"\nmin_rate_window = \"1 s\"\nsend_timeout = \"1 h\"";
    each_backend(serve, |daemon, film| {
        let mut slow = Client::connect(daemon.http).unwrap();
        slow.send("GET /film HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        slow.stream.read_exact(&mut [0; 100]).unwrap();
        eventually("the slow one is let go", || {
            (timed_out(daemon) == 1.0).then_some(())
        });
        let mut rest = Vec::new();
        let _ = slow.stream.read_to_end(&mut rest);
        assert!(rest.len() < film.len(), "it was cut");
        eventually("nothing is left", || {
            (connections(daemon) == 0.0).then_some(())
        });
    });
    each_backend(
        "min_rate = \"0 bit/s\"\nmin_rate_window = \"1 s\"",
        |daemon, film| {
            let mut slow = Client::connect(daemon.http).unwrap();
            slow.send("GET /film HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            let turns = || daemon.metric("oca_worker_turns_total", "");
            let before = turns();
            // A worker turns at least once in a second: more than two windows.
            eventually("time goes by", || (turns() >= before + 3.0).then_some(()));
            assert_same(&slow.response(false).unwrap().body, film, "without a bound");
        },
    );
}

fn is_turned_away(client: &mut Client) {
    let response = client.get("/film", &["Range: bytes=0-9"]).unwrap();
    assert_eq!(response.status, 503, "{}", response.head);
    assert_eq!(response.field("Connection"), Some("close"));
    assert!(response.field("Retry-After").is_some());
    assert!(client.is_closed());
}

fn is_served(client: &mut Client) {
    let response = client.get("/film", &["Range: bytes=0-9"]).unwrap();
    assert_eq!(response.status, 206, "{}", response.head);
}

fn refused(daemon: &Daemon, limit: &str) -> f64 {
    daemon.metric(
        "oca_refused_connections_total",
        &format!("limit=\"{limit}\""),
    )
}

/// A worker that lets the kernel's table of descriptors grow sleeps 10 ms and more in the midst of serving.
#[cfg(target_os = "linux")]
#[test]
fn there_is_a_place_for_the_descriptor_of_each_connection_from_the_start() {
    each_backend("max_connections = 3000", |daemon, _| {
        let status = format!("/proc/{}/status", daemon.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let places = status
            .lines()
            .find_map(|line| line.strip_prefix("FDSize:"))
            .unwrap();
        let places: u32 = places.trim().parse().unwrap();
        assert!(places >= 3000, "the table has {places} places");
    });
}

/// RFC 9110 section 15.6.4: who finds no place is told, and may go elsewhere; those who have one keep it.
#[test]
fn one_connection_too_many_is_answered_503() {
    each_backend("max_connections = 5", |daemon, _| {
        let accepted = || daemon.metric("oca_accepted_connections_total", "");
        let before = accepted();
        let mut guests: Vec<Client> = (0..5)
            .map(|_| Client::connect(daemon.http).unwrap())
            .collect();
        guests.iter_mut().for_each(is_served);
        for _ in 0..10 {
            is_turned_away(&mut Client::connect(daemon.http).unwrap());
        }
        // Every ten seconds the box looks itself whether somebody listens.
        let (refused, looks) = (refused(daemon, "all"), accepted() - before - 15.0);
        assert!(10.0 <= refused && refused <= 10.0 + looks, "{refused}");
        guests.iter_mut().for_each(is_served);
        guests.pop();
        eventually("a place is free", || {
            (connections(daemon) <= 4.0).then_some(())
        });
        is_served(&mut Client::connect(daemon.http).unwrap());
    });
}

/// Those who do not even ask are closed: only so many are told at once (`limits::TURNED_AWAY`), and they cost nobody a place.
#[test]
fn a_crowd_at_the_door_keeps_nobody_out() {
    each_backend(
        "max_connections = 5\nhead_timeout = \"3600 s\"",
        |daemon, _| {
            let mut guests: Vec<Client> = (0..5)
                .map(|_| Client::connect(daemon.http).unwrap())
                .collect();
            guests.iter_mut().for_each(is_served);
            let crowd: Vec<TcpStream> = (0..60)
                .map(|_| TcpStream::connect(daemon.http).unwrap())
                .collect();
            eventually("all were looked at", || {
                (refused(daemon, "all") >= 60.0).then_some(())
            });
            // So many are being told, and the others are gone.
            let held = 5 + TURNED_AWAY;
            eventually("who is not told is closed", || {
                (connections(daemon) == held as f64).then_some(())
            });
            guests.iter_mut().for_each(is_served);
            guests.pop();
            eventually("a place is free", || {
                (connections(daemon) < held as f64).then_some(())
            });
            let mut newcomer = Client::connect(daemon.http).unwrap();
            is_served(&mut newcomer);
            drop(crowd);
            eventually("they have left", || {
                (connections(daemon) == 5.0).then_some(())
            });
            is_turned_away(&mut Client::connect(daemon.http).unwrap());
        },
    );
}

#[test]
fn one_address_does_not_take_the_places_of_others() {
    each_backend("max_connections_per_address = 3", |daemon, _| {
        let mut guests: Vec<Client> = (0..3).map(|_| connect_from("127.0.0.2", daemon)).collect();
        guests.iter_mut().for_each(is_served);
        is_turned_away(&mut connect_from("127.0.0.2", daemon));
        is_served(&mut connect_from("127.0.0.3", daemon));
        assert_eq!(
            (refused(daemon, "address"), refused(daemon, "all")),
            (1.0, 0.0)
        );
        guests.pop();
        eventually("it has left", || (connections(daemon) == 2.0).then_some(()));
        is_served(&mut connect_from("127.0.0.2", daemon));
    });
}

/// RFC 9112 section 9.3.2: whoever pipelines without reading is not listened to any more, rather than remembered without end; and when
/// he reads, nothing of it is lost.
#[test]
fn a_pipeline_without_end_is_not_kept() {
    /// More than the kernels of both sides keep.
    const MOST: usize = 48 << 20;
    each_backend("", |daemon, film| {
        let mut client = Client::connect(daemon.http).unwrap();
        client
            .send("GET /film HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        let padding = "x".repeat(4000);
        let next = format!("HEAD /film HTTP/1.1\r\nHost: h\r\nA: {padding}\r\n\r\n");
        let patience = Some(Duration::from_secs(2));
        client.stream.set_write_timeout(patience).unwrap();
        let mut written = 0;
        while let Ok(bytes) = client
            .stream
            .write(&next.as_bytes()[written % next.len()..])
        {
            written += bytes;
            assert!(written < MOST, "{written} bytes of requests were taken");
        }
        let whole = client.response(false).unwrap();
        assert_same(&whole.body, film, "the film");
        for _ in 0..written / next.len() {
            assert_eq!(client.response(true).unwrap().status, 200);
        }
        client.send(&next[written % next.len()..]).unwrap();
        assert_eq!(client.response(true).unwrap().status, 200, "the last one");
    });
}
