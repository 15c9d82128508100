//! Certificates and keys as operators have them: PEM files (RFC 7468).
//!
//! Whatever is wrong with one is said with the file and what to do. Files may be changed while they run: a chain and its key are
//! only taken together.

use std::fs::File;
use std::io::{Read, Take};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::limits::FILE_MAX_BYTES;
use crate::provider;

/// A file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", file.display())]
pub struct BadFile {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, and what to do.
    pub what: String,
}

/// A chain of certificates, the leaf first, and its private key.
///
/// # Errors
/// Files that cannot be read, hold something else, or do not belong together.
pub fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey, BadFile> {
    let certificates = certificates(chain)?;
    let private = private_key(key)?;
    CertifiedKey::from_der(certificates, private, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let chain = chain.display();
            bad(
                key,
                format!("is not the key of the first certificate in {chain}; name the files of one pair, the leaf first in the chain"),
            )
        }
        rustls::Error::InvalidCertificate(error) => {
            bad(chain, format!("the first certificate cannot be used: {error:?}"))
        }
        other => bad(key, format!("cannot be used: {other}; allowed: a key of RSA (2048 bits and more), ECDSA (P-256, P-384, P-521) or Ed25519")),
    })
}

/// At least one certificate.
///
/// # Errors
/// A file that cannot be read, or has none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let text = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| not_pem(file, &error))?;
    if found.is_empty() {
        let what = if holds(&text, "PRIVATE KEY-----") {
            "has a private key and no certificate; name the file of the certificate"
        } else {
            "has no certificate; allowed: PEM, with -----BEGIN CERTIFICATE-----"
        };
        return Err(bad(file, what.to_owned()));
    }
    Ok(found)
}

/// The first private key: PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
/// A file that cannot be read, has none, or one that needs a passphrase.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, BadFile> {
    let text = read(file)?;
    if holds(&text, "BEGIN ENCRYPTED PRIVATE KEY") || holds(&text, "Proc-Type: 4,ENCRYPTED") {
        let name = file.display();
        let what = format!(
            "is encrypted; write one without a passphrase, for the user of this program alone: openssl pkey -in {name} -out NEW"
        );
        return Err(bad(file, what));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if holds(&text, "BEGIN CERTIFICATE") => bad(
            file,
            "has a certificate and no private key; name the file of the key".to_owned(),
        ),
        pem::Error::NoItemsFound => bad(
            file,
            "has no private key; allowed: PEM, with -----BEGIN PRIVATE KEY-----".to_owned(),
        ),
        other => not_pem(file, &other),
    })
}

/// Certificates of authorities, whatever signs for them.
///
/// # Errors
/// A file that cannot be read, or whose certificates cannot be used.
pub fn authorities(file: &Path) -> Result<RootCertStore, BadFile> {
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates(file)?.into_iter().enumerate() {
        let number = index + 1;
        store.add(certificate).map_err(|error| {
            bad(
                file,
                format!("certificate {number} in it cannot be used: {error}"),
            )
        })?;
    }
    Ok(store)
}

fn read(file: &Path) -> Result<Vec<u8>, BadFile> {
    let failed = |error: std::io::Error| bad(file, format!("cannot be read: {error}"));
    let mut bounded: Take<File> = File::open(file).map_err(failed)?.take(FILE_MAX_BYTES + 1);
    let mut text = Vec::new();
    bounded.read_to_end(&mut text).map_err(failed)?;
    match text.len() as u64 {
        0 => Err(bad(file, "is empty; allowed: PEM".to_owned())),
        length if length > FILE_MAX_BYTES => {
            Err(bad(file, format!("has more than {FILE_MAX_BYTES} bytes")))
        }
        _ => Ok(text),
    }
}

fn holds(text: &[u8], words: &str) -> bool {
    text.windows(words.len())
        .any(|window| window == words.as_bytes())
}

fn not_pem(file: &Path, error: &pem::Error) -> BadFile {
    bad(file, format!("is damaged: {error}; allowed: PEM"))
}

fn bad(file: &Path, what: String) -> BadFile {
    BadFile {
        file: file.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self {
                folder: tempfile::tempdir().unwrap(),
            };
            let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
            let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap().pem();
            files.write("cert.pem", &certificate);
            files.write("key.pem", &key.serialize_pem());
            files.write("other.pem", &other.serialize_pem());
            files.write("empty.pem", "");
            files.write("text.pem", "hello");
            files.write("cut.pem", &certificate[..certificate.len() / 2]);
            files.write(
                "not-one.pem",
                "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
            );
            files.write(
                "encrypted.pem",
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            );
            files
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.at(name), text).unwrap();
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn pair(&self, chain: &str, key: &str) -> Result<(), String> {
            let pair = certified(&self.at(chain), &self.at(key));
            pair.map(drop).map_err(|error| self.said(&error))
        }

        fn said(&self, error: &BadFile) -> String {
            let folder = format!("{}/", self.folder.path().display());
            error.to_string().replace(&folder, "")
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let files = Files::new();
        assert_eq!(files.pair("cert.pem", "key.pem"), Ok(()));
        for (chain, key, said) in [
            (
                "cert.pem",
                "other.pem",
                "other.pem: is not the key of the first certificate in cert.pem; name the files",
            ),
            (
                "key.pem",
                "key.pem",
                "key.pem: has a private key and no certificate",
            ),
            (
                "cert.pem",
                "cert.pem",
                "cert.pem: has a certificate and no private key",
            ),
            (
                "cert.pem",
                "encrypted.pem",
                "encrypted.pem: is encrypted; write one without a passphrase",
            ),
            (
                "cert.pem",
                "text.pem",
                "text.pem: has no private key; allowed: PEM",
            ),
            (
                "text.pem",
                "key.pem",
                "text.pem: has no certificate; allowed: PEM",
            ),
            ("empty.pem", "key.pem", "empty.pem: is empty"),
            ("cut.pem", "key.pem", "cut.pem: is damaged: "),
            (
                "not-one.pem",
                "key.pem",
                "not-one.pem: the first certificate cannot be used",
            ),
            (
                "none.pem",
                "key.pem",
                "none.pem: cannot be read: No such file",
            ),
            ("cert.pem", ".", ": cannot be read: Is a directory"),
        ] {
            let found = files.pair(chain, key).unwrap_err();
            assert!(found.contains(said), "{found}");
        }
    }

    #[test]
    fn what_is_wrong_with_authorities_is_said() {
        let files = Files::new();
        files.write("long.pem", &"x".repeat(FILE_MAX_BYTES as usize + 1));
        let found = authorities(&files.at("long.pem")).unwrap_err();
        assert!(found.what.contains("has more than"), "{found}");
        let found = authorities(&files.at("not-one.pem")).unwrap_err();
        assert!(
            files
                .said(&found)
                .starts_with("not-one.pem: certificate 1 in it"),
            "{found}"
        );
        assert_eq!(authorities(&files.at("cert.pem")).unwrap().len(), 1);
    }
}
