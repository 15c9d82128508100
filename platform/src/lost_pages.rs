//! Pages of mapped files that cannot be had: the file has become shorter, or its disk fails.
//!
//! Who touches such a page is sent SIGBUS, which ends the process: one bad disk would end all service. After [`survive`] the page is
//! replaced by an empty one of the process's own, and counted. Whoever reads mapped files that others could spoil compares [`count`]
//! before and after, and believes nothing in between if it has changed, or asks [`any_within`] of its own mapping; what is mapped there is
//! not to be used again.
//! The same is done for shared memory of others by libwayland (`wl_shm_buffer_begin_access`).

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Where the last ones lay. A place is written before its page is replaced: who has read an empty page finds it here.
static LAST: [AtomicUsize; KNOWN] = [const { AtomicUsize::new(0) }; KNOWN];

/// Pages whose place is written.
static SETTLED: AtomicU64 = AtomicU64::new(0);

/// So many lost pages are known by address, 8 bytes each: 64 MiB that are lost at once.
const KNOWN: usize = 1 << 14;

/// Bytes of a page, for the handler.
static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// Pages that were replaced since the start.
pub fn count() -> u64 {
    COUNT.load(SeqCst)
}

/// [`count`], if the places of all these pages are written; until then nobody may forget a look at them.
pub fn settled_count() -> Option<u64> {
    // In this order: those that were written then are all that have begun by now.
    let settled = SETTLED.load(SeqCst);
    (count() == settled).then_some(settled)
}

/// Whether a page within `addresses` was replaced after [`count`] was `since`; true as well if that is not known any more. Costs one load
/// if none was replaced anywhere.
pub fn any_within(addresses: Range<usize>, since: u64) -> bool {
    let count = count();
    count.saturating_sub(since) > KNOWN as u64
        || (since..count).any(|number| addresses.contains(&place(number).load(SeqCst)))
}

fn place(number: u64) -> &'static AtomicUsize {
    &LAST[number as usize % KNOWN]
}

/// From now on, for all threads.
///
/// # Errors
/// What sigaction(2) says.
pub fn survive() -> io::Result<()> {
    // SAFETY: this call takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(usize::try_from(page).unwrap_or(4096), SeqCst);
    let handler: extern "C" fn(libc::c_int, *const libc::siginfo_t, *const libc::c_void) = handle;
    set(handler as libc::sighandler_t, libc::SA_SIGINFO)
}

fn set(handler: libc::sighandler_t, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: all zeroes are a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the action lives through the call, and its handler only does what signal-safety(7) allows: a system call and atomics.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns to the instruction that touched the page, which then succeeds, or ends the process as if this was not here.
extern "C" fn handle(_: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel hands over a valid one, which lives until the return.
    let info = unsafe { &*info };
    // Linux says the first, FreeBSD the second. Memory that is broken itself has another code.
    let lost = matches!(info.si_code, libc::BUS_ADRERR | libc::BUS_OBJERR);
    // SAFETY: a SIGBUS of these codes carries an address; of others it is not used.
    let address = unsafe { info.si_addr() } as usize;
    // Counted before: another thread that reads the empty page finds the count changed.
    if lost {
        place(COUNT.fetch_add(1, SeqCst)).store(address, SeqCst);
        SETTLED.fetch_add(1, SeqCst);
    }
    if !lost || !replace(address) {
        // The next attempt ends the process; if this fails, so does the next one here.
        let _ = set(libc::SIG_DFL, 0);
    }
}

fn replace(address: usize) -> bool {
    let page = PAGE.load(SeqCst);
    let start = address & !(page - 1);
    // SAFETY: the page belongs to a mapping of a file, since only there the kernel finds nothing to put; whoever holds it keeps a readable and
    // writable page at the same address, with other bytes, as when the file had been written to.
    let mapped = unsafe {
        libc::mmap(
            ptr::without_provenance_mut(start),
            page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    mapped != libc::MAP_FAILED
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_page_that_the_file_lost_reads_as_empty_and_is_counted() {
        survive().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let page = PAGE.load(SeqCst);
        file.write_all(&vec![7; 2 * page]).unwrap();
        // SAFETY: the file is this test's own, and the test is about its change.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        assert_eq!(map[2 * page - 1], 7);
        let before = count();
        let [first, second] = [0, page].map(|from| {
            let start = map.as_ptr().addr() + from;
            start..start + page
        });
        assert!(!any_within(first.start..second.end, before));
        file.set_len(page as u64).unwrap();
        assert_eq!((map[page - 1], map[page], map[2 * page - 1]), (7, 0, 0));
        assert_eq!(count() - before, 1, "one page was lost");
        assert!(any_within(second.clone(), before));
        assert!(!any_within(first.clone(), before), "and not the other");
        assert!(!any_within(second, count()), "nor since");
    }
}
