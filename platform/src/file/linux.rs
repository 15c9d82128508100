//! Linux's side of [`super`].

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::Directness;

/// Which limit to raise when `mlock(2)` refuses.
pub(super) const LOCK_LIMIT_ADVICE: &str =
    "raise LimitMEMLOCK= in the systemd unit (ulimit -l), or grant CAP_IPC_LOCK";

/// Opens to read without touching the access time where we may (owner or `CAP_FOWNER`; `EPERM` otherwise, open(2)).
pub(super) fn open_to_read(path: &Path, flags: i32) -> io::Result<File> {
    let open = |flags| File::options().read(true).custom_flags(flags).open(path);
    match open(flags | libc::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(flags),
        answer => answer,
    }
}

/// tmpfs takes `O_DIRECT` since 6.6 and then reads through its pages all the same, so the flag alone proves nothing.
pub(super) fn directness(file: &File) -> io::Result<Directness> {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `file` keeps the descriptor open, and `answer` is a statfs-sized place of ours; both outlive the call.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel has filled it.
    let kind = unsafe { answer.assume_init() }.f_type;
    Ok(match kind {
        libc::TMPFS_MAGIC | RAMFS_MAGIC => Directness::Buffered,
        _ => Directness::Direct,
    })
}

/// Brings a range into the page cache in folios as large as the file system makes them, up to 2 MiB: what sendfile costs later goes by
/// folios, and reads of a random-access descriptor bring 4 KiB ones.
///
/// `MADV_HUGEPAGE` makes a fault read a whole 2 MiB folio, `MADV_POPULATE_READ` (5.14) faults all of the range and answers an I/O error
/// instead of raising SIGBUS. Both are wishes: where they are not granted, the caller's own reads do the work.
pub(super) fn read_in_large_folios(file: &File, offset: u64, length: usize) {
    // SAFETY: the mapping is dropped before this returns, and nothing looks at its bytes.
    let Ok(map) = (unsafe { MmapOptions::new().offset(offset).len(length).map(file) }) else {
        return;
    };
    let _ = map.advise(Advice::HugePage);
    let _ = map.advise(Advice::PopulateRead);
}

/// Asks for pages of 2 MiB: a direct read pins, and a copy translates, that much less. A wish.
pub(super) fn prefer_large_pages(map: &MmapRaw) {
    let _ = map.advise(Advice::HugePage);
}

/// linux/magic.h; libc does not name it.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Reserves the first `length` bytes with `fallocate(2)`. The C library's `posix_fallocate` would, on a file system without it, write a
/// byte into each block through the page cache; here such a file system simply reserves nothing.
pub(super) fn reserve(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let length = libc::off_t::try_from(length).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open: `file` is borrowed across the call.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        error => Err(error),
    }
}

/// The smallest bound of the control groups that this process is in: `memory.max` of version 2 and `memory.limit_in_bytes` of version 1.
pub(super) fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(group_limit).min()
}

fn group_limit(line: &str) -> Option<u64> {
    let mut words = line.splitn(3, ':');
    let (_, controllers, path) = (words.next()?, words.next()?, words.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    // A parent's bound holds for its children, and in a container the path itself may not be visible.
    Path::new(path)
        .ancestors()
        .filter_map(|group| {
            let below = group.strip_prefix("/").unwrap_or(group);
            std::fs::read_to_string(Path::new(root).join(below).join(file)).ok()
        })
        .filter_map(|text| text.trim().parse().ok())
        .min()
}

/// `CAP_IPC_LOCK` lifts the limit, mlock(2).
pub(super) fn lockable_bytes() -> u64 {
    const CAP_IPC_LOCK: u32 = 14;
    if effective_capabilities() & (1 << CAP_IPC_LOCK) != 0 {
        return u64::MAX;
    }
    super::lock_limit()
}

fn effective_capabilities() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// Limits are unsigned here.
pub(super) fn limit_bytes(limit: libc::rlim_t) -> u64 {
    limit
}
