//! A socket file at which a program answers its operator: made once, by the only process that may serve it, and removed when it ends.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::file::{FileLock, lock_file, way_out};
use crate::process;

/// Extension of the file beside the socket that is held, through `flock`, by the process that serves it. It tells two apart that
/// start at the same moment.
const LOCK: &str = "lock";

/// Owner and group may ask and order.
const MODE: u32 = 0o660;

/// The listening socket.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// `None` once another process serves it.
    lock: Option<FileLock>,
    /// The socket goes with this process.
    is_ours: bool,
}

/// Why a program cannot listen, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The same program serves it already.
    #[error("another {program} serves this run_dir ({}). Stop it first, or give this one another appliance.run_dir", path.display())]
    Another {
        /// The program.
        program: String,
        /// The lock or the socket.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("{} is in the way: it is no socket. Move it, or choose another appliance.run_dir", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// What the system says.
    #[error("{what} {}: {error}; {}", path.display(), way_out(error))]
    System {
        /// What was tried.
        what: &'static str,
        /// With this.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl Door {
    /// `program` listens on `path`. A socket that a dead process left behind is replaced; one that a living one answers on is not.
    ///
    /// # Errors
    /// Another process, or what the system says.
    pub fn open(path: &Path, program: &str) -> Result<Self, DoorError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(system("run_dir cannot be made:", folder))?;
        let lock_path = path.with_extension(LOCK);
        let lock = if remove_corpse(&lock_path, path)? {
            lock(&lock_path, program)?
        } else {
            let lock = lock(&lock_path, program)?;
            remove_stale(path, program)?;
            lock
        };
        lock.name_holder()
            .map_err(system("cannot write", &lock_path))?;
        let listener = UnixListener::bind(path).map_err(system("cannot listen on", path))?;
        fs::set_permissions(path, Permissions::from_mode(MODE))
            .map_err(system("cannot set the permissions of", path))?;
        listener
            .set_nonblocking(true)
            .map_err(system("cannot listen without blocking on", path))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            lock: Some(lock),
            is_ours: true,
        })
    }

    /// The door of another process, which hands over its [`Door::descriptors`], and serves it until [`Door::take`].
    ///
    /// # Errors
    /// If that door is not at `path`.
    pub fn adopt(path: &Path, descriptors: [OwnedFd; 2]) -> io::Result<Self> {
        let [listener, lock] = descriptors;
        let listener = UnixListener::from(listener);
        let other = listener.local_addr()?;
        if other.as_pathname() != Some(path) {
            return Err(io::Error::other(format!(
                "the socket handed over is {other:?}, and not {}: a change of appliance.run_dir takes a restart",
                path.display()
            )));
        }
        Ok(Self {
            listener,
            path: path.to_owned(),
            lock: Some(lock.into()),
            is_ours: false,
        })
    }

    /// What another process needs to serve this door; nothing once one does.
    #[must_use]
    pub fn descriptors(&self) -> Option<[BorrowedFd<'_>; 2]> {
        let lock = self.lock.as_ref()?;
        Some([self.listener.as_fd(), lock.as_fd()])
    }

    /// Another process serves it now: the socket stays when this one ends, and only the other holds the lock.
    pub fn hand_over(&mut self) {
        self.lock = None;
        self.is_ours = false;
    }

    /// This process serves it now.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub fn take(&mut self) -> io::Result<()> {
        self.is_ours = true;
        self.lock.as_ref().map_or(Ok(()), FileLock::name_holder)
    }

    /// The listening socket, not blocking.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

/// The lock is held until after this, so the file is still this process's own.
impl Drop for Door {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn lock(path: &Path, program: &str) -> Result<FileLock, DoorError> {
    lock_file(path).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => another(path, program),
        _ => system("cannot lock", path)(error),
    })
}

/// A process that was killed while a disk held one of its threads keeps lock and socket until the disk lets go, and serves nobody any
/// more: both are made anew beside it. Whether there was one.
fn remove_corpse(lock: &Path, socket: &Path) -> Result<bool, DoorError> {
    let holder = fs::read_to_string(lock).ok();
    let holder = holder.and_then(|text| text.trim().parse().ok());
    if !holder.is_some_and(process::is_ending) || lock_file(lock).is_ok() {
        return Ok(false);
    }
    fs::remove_file(lock).map_err(system("cannot remove the lock of a killed process", lock))?;
    if socket.exists() {
        remove_socket(socket)?;
    }
    Ok(true)
}

fn remove_stale(path: &Path, program: &str) -> Result<(), DoorError> {
    match UnixStream::connect(path) {
        Ok(_) => Err(another(path, program)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Nobody listens: what a killed process left behind.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => remove_socket(path),
        Err(error) => Err(system(
            "cannot tell whether another process answers on",
            path,
        )(error)),
    }
}

/// A plain file refuses connections as well; it is not ours to remove.
fn remove_socket(path: &Path) -> Result<(), DoorError> {
    let kind = fs::symlink_metadata(path).map(|found| found.file_type());
    if !kind.is_ok_and(|kind| kind.is_socket()) {
        return Err(DoorError::InTheWay { path: path.into() });
    }
    fs::remove_file(path).map_err(system("cannot remove the stale socket", path))
}

fn another(path: &Path, program: &str) -> DoorError {
    DoorError::Another {
        program: program.to_owned(),
        path: path.into(),
    }
}

fn system(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DoorError {
    let path = path.into();
    move |error| DoorError::System { what, path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/daemon.sock");
        fs::create_dir(folder.path().join("run")).unwrap();
        (folder, path)
    }

    fn refusal(path: &Path) -> String {
        Door::open(path, "oca-daemon")
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_with_the_daemon() {
        let (_folder, path) = folder();
        let door = Door::open(&path, "oca-daemon").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        UnixStream::connect(&path).unwrap();
        drop(door);
        assert!(!path.exists());
        Door::open(&path, "oca-daemon").unwrap();
    }

    #[test]
    fn a_door_that_is_handed_over_stays_and_is_held() {
        let (_folder, path) = folder();
        let mut first = Door::open(&path, "oca-daemon").unwrap();
        let hand = |it: BorrowedFd<'_>| it.try_clone_to_owned().unwrap();
        let elsewhere = Door::adopt(
            Path::new("/elsewhere"),
            first.descriptors().unwrap().map(hand),
        );
        assert!(elsewhere.err().unwrap().to_string().contains("run_dir"));
        let adopt =
            |from: &Door| Door::adopt(&path, from.descriptors().unwrap().map(hand)).unwrap();
        // One that comes to nothing takes nothing away.
        drop(adopt(&first));
        let mut second = adopt(&first);
        second.take().unwrap();
        first.hand_over();
        drop(first);
        UnixStream::connect(&path).unwrap();
        assert!(refusal(&path).contains("another oca-daemon"));
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_daemon_is_refused_and_takes_nothing_away() {
        let (_folder, path) = folder();
        let _first = Door::open(&path, "oca-daemon").unwrap();
        assert!(refusal(&path).contains("another oca-daemon"));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_that_answers_is_never_removed() {
        let (_folder, path) = folder();
        let _other_program = UnixListener::bind(&path).unwrap();
        assert!(refusal(&path).contains("another oca-daemon"));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_of_a_dead_daemon_is_replaced() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _door = Door::open(&path, "oca-daemon").unwrap();
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
