//! [`StoredFile`]: one immutable file on one device, as workers and the device service share it.
//!
//! A worker asks it two things, without a system call, a lock or an allocation: is this piece locked in memory
//! ([`StoredFile::locked`]), and is the file still good ([`StoredFile::is_bad`]). Everything that touches the disk (descriptors, the
//! table of checksums) is opened by the service's threads when it is first needed, kept, and closed by them again.
//!
//! What the bytes mean is not known here: the store supplies a [`Source`].

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

use crate::file::{DIRECT_ALIGNMENT, Directness, open_direct};
use crate::memory::LockedPiece;

/// Bytes that one checksum covers; reads are widened to whole blocks.
pub const BLOCK_BYTES: u64 = 64 << 10;

/// Bytes that are locked into memory or let go together. The last piece of a file ends with the file.
pub const PIECE_BYTES: u64 = 2 << 20;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(DIRECT_ALIGNMENT as u64));
const _: () = assert!(PIECE_BYTES.is_multiple_of(BLOCK_BYTES));

/// What the store knows of a file.
pub trait Source: Send + Sync + 'static {
    /// Where the file is.
    fn path(&self) -> &Path;
    /// Its exact length in bytes.
    fn length(&self) -> u64;
    /// Reads what is needed to check the file's blocks. Called on a service thread; may block.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the request that needed it fails with it.
    fn load_check(&self) -> io::Result<Box<dyn BlockCheck>>;
}

/// Checks blocks of one file.
pub trait BlockCheck: Send + Sync {
    /// Checks `bytes`, which were read from `offset`. `offset` is a multiple of [`BLOCK_BYTES`]; the bytes end at the end of a block or of
    /// the file.
    ///
    /// # Errors
    /// The first block that is not what was written.
    fn check(&self, offset: u64, bytes: &[u8]) -> Result<(), BadBlock>;
}

/// A block that is not what was written.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block at byte {offset} is not what was written")]
pub struct BadBlock {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
}

/// Whoever knows files by numbers, and makes the [`StoredFile`] of one when a device's service first needs it: most files of a large
/// catalog are never read, and what has no value costs nothing.
pub trait Files: Send + Sync + 'static {
    /// The device that holds the file, as the programs count them.
    fn device(&self, number: u16) -> usize;
    /// Its exact length in bytes.
    fn length(&self, number: u16) -> u64;
    /// Whether a block of it was once found bad.
    fn is_bad(&self, number: u16) -> bool;
    /// The file; the same one each time. May allocate: not for workers.
    fn stored(self: Arc<Self>, number: u16) -> Arc<StoredFile>;
}

/// A file, whether it was made already or not. For workers: to clone and to ask it costs no allocation, no lock and no disk.
///
/// It holds its owner, whose last one must not be a worker.
#[derive(Clone)]
pub struct FileRef {
    owner: Arc<dyn Files>,
    number: u16,
}

impl FileRef {
    /// The file that `owner` knows by that number.
    #[must_use]
    pub fn new(owner: Arc<dyn Files>, number: u16) -> Self {
        Self { owner, number }
    }

    /// The device that holds it, as the programs count them.
    #[must_use]
    pub fn device(&self) -> usize {
        self.owner.device(self.number)
    }

    /// Exact length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.owner.length(self.number)
    }

    /// Whether a block of it was once found bad.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.owner.is_bad(self.number)
    }

    /// The file itself. Not for workers.
    #[must_use]
    pub fn stored(&self) -> Arc<StoredFile> {
        Arc::clone(&self.owner).stored(self.number)
    }

    /// The same for the same file of the same owner, and for no other as long as one of them lives.
    pub(crate) fn address(&self) -> (usize, u16) {
        (Arc::as_ptr(&self.owner).addr(), self.number)
    }
}

impl fmt::Debug for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRef")
            .field("number", &self.number)
            .field("device", &self.device())
            .field("length", &self.length())
            .finish_non_exhaustive()
    }
}

