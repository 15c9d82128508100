//! What the targets share: documents signed by a key that the targets accept, and the check that what was read can be said again.

use ed25519_dalek::{Signer, SigningKey};
use protocol::manifest::keys::{PrivateKey, PublicKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

const SEED: [u8; 32] = [1; 32];

/// The appliance that all seeds are for.
pub const APPLIANCE: &str = "c001.fra001.example";

/// The key that [`signed`] and the seeds are signed with.
pub fn key() -> PrivateKey {
    PrivateKey::from_seed(&SEED)
}

/// The keys that the targets accept.
pub fn keys() -> [PublicKey; 1] {
    [key().public()]
}

/// Signs any bytes as the frame of a `kind`, which `protocol` itself does only with a document that is right.
pub fn signed(kind: &str, frame: &[u8]) -> Vec<u8> {
    let message = [format!("oca {kind} 1\0").as_bytes(), frame].concat();
    let signature = SigningKey::from_bytes(&SEED).sign(&message).to_bytes();
    let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = key().public().id();
    let head = format!(
        r#"{{"oca":"{kind}","version":1,"signatures":[{{"key":"{key}","signature":"{signature}"}}]}}"#
    );
    [head.as_bytes(), b"\n", frame].concat()
}

/// Reads JSON; what was read must be the same after writing and reading it again.
pub fn same_again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(json) else {
        return;
    };
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(value, again);
}
