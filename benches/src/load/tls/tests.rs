//! Against servers of rustls that do right, and wrong in one way each.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::load::{Check, Load, Object, Outcome, Rate, SILENCE, Target, Until, run};
use crate::tls::{KeyKind, Security, Suite, Version};

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Answers a range with a head and a body, or otherwise. None: it is done with this connection.
type Answer = fn(&mut Stream, &[u8], &[u8]) -> Option<()>;

const SIZE: usize = 1 << 20;
const RANGE: u64 = 100_000;

fn contents() -> &'static [u8] {
    static CONTENTS: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..SIZE).map(|number| (number / 7 % 251) as u8).collect());
    &CONTENTS
}

fn config(folder: &Path) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(folder.join("tls/certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("tls/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

fn serve(config: Arc<ServerConfig>, answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(connection, socket.unwrap());
            std::thread::spawn(move || serve_one(stream, answer));
        }
    });
    address
}

fn serve_one(stream: Stream, answer: Answer) -> Option<()> {
    let contents = contents();
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while !line.starts_with("Range: bytes=") {
            line.clear();
            stream
                .read_line(&mut line)
                .ok()
                .filter(|&count| count > 0)?;
        }
        let (first, last) = line.trim_end().split_once('=')?.1.split_once('-')?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        stream.read_line(&mut line).ok()?;
        let body = &contents[first..=last];
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n",
            body.len()
        );
        answer(stream.get_mut(), head.as_bytes(), body)?;
    }
}

fn right(stream: &mut Stream, head: &[u8], body: &[u8]) -> Option<()> {
    stream.write_all(&[head, body].concat()).ok()
}

fn ask(
    (suite, version, kind): (Suite, Version, KeyKind),
    check: Check,
    answer: Answer,
) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let security = Security::make(&folder.path().join("tls"), suite, kind).unwrap();
    let file = folder.path().join("a");
    std::fs::write(&file, contents()).unwrap();
    run(&Load {
        target: &Target {
            address: serve(config(folder.path()), answer),
            tls: Some(Client::new(&security.certificate, suite, version)?),
        },
        objects: &[Object {
            path: "/a".into(),
            file: Some(file),
            size: SIZE as u64,
        }],
        connections: 4,
        range_bytes: RANGE,
        rate: Rate::Full,
        until: Until::Requests(40),
        check,
    })
}

const PLAIN: (Suite, Version, KeyKind) = (Suite::Aes128, Version::Tls13, KeyKind::Ecdsa);

#[test]
fn all_suites_of_both_versions_are_counted_and_compared() {
    for suite in [Suite::Aes128, Suite::Aes256, Suite::Chacha20] {
        for version in [Version::Tls13, Version::Tls12] {
            for check in [Check::Length, Check::Read, Check::Content] {
                let outcome = ask((suite, version, KeyKind::Ecdsa), check, right);
                let found = outcome.map(|it| (it.requests, it.bytes)).ok();
                let about = format!("{suite:?} {version:?} {check:?}");
                assert_eq!(found, Some((40, 40 * RANGE)), "{about}");
            }
        }
    }
}

#[test]
fn servers_may_sign_with_rsa() {
    for version in [Version::Tls13, Version::Tls12] {
        let of = (Suite::Aes128, version, KeyKind::Rsa);
        assert_eq!(ask(of, Check::Length, right).unwrap().requests, 40);
    }
}

#[test]
fn records_of_any_length_are_counted() {
    let odd: Answer = |stream, head, body| {
        // The head in two records; bodies in records of 1 to 2 998 bytes.
        stream.write_all(&head[..20]).ok()?;
        stream.flush().ok()?;
        stream.write_all(&head[20..]).ok()?;
        let mut rest = body;
        for length in (1..).step_by(333).map(|length| length % 2999 + 1) {
            let (piece, after) = rest.split_at(rest.len().min(length));
            stream.flush().ok()?;
            stream.write_all(piece).ok()?;
            rest = after;
            if rest.is_empty() {
                return stream.flush().ok();
            }
        }
        None
    };
    for check in [Check::Length, Check::Content] {
        assert_eq!(ask(PLAIN, check, odd).unwrap().requests, 40);
    }
}

