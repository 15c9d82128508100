//! Pieces of files that are in memory on purpose.
//!
//! The device service makes a [`LockedPiece`]: it reads the piece through the page cache, maps it, locks the mapping with `mlock(2)` and
//! checks the mapping itself. From then on a sendfile of that range finds every page and touches no disk, and the kernel cannot reclaim
//! them under any pressure. Which pieces deserve it, and how many fit, is decided elsewhere.
//!
//! Cost of a piece: its bytes of memory, one mapping (`vm.max_map_count` on Linux, 65 530 by default: 128 GiB of whole pieces), and one
//! descriptor for each *file* that has any.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Mmap, MmapOptions};

use crate::file::{
    advise, lock_limit_advice, lockable_bytes, open_for_sending, read_in_large_folios,
};
use crate::lost_pages;
use crate::stored_file::{BLOCK_BYTES, BadBlock, BlockCheck, StoredFile};

/// Bytes of one read while a piece is brought into the page cache: what a viewer's read may have to wait behind.
pub(crate) const LOAD_STEP_BYTES: usize = 256 << 10;

const _: () = assert!((LOAD_STEP_BYTES as u64).is_multiple_of(BLOCK_BYTES));

/// Why a piece could not be locked into memory.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file has no such piece.
    #[error("the file has no piece {0}")]
    NoSuchPiece(u32),
    /// The device could not read it.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// The file is not what was written; it is marked bad.
    #[error(transparent)]
    Corrupt(#[from] BadBlock),
    /// The system refuses to lock so much, or so many mappings.
    #[error(
        "cannot lock {bytes} bytes of memory (limit {limit} bytes, {locked} locked so far): {advice}"
    )]
    LockRefused {
        /// What was to be locked.
        bytes: u64,
        /// What this device has locked already.
        locked: u64,
        /// What this process may lock.
        limit: u64,
        /// What an operator can do.
        advice: &'static str,
        /// What `mmap(2)` or `mlock(2)` said.
        source: io::Error,
    },
    /// The device does not answer at the moment.
    #[error("the device does not answer")]
    Stalled,
    /// The device has failed.
    #[error("the device has failed")]
    DeviceFailed,
    /// Too many loads wait already.
    #[error("too many loads wait already")]
    QueueFull,
    /// The device service was stopped.
    #[error("the device service was stopped")]
    Stopped,
}

/// A piece of a file, checked, in memory, and locked there.
pub struct LockedPiece {
    map: Mmap,
    file: Arc<File>,
    range: Range<u64>,
    sent: Sent,
    /// Pages that were lost, of any mapping, when all of this piece's were still there.
    lost_elsewhere: AtomicU64,
    _share: Share,
}

/// Bytes sent. On a cache line of its own: every worker writes it, and reads the fields around it.
#[derive(Default)]
#[repr(align(128))]
struct Sent(AtomicU64);

/// What one piece adds to its device's count of locked bytes.
struct Share {
    bytes: u64,
    total: Arc<AtomicU64>,
}

