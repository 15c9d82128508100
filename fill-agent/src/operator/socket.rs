//! The socket file: made once, by the only agent that may serve this `run_dir`, and removed when it ends.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use platform::file::{FileLock, lock_file};

/// Held, through `flock`, by the agent that serves the folder. It tells two agents apart that start at the same moment.
const LOCK_FILE: &str = "fill.lock";

/// Owner and group may ask and order.
const MODE: u32 = 0o660;

/// The listening socket.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    _lock: FileLock,
}

impl Door {
    /// Listens on `path`. A socket that a dead agent left behind is replaced; one that a living agent answers on is not.
    ///
    /// # Errors
    /// Another agent, or what the system says, with the way out.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)
            .map_err(|error| explained("run_dir cannot be made:", folder, &error))?;
        let lock = lock(&folder.join(LOCK_FILE))?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path)
            .map_err(|error| explained("cannot listen on", path, &error))?;
        fs::set_permissions(path, Permissions::from_mode(MODE))
            .map_err(|error| explained("cannot set the permissions of", path, &error))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The listening socket, not blocking.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

/// The lock is held until after this, so the file is still this agent's own.
impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn lock(path: &Path) -> anyhow::Result<FileLock> {
    match lock_file(path) {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(another_agent(path)),
        Err(error) => Err(explained("cannot lock", path, &error)),
    }
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match UnixStream::connect(path) {
        Ok(_) => Err(another_agent(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Nobody listens: what a killed agent left behind.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => remove_socket(path),
        Err(error) => Err(explained(
            "cannot tell whether another agent answers on",
            path,
            &error,
        )),
    }
}

/// A plain file refuses connections as well; it is not ours to remove.
fn remove_socket(path: &Path) -> anyhow::Result<()> {
    let kind = fs::symlink_metadata(path).map(|found| found.file_type());
    anyhow::ensure!(
        kind.is_ok_and(|kind| kind.is_socket()),
        "{} is in the way: it is no socket. Move it, or choose another appliance.run_dir",
        path.display()
    );
    fs::remove_file(path).map_err(|error| explained("cannot remove the stale socket", path, &error))
}

fn another_agent(path: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "another oca-fill-agent serves this run_dir ({}). Stop it first, or give this one another appliance.run_dir",
        path.display()
    )
}

fn explained(what: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("{what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/fill.sock");
        fs::create_dir(folder.path().join("run")).unwrap();
        (folder, path)
    }

    fn refusal(path: &Path) -> String {
        Door::open(path).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_with_the_agent() {
        let (_folder, path) = folder();
        let door = Door::open(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        UnixStream::connect(&path).unwrap();
        drop(door);
        assert!(!path.exists());
        Door::open(&path).unwrap();
    }

    #[test]
    fn a_second_agent_is_refused_and_takes_nothing_away() {
        let (_folder, path) = folder();
        let _first = Door::open(&path).unwrap();
        assert!(refusal(&path).contains("another oca-fill-agent"));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_that_answers_is_never_removed() {
        let (_folder, path) = folder();
        let _other_program = UnixListener::bind(&path).unwrap();
        assert!(refusal(&path).contains("another oca-fill-agent"));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_of_a_dead_agent_is_replaced() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _door = Door::open(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let (_folder, path) = folder();
        fs::write(&path, "notes").unwrap();
        assert!(refusal(&path).contains("is no socket"));
        assert_eq!(fs::read(&path).unwrap(), b"notes");
    }
}