#[test]
fn keys_may_change_within_a_response() {
    let update: Answer = |stream, head, body| {
        let (one, two) = body.split_at(60_000);
        stream.write_all(head).ok()?;
        stream.write_all(one).ok()?;
        stream.conn.refresh_traffic_keys().ok()?;
        stream.write_all(two).ok()
    };
    for check in [Check::Length, Check::Content] {
        assert_eq!(ask(PLAIN, check, update).unwrap().requests, 40);
    }
}

#[test]
fn what_goes_wrong_ends_the_run() {
    let wrong: &[(&str, Answer)] = &[
        ("closed", |stream, head, body| {
            stream.write_all(&[head, &body[..70_000]].concat()).ok()?;
            None
        }),
        ("closed", |stream, head, body| {
            stream.write_all(&[head, &body[..70_000]].concat()).ok()?;
            stream.conn.send_close_notify();
            stream.flush().ok()
        }),
        ("", |stream, head, body| {
            stream.write_all(&[head, body, &[0; 3000]].concat()).ok()
        }),
        ("not a record", |stream, head, body| {
            stream.write_all(&[head, body].concat()).ok()?;
            stream
                .sock
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .ok()
        }),
        // Of the right length and with a right header, but of nobody's key.
        ("cannot be opened", |stream, head, body| {
            stream.write_all(&[head, body].concat()).ok()?;
            let forged = [&[23, 3, 3, 0, 100][..], &[7; 100]].concat();
            stream.sock.write_all(&forged).ok()
        }),
    ];
    for (word, answer) in wrong {
        for check in [Check::Length, Check::Content] {
            let error = format!("{:#}", ask(PLAIN, check, *answer).unwrap_err());
            assert!(error.contains(word), "{check:?}: {error} ({word})");
        }
    }
}

#[test]
fn an_alert_amid_a_body_is_not_taken_for_a_part_of_it() {
    // The server is told something senseless and says so: a fatal alert.
    let alert: Answer = |stream, head, body| {
        stream.write_all(&[head, &body[..50_000]].concat()).ok()?;
        let forged = [&[23, 3, 3, 0, 100][..], &[7; 100]].concat();
        let mut forged = &forged[..];
        stream.conn.read_tls(&mut forged).ok()?;
        stream.conn.process_new_packets().unwrap_err();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock).ok()?;
        }
        None
    };
    for version in [Version::Tls13, Version::Tls12] {
        let of = (Suite::Aes128, version, KeyKind::Ecdsa);
        let error = format!("{:#}", ask(of, Check::Length, alert).unwrap_err());
        assert!(error.contains("alert 20"), "{error}");
    }
}

#[test]
fn a_certificate_that_is_not_the_pinned_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name| Security::make(&folder.path().join(name), Suite::Aes128, KeyKind::Ecdsa);
    make("tls").unwrap();
    let other = make("other").unwrap();
    let target = Target {
        address: serve(config(folder.path()), right),
        tls: Some(other.client),
    };
    let error = crate::load::open_all(&target, 1, Check::Length, SILENCE)
        .err()
        .unwrap();
    assert!(format!("{error:#}").contains("UnknownIssuer"), "{error:#}");
}

#[test]
fn who_speaks_no_tls_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let make = Security::make(&folder.path().join("tls"), Suite::Aes128, KeyKind::Ecdsa);
    let target = Target {
        address: crate::load::answering::serve(|_, mut socket| {
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok()
        }),
        tls: Some(make.unwrap().client),
    };
    let error = crate::load::open_all(&target, 1, Check::Length, SILENCE)
        .err()
        .unwrap();
    assert!(
        format!("{error:#}").contains("handshake fails"),
        "{error:#}"
    );
}
