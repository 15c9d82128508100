//! https with a certificate authority of one's own, as `SSL_CERT_FILE` or the system's store names it: of the control endpoint, and of
//! the bytes that it gives.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::appliance::Appliance;
use super::endpoint::{Endpoint, manifest};
use super::{objects, paths};

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// TLS before the endpoint, on a thread of its own until the process ends.
fn terminate(endpoint: &Endpoint, authority: &CertifiedIssuer<'static, KeyPair>) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (address, plain) = (listener.local_addr().unwrap(), endpoint.address);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust us is what a test wants.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut plain = TcpStream::connect(plain).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
    });
    address
}

#[test]
fn https_is_believed_with_the_right_authority_alone() {
    let endpoint = Endpoint::start();
    let appliance = Appliance::new(&endpoint);
    let (ours, other) = (authority("ours"), authority("another"));
    let address = terminate(&endpoint, &ours);
    let (plain, https) = (
        format!("http://{}", endpoint.address),
        format!("https://localhost:{}", address.port()),
    );
    appliance.configure(&endpoint, |text| text.replace(&plain, &https));
    fs::write(appliance.path("ours.pem"), ours.pem()).unwrap();
    fs::write(appliance.path("another.pem"), other.pem()).unwrap();
    let wanted = objects(&endpoint, 0..3);
    endpoint.offer(&manifest(1, wanted.clone()));

    let refused = appliance
        .command_trusting("another.pem")
        .arg("check")
        .output();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains(&https) && said.contains("invalid peer certificate: UnknownIssuer"),
        "{said}"
    );

    let mut once = appliance.command_trusting("ours.pem");
    let output = once.args(["once", "--now"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(appliance.published(), paths(&wanted));
    let bytes: u64 = wanted.iter().map(|wanted| wanted.size).sum();
    assert_eq!(endpoint.sent_bytes(), bytes);
}
