//! What no client should send after its handshake: each gets the alert that the RFC names, and the connection ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::{AlertDescription as Alert, ContentType, SupportedCipherSuite};

use crate::crafted::Crafted;
use crate::support::http::Client;
use crate::support::tls::read_all;
use crate::support::{BACKENDS, eventually};
use crate::viewers::Server;

const TLS13: [SupportedCipherSuite; 2] = [TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
const TLS12: [SupportedCipherSuite; 2] = [
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// What is sent, what is heard of it, and how it is counted.
struct Case {
    fault: &'static str,
    alerts: &'static [Alert],
    send: fn(&mut Crafted),
}

const EVERYWHERE: [Case; 9] = [
    Case {
        fault: "cannot_open",
        alerts: &[Alert::BadRecordMac],
        send: |peer| {
            let mut sealed = peer.sealed(ContentType::ApplicationData, b"GET / HTTP/1.1\r\n\r\n");
            let last = sealed.len() - 1;
            sealed[last] ^= 1;
            peer.send_raw(&sealed);
        },
    },
    Case {
        fault: "cannot_open",
        alerts: &[Alert::BadRecordMac],
        // A record that is repeated.
        send: |peer| {
            let sealed = peer.sealed(ContentType::ApplicationData, b"G");
            peer.send_raw(&[&sealed[..], &sealed[..]].concat());
        },
    },
    Case {
        fault: "cannot_open",
        alerts: &[Alert::BadRecordMac],
        // Too short for a tag.
        send: |peer| peer.send_raw(&[23, 3, 3, 0, 3, 1, 2, 3]),
    },
    Case {
        fault: "too_long",
        alerts: &[Alert::RecordOverflow],
        send: |peer| peer.send_raw(&[23, 3, 3, 0x41, 0x01]),
    },
    Case {
        fault: "no_record",
        alerts: &[Alert::UnexpectedMessage],
        send: |peer| peer.send_raw(b"GET / HTTP/1.1\r\n\r\n"),
    },
    Case {
        fault: "flood",
        alerts: &[Alert::UnexpectedMessage],
        send: |peer| (0..40).for_each(|_| peer.send(ContentType::ApplicationData, b"")),
    },
    Case {
        fault: "alert",
        alerts: &[],
        send: |peer| peer.send(ContentType::Alert, &[2, 80]),
    },
    Case {
        fault: "malformed",
        alerts: &[Alert::DecodeError],
        send: |peer| peer.send(ContentType::Alert, &[1]),
    },
    Case {
        fault: "unexpected",
        alerts: &[Alert::UnexpectedMessage],
        // A Certificate, which nobody has asked for.
        send: |peer| peer.send(ContentType::Handshake, &[11, 0, 0, 0]),
    },
];

const OF_TLS13: [Case; 4] = [
    Case {
        fault: "flood",
        alerts: &[Alert::UnexpectedMessage],
        send: |peer| {
            for _ in 0..40 {
                peer.send(ContentType::ApplicationData, b"");
            }
        },
    },
    Case {
        fault: "malformed",
        alerts: &[Alert::DecodeError],
        send: |peer| peer.send(ContentType::Handshake, &[24, 0, 0, 1, 7]),
    },
    Case {
        fault: "unexpected",
        alerts: &[Alert::UnexpectedMessage],
        // In clear.
        send: |peer| peer.send_raw(&[21, 3, 3, 0, 2, 1, 0]),
    },
    Case {
        fault: "unexpected",
        alerts: &[Alert::UnexpectedMessage],
        send: |peer| peer.send_raw(&[20, 3, 3, 0, 1, 1]),
    },
];

const OF_TLS12: [Case; 2] = [
    Case {
        fault: "renegotiation",
        alerts: &[Alert::NoRenegotiation, Alert::CloseNotify],
        send: |peer| peer.send(ContentType::Handshake, &[1, 0, 0, 2, 3, 3]),
    },
    Case {
        fault: "unexpected",
        alerts: &[Alert::UnexpectedMessage],
        send: |peer| peer.send(ContentType::ChangeCipherSpec, &[1]),
    },
];

#[test]
fn every_fault_gets_its_alert_and_is_counted() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let tables = [
            (&TLS13[..], &EVERYWHERE[..]),
            (&TLS13, &OF_TLS13),
            (&TLS12, &EVERYWHERE),
            (&TLS12, &OF_TLS12),
        ];
        for (suites, cases) in tables {
            for suite in suites {
                let config = Arc::new(server.authority.client(&[*suite]));
                for case in cases {
                    let label = format!("fault=\"{}\"", case.fault);
                    let before = server.daemon.metric("oca_tls_faults_total", &label);
                    let mut peer = Crafted::connect(server.https(), &config);
                    (case.send)(&mut peer);
                    let alerts = peer.alerts();
                    assert_eq!(alerts, case.alerts, "{} of {suite:?}", case.fault);
                    let after = server.daemon.metric("oca_tls_faults_total", &label);
                    assert_eq!(after, before + 1.0, "{} of {suite:?}", case.fault);
                }
            }
        }
    }
}

