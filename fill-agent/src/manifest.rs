//! Which manifests are acted upon.
//!
//! ```text
//! sealed bytes --judge--> Manifest (signed, for this box, not older, not expired) --plan, guard--> in force, or held
//! ```
//! A refused manifest changes nothing: the one in force stays, and serving knows of none.

use protocol::manifest::keys::PublicKey;
use protocol::manifest::seal::{self, BadSeal};
use protocol::manifest::{Manifest, Serial};

/// Why a manifest is not acted upon, ever.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be believed.
    #[error("the manifest is refused: {0}")]
    Seal(#[from] BadSeal),
    /// An old one, sent again.
    #[error(
        "the manifest {theirs} is refused: {seen} was seen before it. If the control endpoint was restored from a backup, it must begin a new epoch"
    )]
    Older {
        /// Its serial.
        theirs: Serial,
        /// The highest that was seen.
        seen: Serial,
    },
    /// Its time is over.
    #[error(
        "the manifest {serial} is refused: it ended {ago_s} s ago. The control endpoint has to build a new one, or the clock of this box is wrong"
    )]
    Expired {
        /// Its serial.
        serial: Serial,
        /// Seconds since its end.
        ago_s: u64,
    },
    /// More bytes than are read.
    #[error("the manifest is refused: larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

impl Refusal {
    /// All words of [`reason`](Self::reason).
    pub const REASONS: [&'static str; 9] = [
        "malformed",
        "too_large",
        "unknown_key",
        "signature",
        "version",
        "appliance",
        "invalid",
        "older",
        "expired",
    ];

    /// The word in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Seal(bad) => bad.reason(),
            Self::Older { .. } => "older",
            Self::Expired { .. } => "expired",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// What a manifest is judged by.
#[derive(Debug, Clone)]
pub struct Judge {
    /// Keys that may sign.
    pub keys: Vec<PublicKey>,
    /// `appliance.id`.
    pub appliance: String,
    /// The highest serial that was accepted or held.
    pub seen: Option<Serial>,
    /// Seconds since 1970; `None` while the clock cannot be believed, when nothing expires.
    pub now: Option<u64>,
}

impl Judge {
    /// Opens and judges. Takes seconds for a million objects.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn judge(&self, sealed: &[u8]) -> Result<Manifest, Refusal> {
        let manifest: Manifest = seal::open(sealed, &self.keys, &self.appliance)?;
        let theirs = manifest.serial;
        if let Some(seen) = self.seen.filter(|seen| theirs < *seen) {
            return Err(Refusal::Older { theirs, seen });
        }
        match self.now.and_then(|now| now.checked_sub(manifest.not_after)) {
            Some(ago_s) => Err(Refusal::Expired {
                serial: theirs,
                ago_s,
            }),
            None => Ok(manifest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::manifest::MANIFEST_VERSION;
    use protocol::manifest::keys::PrivateKey;

    fn manifest(number: u64) -> Manifest {
        Manifest {
            version: MANIFEST_VERSION,
            appliance: "c001.fra001.example".to_owned(),
            serial: Serial { epoch: 2, number },
            built_at: 1000,
            not_after: 2000,
            site_offset_s: None,
            site_rate: None,
            sources: Vec::new(),
            objects: Vec::new(),
            tombstones: Vec::new(),
        }
    }

    fn judge(seen: Option<u64>, now: Option<u64>) -> Judge {
        Judge {
            keys: vec![PrivateKey::from_seed(&[7; 32]).public()],
            appliance: "c001.fra001.example".to_owned(),
            seen: seen.map(|number| Serial { epoch: 2, number }),
            now,
        }
    }

    fn sealed(manifest: &Manifest, seed: u8) -> Vec<u8> {
        seal::seal(manifest, &[&PrivateKey::from_seed(&[seed; 32])]).unwrap()
    }

    #[test]
    fn each_refusal_has_its_own_word() {
        let good = sealed(&manifest(5), 7);
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        let other = Manifest {
            appliance: "c002.fra001.example".to_owned(),
            ..manifest(5)
        };
        let table = [
            (good.clone(), judge(Some(6), Some(1500)), "older"),
            (good.clone(), judge(None, Some(2000)), "expired"),
            (changed, judge(None, None), "signature"),
            (sealed(&manifest(5), 8), judge(None, None), "unknown_key"),
            (sealed(&other, 7), judge(None, None), "appliance"),
            (b"nonsense".to_vec(), judge(None, None), "malformed"),
        ];
        for (bytes, judge, reason) in table {
            let refusal = judge.judge(&bytes).unwrap_err();
            assert_eq!(refusal.reason(), reason, "{refusal}");
            assert!(Refusal::REASONS.contains(&reason));
        }
        assert!(
            BadSeal::REASONS
                .iter()
                .all(|word| Refusal::REASONS.contains(word))
        );
        assert!(judge(Some(5), Some(1999)).judge(&good).is_ok());
    }

    #[test]
    fn a_clock_that_cannot_be_believed_expires_nothing() {
        assert!(judge(None, None).judge(&sealed(&manifest(5), 7)).is_ok());
    }
}
