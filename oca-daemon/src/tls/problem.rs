//! What is wrong with a file that `[tls]` names, and what to do about it.

use std::path::{Path, PathBuf};

use crate::limits::{PEM_BYTES, STATE_DISK_WAIT};

/// One thing that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{file}: {fault}", file = .file.display())]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The system says no.
    #[error("cannot be read: {0}. The user of the daemon must be able to read it")]
    Unreadable(String),
    /// The disk hangs.
    #[error("was not read within {} s: the disk does not answer. What was loaded is shown on", STATE_DISK_WAIT.as_secs())]
    Silent,
    /// A folder, a pipe, a device.
    #[error("is not a file")]
    NotAFile,
    /// More than [`PEM_BYTES`].
    #[error("has more than {PEM_BYTES} bytes; a chain and a key have a few thousand")]
    TooLong,
    /// Not a byte in it.
    #[error("is empty")]
    Empty,
    /// What stands between the dashes cannot be decoded.
    #[error("is damaged: {0}. Copy it again")]
    NotPem(String),
    /// Nothing that is a certificate.
    #[error(
        "holds no certificate; allowed: PEM (-----BEGIN CERTIFICATE-----), the server's own certificate first, then those that \
         lead to the authority"
    )]
    NoCertificate,
    /// A certificate that is none.
    #[error("certificate {number} in it is damaged: {why}")]
    BadCertificate {
        /// From 1.
        number: usize,
        /// In the parser's words.
        why: String,
    },
    /// Nothing that is a private key.
    #[error("holds no private key; allowed: PEM (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// It needs a passphrase, and nobody is there to type it.
    #[error(
        "the key in it is encrypted; allowed: one without a passphrase, as `openssl pkey -in OLD -out NEW` writes it"
    )]
    EncryptedKey,
    /// Others may read it.
    #[error(
        "anybody on this machine may read the key in it (mode {0:04o}); chmod o-rwx, and think of a new key"
    )]
    Exposed(u32),
    /// An algorithm or a size that is not supported.
    #[error(
        "the key in it cannot be used: {0}. Allowed: ECDSA P-256, P-384 or P-521, RSA of 2048 to 8192 bits, Ed25519"
    )]
    BadKey(String),
    /// Viewers who speak TLS 1.2 could not be served.
    #[error(
        "no suite of TLS 1.2 in [tls] suites goes with the key in it; add one for it, or set min_version = \"1.3\""
    )]
    NoSuite,
    /// Of another certificate.
    #[error("is not the key of the certificate in {cert}; the two must be renewed together", cert = .0.display())]
    WrongKey(PathBuf),
    /// The chain does not begin with the leaf.
    #[error("is the key of certificate {number} in {cert}, which must be the first one there", cert = .cert.display())]
    NotFirst {
        /// The file with the chain.
        cert: PathBuf,
        /// From 1.
        number: usize,
    },
    /// Past its time.
    #[error("certificate {number} in it expired on {at}; viewers refuse it. Renew it")]
    Expired {
        /// From 1.
        number: usize,
        /// The date.
        at: String,
    },
    /// Before its time.
    #[error(
        "certificate {number} in it is not valid before {at}; viewers refuse it. Is the clock right?"
    )]
    NotYetValid {
        /// From 1.
        number: usize,
        /// The date.
        at: String,
    },
}

impl Fault {
    /// Of `file`.
    #[must_use]
    pub fn of(self, file: &Path) -> Problem {
        Problem {
            file: file.to_owned(),
            fault: self,
        }
    }
}
