//! For tests of what speaks TLS: authorities, what they sign, and TLS before a server that speaks none. With the feature `testing`.
#![allow(clippy::unwrap_used, reason = "what cannot go on fails its test")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{Identity, pem, provider};

/// An authority of its own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What an authority has signed, in PEM.
pub struct Issued {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// With a name that no test looks at.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a host or an address, good now.
    #[must_use]
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| ())
    }

    /// One that is different.
    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Issued {
            cert: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    /// Writes it as `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) -> Identity {
        let files = Identity {
            cert: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&files.cert, &self.cert).unwrap();
        fs::write(&files.key, &self.key).unwrap();
        files
    }
}

/// TLS before `plain`, on a thread of its own until the process ends. With `clients`, only for those whose certificate it signed.
pub fn front(plain: SocketAddr, server: &Issued, clients: Option<&Authority>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config(server, clients)));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(pass_on(acceptor.clone(), stream, plain));
            }
        });
    });
    address
}

async fn pass_on(acceptor: TlsAcceptor, stream: TcpStream, plain: SocketAddr) {
    match acceptor.accept(stream).into_fallible().await {
        Ok(mut stream) => {
            let mut plain = TcpStream::connect(plain).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
        }
        // A client that is refused, or refuses, is what a test wants. It shall read why: a request that is left unread would
        // reset the connection.
        Err((_, mut stream)) => {
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }
}

fn config(server: &Issued, clients: Option<&Authority>) -> ServerConfig {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let folder = tempfile::tempdir().unwrap();
    let files = server.write(folder.path(), "server");
    let chain = pem::certificates(&files.cert).unwrap();
    let key = pem::private_key(&files.key).unwrap();
    builder.with_single_cert(chain, key).unwrap()
}
