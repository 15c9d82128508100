//! Reads the files that `[tls]` names: bounded, regular files only, with what PEM has in them. Blocks on the disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use protocol::config::Certificate;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::problem::{Fault, Problem};
use crate::limits::PEM_BYTES;

/// What was in the two files of a certificate; hashed to see whether they have changed.
#[derive(Hash)]
pub(super) struct Bytes {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Bytes {
    pub(super) fn read(files: &Certificate) -> Result<Self, Problem> {
        let exposed = |mode: u32| mode & 0o007 != 0;
        let cert = read(&files.cert)?.0;
        let (key, mode) = read(&files.key)?;
        if exposed(mode) {
            return Err(Fault::Exposed(mode & 0o7777).of(&files.key));
        }
        Ok(Self { cert, key })
    }
}

/// The bytes and the mode.
fn read(path: &Path) -> Result<(Vec<u8>, u32), Problem> {
    let unreadable = |error: io::Error| Fault::Unreadable(error.to_string()).of(path);
    // Before it is opened: to open a pipe is to wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Fault::NotAFile.of(path));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(PEM_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > PEM_BYTES {
        return Err(Fault::TooLong.of(path));
    }
    if bytes.is_empty() {
        return Err(Fault::Empty.of(path));
    }
    Ok((bytes, mode))
}

/// The certificates of a file, in its order; at least one.
pub(super) fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(Fault::NoCertificate),
        Ok(chain) => Ok(chain),
        Err(error) => Err(damaged(&error)),
    }
}

/// The certificates of a file of authorities.
pub(super) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    chain(&read(path)?.0).map_err(|fault| fault.of(path))
}

/// The first private key of a file.
pub(super) fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    // RFC 7468, section 11, and the older form of RFC 1421.
    let marks: [&[u8]; 2] = [
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
        b"Proc-Type: 4,ENCRYPTED",
    ];
    let holds = |mark: &&[u8]| bytes.windows(mark.len()).any(|at| at == *mark);
    if marks.iter().any(holds) {
        return Err(Fault::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        Error::NoItemsFound => Fault::NoKey,
        error => damaged(&error),
    })
}

fn damaged(error: &Error) -> Fault {
    Fault::NotPem(match error {
        Error::MissingSectionEnd { .. } => "its end is missing".to_owned(),
        Error::IllegalSectionStart { .. } => {
            "a line that begins with -----BEGIN does not end with -----".to_owned()
        }
        error => error.to_string(),
    })
}
