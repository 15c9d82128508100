//! What a client needs for TLS: whom it believes, and who it is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::pem::{self, BadFile};
use crate::{Stamp, Validity, provider};

/// The one protocol that is spoken inside (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The chain, the leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why nobody can be asked over TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A file is no good.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The system has no authorities.
    #[error(
        "the system has no certificate authorities to check https with ({0}); install ca-certificates (FreeBSD: ca_root_nss), or name a file"
    )]
    System(String),
}

/// A client of servers that are all believed for the same reason. Its configuration is made when it is first needed: who asks
/// nobody over TLS needs no authorities.
#[derive(Debug)]
pub struct Client {
    authorities: Option<PathBuf>,
    identity: Option<Identity>,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    stamp: Stamp,
    config: Arc<ClientConfig>,
}

impl Client {
    /// Believes whom `authorities` (PEM) believe, or the system's store; shows `identity` to servers that ask. Reads nothing yet.
    #[must_use]
    pub fn new(authorities: Option<PathBuf>, identity: Option<Identity>) -> Self {
        Self {
            authorities,
            identity,
            kept: Mutex::default(),
        }
    }

    /// The configuration of the files as they are now: the same one as before if they have not changed, or if the new ones are no
    /// good, which is logged. Blocks on their disk.
    ///
    /// # Errors
    /// If there is none yet, what is wrong with the files.
    pub fn config(&self) -> Result<Arc<ClientConfig>, ClientError> {
        let mut kept = self
            .kept
            .lock()
            .expect("nothing panics while it holds this");
        let stamp = Stamp::of(self.files());
        if let Some(kept) = &*kept
            && kept.stamp == stamp
        {
            return Ok(Arc::clone(&kept.config));
        }
        let config = match (self.load(), &*kept) {
            (Ok(config), _) => Arc::new(config),
            (Err(error), None) => return Err(error),
            (Err(error), Some(old)) => {
                tracing::error!("the old certificates stay in force: {error}");
                Arc::clone(&old.config)
            }
        };
        *kept = Some(Kept {
            stamp,
            config: Arc::clone(&config),
        });
        Ok(config)
    }

    /// Whether it depends on files of the operator.
    #[must_use]
    pub fn names_files(&self) -> bool {
        self.files().next().is_some()
    }

    /// Reads the files for whoever wants to know now whether they are good, and still valid.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), ClientError> {
        self.load()?;
        if let Some(identity) = &self.identity {
            Validity::check(&pem::certificates(&identity.cert)?, &identity.cert)?;
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let own = self.identity.iter().flat_map(|own| [&own.cert, &own.key]);
        self.authorities.iter().chain(own).map(PathBuf::as_path)
    }

    fn load(&self) -> Result<ClientConfig, ClientError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(system)?;
        let builder = match &self.authorities {
            Some(file) => builder.with_root_certificates(pem::authorities(file)?),
            None => builder.with_platform_verifier().map_err(system)?,
        };
        let mut config = match &self.identity {
            Some(Identity { cert, key }) => {
                let pair = SingleCertAndKey::from(pem::certified(cert, key)?);
                builder.with_client_cert_resolver(Arc::new(pair))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

/// For a client that only ever speaks in clear: some want to be told of TLS all the same, and would look for the system's store.
#[must_use]
pub fn believing_nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs knows the suites of both versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn system(error: rustls::Error) -> ClientError {
    ClientError::System(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    fn authority() -> String {
        let params = CertificateParams::new(Vec::new()).unwrap();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn files_are_read_again_when_they_change_and_bad_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let client = Client::new(Some(file.clone()), None);
        assert!(matches!(client.config(), Err(ClientError::File(_))));
        fs::write(&file, authority()).unwrap();
        let first = client.config().unwrap();
        assert!(Arc::ptr_eq(&first, &client.config().unwrap()));
        fs::write(&file, "nonsense").unwrap();
        assert!(Arc::ptr_eq(&first, &client.config().unwrap()));
        assert!(client.check().is_err());
        fs::write(&file, authority() + &authority()).unwrap();
        let second = client.config().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &client.config().unwrap()));
    }
}
