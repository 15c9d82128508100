//! What handshakes come to: which certificate, version, suite, protocol and key exchange.

use std::sync::Arc;

use oca_daemon::tls::Tls;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, Error, HandshakeKind,
    NamedGroup, ProtocolVersion, RootCertStore, ServerConnection, SupportedCipherSuite,
};

use crate::folder::{Folder, GOOD, Issued, authority, issue};

/// Trusts the folder's authority.
fn client(folder: &Folder, suites: &[SupportedCipherSuite]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(folder.authority.der().clone()).unwrap();
    let mut provider = default_provider();
    provider.cipher_suites = suites.to_vec();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The two ends after the handshake, or why there was none.
fn meet(
    tls: &Tls,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(&tls.config)).unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        let met = server.process_new_packets();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        let seen = client.process_new_packets();
        met?;
        seen?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

fn shown(tls: &Tls, client: &Arc<ClientConfig>, name: &str) -> CertificateDer<'static> {
    let (client, _) = meet(tls, client, name).unwrap();
    client.peer_certificates().unwrap()[0].clone().into_owned()
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()
}

#[test]
fn the_certificate_goes_by_name_and_the_first_is_for_all_others() {
    let folder = Folder::new();
    // The client's clock is the real one; what it does not trust it could not tell us.
    let names: [&[&str]; 3] = [
        &["first.example", "127.0.0.1", "other.example"],
        &["*.video.example"],
        &["a.video.example"],
    ];
    let issued = names.map(|names| folder.issue(names, GOOD));
    let files: Vec<_> = issued
        .iter()
        .zip(["0", "1", "2"])
        .map(|(it, name)| folder.put(name, it))
        .collect();
    let tls = folder.tls(&files, "").unwrap();
    let config = Arc::new(client(&folder, ALL_CIPHER_SUITES));
    for (name, at) in [
        ("first.example", 0),
        ("a.video.example", 2),
        ("A.Video.Example", 2),
        ("b.video.example", 1),
        // An address is not sent as a name (RFC 6066, section 3).
        ("127.0.0.1", 0),
        ("other.example", 0),
    ] {
        assert_eq!(shown(&tls, &config, name), der(&issued[at]), "{name}");
    }
    let unknown = meet(&tls, &config, "a.b.video.example").unwrap_err();
    assert!(
        matches!(unknown, Error::InvalidCertificate(_)),
        "shown the first: {unknown:?}"
    );
}

#[test]
fn a_new_connection_sees_what_is_new() {
    let folder = Folder::new();
    let files = folder.put("a", &folder.issue(&["a.example"], GOOD));
    let tls = folder.tls(&[files], "").unwrap();
    let config = Arc::new(client(&folder, ALL_CIPHER_SUITES));
    let renewed = folder.issue(&["a.example"], GOOD);
    assert_ne!(shown(&tls, &config, "a.example"), der(&renewed));
    folder.put("a", &renewed);
    let mut watch = tls.watch();
    let look = watch
        .looker(oca_daemon::tls::Occasion::Routine)
        .look(crate::folder::NOW);
    watch.judge(
        look,
        oca_daemon::tls::Occasion::Routine,
        std::time::Instant::now(),
        crate::folder::NOW,
    );
    let fresh = Arc::new(client(&folder, ALL_CIPHER_SUITES));
    assert_eq!(shown(&tls, &fresh, "a.example"), der(&renewed));
}

#[test]
fn the_order_of_suites_is_the_boxs() {
    let folder = Folder::new();
    let files = [folder.put("a", &folder.issue(&["a.example"], GOOD))];
    let chosen = |more: &str, suites: &[SupportedCipherSuite]| {
        let tls = folder.tls(&files, more).unwrap();
        let client = Arc::new(client(&folder, suites));
        let (client, server) = meet(&tls, &client, "a.example").unwrap();
        let group = server.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519, "and no hybrid");
        client.negotiated_cipher_suite().unwrap().suite()
    };
    let mut backwards = ALL_CIPHER_SUITES.to_vec();
    backwards.reverse();
    assert_eq!(
        chosen("", &backwards),
        CipherSuite::TLS13_AES_128_GCM_SHA256
    );
    let old: Vec<_> = backwards
        .into_iter()
        .filter(|suite| suite.tls13().is_none())
        .collect();
    assert_eq!(
        chosen("", &old),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    );
    let chacha = "min_version = \"1.3\"\nsuites = [\"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_AES_256_GCM_SHA384\"]";
    assert_eq!(
        chosen(chacha, ALL_CIPHER_SUITES),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    );
}

