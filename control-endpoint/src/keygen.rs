//! `oca-control keygen`: a new pair of keys. The private one is readable by its owner only; nothing is overwritten.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use protocol::manifest::keys::PrivateKey;

/// The files that were written: private, public.
///
/// # Errors
/// When one of them is there already, or cannot be written.
pub fn run(target: &Path) -> Result<(PathBuf, PathBuf)> {
    let private = if target.is_dir() {
        target.join("control-1.key")
    } else {
        target.to_owned()
    };
    let public = private.with_extension("pub");
    anyhow::ensure!(
        private != public,
        "{}: a private key cannot end with .pub",
        private.display()
    );
    anyhow::ensure!(
        !public.exists(),
        "{} is there already; nothing was written",
        public.display()
    );
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| anyhow::anyhow!("no random numbers from the system: {error}"))?;
    let key = PrivateKey::from_seed(&seed);
    write_new(&private, &key.to_pem(), 0o600)?;
    write_new(&public, &key.public().to_pem(), 0o644)?;
    Ok((private, public))
}

fn write_new(file: &Path, text: &str, mode: u32) -> Result<()> {
    let cannot = || format!("cannot write {}; nothing is overwritten", file.display());
    let mut open: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .with_context(cannot)?;
    open.write_all(text.as_bytes())
        .and_then(|()| open.sync_all())
        .with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::manifest::keys::PublicKey;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_pair_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = run(folder.path()).unwrap();
        let read = |file: &Path| std::fs::read_to_string(file).unwrap();
        let key = PrivateKey::from_pem(&read(&private)).unwrap();
        assert_eq!(PublicKey::from_pem(&read(&public)).unwrap(), key.public());
        assert_eq!(
            private.metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(run(folder.path()).is_err());
        assert!(run(&private).is_err());
        assert_eq!(
            PrivateKey::from_pem(&read(&private)).unwrap().public(),
            key.public()
        );
    }
}
