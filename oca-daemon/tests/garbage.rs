//! What no honest viewer sends: it gets a status or a close, and the daemon goes on as before.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use support::http::{self, Client};
use support::load::random;
use support::{BACKENDS, Daemon, Plan, Site, assert_same, content, eventually};

const MIB: usize = 1 << 20;
const SEED: u64 = 0x6A2B_A6E0;

/// A daemon with one film; at the end it must be as well as at the beginning.
struct Appliance {
    site: Site,
    daemon: Daemon,
    film: Vec<u8>,
}

fn on_each_backend(test: impl Fn(&Appliance)) {
    for backend in BACKENDS {
        let site = Site::new(&Plan {
            backend,
            workers: 2,
            ..Plan::default()
        });
        let film = content(1, 6 * MIB + 99);
        site.publish("/film", &film);
        let daemon = site.start();
        let mut it = Appliance { site, daemon, film };
        test(&it);
        it.is_well(backend);
    }
}

impl Appliance {
    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.daemon.http).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn is_well(&mut self, backend: &str) {
        let response = http::get(self.daemon.http, "/film", &[]).unwrap();
        assert_same(&response.body, &self.film, backend);
        eventually("all connections are gone", || {
            let open = self.daemon.metric("oca_connections", "");
            (open == 0.0 && self.daemon.metric("oca_transfers", "") == 0.0).then_some(())
        });
        assert!(self.daemon.child.try_wait().unwrap().is_none(), "it runs");
        assert!(self.site.path("run").join("daemon.sock").exists());
    }
}

/// Everything until the close. A reset counts as one: garbage that was not read yet when the daemon closed.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
    bytes
}

/// Writes as much as is taken: a daemon that has heard enough may close meanwhile.
fn write(stream: &mut TcpStream, bytes: &[u8]) {
    if let Err(error) = stream.write_all(bytes) {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        assert!(
            matches!(error.kind(), BrokenPipe | ConnectionReset),
            "{error}"
        );
    }
}

fn statuses(answers: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answers);
    let lines = text
        .lines()
        .filter_map(|line| line.split("HTTP/1.1 ").nth(1));
    lines
        .filter_map(|line| line.get(..3)?.parse().ok())
        .collect()
}

#[test]
fn random_bytes_get_a_status_or_a_close() {
    on_each_backend(|it| {
        let mut seed = SEED;
        for _ in 0..300 {
            let length = random(&mut seed) as usize % 12_000 + 1;
            let mut bytes = content(random(&mut seed), length);
            // Some begin like a request.
            if random(&mut seed).is_multiple_of(3) {
                let begin = b"GET /film HTTP/1.1\r\n";
                let part = random(&mut seed) as usize % begin.len();
                bytes.splice(..0, begin[..part].iter().copied());
            }
            let mut stream = it.stream();
            write(&mut stream, &bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let answer = rest(&mut stream);
            let known = statuses(&answer);
            assert!(
                known
                    .iter()
                    .all(|status| [400, 404, 405, 408, 414, 431, 501, 505].contains(status)),
                "{known:?}"
            );
        }
    });
}

#[test]
fn a_head_cut_anywhere_gets_no_answer_and_no_harm() {
    on_each_backend(|it| {
        let head = b"GET /film HTTP/1.1\r\nHost: x\r\nRange: bytes=5-9\r\n\r\n";
        for end in 0..head.len() {
            let mut stream = it.stream();
            stream.write_all(&head[..end]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(&mut stream), b"", "{end} bytes of a head");
        }
        let mut stream = it.stream();
        for byte in head {
            stream.write_all(&[*byte]).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = rest(&mut stream);
        assert!(answer.starts_with(b"HTTP/1.1 206"));
        assert!(answer.ends_with(&it.film[5..=9]));
    });
}

#[test]
fn fifty_requests_in_one_packet_are_answered_in_order() {
    on_each_backend(|it| {
        let mut client = Client::connect(it.daemon.http).unwrap();
        let at = |number: usize| number * 100_003;
        let requests: String = (0..50)
            .map(|number| match number % 5 {
                4 => format!("GET /none{number} HTTP/1.1\r\nHost: x\r\n\r\n"),
                3 => "HEAD /film HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
                _ => {
                    let first = at(number);
                    let last = first + 60_000 + number;
                    format!("GET /film HTTP/1.1\r\nHost: x\r\nRange: bytes={first}-{last}\r\n\r\n")
                }
            })
            .collect();
        client.send(&requests).unwrap();
        for number in 0..50 {
            let response = client.response(number % 5 == 3).unwrap();
            match number % 5 {
                4 => assert_eq!(response.status, 404),
                3 => assert_eq!((response.status, response.body.len()), (200, 0)),
                _ => {
                    let range = at(number)..=at(number) + 60_000 + number;
                    assert_same(&response.body, &it.film[range], &format!("answer {number}"));
                }
            }
        }
        // Much more than is kept at once: the rest waits in the socket.
        let many = "GET /film HTTP/1.1\r\nHost: x\r\nRange: bytes=7-11\r\n\r\n".repeat(2000);
        let mut writer = client.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(many.as_bytes()).unwrap());
            for _ in 0..2000 {
                assert_same(
                    &client.response(false).unwrap().body,
                    &it.film[7..12],
                    "many",
                );
            }
        });
    });
}

#[test]
fn a_peer_that_will_send_no_more_gets_all_its_answers() {
    on_each_backend(|it| {
        let mut stream = it.stream();
        let requests = "GET /film HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
        stream.write_all(requests.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answers = rest(&mut stream);
        assert_eq!(statuses(&answers), [200, 200, 200]);
        let bodies = 3 * it.film.len();
        assert!(answers.len() > bodies && answers.len() < bodies + 3000);
        assert!(answers.ends_with(&it.film));
    });
}

#[test]
fn a_reset_in_the_middle_of_a_transfer_ends_it() {
    on_each_backend(|it| {
        for _ in 0..40 {
            let mut stream = it.stream();
            stream
                .write_all(b"GET /film HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            stream.read_exact(&mut [0; 1000]).unwrap();
            // Closing it with bytes unread makes the kernel send a reset.
            drop(stream);
        }
    });
}

#[test]
fn two_thousand_connections_come_and_go() {
    on_each_backend(|it| {
        let accepted = || it.daemon.metric("oca_accepted_connections_total", "");
        let before = accepted();
        for round in 0..20 {
            let mut open: Vec<TcpStream> = (0..100).map(|_| it.stream()).collect();
            if round % 2 == 1 {
                for stream in &mut open {
                    stream.write_all(b"GET /film HTTP/1.1\r\nHo").unwrap();
                }
            }
        }
        eventually("all were accepted", || {
            (accepted() >= before + 2000.0).then_some(())
        });
    });
}
