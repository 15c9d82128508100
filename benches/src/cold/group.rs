//! A memory cgroup (version 1 or 2) for one server: what is started inside stays inside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const ROOT: &str = "/sys/fs/cgroup";

/// Dissolved with this value, after the server in it has ended.
pub(super) struct MemoryGroup {
    folder: PathBuf,
    outside: PathBuf,
}

impl MemoryGroup {
    /// Errors: not root, or the kernel has no cgroup that bounds memory.
    pub(super) fn make(name: &str, bytes: u64) -> Result<Self> {
        let root = Path::new(ROOT);
        let unified = root.join("cgroup.controllers").exists();
        let (outside, limit) = if unified {
            let control = root.join("cgroup.subtree_control");
            fs::write(&control, "+memory").context("no control of memory by cgroup v2")?;
            (root.to_owned(), "memory.max")
        } else {
            (root.join("memory"), "memory.limit_in_bytes")
        };
        ensure!(outside.exists(), "no cgroup that bounds memory");
        let folder = outside.join(format!("oca-bench-{}-{name}", std::process::id()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let group = Self { folder, outside };
        fs::write(group.folder.join(limit), bytes.to_string())?;
        Ok(group)
    }

    /// Calls `start` while this process is inside, so that its children are; it goes back outside then.
    pub(super) fn inside<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        enter(&self.folder)?;
        let started = start();
        enter(&self.outside)?;
        started
    }
}

fn enter(folder: &Path) -> Result<()> {
    let list = folder.join("cgroup.procs");
    fs::write(&list, std::process::id().to_string()).with_context(|| list.display().to_string())
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}
