//! An authority, a box that shows a certificate of it, and clients that trust it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedCipherSuite,
};

use super::Site;
use super::http::Client;

/// The name in the first certificate of a box.
pub(crate) const NAME: &str = "media.example";

/// An authority, with the certificates that it gave out in a folder.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A client over TLS.
pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        Self { issuer }
    }

    /// Chain and key for `names`, as PEM, with a key of the kind that `algorithm` names.
    pub(crate) fn certificate(&self, names: &[&str], rsa: bool) -> (String, String) {
        let key = if rsa {
            KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)
        } else {
            KeyPair::generate()
        };
        let key = key.expect("a key");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// Gives a client a ticket of another server with the name of the box, and with that the leave to send early data.
    pub(crate) fn allow_early_data(&self, client: &Arc<ClientConfig>) {
        let (chain, key) = self.certificate(&[NAME], false);
        let chain = CertificateDer::from_pem_slice(chain.as_bytes()).expect("a chain");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a certificate");
        server.max_early_data_size = 1024;
        let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
        let name = ServerName::try_from(NAME).expect("a name");
        let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
        while client.wants_write() || server.wants_write() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).expect("written");
            server.read_tls(&mut &bytes[..]).expect("read");
            server.process_new_packets().expect("a handshake");
            bytes.clear();
            server.write_tls(&mut bytes).expect("written");
            client.read_tls(&mut &bytes[..]).expect("read");
            client.process_new_packets().expect("a handshake");
        }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that trusts it, and speaks only `suites` if there are any.
    pub(crate) fn client(&self, suites: &[SupportedCipherSuite]) -> ClientConfig {
        let mut provider = default_provider();
        if !suites.is_empty() {
            provider.cipher_suites = suites.to_vec();
        }
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("an authority");
        let versions: &[_] = match suites.first() {
            None => rustls::ALL_VERSIONS,
            Some(suite) => &[suite.version()],
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        config
    }
}

impl Site {
    /// Lets the box speak TLS too, with a certificate of `authority` for [`NAME`]; `more` goes into `[tls]`.
    pub(crate) fn speak_tls(&self, authority: &Authority, more: &str) {
        self.write_tls(authority.certificate(&[NAME], false), more);
        fs::write(self.authority(), authority.pem()).expect("written");
    }

    pub(crate) fn write_tls(&self, (chain, key): (String, String), more: &str) {
        use std::os::unix::fs::PermissionsExt;
        let (cert_file, key_file) = (self.path("chain.pem"), self.path("key.pem"));
        fs::write(&cert_file, chain).expect("written");
        fs::write(&key_file, key).expect("written");
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).expect("changed");
        let config = fs::read_to_string(self.config()).expect("read");
        let config = config.replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n");
        let tls = format!(
            "\n[tls]\nkernel = \"off\"\ncertificates = [{{ cert = {cert_file:?}, key = {key_file:?} }}]\n{more}\n"
        );
        fs::write(self.config(), config + &tls).expect("written");
    }

    /// The authority's certificate, for programs.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path("authority.pem")
    }
}

/// A client of `config`, whose handshake is done.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let mut client = begin(address, config);
    while client.stream.conn.is_handshaking() {
        let stream = &mut client.stream;
        stream
            .conn
            .complete_io(&mut stream.sock)
            .expect("a handshake");
    }
    client
}

/// A client of `config` that has said nothing yet.
pub(crate) fn begin(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let stream = TcpStream::connect(address).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    stream.set_nodelay(true).expect("set");
    let name = ServerName::try_from(NAME).expect("a name");
    let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
    Client::on(StreamOwned::new(tls, stream))
}

/// All that comes until the peer closes, or breaks off.
pub(crate) fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let ended = stream.read_to_end(&mut all);
    let patience = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!ended.is_err_and(patience), "it stays open after {all:?}");
    all
}

/// Writes all, or as much as the peer takes before it closes.
pub(crate) fn write_all(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}
