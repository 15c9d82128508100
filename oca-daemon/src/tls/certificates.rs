//! The certificates that viewers are shown, and which one.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use arc_swap::ArcSwap;
use protocol::config::Certificate;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// All certificates in force; replaced as a whole.
#[derive(Debug)]
pub struct Certificates {
    loaded: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be used, and why.
    pub fn load(wanted: &[Certificate], provider: &CryptoProvider) -> anyhow::Result<Self> {
        let loaded = wanted.iter().map(|files| read(files, provider));
        Ok(Self {
            loaded: ArcSwap::from_pointee(loaded.collect::<anyhow::Result<_>>()?),
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.loaded.load().first().cloned()
    }
}

fn read(files: &Certificate, provider: &CryptoProvider) -> anyhow::Result<Arc<CertifiedKey>> {
    let said = |path: &Path| path.display().to_string();
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .with_context(|| said(&files.cert))?;
    ensure!(!chain.is_empty(), "{}: no certificate", said(&files.cert));
    let key = PrivateKeyDer::from_pem_file(&files.key).with_context(|| said(&files.key))?;
    let pair = CertifiedKey::from_der(chain, key, provider).with_context(|| said(&files.key))?;
    Ok(Arc::new(pair))
}
