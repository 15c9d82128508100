//! `[tls]`: how viewers of `listen.https` are served.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::Interval;

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Chosen by the name that the viewer asks for; the first one otherwise. At least one.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken. Default: 1.2.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// The suites that are spoken, the first that the viewer knows is taken. Default: all, AES-128 first.
    #[serde(default = "all_suites")]
    pub suites: Vec<Suite>,
    /// Who seals what is sent. Default: auto.
    #[serde(default)]
    pub kernel: KernelTls,
    /// PEM file with the authorities whose client certificates are accepted. A viewer may show one and need not; one that does
    /// not verify ends the handshake. Default: none are asked for.
    pub client_ca: Option<PathBuf>,
    /// From the connection to the end of the handshake, else it is closed. Default: 10 s.
    #[serde(default = "ten_seconds")]
    pub handshake_timeout: Interval,
}

/// One of `tls.certificates`, or `control.client`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file, the chain from the leaf on.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// `tls.min_version`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// `tls.kernel`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelTls {
    /// The kernel where it can, this program elsewhere.
    #[default]
    Auto,
    /// The kernel; refuse to start where it cannot.
    On,
    /// This program.
    Off,
}

/// One of `tls.suites`, by its name in IANA's registry "TLS Cipher Suites". All have forward secrecy and an AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the names are the registry's")]
pub enum Suite {
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Aes128GcmSha256,
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Aes256GcmSha384,
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    ChaCha20Poly1305Sha256,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdsaAes128GcmSha256,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    RsaAes128GcmSha256,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdsaAes256GcmSha384,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    RsaAes256GcmSha384,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdsaChaCha20Poly1305Sha256,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    RsaChaCha20Poly1305Sha256,
}

impl Suite {
    /// All of them. AES-128-GCM comes first: on cores with AES instructions it costs least for each byte, and 128 bits are enough
    /// (RFC 9325, section 4.2). ChaCha20-Poly1305 comes last: it costs this box about twice as much. What it would save a viewer
    /// without such instructions is little: he opens the bytes of one film, the box seals those of all.
    pub const ALL: [Self; 9] = [
        Self::Aes128GcmSha256,
        Self::Aes256GcmSha384,
        Self::ChaCha20Poly1305Sha256,
        Self::EcdsaAes128GcmSha256,
        Self::RsaAes128GcmSha256,
        Self::EcdsaAes256GcmSha384,
        Self::RsaAes256GcmSha384,
        Self::EcdsaChaCha20Poly1305Sha256,
        Self::RsaChaCha20Poly1305Sha256,
    ];

    /// The one version in which it is spoken.
    #[must_use]
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Aes128GcmSha256 | Self::Aes256GcmSha384 | Self::ChaCha20Poly1305Sha256 => {
                TlsVersion::V1_3
            }
            Self::EcdsaAes128GcmSha256
            | Self::RsaAes128GcmSha256
            | Self::EcdsaAes256GcmSha384
            | Self::RsaAes256GcmSha384
            | Self::EcdsaChaCha20Poly1305Sha256
            | Self::RsaChaCha20Poly1305Sha256 => TlsVersion::V1_2,
        }
    }
}

impl TlsVersion {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

fn all_suites() -> Vec<Suite> {
    Suite::ALL.to_vec()
}

fn ten_seconds() -> Interval {
    Interval::from_seconds(10)
}
