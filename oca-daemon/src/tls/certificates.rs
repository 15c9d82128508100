//! The certificates that viewers are shown, and which one. They are read again when their files change, and replaced as a whole;
//! connections that are there keep what they were shown.
//!
//! Each pair of files stands for itself: one that is no good keeps what was loaded from it before, and does not keep the others
//! from being renewed.
//!
//! Invariant: a handshake takes no lock here and waits for no disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use protocol::config::Certificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use steering::UnixTime;

use super::names::Names;
use super::pair::Pair;
use super::problem::{Fault, Problem};

impl Reload {
    /// Whether it ended because the disk did not answer.
    pub(super) fn is_silent(&self) -> bool {
        let silent = |problem: &Problem| problem.fault == Fault::Silent;
        self.problems.iter().any(silent)
    }
}

/// All certificates in force.
#[derive(Debug)]
pub struct Certificates {
    set: ArcSwap<Set>,
    reload: ArcSwap<Reload>,
    failures: AtomicU64,
}

/// What is shown, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Set {
    /// The first one is for viewers who ask for no name, or for one that no certificate has.
    pub pairs: Vec<Arc<Pair>>,
    names: Names,
}

/// How the last look at changed files ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reload {
    /// When; `None`: the files are as they were at the start.
    pub at: Option<UnixTime>,
    /// What was wrong; what was loaded before is shown on. Empty: all was taken over.
    pub problems: Vec<Problem>,
}

/// What was read: a pair for each certificate of the configuration, or why not.
pub(super) type Found = Vec<Result<Pair, Problem>>;

impl Certificates {
    /// What was found at the start.
    ///
    /// # Errors
    /// Everything that keeps a certificate from being shown. One that has expired does not: whoever restarts a box should not
    /// lose the viewers in clear as well. It is a cause in `/status`.
    pub(super) fn new(found: Found) -> Result<Self, Vec<Problem>> {
        let mut pairs = Vec::new();
        let mut problems = Vec::new();
        for found in found {
            match found {
                Ok(pair) => pairs.push(Arc::new(pair)),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            set: ArcSwap::from_pointee(Set::new(pairs)),
            reload: ArcSwap::default(),
            failures: AtomicU64::new(0),
        })
    }

    /// What is shown now.
    #[must_use]
    pub fn set(&self) -> Arc<Set> {
        self.set.load_full()
    }

    /// How the last reload ended.
    #[must_use]
    pub fn last_reload(&self) -> Arc<Reload> {
        self.reload.load_full()
    }

    /// Reloads that ended with something wrong.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Shows what was found from now on, and what was shown before for what was not. Returns what is wrong.
    pub(super) fn take_over(
        &self,
        found: Found,
        wanted: &[Certificate],
        now: UnixTime,
    ) -> Vec<Problem> {
        let old = self.set();
        let mut problems = Vec::new();
        let mut pairs = Vec::new();
        for (found, files) in found.into_iter().zip(wanted) {
            let before = old.pairs.iter().find(|pair| pair.files.cert == files.cert);
            match better(found, before, now) {
                Ok(pair) => pairs.push(pair),
                Err(problem) => {
                    problems.push(problem);
                    pairs.extend(before.cloned());
                }
            }
        }
        // A new list of which nothing can be read: whoever comes is shown the old one rather than nothing.
        if !pairs.is_empty() {
            self.set.store(Arc::new(Set::new(pairs)));
        }
        problems
    }

    /// Says how a reload ended.
    pub(super) fn conclude(&self, problems: Vec<Problem>, now: UnixTime) {
        if !problems.is_empty() {
            self.failures.fetch_add(1, Relaxed);
        }
        let at = Some(now);
        self.reload.store(Arc::new(Reload { at, problems }));
    }
}

/// What is to be shown: the new one, unless it is the old one, or viewers would refuse it and accept the old one.
fn better(
    found: Result<Pair, Problem>,
    before: Option<&Arc<Pair>>,
    now: UnixTime,
) -> Result<Arc<Pair>, Problem> {
    let pair = found?;
    match before {
        Some(before) if before.is_same(&pair) => Ok(Arc::clone(before)),
        Some(before) if before.out_of_time(now).is_none() => match pair.out_of_time(now) {
            Some(problem) => Err(problem),
            None => Ok(Arc::new(pair)),
        },
        _ => Ok(Arc::new(pair)),
    }
}

impl Set {
    fn new(pairs: Vec<Arc<Pair>>) -> Self {
        let names = Names::new(pairs.iter().map(|pair| pair.leaf.names.as_slice()));
        Self { pairs, names }
    }

    /// The one for a name.
    fn pair_for(&self, name: Option<&str>) -> Option<&Arc<Pair>> {
        let position = name.and_then(|name| self.names.find(name)).unwrap_or(0);
        self.pairs.get(position)
    }
}

impl ResolvesServerCert for Certificates {
    /// rustls gives no name where a client sends an address (RFC 6066, section 3).
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.set.load();
        let pair = set.pair_for(hello.server_name())?;
        Some(Arc::clone(&pair.certified))
    }
}
