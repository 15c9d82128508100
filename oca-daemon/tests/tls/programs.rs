//! The programs that people use: curl, and `openssl s_client`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use crate::support::tls::NAME;
use crate::support::{BACKENDS, Plan, Site, assert_same, content};
use crate::viewers::Server;

/// As openssl names them.
const SUITES_1_3: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];
const SUITES_ECDSA: [&str; 3] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
];
const SUITES_RSA: [&str; 3] = [
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
];
const REQUEST: &str =
    "GET /film HTTP/1.1\r\nHost: t\r\nRange: bytes=11-2000010\r\nConnection: close\r\n\r\n";

fn curl(server: &Server, arguments: &[&str], path: &str) -> Output {
    let port = server.https().port();
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60", "--cacert"])
        .arg(server.site.authority())
        .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
        .args(arguments)
        .arg(format!("https://{NAME}:{port}{path}"))
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn curl_gets_every_byte() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
            let whole = curl(&server, version, "/film").stdout;
            assert_same(&whole, &server.film, "curl");
            let part = curl(
                &server,
                &[version, &["-r", "16383-16385"]].concat(),
                "/film",
            );
            assert_eq!(part.stdout, &server.film[16_383..16_386]);
        }
        let two = curl(
            &server,
            &[
                "-w",
                "%{num_connects} %{http_version}",
                "-o",
                "/dev/null",
                "-I",
            ],
            "/film",
        );
        assert_eq!(String::from_utf8_lossy(&two.stdout), "1 1.1");
    }
}

fn s_client(server: &Server, arguments: &[&str]) -> Child {
    Command::new("openssl")
        .args(["s_client", "-connect"])
        .arg(server.https().to_string())
        .args(["-servername", NAME, "-verify_return_error", "-CAfile"])
        .arg(server.site.authority())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed")
}

/// What it prints after a request that closes the connection.
fn ask(server: &Server, arguments: &[&str]) -> Vec<u8> {
    let mut client = s_client(server, arguments);
    client
        .stdin
        .as_mut()
        .unwrap()
        .write_all(REQUEST.as_bytes())
        .unwrap();
    let mut said = Vec::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut said)
        .unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(!said.is_empty(), "{arguments:?}: {output:?}");
    said
}

fn assert_body(server: &Server, said: &[u8], what: &str) {
    let body = said.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert_same(&said[body..], &server.film[11..2_000_011], what);
}

#[test]
fn openssl_gets_every_byte_with_every_suite() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for suite in SUITES_1_3 {
            let said = ask(&server, &["-quiet", "-tls1_3", "-ciphersuites", suite]);
            assert_body(&server, &said, suite);
        }
        for suite in SUITES_ECDSA {
            let said = ask(&server, &["-quiet", "-tls1_2", "-cipher", suite]);
            assert_body(&server, &said, suite);
        }
    }
}

/// The same with a certificate whose key is of RSA.
#[test]
fn openssl_gets_every_byte_with_rsa() {
    let site = Site::new(&Plan::default());
    let authority = crate::support::tls::Authority::new();
    site.speak_tls(&authority, "");
    let (chain, key) = authority.certificate(&[NAME], true);
    fs::write(site.path("chain.pem"), chain).unwrap();
    fs::write(site.path("key.pem"), key).unwrap();
    let film = content(11, 3_000_000);
    site.publish("/film", &film);
    let server = Server {
        daemon: site.start(),
        client: std::sync::Arc::new(authority.client(&[])),
        site,
        film,
        authority,
    };
    for suite in SUITES_RSA {
        let said = ask(&server, &["-quiet", "-tls1_2", "-cipher", suite]);
        assert_body(&server, &said, suite);
    }
}

#[test]
fn openssl_resumes() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for version in ["-tls1_2", "-tls1_3"] {
            let file = server.site.path(&format!("session{version}"));
            let file = file.to_str().unwrap();
            let first = ask(&server, &[version, "-ign_eof", "-sess_out", file]);
            assert!(contains(&first, "\nNew, TLSv1."), "{version}");
            let second = ask(&server, &[version, "-ign_eof", "-sess_in", file]);
            assert!(contains(&second, "\nReused, TLSv1."), "{version}");
            let end = second
                .windows(10)
                .position(|some| some == &server.film[11..21]);
            let body = &second[end.unwrap()..];
            assert_same(&body[..2_000_000], &server.film[11..2_000_011], version);
        }
        assert_eq!(
            server
                .daemon
                .metric("oca_tls_handshakes_total", "kind=\"resumed\""),
            2.0
        );
    }
}

fn contains(said: &[u8], what: &str) -> bool {
    said.windows(what.len()).any(|some| some == what.as_bytes())
}

/// `k`: it has a new key. `K`: it wants one of us too.
#[test]
fn openssl_replaces_keys() {
    for backend in BACKENDS {
        let server = Server::start(backend, "64 MiB");
        for (command, ours) in [("k\n", 0.0), ("K\n", 1.0)] {
            let before = server.daemon.metric("oca_tls_key_updates_total", "");
            let mut client = s_client(&server, &["-tls1_3"]);
            let mut stdin = client.stdin.take().unwrap();
            let mut stdout = BufReader::new(client.stdout.take().unwrap());
            let mut stderr = BufReader::new(client.stderr.take().unwrap());
            // Nothing is read of its standard input before it is connected.
            let mut line = String::new();
            while !line.starts_with("---") || !line.ends_with('\n') || line.is_empty() {
                line.clear();
                assert!(stdout.read_line(&mut line).unwrap() > 0, "connected");
            }
            stdin.write_all(command.as_bytes()).unwrap();
            let mut said = String::new();
            while !said.contains("KEYUPDATE") {
                assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
            }
            stdin.write_all(REQUEST.as_bytes()).unwrap();
            let mut rest = Vec::new();
            stdout.read_to_end(&mut rest).unwrap();
            let begin = rest
                .windows(12)
                .position(|some| some == b"HTTP/1.1 206")
                .unwrap();
            let rest = &rest[begin..];
            let body = rest.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            assert_same(
                &rest[body..body + 2_000_000],
                &server.film[11..2_000_011],
                command,
            );
            let after = server.daemon.metric("oca_tls_key_updates_total", "");
            assert_eq!(after - before, ours, "{command}");
            client.wait().unwrap();
        }
    }
}
