//! Which disks are below a folder, and how its file system is mounted, from the kernel's tables alone: no disk is asked, so one that hangs keeps nobody waiting.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

use std::io;
use std::path::Path;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

/// The whole disks that hold the file system of `path`, as in `nvme0n1` or `sda`, in the order of their names; none where it is in memory or
/// on the network, and on FreeBSD, where geom(4) is not read.
///
/// # Errors
/// What the kernel says, as where `/proc` is not mounted.
pub fn disks_below(path: &Path) -> io::Result<Vec<String>> {
    system::disks_below(path)
}

/// Whether the file system that is seen at `path` takes no writes from anybody. One that this process alone may not write to, because a
/// service manager has mounted it read-only for it, does.
///
/// # Errors
/// What the kernel says, as where `/proc` is not mounted.
pub fn takes_no_writes(path: &Path) -> io::Result<bool> {
    system::takes_no_writes(path)
}
