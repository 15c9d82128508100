//! One look at the files of all certificates. Blocks on the disk; all that follows from it does not.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use protocol::config::Certificate;
use protocol::operator::CheckedCertificate;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use steering::UnixTime;

use super::certificates::Found;
use super::files::Bytes;
use super::pair::Pair;

/// What to look at, and with what; to be sent to where it may block.
#[derive(Debug, Clone)]
pub struct Looker {
    pub(super) wanted: Vec<Certificate>,
    provider: Arc<CryptoProvider>,
    /// Of the content, whatever the times of the files say: a file may be written twice within one tick of their clock.
    prints: RandomState,
    /// The print of files about which all is known: they need not be understood again.
    pub(super) known: Option<u64>,
}

/// What was seen.
#[derive(Debug)]
pub struct Look {
    pub(super) wanted: Vec<Certificate>,
    /// Equal for equal content of all files.
    pub(super) print: u64,
    /// `None`: these are the files that are known.
    pub(super) found: Option<Found>,
}

impl Looker {
    pub(super) fn new(wanted: Vec<Certificate>, provider: Arc<CryptoProvider>) -> Self {
        Self {
            wanted,
            provider,
            prints: RandomState::new(),
            known: None,
        }
    }

    /// Looks. Blocks on the disk.
    #[must_use]
    pub fn look(&self, now: UnixTime) -> Look {
        let bytes: Vec<_> = self.wanted.iter().map(Bytes::read).collect();
        let print = self.prints.hash_one(&bytes);
        let understood = || {
            let found = self.wanted.iter().zip(bytes);
            let found = found.map(|(files, bytes)| Pair::of(&bytes?, files, &self.provider, now));
            found.collect()
        };
        Look {
            wanted: self.wanted.clone(),
            print,
            found: (self.known != Some(print)).then(understood),
        }
    }
}

/// Reads the files of `certificates` as for viewers, shows nobody, and says what is wrong with each. Blocks on the disk.
#[must_use]
pub fn check(certificates: Vec<Certificate>, now: UnixTime) -> Vec<CheckedCertificate> {
    let found = Looker::new(certificates, Arc::new(default_provider())).look(now);
    let told = found
        .wanted
        .into_iter()
        .zip(found.found.unwrap_or_default());
    let told = told.map(|(files, found)| {
        let (found, problem) = match found {
            Ok(pair) => (Some(pair.told()), pair.out_of_time(now)),
            Err(problem) => (None, Some(problem)),
        };
        CheckedCertificate {
            cert: files.cert,
            found,
            problem: problem.map(|problem| problem.to_string()),
        }
    });
    told.collect()
}
