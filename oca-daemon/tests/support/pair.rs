//! Both ends of a connection over TLS in memory: a client of rustls, and our session. The tests use it, and the fuzzer.
#![allow(dead_code, reason = "each user takes a part of it")]

use std::io::{Read, Write};
use std::sync::Arc;

use oca_daemon::tls::Agreed;
use oca_daemon::tls::handshake::{Handshake, Progress};
use oca_daemon::tls::records::{BODY_BYTES, Fault};
use oca_daemon::tls::seal::sealed_bound;
use oca_daemon::tls::session::{Next, Plain, Session};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite};

const NAME: &str = "media.example";

/// A server as the daemon configures it, for clients of one suite.
pub(crate) struct Bench {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Bench {
    pub(crate) fn new(suite: SupportedCipherSuite) -> Self {
        let (chain, key) = certificate(suite);
        let mut roots = RootCertStore::empty();
        roots
            .add(chain[0].clone())
            .expect("an authority of its own");
        let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        server.enable_secret_extraction = true;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = Ticketer::new().expect("keys");
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[suite.version()])
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }

    pub(crate) fn client(&self) -> ClientConnection {
        let name = ServerName::try_from(NAME).expect("a name");
        let mut client = ClientConnection::new(Arc::clone(&self.client), name).expect("a client");
        client.set_buffer_limit(None);
        client
    }

    pub(crate) fn handshake(&self) -> Handshake {
        Handshake::new(&self.server)
    }

    pub(crate) fn pair(&self, cut: usize) -> Pair {
        shake(self.client(), self.handshake(), cut, &[])
    }
}

/// Both ends of a connection.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) session: Box<Session>,
    pub(crate) agreed: Agreed,
    plain: Box<Plain>,
}

/// Makes the handshake, in pieces of `cut` bytes. `early` is what the client sends with its last words.
pub(crate) fn shake(
    mut client: ClientConnection,
    mut server: Handshake,
    cut: usize,
    early: &[u8],
) -> Pair {
    loop {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).expect("of rustls");
        }
        if !client.is_handshaking() && !early.is_empty() {
            client.writer().write_all(early).expect("of rustls");
            client.write_tls(&mut said).expect("of rustls");
        }
        for piece in said.chunks(cut) {
            server.received(piece);
            let mut output = Vec::new();
            let progress = server.advance(&mut output);
            while !output.is_empty() {
                let taken = client.read_tls(&mut &output[..]).expect("of rustls");
                output.drain(..taken);
                client.process_new_packets().expect("of rustls");
            }
            server = match progress {
                Progress::Pending(server) => server,
                Progress::Failed(reason) => panic!("failed: {reason:?}"),
                Progress::Done(session, agreed) => {
                    return Pair {
                        client,
                        session,
                        agreed,
                        plain: Box::new([0; BODY_BYTES]),
                    };
                }
            };
        }
    }
}

impl Pair {
    /// What the client has to send.
    pub(crate) fn sealed_by_client(&mut self, plain: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(plain).expect("of rustls");
        let mut sealed = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sealed).expect("of rustls");
        }
        sealed
    }

    /// All application data that the session opens of `input`.
    pub(crate) fn open(&mut self, input: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        let heard = self.hear(input, &mut all);
        heard.expect("what a client may send");
        all
    }

    /// The same, of a peer that may send anything.
    pub(crate) fn hear(&mut self, mut input: &[u8], all: &mut Vec<u8>) -> Result<Next, Fault> {
        loop {
            let next = self.session.next(&mut input, &mut self.plain, Vec::new);
            match next? {
                Next::Data(length) => all.extend_from_slice(&self.plain[..length]),
                end => return Ok(end),
            }
        }
    }

    /// What the client reads of `sealed`, given in pieces of `cut` bytes.
    pub(crate) fn read_by_client(&mut self, sealed: &[u8], cut: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in sealed.chunks(cut.max(1)) {
            let mut piece = piece;
            while !piece.is_empty() {
                self.client.read_tls(&mut piece).expect("of rustls");
                self.client.process_new_packets().expect("of rustls");
                let mut some = [0; 32 * 1024];
                while let Ok(length @ 1..) = self.client.reader().read(&mut some) {
                    all.extend_from_slice(&some[..length]);
                }
            }
        }
        all
    }

    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; sealed_bound(plain.len())];
        let length = self.session.seal(plain, &mut out).expect("of rustls");
        out.truncate(length);
        out
    }
}

/// One that signs itself, with a key of the kind that `suite` needs.
fn certificate(
    suite: SupportedCipherSuite,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = if format!("{:?}", suite.suite()).contains("ECDHE_RSA") {
        KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)
    } else {
        KeyPair::generate()
    };
    let key = key.expect("a key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signed");
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    (vec![certificate.der().clone()], der.into())
}