#[test]
fn other_versions_suites_and_groups_are_refused() {
    let folder = Folder::new();
    let files = [folder.put("a", &folder.issue(&["a.example"], GOOD))];
    let tls = folder.tls(&files, "min_version = \"1.3\"").unwrap();
    let old: Vec<_> = ALL_CIPHER_SUITES
        .iter()
        .copied()
        .filter(|suite| suite.tls13().is_none())
        .collect();
    let mut provider = default_provider();
    provider.cipher_suites = old;
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    assert!(matches!(
        meet(&tls, &Arc::new(config), "a.example"),
        Err(Error::PeerIncompatible(_))
    ));
    let tls = folder
        .tls(
            &files,
            "min_version = \"1.3\"\nsuites = [\"TLS_AES_128_GCM_SHA256\"]",
        )
        .unwrap();
    let other = client(&folder, &[cipher_suite::TLS13_AES_256_GCM_SHA384]);
    assert!(matches!(
        meet(&tls, &Arc::new(other), "a.example"),
        Err(Error::PeerIncompatible(_))
    ));
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    assert!(matches!(
        meet(&tls, &Arc::new(config), "a.example"),
        Err(Error::PeerIncompatible(_))
    ));
}

#[test]
fn whoever_offers_only_other_protocols_is_refused() {
    let folder = Folder::new();
    let files = [folder.put("a", &folder.issue(&["a.example"], GOOD))];
    let tls = folder.tls(&files, "").unwrap();
    let offering = |protocols: &[&str]| {
        let mut config = client(&folder, ALL_CIPHER_SUITES);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        meet(&tls, &Arc::new(config), "a.example")
            .map(|(client, _)| client.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(offering(&[]), Ok(None));
    assert_eq!(
        offering(&["h2", "http/1.1"]),
        Ok(Some(b"http/1.1".to_vec()))
    );
    assert_eq!(offering(&["h2"]), Err(Error::NoApplicationProtocol));
    assert_eq!(
        AlertDescription::NoApplicationProtocol,
        AlertDescription::from(120)
    );
}

#[test]
fn a_viewer_who_comes_back_shows_one_ticket() {
    let folder = Folder::new();
    let files = [folder.put("a", &folder.issue(&["a.example"], GOOD))];
    let tls = folder.tls(&files, "").unwrap();
    let old: Vec<_> = ALL_CIPHER_SUITES
        .iter()
        .copied()
        .filter(|suite| suite.tls13().is_none())
        .collect();
    for suites in [ALL_CIPHER_SUITES, &old] {
        let mut config = client(&folder, suites);
        config.resumption = Resumption::in_memory_sessions(8);
        config.enable_early_data = true;
        let config = Arc::new(config);
        let (first, _) = meet(&tls, &config, "a.example").unwrap();
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        if first.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            assert_eq!(first.tls13_tickets_received(), 1);
        }
        let (second, _) = meet(&tls, &config, "a.example").unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(!second.is_early_data_accepted());
        // Another process of the same box has other keys.
        let other = folder.tls(&files, "").unwrap();
        let (third, _) = meet(&other, &config, "a.example").unwrap();
        assert_eq!(third.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn a_client_certificate_is_asked_for_and_must_verify() {
    let folder = Folder::new();
    let files = [folder.put("a", &folder.issue(&["a.example"], GOOD))];
    let own = authority(GOOD);
    let path = folder.write("clients.pem", own.pem());
    let tls = folder
        .tls(&files, &format!("client_ca = {path:?}"))
        .unwrap();
    let showing = |issued: Option<Issued>| {
        let mut roots = RootCertStore::empty();
        roots.add(folder.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_root_certificates(roots);
        let config = match issued {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![der(&issued)], key)
                    .unwrap()
            }
        };
        meet(&tls, &Arc::new(config), "a.example")
            .map(|(_, server)| server.peer_certificates().map(<[_]>::len))
    };
    assert_eq!(showing(None), Ok(None));
    assert_eq!(
        showing(Some(issue(&own, &["peer.example"], GOOD))),
        Ok(Some(1))
    );
    assert!(matches!(
        showing(Some(folder.issue(&["peer.example"], GOOD))),
        Err(Error::InvalidCertificate(_))
    ));
    let error = folder
        .tls(&files, "client_ca = \"/nonexistent/ca.pem\"")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("[tls]: /nonexistent/ca.pem: cannot be read: "),
        "{error}"
    );
}