/// A file that is made already, alone.
impl From<Arc<StoredFile>> for FileRef {
    fn from(file: Arc<StoredFile>) -> Self {
        Self::new(file, 0)
    }
}

impl Files for StoredFile {
    fn device(&self, _: u16) -> usize {
        self.device
    }

    fn length(&self, _: u16) -> u64 {
        self.length
    }

    fn is_bad(&self, _: u16) -> bool {
        StoredFile::is_bad(self)
    }

    fn stored(self: Arc<Self>, _: u16) -> Arc<StoredFile> {
        self
    }
}

/// What the service keeps open of a file: gone when the service closes it, made anew when it is needed.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) directness: Directness,
    pub(crate) check: Box<dyn BlockCheck>,
    /// Used since the service last looked for something to close.
    pub(crate) used: AtomicBool,
}

/// One immutable file on one device.
///
/// Its last owner closes descriptors and unlocks memory, so it must not be a worker: whoever takes a file out of use keeps an `Arc` of it
/// until it is the only one.
pub struct StoredFile {
    source: Box<dyn Source>,
    length: u64,
    device: usize,
    bad: AtomicBool,
    /// The bits of an `f32`.
    expected_share: AtomicU32,
    /// Touched by service threads only, and never held across I/O.
    opened: Mutex<Option<Arc<Opened>>>,
    /// One for each piece; made when the first piece is locked, since few files ever have one.
    locked: OnceLock<Box<[ArcSwapOption<LockedPiece>]>>,
}

impl StoredFile {
    /// A file on the device that the programs count as `device`. Nothing is opened.
    #[must_use]
    pub fn new(device: usize, source: Box<dyn Source>) -> Arc<Self> {
        let length = source.length();
        Arc::new(Self {
            source,
            length,
            device,
            bad: AtomicBool::new(false),
            expected_share: AtomicU32::new(0),
            opened: Mutex::new(None),
            locked: OnceLock::new(),
        })
    }

    /// Exact length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The device that holds it, as the programs count them.
    #[must_use]
    pub fn device(&self) -> usize {
        self.device
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Whether a block of it was once found bad. It stays so for the life of this value.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.bad.load(Ordering::Relaxed)
    }

    /// Marks the file bad: it is not read any more. True for the first to do so.
    pub fn mark_bad(&self) -> bool {
        !self.bad.swap(true, Ordering::Relaxed)
    }

    /// The share of all that is read which its owner expects of each byte of it; 0 unless [`expect`](Self::expect) was called.
    #[must_use]
    pub fn expected_share(&self) -> f32 {
        f32::from_bits(self.expected_share.load(Ordering::Relaxed))
    }

    /// Changes [`expected_share`](Self::expected_share).
    pub fn expect(&self, share: f32) {
        self.expected_share
            .store(share.to_bits(), Ordering::Relaxed);
    }

