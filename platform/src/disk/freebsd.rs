//! Disks are not read. A file system is mounted once, but for nullfs(5), and its flags are those of the mount.

use std::io;
use std::path::Path;

pub(super) fn disks_below(_: &Path) -> io::Result<Vec<String>> {
    Ok(Vec::new())
}

pub(super) fn takes_no_writes(path: &Path) -> io::Result<bool> {
    Ok(crate::file::space(path)?.read_only)
}
