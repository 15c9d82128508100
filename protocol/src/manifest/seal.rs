//! Signing and opening: the only way from bytes to a [`Manifest`] or to [`Tombstones`].
//!
//! ```text
//! {"oca":"manifest","version":1,"signatures":[{"key":"<id>","signature":"<128 digits>"}]}\n
//! <zstd frame (RFC 8878): the document as JSON>
//! ```
//!
//! A signature is over `oca manifest 1\0` (`oca tombstones 1\0`) and the frame as sent, so nothing is unpacked before it is
//! known to come from a holder of a key, and a list of one kind never passes for the other.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::check::check_tombstones;
use super::keys::{KeyId, PrivateKey, PublicKey};
use super::{Invalid, MANIFEST_VERSION, Manifest, Tombstones};
use crate::limits::{
    MANIFEST_MAX_BYTES, MANIFEST_MAX_PACKED_BYTES, SEAL_MAX_BYTES, SIGNATURES_MAX,
    TOMBSTONES_MAX_BYTES, UNPACK_WINDOW_LOG,
};

/// Why sealed bytes are refused.
#[derive(Debug, thiserror::Error)]
pub enum BadSeal {
    /// The first line is not what it must be.
    #[error("not a sealed {kind}: {reason}")]
    Form {
        /// `manifest` or `tombstones`.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// More bytes than are read.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// No signature is of a key that is accepted here.
    #[error("signed by {}; none of these keys is accepted here: add its file to control.keys if it should be", .signed_by.join(", "))]
    UnknownKey {
        /// Names of the keys that signed.
        signed_by: Vec<KeyId>,
    },
    /// A signature of an accepted key does not fit the bytes.
    #[error(
        "the signature of key {key} does not fit: the bytes were changed, or it was signed by another key of that name"
    )]
    Signature {
        /// The key.
        key: KeyId,
    },
    /// Another version.
    #[error(
        "version {theirs}; this program reads version {MANIFEST_VERSION}: install a newer release"
    )]
    Version {
        /// Of the document.
        theirs: u32,
    },
    /// The frame or the JSON in it.
    #[error("cannot be read: {0}")]
    Malformed(String),
    /// For another box.
    #[error("it is for appliance {theirs}, not for {ours}")]
    Appliance {
        /// Whom it names.
        theirs: String,
        /// Who we are.
        ours: String,
    },
    /// What it says cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl BadSeal {
    /// The word in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Form { .. } | Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownKey { .. } => "unknown_key",
            Self::Signature { .. } => "signature",
            Self::Version { .. } => "version",
            Self::Appliance { .. } => "appliance",
            Self::Invalid(_) => "invalid",
        }
    }

    /// All words of [`reason`](Self::reason).
    pub const REASONS: [&'static str; 7] = [
        "malformed",
        "too_large",
        "unknown_key",
        "signature",
        "version",
        "appliance",
        "invalid",
    ];
}

#[derive(Serialize, Deserialize)]
struct Head {
    oca: String,
    version: u32,
    signatures: Vec<KeySignature>,
}

#[derive(Serialize, Deserialize)]
struct KeySignature {
    key: KeyId,
    signature: String,
}

mod private {
    /// What can be sealed: a closed list.
    pub trait Sealable: serde::Serialize + serde::de::DeserializeOwned {
        /// The word in the first line and under the signature.
        const KIND: &'static str;
        /// Most bytes of its JSON.
        const MAX_BYTES: u64;
        /// Its version.
        fn version(&self) -> u32;
        /// Whom it is for.
        fn appliance(&self) -> &str;
        /// What its form does not tell.
        fn check(&self) -> Result<(), super::Invalid>;
    }
}
use private::Sealable;

impl Sealable for Manifest {
    const KIND: &'static str = "manifest";
    const MAX_BYTES: u64 = MANIFEST_MAX_BYTES;
    fn version(&self) -> u32 {
        self.version
    }
    fn appliance(&self) -> &str {
        &self.appliance
    }
    fn check(&self) -> Result<(), Invalid> {
        Self::check(self)
    }
}

impl Sealable for Tombstones {
    const KIND: &'static str = "tombstones";
    const MAX_BYTES: u64 = TOMBSTONES_MAX_BYTES;
    fn version(&self) -> u32 {
        self.version
    }
    fn appliance(&self) -> &str {
        &self.appliance
    }
    fn check(&self) -> Result<(), Invalid> {
        check_tombstones(&self.tombstones)
    }
}

/// Packs and signs. Several keys while one is being replaced by the next.
///
/// # Errors
/// [`BadSeal::Invalid`] for what the other side would refuse, [`BadSeal::TooLarge`].
pub fn seal<T: Sealable>(document: &T, keys: &[&PrivateKey]) -> Result<Vec<u8>, BadSeal> {
    document.check()?;
    let frame = pack(document).map_err(|error| BadSeal::Malformed(error.to_string()))?;
    if frame.len() as u64 > MANIFEST_MAX_PACKED_BYTES {
        return Err(BadSeal::TooLarge {
            limit: MANIFEST_MAX_PACKED_BYTES,
        });
    }
    let message = message::<T>(&frame);
    let signatures = keys.iter().map(|key| KeySignature {
        key: key.public().id(),
        signature: hex(&key.sign(&message)),
    });
    let head = Head {
        oca: T::KIND.to_owned(),
        version: MANIFEST_VERSION,
        signatures: signatures.collect(),
    };
    let mut sealed = serde_json::to_vec(&head).expect("a head has only string keys");
    sealed.push(b'\n');
    sealed.extend_from_slice(&frame);
    Ok(sealed)
}

