//! FreeBSD's side of [`super`].

use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memmap2::MmapRaw;

use super::Directness;

// As in platform/freebsd-headers.c.
const _: () = assert!(offset_of!(libc::statfs, f_fstypename) == 280);

/// Which limit to raise when `mlock(2)` refuses.
pub(super) const LOCK_LIMIT_ADVICE: &str =
    "raise memorylocked in login.conf(5) and sysctl vm.max_user_wired";

/// There is no `O_NOATIME`: mount content with `noatime`.
pub(super) fn open_to_read(path: &Path, flags: i32) -> io::Result<File> {
    File::options().read(true).custom_flags(flags).open(path)
}

/// UFS passes by its buffers under `O_DIRECT`; tmpfs has nothing to pass by, and ZFS answers from its own cache.
pub(super) fn directness(file: &File) -> io::Result<Directness> {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `file` keeps the descriptor open, and `answer` is a statfs-sized place of ours; both outlive the call.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel has filled it.
    let name = unsafe { answer.assume_init() }.f_fstypename;
    let is = |kind: &[u8]| {
        name.iter()
            .zip(kind)
            .all(|(&a, &b)| a.to_ne_bytes() == b.to_ne_bytes())
    };
    Ok(match () {
        () if is(b"tmpfs\0") || is(b"zfs\0") => Directness::Buffered,
        () => Directness::Direct,
    })
}

/// FreeBSD chooses its page sizes itself (superpages, since 8.0): nothing to ask for.
pub(super) fn read_in_large_folios(_file: &File, _offset: u64, _length: usize) {}

/// As above.
pub(super) fn prefer_large_pages(_map: &MmapRaw) {}

/// Reserves the first `length` bytes. ZFS has no such thing and answers `EINVAL`, posix_fallocate(2): nothing is reserved then.
pub(super) fn reserve(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let length = libc::off_t::try_from(length).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open: `file` is borrowed across the call.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 | libc::EINVAL | libc::EOPNOTSUPP => Ok(()),
        // It returns the error instead of setting errno.
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A jail's `racct` bound is not visible from inside: the machine's memory counts.
pub(super) fn memory_limit() -> Option<u64> {
    None
}

/// The process's own limit, and the system's bound on memory wired by programs.
pub(super) fn lockable_bytes() -> u64 {
    super::lock_limit().min(max_user_wired_bytes())
}

fn max_user_wired_bytes() -> u64 {
    let mut pages: libc::c_ulong = 0;
    let mut length = size_of::<libc::c_ulong>();
    // SAFETY: the name is NUL-terminated; `pages` and `length` are ours, outlive the call, and `length` says the size of `pages`.
    let result = unsafe {
        libc::sysctlbyname(
            c"vm.max_user_wired".as_ptr(),
            (&raw mut pages).cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    };
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    match (result, u64::try_from(page)) {
        (0, Ok(page)) => pages.saturating_mul(page),
        _ => u64::MAX,
    }
}

/// Limits are signed here.
pub(super) fn limit_bytes(limit: libc::rlim_t) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}
