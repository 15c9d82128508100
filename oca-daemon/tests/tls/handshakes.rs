//! Handshakes that are slow, endless, many, or with clients that have nothing in common with us.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oca_daemon::limits::HANDSHAKE_BYTES;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;

use crate::support::tls::{TlsClient, begin, connect, read_all, write_all};
use crate::support::{BACKENDS, eventually};
use crate::viewers::Server;

fn failures(server: &Server, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    server
        .daemon
        .metric("oca_tls_handshake_failures_total", &label)
}

/// The first words of a client.
fn hello(client: &mut TlsClient) -> Vec<u8> {
    let mut hello = Vec::new();
    client.stream.conn.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn a_handshake_that_comes_byte_by_byte_is_done() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut client = begin(server.https(), &server.client);
        for byte in hello(&mut client) {
            client.stream.sock.write_all(&[byte]).unwrap();
        }
        let part = client.get("/film", &["Range: bytes=1-2"]).unwrap();
        assert_eq!(part.body, &server.film[1..3]);
    }
}

/// Data before the handshake is done could be somebody else's, recorded (RFC 8446 section 8): it is passed over, and the client asks again.
#[test]
fn early_data_is_not_heard() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut config = server.authority.client(&[]);
        config.enable_early_data = true;
        let config = Arc::new(config);
        server.authority.allow_early_data(&config);
        let whole = || {
            server
                .daemon
                .metric("oca_http_requests_total", "code=\"200\"")
        };
        let before = whole();
        let mut client = begin(server.https(), &config);
        let mut early = client.stream.conn.early_data().expect("it has a ticket");
        early
            .write_all(b"GET /film HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let part = client.get("/film", &["Range: bytes=1-2"]).unwrap();
        assert_eq!(part.body, &server.film[1..3]);
        assert!(!client.stream.conn.is_early_data_accepted());
        assert_eq!(whole(), before, "what came early was answered");
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up() {
    for backend in BACKENDS {
        let server = Server::configured(backend, "64 MiB", "handshake_timeout = \"1 s\"", "");
        let silent = TcpStream::connect(server.https()).unwrap();
        let mut client = begin(server.https(), &server.client);
        let hello = hello(&mut client);
        client.stream.sock.write_all(&hello[..40]).unwrap();
        // On a busy machine the box's own test of its listeners may be a third one.
        eventually("both are given up", || {
            (failures(&server, "timeout") >= 2.0).then_some(())
        });
        for mut stream in [silent, client.stream.sock] {
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            assert_eq!(read_all(&mut stream), b"");
        }
        eventually("none is under way", || {
            (server.daemon.metric("oca_tls_handshaking", "") == 0.0).then_some(())
        });
    }
}

/// A hello that has no end is cut off where no hello goes.
#[test]
fn a_handshake_without_end_is_cut_off() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut stream = TcpStream::connect(server.https()).unwrap();
        // The begin of a ClientHello of 16 MiB, record after record.
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.extend_from_slice(&[1, 0xff, 0xff, 0xff, 3, 3]);
        record.resize(5 + 0x4000, 0);
        let mut more = vec![22, 3, 1, 0x40, 0];
        more.resize(5 + 0x4000, 0);
        let mut left = 1000;
        while left > 0 && stream.write_all(&record).is_ok() {
            record.clone_from(&more);
            left -= 1;
        }
        assert!(left > 0, "16 MiB were taken");
        eventually("it is counted", || {
            (failures(&server, "too_long") + failures(&server, "protocol") == 1.0).then_some(())
        });
    }
}

/// A hello of a length that a hello may have, a record for each of its bytes: what counts is what was sent for it.
#[test]
fn a_handshake_in_crumbs_is_cut_off() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut stream = TcpStream::connect(server.https()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // The begin of a ClientHello of 60 000 bytes.
        let mut sent = vec![22, 3, 1, 0, 4, 1, 0, 0xea, 0x60];
        while sent.len() <= HANDSHAKE_BYTES {
            sent.extend([22, 3, 1, 0, 1, 0]);
        }
        write_all(&mut stream, &sent);
        assert_eq!(read_all(&mut stream), b"");
        assert_eq!(failures(&server, "too_long"), 1.0);
    }
}

#[test]
fn a_client_that_goes_in_the_middle_is_forgotten() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for cut in [1, 40, usize::MAX] {
            let mut client = begin(server.https(), &server.client);
            let hello = hello(&mut client);
            let before = failures(&server, "peer_closed");
            client
                .stream
                .sock
                .write_all(&hello[..cut.min(hello.len())])
                .unwrap();
            client.stream.sock.shutdown(Shutdown::Write).unwrap();
            eventually("it is counted", || {
                (failures(&server, "peer_closed") == before + 1.0).then_some(())
            });
        }
        eventually("nothing is left", || {
            let open = server.daemon.metric("oca_connections", "");
            let handshaking = server.daemon.metric("oca_tls_handshaking", "");
            (open == 0.0 && handshaking == 0.0).then_some(())
        });
    }
}

/// As a load balancer does, and the box's own self-test: to see that somebody listens is no handshake that failed.
#[test]
fn who_says_nothing_and_goes_is_not_counted() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let accepted = || server.daemon.metric("oca_accepted_connections_total", "");
        let before = accepted();
        for _ in 0..10 {
            let looking = TcpStream::connect(server.https()).unwrap();
            looking.shutdown(Shutdown::Write).unwrap();
        }
        eventually("all have come and gone", || {
            let open = server.daemon.metric("oca_connections", "");
            let handshaking = server.daemon.metric("oca_tls_handshaking", "");
            (accepted() >= before + 10.0 && open == 0.0 && handshaking == 0.0).then_some(())
        });
        assert_eq!(failures(&server, "peer_closed"), 0.0, "on {backend}");
    }
}

