//! Viewers over TLS: every byte, whatever they ask for and however they read.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256,
};

use crate::support::http::Response;
use crate::support::tls::{Authority, TlsClient, connect};
use crate::support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const RECORD: usize = 16 * 1024;
const FILM: usize = 5_000_000;

/// A box with a film on two devices, and a client that trusts it.
pub(crate) struct Server {
    pub(crate) site: Site,
    pub(crate) daemon: Daemon,
    pub(crate) film: Vec<u8>,
    pub(crate) authority: Authority,
    pub(crate) client: Arc<ClientConfig>,
}

impl Server {
    pub(crate) fn start(backend: &str, memory: &str) -> Self {
        Self::configured(backend, memory, "", "")
    }

    /// `tls` goes into `[tls]`, `more` behind it.
    pub(crate) fn configured(backend: &str, memory: &str, tls: &str, more: &str) -> Self {
        let site = Site::new(&Plan {
            backend,
            memory,
            ..Plan::default()
        });
        let authority = Authority::new();
        let more = more.replace("LOG", site.path("access.log").to_str().unwrap());
        site.speak_tls(&authority, &format!("{tls}\n{more}"));
        let film = content(11, FILM);
        site.publish("/film", &film);
        site.publish("/empty", &[]);
        let client = Arc::new(authority.client(&[]));
        Self {
            daemon: site.start(),
            site,
            film,
            authority,
            client,
        }
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.daemon.https.unwrap()
    }

    pub(crate) fn connect(&self) -> TlsClient {
        connect(self.https(), &self.client)
    }

    /// Until all of the film is in memory.
    fn warm(&self) {
        let mut client = self.connect();
        eventually("the film is in memory", || {
            client.get("/film", &[]).unwrap();
            (self.daemon.status().memory.locked >= FILM as u64).then_some(())
        });
    }

    pub(crate) fn sent(&self, source: &str) -> f64 {
        let label = format!("source=\"{source}\"");
        self.daemon.metric("oca_sent_bytes_total", &label)
    }
}

fn range(client: &mut TlsClient, from: usize, length: usize) -> Response {
    let field = format!("Range: bytes={from}-{}", from + length - 1);
    client.get("/film", &[&field]).unwrap()
}

/// Lengths around the ends of records, and of what is sealed at once.
fn lengths() -> Vec<usize> {
    let around = |bytes: usize| [bytes.saturating_sub(1), bytes, bytes + 1];
    let mut lengths: Vec<usize> = [0, 1, 2, 3, 4, 8, 16]
        .iter()
        .flat_map(|records| around(records * RECORD))
        .filter(|length| *length > 0)
        .collect();
    lengths.extend([300_000, 1_100_000]);
    lengths
}

#[test]
fn ranges_of_all_sizes_are_what_was_published() {
    for backend in BACKENDS {
        for memory in ["64 MiB", "0 B"] {
            let server = Server::start(backend, memory);
            if memory != "0 B" {
                server.warm();
            }
            let (hot, cold) = (server.sent("memory"), server.sent("device"));
            let mut sum = 0;
            let mut client = server.connect();
            for (number, length) in lengths().into_iter().enumerate() {
                for from in [0, 1 + number * 7919, (1 << 20) - 5, FILM - length] {
                    let part = range(&mut client, from, length);
                    assert_eq!(part.status, 206);
                    assert_same(&part.body, &server.film[from..from + length], "a range");
                    sum += length;
                }
            }
            let (hot, cold) = (server.sent("memory") - hot, server.sent("device") - cold);
            let expected = if memory == "0 B" { (0, sum) } else { (sum, 0) };
            assert_eq!(
                (hot as usize, cold as usize),
                expected,
                "{backend} {memory}"
            );
        }
    }
}