impl Share {
    fn new(bytes: u64, total: &Arc<AtomicU64>) -> Self {
        total.fetch_add(bytes, Ordering::Relaxed);
        Self {
            bytes,
            total: Arc::clone(total),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl LockedPiece {
    /// A descriptor of the *whole file*, for sendfile. Only [`range`](Self::range) of it is in memory.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Which bytes of the file are locked.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The bytes of `range` of the file, where they must be copied (encrypted in user space, for one); `None` if they are not all in this
    /// piece.
    ///
    /// They are what was checked if [`is_intact`](Self::is_intact) holds *after* they were used.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        let from = range.start.checked_sub(self.range.start)?;
        let to = range.end.checked_sub(self.range.start)?;
        self.map
            .get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    }

    /// Whether no page of it was lost since before it was checked: someone may have cut its file short behind our back, and what is read of
    /// it then is not what was checked ([`lost_pages`]). No lock, no system call.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        let since = self.lost_elsewhere.load(Ordering::Relaxed);
        if lost_pages::count() == since {
            return true;
        }
        let settled = lost_pages::settled_count();
        let start = self.map.as_ptr().addr();
        let is_intact = !lost_pages::any_within(start..start + self.map.len(), since);
        // Not while a place is being written: it may be one of ours, and would be forgotten.
        if let (true, Some(settled)) = (is_intact, settled) {
            self.lost_elsewhere.fetch_max(settled, Ordering::Relaxed);
        }
        is_intact
    }

    /// Notes that `bytes` of it were sent. No lock, no system call.
    pub fn count_sent(&self, bytes: u64) {
        self.sent.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn take_sent(&self) -> u64 {
        self.sent.0.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }
}

impl fmt::Debug for LockedPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedPiece")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Brings a piece into memory, locks and checks it. `between` is called between two reads and may end the work.
pub(crate) fn lock_piece(
    file: &StoredFile,
    check: &dyn BlockCheck,
    piece: u32,
    total: &Arc<AtomicU64>,
    mut between: impl FnMut() -> Result<(), LoadError>,
) -> Result<LockedPiece, LoadError> {
    let range = file.piece_range(piece);
    if range.is_empty() {
        return Err(LoadError::NoSuchPiece(piece));
    }
    let descriptor = match file.sending_descriptor() {
        Some(shared) => shared,
        None => Arc::new(open_for_sending(file.path()).map_err(LoadError::Read)?),
    };
    read_into_cache(&descriptor, &range, &mut between)?;
    let lost_elsewhere = lost_pages::count().into();
    let map = map_locked(&descriptor, &range, total)?;
    check.check(range.start, &map)?;
    Ok(LockedPiece {
        map,
        file: descriptor,
        sent: Sent::default(),
        lost_elsewhere,
        _share: Share::new(range.end - range.start, total),
        range,
    })
}

/// Reads the piece step by step, so that the faults of `mlock` find it in memory and an unreadable block is an error here, not a signal.
///
/// Before that it is brought in as few large folios as the system makes; small ones that lie there already are dropped first.
fn read_into_cache(
    file: &File,
    range: &Range<u64>,
    between: &mut impl FnMut() -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    between()?;
    let length = range.end - range.start;
    let _ = advise(file, range.start, length, libc::POSIX_FADV_DONTNEED);
    read_in_large_folios(
        file,
        range.start,
        usize::try_from(length).expect("a piece is at most PIECE_BYTES long"),
    );
    let mut scratch = vec![0; LOAD_STEP_BYTES];
    let mut offset = range.start;
    while offset < range.end {
        between()?;
        let step = usize::try_from(range.end - offset)
            .map_or(LOAD_STEP_BYTES, |left| left.min(LOAD_STEP_BYTES));
        file.read_exact_at(&mut scratch[..step], offset)
            .map_err(LoadError::Read)?;
        offset += step as u64;
    }
    Ok(())
}

fn map_locked(file: &File, range: &Range<u64>, total: &AtomicU64) -> Result<Mmap, LoadError> {
    let bytes = range.end - range.start;
    let refused = |source| LoadError::LockRefused {
        bytes,
        locked: total.load(Ordering::Relaxed),
        limit: lockable_bytes(),
        advice: lock_limit_advice(),
        source,
    };
    let length = usize::try_from(bytes).expect("a piece is at most PIECE_BYTES long");
    // SAFETY: the mapping is of an immutable file: the store writes a file once, under another name, and never changes or shortens it
    // afterwards, so the bytes behind the returned reference do not change. All of `range` was just read, so it lies within the file.
    let map =
        unsafe { MmapOptions::new().offset(range.start).len(length).map(file) }.map_err(refused)?;
    map.lock().map_err(refused)?;
    Ok(map)
}

/// Unlocks a piece that nobody uses, and gives its pages back at once instead of leaving them as cache until somebody wants the memory.
pub(crate) fn unlock(piece: LockedPiece) {
    let LockedPiece {
        map, file, range, ..
    } = piece;
    // Pages can be given back only when they are mapped no more.
    drop(map);
    let _ = advise(
        &file,
        range.start,
        range.end - range.start,
        libc::POSIX_FADV_DONTNEED,
    );
}
