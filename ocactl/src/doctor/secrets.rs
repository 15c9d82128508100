//! Who may read what nobody else should, and who may write what is believed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use protocol::config::Config;

use super::{Finding, Level};

/// One finding for each file that matters.
pub(super) fn findings(config: &Config, path: &Path) -> Vec<Finding> {
    let user = User::of(&config.appliance.state_dir);
    let mut findings: Vec<Finding> = secret_files(config)
        .into_iter()
        .map(|file| secret(file, user.as_ref()))
        .collect();
    let keys = config.control.iter().flat_map(|control| &control.keys);
    let believed = keys.map(std::path::PathBuf::as_path).chain([path]);
    findings.extend(believed.filter_map(written_by_all));
    findings.extend(
        config
            .devices()
            .filter_map(|(_, root)| not_its_own(root, user.as_ref()?)),
    );
    findings
}

/// The files of a configuration that hold a secret.
pub(crate) fn secret_files(config: &Config) -> Vec<&Path> {
    let tls = config.tls.iter().flat_map(|tls| &tls.certificates);
    let control = config.control.as_ref();
    let client = control.and_then(|control| control.client.as_ref());
    let token = control.and_then(|control| control.token_file.as_deref());
    let neighbors = config.bgp.neighbor.iter();
    let keys = tls.chain(client).map(|pair| pair.key.as_path());
    let passwords = neighbors.filter_map(|neighbor| neighbor.password_file.as_deref());
    keys.chain(token).chain(passwords).collect()
}

/// Whom the programs run as: the owner of their state.
#[derive(Debug)]
struct User {
    user: u32,
    group: u32,
}

impl User {
    fn of(state_dir: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(state_dir).ok()?;
        Some(Self {
            user: metadata.uid(),
            group: metadata.gid(),
        })
    }

    /// By its mode alone; whoever is root reads everything.
    fn may(&self, right: u32, metadata: &Metadata) -> bool {
        let mode = metadata.mode();
        self.user == 0
            || (metadata.uid() == self.user && mode & (right << 6) != 0)
            || (metadata.gid() == self.group && mode & (right << 3) != 0)
            || mode & right != 0
    }
}

const READ: u32 = 4;
const WRITE: u32 = 2;

fn secret(file: &Path, user: Option<&User>) -> Finding {
    let shown = file.display();
    let subject = format!("secret {shown}");
    let metadata = match std::fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) => {
            let why = "the program that needs it does not work without it";
            return Finding::new(subject, Level::Fail, error, why, format!("ls -l {shown}"));
        }
    };
    if metadata.mode() & 0o007 != 0 {
        let why = "everybody on this machine could be this appliance";
        return Finding::new(
            subject,
            Level::Fail,
            "others may read it",
            why,
            format!("chmod o-rwx {shown}"),
        );
    }
    if user.is_some_and(|user| !user.may(READ, &metadata)) {
        let why = "the programs run as the owner of state_dir, and could not read it";
        let mend = format!("chgrp oca {shown}; chmod 640 {shown}");
        return Finding::new(
            subject,
            Level::Fail,
            "the programs may not read it",
            why,
            mend,
        );
    }
    Finding::ok(subject, "is read by the programs alone")
}

fn written_by_all(file: &Path) -> Option<Finding> {
    let metadata = std::fs::metadata(file).ok()?;
    let why = "whoever writes there decides what this appliance does";
    let mend = format!("chmod o-w {}", file.display());
    (metadata.mode() & WRITE != 0).then(|| {
        Finding::new(
            format!("file {}", file.display()),
            Level::Fail,
            "others may write it",
            why,
            mend,
        )
    })
}

fn not_its_own(root: &Path, user: &User) -> Option<Finding> {
    let metadata = std::fs::metadata(root).ok()?;
    let why = "the fill agent runs as the owner of state_dir, and could write nothing there";
    let mend = format!("chown oca: {}", root.display());
    (!user.may(WRITE, &metadata)).then(|| {
        Finding::new(
            format!("device {}", root.display()),
            Level::Fail,
            "the programs may not write to it",
            why,
            mend,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_read_by_its_program_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "secret").expect("the folder is writable");
        let own = std::fs::metadata(&file).expect("it is there");
        let owner = User {
            user: own.uid(),
            group: own.gid(),
        };
        let stranger = User {
            user: own.uid() + 1,
            group: own.gid() + 1,
        };
        for (mode, user, level) in [
            (0o600, &owner, Level::Ok),
            (0o644, &owner, Level::Fail),
            (0o640, &stranger, Level::Fail),
        ] {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("it is ours");
            assert_eq!(secret(&file, Some(user)).level, level, "{mode:o}");
        }
        assert_eq!(secret(Path::new("/nonexistent"), None).level, Level::Fail);
    }
}