#[test]
fn http_over_it_is_the_same() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut client = server.connect();
        let whole = client.get("/film", &[]).unwrap();
        assert_same(&whole.body, &server.film, "the whole");
        let head = client.request("HEAD", "/film", &[]).unwrap();
        assert_eq!(head.field("Content-Length"), Some("5000000"));
        let tag = whole.field("ETag").unwrap();
        let same = client.get("/film", &[&format!("If-None-Match: {tag}")]);
        assert_eq!(same.unwrap().status, 304);
        let fields = [&*format!("If-Range: {tag}"), "Range: bytes=5-9"];
        assert_eq!(
            client.get("/film", &fields).unwrap().body,
            &server.film[5..10]
        );
        let other = client.get("/film", &["If-Range: \"x\"", "Range: bytes=5-9"]);
        assert_same(&other.unwrap().body, &server.film, "another object's range");
        assert_eq!(client.get("/none", &[]).unwrap().status, 404);
        assert_eq!(client.get("/empty", &[]).unwrap().body, b"");
        let parts = client
            .get("/film", &["Range: bytes=0-99999,2000000-2100000"])
            .unwrap();
        let text = &parts.body[parts.body.len() - 200_000..];
        assert_eq!(parts.status, 206);
        assert!(
            text.windows(4096)
                .any(|some| some == &server.film[2_000_000..2_004_096])
        );
        assert_eq!(
            client
                .get("/film", &["Connection: close", "Range: bytes=0-0"])
                .unwrap()
                .status,
            206
        );
        assert!(client.is_closed(), "close_notify came");
    }
}

/// Requests that come at once, cut wherever, are answered in their order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut client = server.connect();
        let lengths: Vec<usize> = (1..120).map(|number| number * 977 % 70_000 + 1).collect();
        let requests: String = lengths
            .iter()
            .map(|length| {
                format!(
                    "GET /film HTTP/1.1\r\nHost: t\r\nRange: bytes=0-{}\r\n\r\n",
                    length - 1
                )
            })
            .collect();
        std::thread::scope(|scope| {
            let mut sock = client.stream.sock.try_clone().unwrap();
            let mut sealed = Vec::new();
            client
                .stream
                .conn
                .writer()
                .write_all(requests.as_bytes())
                .unwrap();
            while client.stream.conn.wants_write() {
                client.stream.conn.write_tls(&mut sealed).unwrap();
            }
            scope.spawn(move || {
                for piece in sealed.chunks(1009) {
                    sock.write_all(piece).unwrap();
                }
            });
            for length in lengths {
                let part = client.response(false).unwrap();
                assert_same(&part.body, &server.film[..length], "a pipelined answer");
            }
        });
    }
}

/// One that reads late gets every byte, and meanwhile others are served.
#[test]
fn slow_readers_get_every_byte_and_keep_nobody_waiting() {
    for backend in BACKENDS {
        for memory in ["64 MiB", "0 B"] {
            let server = Server::start(backend, memory);
            let mut slow: Vec<TlsClient> = (0..40).map(|_| server.connect()).collect();
            for client in &mut slow {
                client
                    .send("GET /film HTTP/1.1\r\nHost: t\r\n\r\n")
                    .unwrap();
            }
            let quick = server.connect().get("/film", &[]).unwrap();
            assert_same(&quick.body, &server.film, "one who reads");
            eventually("sockets are full", || {
                (server.daemon.metric("oca_tls_unsent_connections", "") > 0.0).then_some(())
            });
            for client in &mut slow {
                let late = client.response(false).unwrap();
                assert_same(&late.body, &server.film, "one who reads late");
            }
            eventually("nothing waits", || {
                (server.daemon.metric("oca_tls_unsent_connections", "") == 0.0).then_some(())
            });
        }
    }
}

