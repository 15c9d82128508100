//! https of the real program: whom it lets in, what it says to others, and certificates that change while it runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use support::{Endpoint, OPERATOR, errors, eventually, until};
use trust::testing::{Authority, Issued};
use trust::{Fault, Identity};

const HOST: &str = "127.0.0.1";

/// An endpoint with `[tls]`, and the authority that signed its certificate.
struct Scene {
    endpoint: Endpoint,
    authority: Authority,
    files: Identity,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| None)
    }

    /// With an authority that clients need.
    fn with(clients: impl FnOnce(&Endpoint) -> Option<Authority>) -> Self {
        let endpoint = Endpoint::new();
        let authority = Authority::new("ours");
        let files = authority.issue(HOST).write(&endpoint.path(""), "server");
        fs::write(endpoint.path("ca.pem"), authority.pem()).unwrap();
        let mut lines = format!("[tls]\ncert = {:?}\nkey = {:?}\n", files.cert, files.key);
        if let Some(clients) = clients(&endpoint) {
            fs::write(endpoint.path("clients.pem"), clients.pem()).unwrap();
            lines += &format!("client_ca = {:?}\n", endpoint.path("clients.pem"));
        }
        let file = endpoint.path("oca-control.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text + &lines).unwrap();
        Self {
            endpoint,
            authority,
            files,
        }
    }

    fn url(&self, path: &str) -> String {
        self.endpoint.url(path).replace("http:", "https:")
    }

    fn address(&self) -> String {
        self.endpoint.url("").replace("http://", "")
    }

    /// A client that believes the authority in `ca`.
    fn client(&self, ca: &str, identity: Option<&Issued>) -> reqwest::Client {
        let folder = self.endpoint.path("");
        let identity = identity.map(|issued| issued.write(&folder, "client"));
        let tls = trust::Client::new(Some(self.endpoint.path(ca)), identity);
        let tls = tls.config().unwrap().as_ref().clone();
        let builder = reqwest::Client::builder().no_proxy();
        builder.tls_backend_preconfigured(tls).build().unwrap()
    }

    /// Whether a new connection is believed.
    async fn answers(&self, ca: &str) -> Result<(), Fault> {
        let request = self.client(ca, None).get(self.url("/healthz")).send();
        match request.await {
            Ok(answer) => {
                assert_eq!(answer.status(), 200);
                Ok(())
            }
            Err(error) => Err(Fault::find(&error).expect("an error of TLS").0),
        }
    }

    async fn metric(&self, client: &reqwest::Client, sample: &str) -> Option<f64> {
        let page = client.get(self.url("/metrics")).send().await.unwrap();
        let page = page.text().await.unwrap();
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    /// Waits until a sample has this value.
    async fn counts(&self, client: &reqwest::Client, sample: &str, value: f64) {
        until(sample, async || {
            (self.metric(client, sample).await == Some(value)).then_some(())
        })
        .await;
    }
}

fn hang_up(endpoint: &Endpoint) {
    let process = endpoint.pid().to_string();
    let status = Command::new("kill").args(["-HUP", &process]).status();
    assert!(status.unwrap().success());
}

fn handshakes(outcome: &str) -> String {
    format!("oca_control_tls_handshakes_total{{outcome=\"{outcome}\"}}")
}

fn reloads(outcome: &str) -> String {
    format!("oca_control_tls_reloads_total{{outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn it_speaks_https_and_tells_plain_http_so() {
    let mut scene = Scene::new();
    scene.endpoint.serve();
    let client = scene.client("ca.pem", None);
    let list = client
        .get(scene.url("/v1/appliances"))
        .bearer_auth(OPERATOR);
    assert_eq!(list.send().await.unwrap().status(), 200);
    let curl = Command::new("curl")
        .args(["-fsS", "--noproxy", "*", "--cacert"])
        .arg(scene.endpoint.path("ca.pem"))
        .arg(scene.url("/healthz"))
        .output()
        .unwrap();
    assert_eq!(
        (errors(&curl).as_str(), &curl.stdout[..]),
        ("", &b"ok\n"[..])
    );

    let mut plain = TcpStream::connect(scene.address()).unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{said}");
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{said}"
    );
    assert!(body.contains("needs https://"), "{said}");
    let mut garbage = TcpStream::connect(scene.address()).unwrap();
    garbage.write_all(&[0x16, 3, 3, 0xff, 0xff, 0]).unwrap();
    garbage.read_to_end(&mut Vec::new()).unwrap();
    scene.counts(&client, &handshakes("plain"), 1.0).await;
    scene.counts(&client, &handshakes("failed"), 1.0).await;
    let ends = scene
        .metric(&client, "oca_control_tls_cert_not_after_seconds")
        .await;
    assert!(ends > Some(4e9), "{ends:?}");
    assert!(
        scene
            .endpoint
            .log()
            .contains("listening on https://127.0.0.1:")
    );
    assert!(scene.endpoint.stop());
}

#[tokio::test]
async fn with_client_ca_only_those_that_it_signed_are_let_in() {
    let clients = Authority::new("clients");
    let good = clients.issue("c1.x");
    let mut scene = Scene::with(|_| Some(clients));
    scene.endpoint.serve();
    let ask = async |identity: Option<&Issued>| {
        let client = scene.client("ca.pem", identity);
        let answer = client.get(scene.url("/healthz")).send().await;
        answer
            .map(|_| client)
            .map_err(|error| Fault::find(&error).unwrap_or_else(|| panic!("{error:?}")).0)
    };
    let client = ask(Some(&good)).await.unwrap();
    assert_eq!(ask(None).await.unwrap_err(), Fault::ClientRefused);
    let other = scene.authority.issue("c1.x");
    assert_eq!(ask(Some(&other)).await.unwrap_err(), Fault::ClientRefused);
    scene
        .counts(&client, &handshakes("client_refused"), 2.0)
        .await;
}

#[tokio::test]
async fn certificates_change_while_connections_go_on() {
    let mut scene = Scene::new();
    let other = Authority::new("another");
    fs::write(scene.endpoint.path("other.pem"), other.pem()).unwrap();
    scene.endpoint.serve();
    // Its connection is kept: it goes on whatever happens.
    let old = scene.client("ca.pem", None);
    assert_eq!(scene.metric(&old, &reloads("read")).await, Some(0.0));
    assert_eq!(scene.answers("other.pem").await, Err(Fault::Authority));

    other.issue(HOST).write(&scene.endpoint.path(""), "server");
    hang_up(&scene.endpoint);
    scene.counts(&old, &reloads("read"), 1.0).await;
    assert_eq!(scene.answers("other.pem").await, Ok(()));
    assert_eq!(scene.answers("ca.pem").await, Err(Fault::Authority));

    for bad in ["", "nonsense", &scene.authority.issue(HOST).key] {
        let before = scene.metric(&old, &reloads("refused")).await.unwrap();
        fs::write(&scene.files.key, bad).unwrap();
        hang_up(&scene.endpoint);
        scene.counts(&old, &reloads("refused"), before + 1.0).await;
        assert_eq!(scene.answers("other.pem").await, Ok(()));
    }
    // Each is counted just before it is said.
    eventually("why the last one is refused", || {
        let log = scene.endpoint.log();
        log.contains("the old certificate stays in force")
            && log.contains("server.key: is not the key of the first certificate in")
    });

    // Nobody says anything: the files are looked at.
    scene
        .authority
        .issue(HOST)
        .write(&scene.endpoint.path(""), "server");
    until("the new certificate", async || {
        scene.answers("ca.pem").await.ok()
    })
    .await;
}

#[tokio::test]
async fn who_does_not_shake_hands_keeps_nobody_out_and_is_let_go() {
    let mut scene = Scene::new();
    scene.endpoint.serve();
    let mut silent = Vec::new();
    for _ in 0..32 {
        let stream = TcpStream::connect(scene.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        silent.push(stream);
    }
    silent[0].write_all(&[0x16]).unwrap();
    let client = scene.client("ca.pem", None);
    let answer = client.get(scene.url("/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is let go");
    }
    scene.counts(&client, &handshakes("timed_out"), 32.0).await;
}

#[test]
fn check_and_serve_say_what_is_wrong_with_the_files() {
    let mut scene = Scene::new();
    let folder = scene.endpoint.path("");
    scene.endpoint.done(&["check"]);
    let refused = |scene: &Scene, command: &str, words: &str| {
        let output = scene.endpoint.run(&[command]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(words), "{}", errors(&output));
    };
    let good = scene.authority.issue(HOST);
    let wrong: [(PathBuf, &str, &str); 4] = [
        (
            scene.files.key.clone(),
            &scene.authority.issue(HOST).key,
            "server.key: is not the key of",
        ),
        (
            scene.files.key.clone(),
            &good.cert,
            "server.key: has a certificate and no private key",
        ),
        (scene.files.cert.clone(), "", "server.pem: is empty"),
        (
            scene.files.key.clone(),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "server.key: is encrypted; write one without a passphrase",
        ),
    ];
    for (file, text, words) in wrong {
        good.write(&folder, "server");
        fs::write(&file, text).unwrap();
        refused(&scene, "check", words);
        refused(&scene, "serve", words);
    }
    let over = scene.authority.issue_with(HOST, |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    over.write(&folder, "server");
    refused(
        &scene,
        "check",
        "server.pem: certificate 1 in it has expired",
    );
    // It goes on being watched, and says so.
    scene.endpoint.serve();
    eventually("it is said", || {
        scene.endpoint.log().contains("has expired")
    });
}

#[test]
fn without_tls_sighup_ends_nothing() {
    let mut endpoint = Endpoint::new();
    endpoint.serve();
    hang_up(&endpoint);
    eventually("it is said", || {
        endpoint
            .log()
            .contains("without [tls] nothing is read again")
    });
    assert!(endpoint.stop());
}