/// Checks version, signature, limits, appliance and content, in this order.
///
/// # Errors
/// [`BadSeal`]; nothing in the bytes can panic or take more than the limits.
pub fn open<T: Sealable>(sealed: &[u8], keys: &[PublicKey], appliance: &str) -> Result<T, BadSeal> {
    let (head, frame) = split::<T>(sealed)?;
    // Before the signature, which of another version is over other bytes.
    same_version(head.version)?;
    verify(&head, &message::<T>(frame), keys)?;
    let document: T = unpack(frame, T::MAX_BYTES)?;
    same_version(document.version())?;
    if document.appliance() != appliance {
        return Err(BadSeal::Appliance {
            theirs: document.appliance().to_owned(),
            ours: appliance.to_owned(),
        });
    }
    document.check()?;
    Ok(document)
}

fn same_version(theirs: u32) -> Result<(), BadSeal> {
    match theirs {
        MANIFEST_VERSION => Ok(()),
        _ => Err(BadSeal::Version { theirs }),
    }
}

fn split<T: Sealable>(sealed: &[u8]) -> Result<(Head, &[u8]), BadSeal> {
    let form = |reason: String| BadSeal::Form {
        kind: T::KIND,
        reason,
    };
    if sealed.len() as u64 > MANIFEST_MAX_PACKED_BYTES + SEAL_MAX_BYTES as u64 {
        return Err(BadSeal::TooLarge {
            limit: MANIFEST_MAX_PACKED_BYTES,
        });
    }
    let line = &sealed[..sealed.len().min(SEAL_MAX_BYTES)];
    let end = line
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| form("no first line with signatures".to_owned()))?;
    let head: Head =
        serde_json::from_slice(&sealed[..end]).map_err(|error| form(error.to_string()))?;
    if head.oca != T::KIND {
        return Err(form(format!("it is called {:?}", head.oca)));
    }
    if !(1..=SIGNATURES_MAX).contains(&head.signatures.len()) {
        let count = head.signatures.len();
        return Err(form(format!(
            "{count} signatures; allowed are 1 to {SIGNATURES_MAX}"
        )));
    }
    Ok((head, &sealed[end + 1..]))
}

/// One good signature of an accepted key is enough; a bad one of an accepted key is never overlooked.
fn verify(head: &Head, message: &[u8], keys: &[PublicKey]) -> Result<(), BadSeal> {
    let mut verified = false;
    for KeySignature { key, signature } in &head.signatures {
        let Some(accepted) = keys.iter().find(|accepted| accepted.id() == *key) else {
            continue;
        };
        let fits = unhex(signature).is_some_and(|bytes| accepted.verifies(message, &bytes));
        if !fits {
            return Err(BadSeal::Signature { key: key.clone() });
        }
        verified = true;
    }
    if verified {
        return Ok(());
    }
    Err(BadSeal::UnknownKey {
        signed_by: head.signatures.iter().map(|s| printable(&s.key)).collect(),
    })
}

/// The name of a key from bytes that nobody has vouched for: it goes into logs and onto terminals.
fn printable(key: &str) -> KeyId {
    let start: String = key.chars().take(16).collect();
    start.escape_debug().to_string()
}

fn message<T: Sealable>(frame: &[u8]) -> Vec<u8> {
    let mut message = format!("oca {} {MANIFEST_VERSION}\0", T::KIND).into_bytes();
    message.extend_from_slice(frame);
    message
}

fn pack(document: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    encoder.include_checksum(true)?;
    let mut writer = io::BufWriter::with_capacity(1 << 16, encoder);
    serde_json::to_writer(&mut writer, document)?;
    writer.flush()?;
    writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .finish()
}

fn unpack<T: DeserializeOwned>(frame: &[u8], limit: u64) -> Result<T, BadSeal> {
    let malformed = |error: &dyn std::fmt::Display| BadSeal::Malformed(error.to_string());
    let mut decoder = zstd::Decoder::with_buffer(frame)
        .map_err(|error| malformed(&error))?
        .single_frame();
    decoder
        .window_log_max(UNPACK_WINDOW_LOG)
        .map_err(|error| malformed(&error))?;
    // One byte more than allowed tells a document that is too large from one that fits exactly.
    let mut limited = decoder.take(limit + 1);
    let result = serde_json::from_reader(io::BufReader::with_capacity(1 << 16, &mut limited));
    if limited.limit() == 0 {
        return Err(BadSeal::TooLarge { limit });
    }
    let document = result.map_err(|error| malformed(&error))?;
    match limited.into_inner().finish() {
        [] => Ok(document),
        rest => Err(malformed(&format!("{} bytes after the frame", rest.len()))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 64]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 64];
    if digits.len() != 128 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