    /// Number of pieces of [`PIECE_BYTES`]; the last may be shorter.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        u32::try_from(self.length.div_ceil(PIECE_BYTES))
            .expect("a file of 2^32 pieces would have 8 PiB")
    }

    /// The bytes of a piece.
    ///
    /// Empty at the end of the file for a piece that it does not have.
    #[must_use]
    pub fn piece_range(&self, piece: u32) -> Range<u64> {
        let start = (u64::from(piece) * PIECE_BYTES).min(self.length);
        start..(start + PIECE_BYTES).min(self.length)
    }

    /// The locked piece that holds the byte at `offset`, if it is in memory, and intact.
    ///
    /// Without a system call, a lock or (after a thread's first call) an allocation. The answer holds the piece in memory: keep it for one
    /// send, not for a viewer's patience. A thread should hold at most eight at a time; more cost more, see `arc_swap`.
    #[must_use]
    pub fn locked(&self, offset: u64) -> Option<Locked<'_>> {
        self.published(offset).filter(|piece| piece.is_intact())
    }

    fn published(&self, offset: u64) -> Option<Locked<'_>> {
        let guard = self.locked.get()?.get(self.piece_at(offset)?)?.load();
        guard.is_some().then_some(Locked { guard, file: self })
    }

    /// Whether a piece is locked in memory now.
    #[must_use]
    pub fn is_locked(&self, piece: u32) -> bool {
        self.published(u64::from(piece) * PIECE_BYTES).is_some()
    }

    /// Whether a piece is locked in memory, and not any more what was checked: nobody is given it.
    #[must_use]
    pub fn is_spoilt(&self, piece: u32) -> bool {
        self.published(u64::from(piece) * PIECE_BYTES)
            .is_some_and(|piece| !piece.is_intact())
    }

    /// Bytes that were sent of a locked piece since this was last asked ([`LockedPiece::count_sent`]); 0 if it is not locked.
    pub fn take_sent(&self, piece: u32) -> u64 {
        self.published(u64::from(piece) * PIECE_BYTES)
            .map_or(0, |piece| piece.take_sent())
    }

    fn piece_at(&self, offset: u64) -> Option<usize> {
        (offset < self.length).then(|| usize::try_from(offset / PIECE_BYTES).ok())?
    }

    /// Publishes a piece to the workers.
    pub(crate) fn publish(&self, piece: u32, locked: Arc<LockedPiece>) {
        let pieces = self.piece_count();
        let table = self
            .locked
            .get_or_init(|| (0..pieces).map(|_| ArcSwapOption::empty()).collect());
        table[piece as usize].store(Some(locked));
    }

    /// Takes a piece away from the workers. Those that have it still use it: the owner of the answer waits until it is the only one.
    ///
    /// `swap` settles what guards owe before it returns, so from then on the count of the `Arc` tells the truth and only falls.
    pub(crate) fn withdraw(&self, piece: u32) -> Option<Arc<LockedPiece>> {
        self.locked.get()?.get(piece as usize)?.swap(None)
    }

    /// The descriptor for sending that locked pieces of this file share already.
    pub(crate) fn sending_descriptor(&self) -> Option<Arc<File>> {
        let table = self.locked.get()?;
        let piece = table.iter().find_map(ArcSwapOption::load_full)?;
        Some(Arc::clone(piece.file()))
    }

    /// What is open of it.
    pub(crate) fn opened(&self) -> Option<Arc<Opened>> {
        self.slot().clone()
    }

    /// Opens it: blocks as long as the disk likes. `Some` is what was open before, if another thread was faster.
    pub(crate) fn open(&self) -> io::Result<(Arc<Opened>, FirstOpen)> {
        let (file, directness) = open_direct(self.path())?;
        let opened = Arc::new(Opened {
            file,
            directness,
            check: self.source.load_check()?,
            used: AtomicBool::new(true),
        });
        let mut slot = self.slot();
        if let Some(earlier) = &*slot {
            return Ok((Arc::clone(earlier), FirstOpen::No));
        }
        *slot = Some(Arc::clone(&opened));
        Ok((opened, FirstOpen::Yes))
    }

    /// Takes away what is open; whoever drops it last closes it.
    pub(crate) fn close(&self) -> Option<Arc<Opened>> {
        self.slot().take()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an open is the one that is kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstOpen {
    Yes,
    No,
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFile")
            .field("path", &self.path())
            .field("device", &self.device)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A piece that stays in memory as long as this lives.
///
/// It borrows the file, so that its drop can never be the one that unlocks the piece: that is left to the file's owner.
pub struct Locked<'a> {
    guard: Guard<Option<Arc<LockedPiece>>>,
    file: &'a StoredFile,
}

impl Deref for Locked<'_> {
    type Target = LockedPiece;

    fn deref(&self) -> &LockedPiece {
        self.guard
            .as_deref()
            .expect("`locked` gives out pieces that are there, and a guard never changes")
    }
}

impl fmt::Debug for Locked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("path", &self.file.path())
            .field("range", &self.range())
            .finish()
    }
}
