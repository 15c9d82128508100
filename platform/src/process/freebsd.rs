//! `sysctl kern.proc`.

use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::path::PathBuf;
use std::ptr;

/// `KERN_PROC_NFDS` of sys/sysctl.h: the number of open descriptors, as an `int`.
const KERN_PROC_NFDS: libc::c_int = 43;

// As in platform/freebsd-headers.c.
const _: () = {
    assert!(size_of::<libc::kinfo_proc>() == 1088);
    assert!(offset_of!(libc::kinfo_proc, ki_rssize) == 264);
};

pub(super) fn resident_bytes() -> io::Result<u64> {
    // SAFETY: `kinfo_proc` is what `kern.proc.pid` answers with: plain integers, arrays and pointers that are not followed.
    let process: libc::kinfo_proc = unsafe { ask(libc::KERN_PROC_PID) }?;
    // SAFETY: this call takes no pointer.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let pages = u64::try_from(process.ki_rssize).unwrap_or(0);
    Ok(pages * u64::try_from(page_bytes).unwrap_or(4096))
}

pub(super) fn open_descriptors() -> io::Result<u64> {
    // SAFETY: `kern.proc.nfds` answers with an `int`.
    let open: libc::c_int = unsafe { ask(KERN_PROC_NFDS) }?;
    Ok(u64::try_from(open).unwrap_or(0))
}

pub(super) fn limit(limit: libc::rlim_t) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

/// `kern.boot_id`, since 14.0; a kernel without it has no number.
pub(super) fn boot_id() -> Option<[u8; 16]> {
    let mut id = [0; 16];
    let mut length = id.len();
    // SAFETY: the name is NUL-terminated; `id` and `length` are ours, outlive the call, and `length` says the size of `id`.
    let result = unsafe {
        libc::sysctlbyname(
            c"kern.boot_id".as_ptr(),
            id.as_mut_ptr().cast(),
            &raw mut length,
            ptr::null(),
            0,
        )
    };
    (result == 0 && length == id.len()).then_some(id)
}

/// `PROC_PDEATHSIG_CTL` of procctl(2); 0 is this process.
pub(super) fn end_with_parent() -> io::Result<()> {
    let mut signal = libc::SIGKILL;
    // SAFETY: the request reads an `int`, which outlives the call.
    let result = unsafe {
        libc::procctl(
            libc::P_PID,
            0,
            libc::PROC_PDEATHSIG_CTL,
            (&raw mut signal).cast(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks `kern.proc.<what>` about this process.
///
/// # Safety
/// `T` is the type that the kernel answers with, and every pattern of its bits is a value of it.
unsafe fn ask<T>(what: libc::c_int) -> io::Result<T> {
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let name = [libc::CTL_KERN, libc::KERN_PROC, what, own];
    let mut answer = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>();
    // SAFETY: the name has four parts; the answer is writable for `length` bytes; nothing is set.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            4,
            answer.as_mut_ptr().cast(),
            &mut length,
            ptr::null(),
            0,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if length != size_of::<T>() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the kernel has filled all of it, and the caller vouches for the type.
    Ok(unsafe { answer.assume_init() })
}

/// Not told apart here.
pub(super) fn is_ending(_process: u32) -> bool {
    false
}

/// Not asked here.
pub(super) fn waits_for(_process: u32) -> Vec<PathBuf> {
    Vec::new()
}
