//! The suites and versions of `[tls]` in the words of rustls.

use protocol::config::{Suite, Tls, TlsVersion};
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// What keys are agreed on with. rustls takes the first group *of the viewer* that is among these, so their order does not count,
/// and what is among them is used: current browsers name the post-quantum hybrid X25519MLKEM768 first. It is left out, since what
/// travels here is the same film for everybody, not a secret to be kept for decades; it would make the key agreement two and a half
/// times as long (measured: 204 us instead of 75 us on a busy core), and the answer 1120 bytes instead of 32. Browsers send a share
/// for X25519 beside it, so nobody is asked twice.
const KEY_EXCHANGE: [&dyn SupportedKxGroup; 3] =
    [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// The cryptography with the configured suites.
pub(super) fn provider(wanted: &Tls) -> CryptoProvider {
    let spoken = |suite: &&Suite| suite.version() >= wanted.min_version;
    let suites = wanted.suites.iter().filter(spoken).copied();
    CryptoProvider {
        cipher_suites: suites.map(suite).collect(),
        kx_groups: KEY_EXCHANGE.to_vec(),
        ..default_provider()
    }
}

/// From `min_version` on.
pub(super) fn versions(least: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match least {
        TlsVersion::V1_2 => vec![&TLS12, &TLS13],
        TlsVersion::V1_3 => vec![&TLS13],
    }
}

fn suite(suite: Suite) -> SupportedCipherSuite {
    match suite {
        Suite::Aes128GcmSha256 => TLS13_AES_128_GCM_SHA256,
        Suite::Aes256GcmSha384 => TLS13_AES_256_GCM_SHA384,
        Suite::ChaCha20Poly1305Sha256 => TLS13_CHACHA20_POLY1305_SHA256,
        Suite::EcdsaAes128GcmSha256 => TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite::RsaAes128GcmSha256 => TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Suite::EcdsaAes256GcmSha384 => TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Suite::RsaAes256GcmSha384 => TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Suite::EcdsaChaCha20Poly1305Sha256 => TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Suite::RsaChaCha20Poly1305Sha256 => TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_those_of_their_names() {
        for each in Suite::ALL {
            let name = serde_json::to_value(each).unwrap();
            let ours = name.as_str().unwrap();
            // IANA's names of TLS 1.3 begin with TLS_, those of rustls with TLS13_.
            let theirs = format!("{:?}", suite(each).suite()).replace("TLS13_", "TLS_");
            assert_eq!(ours, theirs);
        }
    }
}
