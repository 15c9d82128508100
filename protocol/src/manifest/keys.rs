//! The Ed25519 keys (RFC 8032) that sign manifests: PKCS#8 and SPKI in PEM, as `openssl genpkey -algorithm ed25519` writes them.

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// A key that is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 {kind} key in PEM: {reason}")]
pub struct BadKey {
    kind: &'static str,
    reason: String,
}

/// A key that signs.
pub struct PrivateKey(SigningKey);

/// A key that may have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The first 16 digits of a public key: enough to find it in a list.
pub type KeyId = String;

impl PrivateKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// From PEM (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// # Errors
    /// When it is another kind of key, or none.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        SigningKey::from_pkcs8_pem(text.trim())
            .map(Self)
            .map_err(|error| BadKey {
                kind: "private",
                reason: error.to_string(),
            })
    }

    /// As PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        use ed25519_dalek::pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding};
        self.0
            .to_pkcs8_pem(LineEnding::LF)
            .expect("a key of 32 bytes always encodes")
            .to_string()
    }

    /// The key that others check with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl PublicKey {
    /// From PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// When it is another kind of key, or none.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        VerifyingKey::from_public_key_pem(text.trim())
            .map(Self)
            .map_err(|error| BadKey {
                kind: "public",
                reason: error.to_string(),
            })
    }

    /// As PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        use ed25519_dalek::pkcs8::{EncodePublicKey, spki::der::pem::LineEnding};
        self.0
            .to_public_key_pem(LineEnding::LF)
            .expect("a key of 32 bytes always encodes")
    }

    /// Its name in signatures.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.0.as_bytes()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        // Strict: one message has one signature, and weak keys are refused (RFC 8032 section 5.1.7, and "Taming the many EdDSAs").
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }
}