/// RFC 8446 section 6.1: `user_canceled` says nothing by itself; a close_notify follows when it is meant.
#[test]
fn a_user_who_cancels_is_heard_until_he_closes() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for suite in [TLS13[0], TLS12[0]] {
            let config = Arc::new(server.authority.client(&[suite]));
            let mut peer = Crafted::connect(server.https(), &config);
            peer.send(ContentType::Alert, &[1, 90]);
            let request = b"HEAD /film HTTP/1.1\r\nHost: t\r\n\r\n";
            peer.send(ContentType::ApplicationData, request);
            peer.send(ContentType::Alert, &[1, 0]);
            let heard = peer.heard();
            let [(ContentType::ApplicationData, answer), goodbye] = &heard[..] else {
                panic!("{heard:?}");
            };
            assert!(answer.starts_with(b"HTTP/1.1 200 "));
            assert_eq!(*goodbye, (ContentType::Alert, vec![1, 0]));
        }
    }
}

/// A client that replaces its key without end, and sends nothing with it.
#[test]
fn a_flood_of_key_updates_is_cut_off() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut client = server.connect();
        client.get("/film", &["Range: bytes=0-0"]).unwrap();
        for _ in 0..40 {
            client.stream.conn.refresh_traffic_keys().unwrap();
            let mut sealed = Vec::new();
            client.stream.conn.write_tls(&mut sealed).unwrap();
            if client.stream.sock.write_all(&sealed).is_err() {
                break;
            }
        }
        assert!(client.response(false).is_err());
        let floods = server
            .daemon
            .metric("oca_tls_faults_total", "fault=\"flood\"");
        assert_eq!(floods, 1.0);
        // One that asks for something in between is served.
        let mut client = server.connect();
        for _ in 0..100 {
            client.stream.conn.refresh_traffic_keys().unwrap();
            let part = client.get("/film", &["Range: bytes=7-8"]).unwrap();
            assert_eq!(part.body, &server.film[7..9]);
        }
    }
}

/// A fault in the middle of an answer: what was sealed is sent whole, then the alert.
#[test]
fn an_answer_that_is_cut_by_a_fault_ends_with_whole_records() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let config = Arc::new(server.authority.client(&TLS13[..1]));
        let mut peer = Crafted::connect(server.https(), &config);
        peer.send(
            ContentType::ApplicationData,
            b"GET /film HTTP/1.1\r\nHost: t\r\n\r\n",
        );
        eventually("it has begun", || {
            (server.daemon.metric("oca_transfers", "") == 1.0).then_some(())
        });
        peer.send_raw(&[23, 3, 3, 0, 3, 1, 2, 3]);
        let heard = peer.heard();
        let (last, body) = heard.split_last().unwrap();
        assert_eq!(*last, (ContentType::Alert, vec![2, 20]));
        let bytes: usize = body.iter().map(|(_, payload)| payload.len()).sum();
        assert!(bytes < server.film.len(), "it was cut");
        let aborted = "oca_aborted_transfers_total";
        assert_eq!(server.daemon.metric(aborted, "by=\"peer\""), 1.0);
    }
}

#[test]
fn http_in_clear_on_the_port_of_tls_is_told_so() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut client = Client::connect(server.https()).unwrap();
        let answer = client.get("/film", &[]).unwrap();
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body.len(), 49);
        assert!(String::from_utf8(answer.body).unwrap().contains("TLS"));
        assert!(client.is_closed());
        let label = "reason=\"plain_http\"";
        let failures = server
            .daemon
            .metric("oca_tls_handshake_failures_total", label);
        assert_eq!(failures, 1.0);
    }
}

/// And the other way round, a ClientHello is no request.
#[test]
fn tls_on_the_port_of_http_is_a_bad_request() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let mut client = crate::support::tls::begin(server.daemon.http, &server.client);
        let mut hello = Vec::new();
        client.stream.conn.write_tls(&mut hello).unwrap();
        client.stream.sock.write_all(&hello).unwrap();
        let mut answer = [0; 12];
        client.stream.sock.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400");
    }
}

/// Records that are cut off by the end of the connection say nothing, and cost nothing.
#[test]
fn a_truncated_record_is_the_end() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        let config = Arc::new(server.authority.client(&TLS13[..1]));
        for keep in [1, 4, 5, 6, 30] {
            let mut peer = Crafted::connect(server.https(), &config);
            let request = b"GET /film HTTP/1.1\r\nHost: t\r\n\r\n";
            let sealed = peer.sealed(ContentType::ApplicationData, request);
            peer.send_raw(&sealed[..keep]);
            peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
            let heard = peer.heard();
            assert!(
                heard.iter().all(|(typ, _)| *typ == ContentType::Alert),
                "{heard:?}"
            );
        }
        eventually("all are gone", || {
            (server.daemon.metric("oca_connections", "") == 0.0).then_some(())
        });
    }
}

/// Bytes that are no handshake at all.
#[test]
fn garbage_instead_of_a_handshake_is_refused() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for garbage in [
            &[0; 100][..],
            &[0x80, 0x2e, 1, 0, 2],
            &[22, 3, 1, 0xff, 0xff, 1],
        ] {
            let mut stream = TcpStream::connect(server.https()).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.write_all(garbage).unwrap();
            let said = read_all(&mut stream);
            assert_eq!(
                said.first(),
                Some(&21),
                "an alert for {garbage:?}: {said:?}"
            );
        }
        let label = "reason=\"protocol\"";
        let failures = server
            .daemon
            .metric("oca_tls_handshake_failures_total", label);
        assert_eq!(failures, 3.0);
    }
}
