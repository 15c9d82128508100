//! Which files this process may reach from now on, whatever it is made to do: Landlock on Linux, landlock(7).
//!
//! What is open stays open. A rule names a folder and means all that is below it, also what is mounted there later: so it names the
//! folder above a device, never the device, whose root is another folder once another disk is mounted in its place.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::path::{Path, PathBuf};

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// What may be reached. Everything else may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Folders below which files may be read.
    pub read: Vec<PathBuf>,
    /// Folders below which files may be read, written, made and removed.
    pub write: Vec<PathBuf>,
    /// Files that may be read and written.
    pub files: Vec<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Whether the rules hold.
    pub enforced: bool,
    /// What the kernel cannot keep to, or why it keeps to nothing; empty if there is nothing to say.
    pub detail: String,
    /// Whether no program that is started from here gets rights that this one does not have.
    pub no_new_privileges: bool,
}

/// Keeps the calling thread, and all threads that it starts from now on, to `rules`: to be called before there are others. A kernel that
/// cannot do so is no reason not to serve; [`Sandbox`] says so.
#[must_use]
pub fn enforce(rules: &Rules) -> Sandbox {
    system::enforce(rules)
}

/// `path` if it is there, else the nearest folder above it that is.
#[must_use]
pub fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
}
