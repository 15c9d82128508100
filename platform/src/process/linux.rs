//! `/proc`.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Second field of `/proc/self/statm`, in pages; proc(5).
pub(super) fn resident_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(pages * page_bytes())
}

/// Since Linux 6.2 the size of the folder is the number of open descriptors; before, it is 0 and they are counted.
pub(super) fn open_descriptors() -> io::Result<u64> {
    match fs::metadata("/proc/self/fd")?.len() {
        0 => Ok(fs::read_dir("/proc/self/fd")?.count() as u64),
        open => Ok(open),
    }
}

pub(super) fn limit(limit: libc::rlim_t) -> u64 {
    limit
}

/// By `/proc/<pid>/status`, proc(5). The first thread of a killed process is a zombie while others still hang; one that hangs itself has
/// SIGKILL before it, which nothing but the end can follow.
pub(super) fn is_ending(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let is_killed = |pending: &str| {
        u64::from_str_radix(pending.trim(), 16).is_ok_and(|set| set >> (libc::SIGKILL - 1) & 1 == 1)
    };
    field("State:\t").is_some_and(|state| state.starts_with(['Z', 'X']))
        || field("SigPnd:").is_some_and(is_killed)
        || field("ShdPnd:").is_some_and(is_killed)
}

/// `PR_SET_PDEATHSIG`(2const).
pub(super) fn end_with_parent() -> io::Result<()> {
    // SAFETY: this option takes a number and no pointer.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn waits_for(process: u32) -> Vec<PathBuf> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    threads
        .filter_map(|thread| file_of_call(&thread.path()))
        .collect()
}

/// The file of the system call that a thread is in. `syscall` has its number and arguments (proc(5)); the first one is a descriptor,
/// or `AT_FDCWD`, and then a path follows.
fn file_of_call(thread: &Path) -> Option<PathBuf> {
    let call = fs::read_to_string(thread.join("syscall")).ok()?;
    let mut arguments = call.split(' ').skip(1).map(|argument| {
        let digits = argument.trim_start_matches("0x");
        u64::from_str_radix(digits, 16).ok()
    });
    let first = arguments.next()??;
    if first as i32 == libc::AT_FDCWD {
        return path_at(thread, arguments.next()??);
    }
    fs::read_link(thread.join("fd").join(first.to_string())).ok()
}

/// The path that lies at an address of its memory.
fn path_at(thread: &Path, address: u64) -> Option<PathBuf> {
    let mut bytes = vec![0; libc::PATH_MAX as usize];
    let memory = File::open(thread.join("mem")).ok()?;
    let read = memory.read_at(&mut bytes, address).ok()?;
    let path = CStr::from_bytes_until_nul(&bytes[..read]).ok()?;
    Some(OsStr::from_bytes(path.to_bytes()).into())
}

/// A UUID; random(4).
pub(super) fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let id = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| id.to_be_bytes())
}

fn page_bytes() -> u64 {
    // SAFETY: this call takes no pointer.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}