/// What the client says first, changed, and what it is refused for.
fn refused(server: &Server, change: impl FnOnce(&mut ClientConfig), reason: &str) -> String {
    let mut config = server.authority.client(&[]);
    change(&mut config);
    refused_with(server, config, reason)
}

fn refused_with(server: &Server, config: ClientConfig, reason: &str) -> String {
    let before = failures(server, reason);
    let mut client = begin(server.https(), &Arc::new(config));
    let error = client.get("/film", &[]).unwrap_err().to_string();
    eventually(reason, || {
        (failures(server, reason) == before + 1.0).then_some(())
    });
    error
}

#[test]
fn clients_with_nothing_in_common_hear_why() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let http2 = |config: &mut ClientConfig| config.alpn_protocols = vec![b"h2".to_vec()];
        let said = refused(&server, http2, "alpn");
        assert!(said.contains("NoApplicationProtocol"), "{said}");
        // Its certificate's key is of another kind.
        let rsa = server
            .authority
            .client(&[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]);
        let said = refused_with(&server, rsa, "nothing_in_common");
        assert!(said.contains("HandshakeFailure"), "{said}");
        let stranger = crate::support::tls::Authority::new().client(&[]);
        let said = refused_with(&server, stranger, "alert");
        assert!(said.contains("invalid peer certificate"), "{said}");
        let both = |config: &mut ClientConfig| {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        };
        let mut config = server.authority.client(&[]);
        both(&mut config);
        let mut client = connect(server.https(), &Arc::new(config));
        assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(client.get("/empty", &[]).unwrap().status, 200);
    }
}

/// One address has as many connections as it may, whether their handshakes are done or not.
#[test]
fn those_that_are_too_many_are_told_so_over_tls() {
    for backend in BACKENDS {
        let more = "[serve]\nmax_connections = 2\n";
        let server = Server::configured(backend, "64 MiB", "", more);
        // Those who get a place keep it. The box's own test of its listeners may have one for a while.
        let mut served = Vec::new();
        eventually("one is told so", || {
            let mut client = server.connect();
            match client.get("/empty", &[]).unwrap().status {
                503 => {
                    assert!(client.is_closed());
                    Some(())
                }
                status => {
                    assert_eq!(status, 200);
                    served.push(client);
                    None
                }
            }
        });
        assert!(served.len() <= 2);
    }
}

/// SIGTERM: an answer under way is finished, and said good-bye to.
#[test]
fn a_stop_lets_answers_finish() {
    for backend in BACKENDS {
        let mut server = Server::start(backend, "64 MiB");
        let mut idle = server.connect();
        idle.get("/empty", &[]).unwrap();
        let half = TcpStream::connect(server.https()).unwrap();
        let mut client = server.connect();
        client
            .send("GET /film HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        eventually("it has begun", || {
            (server.daemon.metric("oca_transfers", "") == 1.0).then_some(())
        });
        let pid = server.daemon.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let answer = client.response(false).unwrap();
        assert_eq!(answer.body, server.film);
        assert!(client.is_closed() && idle.is_closed());
        assert!(server.daemon.child.wait().unwrap().success());
        drop(half);
    }
}

/// A flood of handshakes, all at once: they go on beside the worker, and those that it goes on with itself leave those who are served
/// already their turns.
#[test]
fn viewers_are_served_between_the_handshakes_of_a_flood() {
    const FLOOD: usize = 300;
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut viewer = server.connect();
        viewer.get("/film", &["Range: bytes=0-9"]).unwrap();
        let pid = server.daemon.child.id().to_string();
        let signal = |name| {
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
        };
        let steps = |by| {
            let labels = format!("by=\"{by}\"");
            server
                .daemon
                .metric("oca_tls_handshake_steps_total", &labels)
        };
        let turns = || server.daemon.metric("oca_tls_handshake_turns_total", "");
        let (beside_before, here_before, turns_before) =
            (steps("thread"), steps("worker"), turns());
        assert!(signal("STOP").success());
        let crowd: Vec<TlsClient> = (0..FLOOD)
            .map(|_| {
                let mut client = begin(server.https(), &server.client);
                let hello = hello(&mut client);
                client.stream.sock.write_all(&hello).unwrap();
                client
            })
            .collect();
        assert!(signal("CONT").success());
        for at in 0..20 {
            let field = format!("Range: bytes={at}-{}", at + 9);
            let part = viewer.get("/film", &[&field]).unwrap();
            assert_eq!(part.body, &server.film[at..at + 10]);
        }
        let (beside, here) = eventually("all hellos are answered", || {
            let (beside, here) = (
                steps("thread") - beside_before,
                steps("worker") - here_before,
            );
            (beside + here >= FLOOD as f64).then_some((beside, here))
        });
        assert!(beside > 0.0, "the thread beside the worker does nothing");
        let turns = turns() - turns_before;
        // A hello costs 50 us and more: a turn has time for four or five, however fast the machine is for ten.
        assert!(turns >= here / 10.0, "{here} steps in {turns} turns");
        drop(crowd);
    }
}

/// An established viewer's buffers are its own: a certificate that is replaced, or a config that is read again, cuts nobody.
#[test]
fn a_reload_cuts_nobody() {
    let server = Server::start(BACKENDS[0], "64 MiB");
    let mut client = server.connect();
    client.get("/empty", &[]).unwrap();
    let pid = server.daemon.child.id().to_string();
    let status = Command::new("kill").args(["-s", "HUP", &pid]).status();
    assert!(status.unwrap().success());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        assert_eq!(client.get("/empty", &[]).unwrap().status, 200);
    }
    assert!(fs::metadata(server.site.authority()).is_ok());
}
