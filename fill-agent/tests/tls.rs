//! https to sources: whom the agent believes, who it says it is, and what it says when one does not believe the other.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use fill_agent::source::SourceError;
use fill_agent::tls::{Failures, Files, Side, Tls};
use protocol::config::Certificate;
use protocol::manifest::Source as Listed;
use support::appliance::{APPLIANCE, Setup};
use support::server::{Reply, Server, appliance_tag};
use support::{MIB, bytes, wanted};
use trust::Fault;
use trust::testing::{Authority, Issued, front};

const PEER: &str = "c002.fra001.example";

/// A server, the files of an agent, and two authorities, of which it may believe either.
struct Scene {
    server: Server,
    ours: Authority,
    other: Authority,
    folder: tempfile::TempDir,
    object: Vec<u8>,
    failures: Arc<Failures>,
}

impl Scene {
    async fn new() -> Self {
        let object = bytes(1, MIB);
        let served = object.clone();
        let tag = appliance_tag(&object);
        let server = Server::start(move |ask| Reply::range(ask, &served).with("ETag", &tag)).await;
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (Authority::new("ours"), Authority::new("another"));
        std::fs::write(folder.path().join("ours.pem"), ours.pem()).unwrap();
        std::fs::write(folder.path().join("other.pem"), other.pem()).unwrap();
        Self {
            server,
            ours,
            other,
            folder,
            object,
            failures: Arc::default(),
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ours.pem")
    }

    fn identity(&self, of: &Authority) -> Certificate {
        let files = of.issue(APPLIANCE).write(self.folder.path(), "client");
        Certificate {
            cert: files.cert,
            key: files.key,
        }
    }

    /// TLS before the server; gives its URL by address, as reports tell it.
    fn url(&self, certificate: &Issued, clients: Option<&Authority>) -> String {
        format!(
            "https://{}",
            front(self.server.address, certificate, clients)
        )
    }

    fn peer(&self, certificate: &Issued, clients: Option<&Authority>) -> Listed {
        Listed::Peer {
            appliance: PEER.to_owned(),
            urls: vec![self.url(certificate, clients)],
        }
    }

    /// An origin, by its name.
    fn origin(&self, certificate: &Issued, clients: Option<&Authority>) -> Listed {
        Listed::Http {
            name: "origin".to_owned(),
            url: self
                .url(certificate, clients)
                .replace("127.0.0.1", "localhost"),
        }
    }

    /// What comes of a fetch; all bytes if it is good.
    async fn fetch(&self, listed: Listed, files: Files<'_>) -> Result<(), SourceError> {
        let mut setup = Setup::new("http://127.0.0.1:1");
        setup.tls = Tls::new(&files, Arc::clone(&self.failures));
        let source = setup.sources(&[listed]).get(0).unwrap().clone();
        let wanted = wanted("/a.mp4", &self.object);
        let mut body = source.open(&wanted, 0..MIB, None).await?;
        let mut got = Vec::new();
        while let Some(piece) = body.next(u64::MAX).await? {
            got.extend_from_slice(&piece);
        }
        assert!(got == self.object);
        Ok(())
    }

    /// That a fetch fails like this, says what to do, and is counted once.
    async fn refuses(&self, listed: Listed, files: Files<'_>, expected: Fault, words: &str) {
        let side = match listed {
            Listed::Peer { .. } => Side::Appliance,
            _ => Side::Origin,
        };
        let before = self.count(side, expected);
        let error = self.fetch(listed, files).await.unwrap_err();
        let SourceError::Tls { fault, what } = &error else {
            panic!("{expected:?}: {error}");
        };
        assert_eq!(*fault, expected, "{what}");
        assert!(what.contains(words), "{what}");
        assert_eq!(error.reason(), "tls");
        assert_eq!(self.count(side, expected), before + 1);
    }

    fn count(&self, side: Side, fault: Fault) -> u64 {
        let mut counts = self.failures.counts();
        let found = counts.find(|(of, why, _)| (*of, *why) == (side, fault));
        found.unwrap().2
    }
}

#[tokio::test]
async fn a_peer_is_believed_by_its_id_and_shown_who_asks() {
    let scene = Scene::new().await;
    let (ca, identity) = (scene.ca(), scene.identity(&scene.ours));
    let files = || Files {
        ca: Some(&ca),
        client: Some(&identity),
        origin_ca: None,
    };
    let certificate = scene.ours.issue(PEER);
    let peer = scene.peer(&certificate, Some(&scene.ours));
    scene.fetch(peer, files()).await.unwrap();
    let upstream = Listed::Upstream {
        appliance: PEER.to_owned(),
        urls: vec![scene.url(&certificate, None)],
    };
    scene.fetch(upstream, files()).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_cannot_be_believed_is_not_asked() {
    let scene = Scene::new().await;
    let ca = scene.ca();
    let files = || Files {
        ca: Some(&ca),
        ..Files::default()
    };
    let peer = scene.peer(&scene.other.issue(PEER), None);
    let words = "put the certificate of the authority that signed it into control.ca";
    scene.refuses(peer, files(), Fault::Authority, words).await;
    let peer = scene.peer(&scene.ours.issue("127.0.0.1"), None);
    let words = "its certificate must name \"c002.fra001.example\"";
    scene.refuses(peer, files(), Fault::Name, words).await;
    let over = scene.ours.issue_with(PEER, |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let peer = scene.peer(&over, None);
    let words = "have its certificate renewed";
    scene.refuses(peer, files(), Fault::Expired, words).await;
    let plain = Listed::Peer {
        appliance: PEER.to_owned(),
        urls: vec![format!("https://{}", in_clear())],
    };
    let words = "does not speak TLS";
    scene.refuses(plain, files(), Fault::NotTls, words).await;
    assert_eq!(scene.server.asks().len(), 0);
}

/// A server of plain HTTP: to a handshake it says that this is no request.
fn in_clear() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 32]).unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        // Until the client has read it, and goes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

#[tokio::test]
async fn an_agent_that_is_not_believed_says_so() {
    let scene = Scene::new().await;
    let ca = scene.ca();
    let certificate = scene.ours.issue(PEER);
    let peer = || scene.peer(&certificate, Some(&scene.ours));
    let words = "its client_ca signed: see control.client";
    let files = Files {
        ca: Some(&ca),
        ..Files::default()
    };
    scene
        .refuses(peer(), files, Fault::ClientRefused, words)
        .await;
    let identity = scene.identity(&scene.other);
    let files = Files {
        ca: Some(&ca),
        client: Some(&identity),
        origin_ca: None,
    };
    scene
        .refuses(peer(), files, Fault::ClientRefused, words)
        .await;
    assert_eq!(scene.server.asks().len(), 0);
}

#[tokio::test]
async fn an_origin_has_an_authority_of_its_own_and_is_not_shown_who_asks() {
    let scene = Scene::new().await;
    let (ca, identity) = (scene.ca(), scene.identity(&scene.ours));
    let other = scene.folder.path().join("other.pem");
    let files = || Files {
        ca: Some(&ca),
        client: Some(&identity),
        origin_ca: Some(&other),
    };
    let good = scene.origin(&scene.other.issue("localhost"), None);
    scene.fetch(good, files()).await.unwrap();
    let of_the_fleet = scene.origin(&scene.ours.issue("localhost"), None);
    let words = "into fill.origin_ca";
    scene
        .refuses(of_the_fleet, files(), Fault::Authority, words)
        .await;
    let curious = scene.origin(&scene.other.issue("localhost"), Some(&scene.ours));
    let words = "origins are shown none";
    scene
        .refuses(curious, files(), Fault::ClientRefused, words)
        .await;
}