/// A viewer who leaves in the middle is counted as such, also if the end of the answer was sealed already.
#[test]
fn an_abrupt_end_is_an_aborted_transfer() {
    for backend in BACKENDS {
        let log = "[log]\naccess = { path = \"LOG\", sample = \"100 %\" }\n";
        let server = Server::configured(backend, "64 MiB", "", log);
        server.warm();
        let aborted = || {
            server
                .daemon
                .metric("oca_aborted_transfers_total", "by=\"peer\"")
        };
        let before = aborted();
        let mut client = server.connect();
        client
            .send("GET /film HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        client.stream.read_exact(&mut [0; 1000]).unwrap();
        drop(client);
        eventually("it is counted", || {
            (aborted() == before + 1.0).then_some(())
        });
        assert_eq!(server.daemon.metric("oca_transfers", ""), 0.0);
    }
}

/// Ends the client's half of the connection, and `tells` of it by TLS first or does not.
fn half_close(client: &mut TlsClient, tells: bool) {
    if tells {
        client.stream.conn.send_close_notify();
        client.stream.flush().unwrap();
    }
    client
        .stream
        .sock
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
}

/// Of a client that half-closes, what it asked for is answered.
#[test]
fn a_half_closed_client_gets_its_answer() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for tells in [true, false] {
            let mut client = server.connect();
            client
                .send("GET /film HTTP/1.1\r\nHost: t\r\n\r\n")
                .unwrap();
            half_close(&mut client, tells);
            let answer = client.response(false).unwrap();
            assert_same(&answer.body, &server.film, "after a half-close");
            assert!(client.is_closed());
        }
    }
}

/// And all that it asked for, also what was not opened yet when it half-closed.
#[test]
fn a_half_closed_client_gets_all_its_answers() {
    const MORE: usize = 20;
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for tells in [true, false] {
            let mut client = server.connect();
            client
                .send("GET /film HTTP/1.1\r\nHost: t\r\n\r\n")
                .unwrap();
            let padding = "x".repeat(4000);
            let head = format!("HEAD /film HTTP/1.1\r\nHost: t\r\nA: {padding}\r\n\r\n");
            (0..MORE).for_each(|_| client.send(&head).unwrap());
            half_close(&mut client, tells);
            let whole = client.response(false).unwrap();
            assert_same(&whole.body, &server.film, "the first answer");
            for at in 0..MORE {
                let answer = client.response(true);
                assert_eq!(answer.unwrap().status, 200, "answer {at} after it");
            }
            assert!(client.is_closed());
        }
    }
}

/// The log says how a connection was secured; the metrics count it.
#[test]
fn what_was_agreed_is_told() {
    let log = "[log]\naccess = { path = \"LOG\", sample = \"100 %\" }\n";
    for backend in BACKENDS {
        let server = Server::configured(backend, "64 MiB", "", log);
        let suites = [
            TLS13_AES_128_GCM_SHA256,
            TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ];
        for suite in suites {
            let config = Arc::new(server.authority.client(&[suite]));
            for _ in 0..2 {
                let mut client = connect(server.https(), &config);
                assert_eq!(range(&mut client, 7, 9).body, &server.film[7..16]);
            }
        }
        // The box's own test of its listeners is a full one of TLS 1.3.
        let done = |label| server.daemon.metric("oca_tls_handshakes_total", label);
        assert_eq!(
            (done("kind=\"resumed\""), done("version=\"1.2\"")),
            (2.0, 2.0)
        );
        assert!(done("kind=\"full\"") >= 2.0 && done("version=\"1.3\"") >= 2.0);
        let user = server
            .daemon
            .metric("oca_tls_connections_total", "path=\"user\"");
        assert!(user >= 4.0);
        let status = server.daemon.status().tls.unwrap();
        assert!(status.paths[0].path == "user" && status.paths[0].connections >= 4);
        let path = server.site.path("access.log");
        eventually("four lines", || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines = text.lines().filter(|line| line.contains("\"GET\""));
            let lines: Vec<&str> = lines.collect();
            let resumed = lines
                .iter()
                .filter(|line| line.contains("\"resumed\":true"));
            (lines.len() == 4 && resumed.count() == 2).then(|| {
                assert!(text.contains(
                    "\"tls\":{\"version\":\"1.3\",\"suite\":\"TLS_AES_128_GCM_SHA256\",\"resumed\":false,\"path\":\"user\"}"
                ));
            })
        });
    }
}
