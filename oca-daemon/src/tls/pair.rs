//! A chain and its key, as they were found in their files.

use std::sync::Arc;

use protocol::config::Certificate;
use protocol::status;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, SupportedCipherSuite};
use steering::UnixTime;

use super::files::{self, Bytes};
use super::problem::{Fault, Problem};
use super::x509::X509;
use crate::admin::words;

/// A certificate of the configuration that fits its key.
#[derive(Debug)]
pub struct Pair {
    /// Where it was found.
    pub files: Certificate,
    /// What the first certificate says of itself.
    pub leaf: X509,
    /// When it was loaded.
    pub loaded: UnixTime,
    /// From when on the whole chain is valid, and until when: a viewer refuses it if any part is not.
    valid: [(UnixTime, usize); 2],
    pub(super) certified: Arc<CertifiedKey>,
}

impl Pair {
    /// Of what was read from `files`.
    ///
    /// # Errors
    /// The file that is no good, and why. Whether it is valid now is another question: [`Pair::out_of_time`].
    pub(super) fn of(
        bytes: &Bytes,
        files: &Certificate,
        provider: &CryptoProvider,
        now: UnixTime,
    ) -> Result<Self, Problem> {
        let of_cert = |fault: Fault| fault.of(&files.cert);
        let of_key = |fault: Fault| fault.of(&files.key);
        let chain = files::chain(&bytes.cert).map_err(of_cert)?;
        let facts = facts(&chain).map_err(of_cert)?;
        let key = files::key(&bytes.key).map_err(of_key)?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| of_key(Fault::BadKey(error.to_string())))?;
        if !fits(&chain[..1], &key) {
            return Err(of_key(misfit(&chain, &key, files)));
        }
        if !is_served(&key, provider) {
            return Err(of_key(Fault::NoSuite));
        }
        let numbered = |of: fn(&X509) -> UnixTime| facts.iter().map(of).zip(1..);
        let begin = numbered(|leaf| leaf.not_before).max_by_key(|(at, _)| *at);
        let end = numbered(|leaf| leaf.not_after).min();
        let leaf = facts.into_iter().next();
        let (Some(begin), Some(end), Some(leaf)) = (begin, end, leaf) else {
            return Err(of_cert(Fault::NoCertificate));
        };
        Ok(Self {
            files: files.clone(),
            leaf,
            loaded: now,
            valid: [begin, end],
            certified: Arc::new(CertifiedKey::new(chain, key)),
        })
    }

    /// Until when viewers accept it.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.valid[1].0
    }

    /// In the words of `/status`.
    #[must_use]
    pub fn told(&self) -> status::Certificate {
        status::Certificate {
            cert: self.files.cert.clone(),
            key: self.files.key.clone(),
            names: self.leaf.names.clone(),
            key_type: self.leaf.key_type.clone(),
            not_after: self.not_after().seconds(),
            loaded: self.loaded.seconds(),
        }
    }

    /// Why viewers do not accept it now, if so.
    #[must_use]
    pub fn out_of_time(&self, now: UnixTime) -> Option<Problem> {
        let [(begin, first), (end, last)] = self.valid;
        let fault = if now > end {
            let (number, at) = (last, words::date(end));
            Fault::Expired { number, at }
        } else if now < begin {
            let (number, at) = (first, words::date(begin));
            Fault::NotYetValid { number, at }
        } else {
            return None;
        };
        Some(fault.of(&self.files.cert))
    }

    /// Whether viewers would see the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.files == other.files
    }
}

fn facts(chain: &[CertificateDer<'_>]) -> Result<Vec<X509>, Fault> {
    let numbered = chain.iter().zip(1..);
    let read = numbered
        .map(|(der, number)| X509::of(der).map_err(|why| Fault::BadCertificate { number, why }));
    read.collect()
}

/// A key whose public half cannot be told counts as fitting, as in rustls.
fn fits(leaf: &[CertificateDer<'static>], key: &Arc<dyn SigningKey>) -> bool {
    let pair = CertifiedKey::new(leaf.to_vec(), Arc::clone(key));
    matches!(
        pair.keys_match(),
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown))
    )
}

/// Whether TLS 1.2 has a suite for the key, if it is spoken: its suites say how the server signs (RFC 5246, section 7.4.3).
fn is_served(key: &Arc<dyn SigningKey>, provider: &CryptoProvider) -> bool {
    let old = provider
        .cipher_suites
        .iter()
        .filter_map(|suite| match suite {
            SupportedCipherSuite::Tls12(suite) => Some(suite.sign),
            SupportedCipherSuite::Tls13(_) => None,
        });
    let mut old = old.peekable();
    old.peek().is_none() || old.any(|sign| key.choose_scheme(sign).is_some())
}

fn misfit(
    chain: &[CertificateDer<'static>],
    key: &Arc<dyn SigningKey>,
    files: &Certificate,
) -> Fault {
    let cert = files.cert.clone();
    let its = chain.chunks(1).position(|one| fits(one, key));
    match its {
        Some(at) => Fault::NotFirst {
            cert,
            number: at + 1,
        },
        None => Fault::WrongKey(cert),
    }
}
