//! `/proc/self`.

use std::fs;
use std::io;

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

/// The state in `/proc/<pid>/stat`, behind the name in brackets; proc(5). The first thread of a killed process is a zombie while others
/// still hang.
pub(super) fn is_ending(process: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = text
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
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
