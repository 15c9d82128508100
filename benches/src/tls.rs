//! What servers and clients of a run agree upon: one suite, one certificate, one group of the key exchange (X25519).
//!
//! The client trusts exactly that certificate, byte for byte: chains are not what is measured. Signatures of handshakes are checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ValueEnum;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    SupportedCipherSuite,
};

/// The host of the certificate.
const HOST: &str = "bench.local.example";

/// A cipher suite, by what seals its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Suite {
    /// AES-128-GCM
    #[value(name = "aes128")]
    Aes128,
    /// AES-256-GCM
    #[value(name = "aes256")]
    Aes256,
    /// ChaCha20-Poly1305
    #[value(name = "chacha20")]
    Chacha20,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
pub(crate) enum Version {
    /// TLS 1.3
    #[value(name = "1.3")]
    #[serde(rename = "1.3")]
    Tls13,
    /// TLS 1.2
    #[value(name = "1.2")]
    #[serde(rename = "1.2")]
    Tls12,
}

/// What a server signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyKind {
    /// ECDSA, P-256
    Ecdsa,
    /// RSA, 2048 bits
    Rsa,
}

impl Suite {
    /// As in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "AES-128-GCM",
            Self::Aes256 => "AES-256-GCM",
            Self::Chacha20 => "ChaCha20-Poly1305",
        }
    }

    /// The suite of TLS 1.3, as OpenSSL names it.
    pub(crate) fn openssl13(self) -> &'static str {
        match self {
            Self::Aes128 => "TLS_AES_128_GCM_SHA256",
            Self::Aes256 => "TLS_AES_256_GCM_SHA384",
            Self::Chacha20 => "TLS_CHACHA20_POLY1305_SHA256",
        }
    }

    /// Those of TLS 1.2, as OpenSSL names them.
    pub(crate) fn openssl12(self) -> &'static str {
        match self {
            Self::Aes128 => "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
            Self::Aes256 => "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
            Self::Chacha20 => "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",
        }
    }

    fn offered(self, version: Version) -> Vec<SupportedCipherSuite> {
        use cipher_suite as of;
        match (version, self) {
            (Version::Tls13, Self::Aes128) => vec![of::TLS13_AES_128_GCM_SHA256],
            (Version::Tls13, Self::Aes256) => vec![of::TLS13_AES_256_GCM_SHA384],
            (Version::Tls13, Self::Chacha20) => vec![of::TLS13_CHACHA20_POLY1305_SHA256],
            (Version::Tls12, Self::Aes128) => vec![
                of::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                of::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ],
            (Version::Tls12, Self::Aes256) => vec![
                of::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                of::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ],
            (Version::Tls12, Self::Chacha20) => vec![
                of::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                of::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ],
        }
    }
}

impl Version {
    /// As in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls13 => "1.3",
            Self::Tls12 => "1.2",
        }
    }
}

impl KeyKind {
    /// As in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA P-256",
            Self::Rsa => "RSA-2048",
        }
    }

    /// For a folder.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// What all servers of a run are given.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    pub(crate) suite: Suite,
    /// Files in PEM.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// For whoever asks them for content; without tickets.
    pub(crate) client: Client,
}

impl Security {
    /// A certificate of its own signature in a new folder; clients speak TLS 1.3.
    pub(crate) fn make(folder: &Path, suite: Suite, kind: KeyKind) -> Result<Self> {
        let key = match kind {
            KeyKind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        };
        let made = CertificateParams::new(vec![HOST.to_owned()])?.self_signed(&key)?;
        std::fs::create_dir(folder).with_context(|| folder.display().to_string())?;
        let (certificate, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.pem())?;
        write_secret(&key_file, &key.serialize_pem())?;
        Ok(Self {
            suite,
            client: Client::new(&certificate, suite, Version::Tls13)?,
            certificate,
            key: key_file,
        })
    }
}

fn write_secret(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    Ok(options.open(file)?.write_all(text.as_bytes())?)
}

/// What clients speak; shared by all of their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// Offers one suite of one version, trusts one certificate, keeps no tickets.
    pub(crate) fn new(certificate: &Path, suite: Suite, version: Version) -> Result<Self> {
        let pinned = CertificateDer::from_pem_file(certificate)
            .with_context(|| certificate.display().to_string())?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suite.offered(version),
            // The second one is that of the certificate's key: TLS 1.2 asks for it as well (RFC 8422, section 5.1.1).
            kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
            ..default_provider()
        });
        let versions = match version {
            Version::Tls13 => &rustls::version::TLS13,
            Version::Tls12 => &rustls::version::TLS12,
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[versions])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pinned, provider }))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        // Records are handled by the load generator itself.
        config.enable_secret_extraction = true;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The same, with tickets.
    pub(crate) fn resuming(&self, tickets: Resumption) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = tickets;
        Self {
            config: Arc::new(config),
        }
    }

    pub(crate) fn connection(&self) -> Result<UnbufferedClientConnection> {
        let name = ServerName::try_from(HOST)?;
        Ok(UnbufferedClientConnection::new(
            Arc::clone(&self.config),
            name,
        )?)
    }
}

/// Trusts one certificate.
#[derive(Debug)]
struct Pinned {
    pinned: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.pinned.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
