//! Words about files for the cold path: the store, the device service, the programs' start.
//!
//! Every function here may block for as long as the disk likes, so no thread that serves connections ever calls one.
//! What differs between kernels is in `file/linux.rs` and `file/freebsd.rs`, under the same names.
//!
//! This module knows nothing of objects, columns or identity files: it takes paths and gives back descriptors and numbers.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use memmap2::MmapRaw;

#[cfg(target_os = "freebsd")]
#[path = "file/freebsd.rs"]
mod os;
#[cfg(target_os = "linux")]
#[path = "file/linux.rs"]
mod os;
mod writer;

pub use writer::{DirectWriter, WRITE_BYTES};

/// Alignment in bytes of offset, length and memory of a direct read or write. It is the largest logical block in the field.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// Whether reads and writes of a descriptor pass by the page cache.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Directness {
    /// The kernel moves bytes between the device and our memory; the page cache is not touched.
    Direct,
    /// The file system has no direct I/O (tmpfs, for one): bytes go through the page cache.
    Buffered,
}

impl fmt::Display for Directness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
        })
    }
}

/// Opens `path` to read past the page cache, or through it where the file system refuses.
///
/// Offset, length and memory of each read must be multiples of [`DIRECT_ALIGNMENT`]; a read across the end of the file is short.
///
/// # Errors
/// What `open(2)` says, except the refusal of `O_DIRECT` itself.
pub fn open_direct(path: &Path) -> io::Result<(File, Directness)> {
    match os::open_to_read(path, libc::O_DIRECT) {
        Ok(file) => {
            let directness = os::directness(&file)?;
            Ok((file, directness))
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Ok((open_for_sending(path)?, Directness::Buffered))
        }
        Err(error) => Err(error),
    }
}

/// Reads the beginning of a file past the page cache: what the disk says now, not what was read before. Returns the number of bytes read,
/// at most [`DIRECT_ALIGNMENT`]. Blocks as long as the disk likes.
///
/// # Errors
/// What `open(2)` or `read(2)` says.
pub fn read_past_cache(path: &Path) -> io::Result<usize> {
    let (file, _) = open_direct(path)?;
    let mut page = memmap2::MmapMut::map_anon(DIRECT_ALIGNMENT)?;
    (&file).read(&mut page)
}

/// Opens `path` for sendfile and for mapping: read-only, without access times where that is allowed, and with
/// `POSIX_FADV_RANDOM`, so that a sendfile of resident pages never starts read-ahead.
///
/// # Errors
/// What `open(2)` says.
pub fn open_for_sending(path: &Path) -> io::Result<File> {
    let file = os::open_to_read(path, 0)?;
    // Advice: a file system that has none of it (a pipe, ESPIPE) is read all the same.
    let _ = advise(&file, 0, 0, libc::POSIX_FADV_RANDOM);
    Ok(file)
}

/// Brings a range into the page cache in pages that are cheap to send. A wish: errors are left to the read that follows.
pub(crate) fn read_in_large_folios(file: &File, offset: u64, length: usize) {
    os::read_in_large_folios(file, offset, length);
}

/// Asks for memory in pages that are cheap to read into and to send from. A wish.
pub(crate) fn prefer_large_pages(map: &MmapRaw) {
    os::prefer_large_pages(map);
}

/// Creates `path`, which must not exist, for one sequential write past the page cache.
///
/// `length_hint` bytes are reserved at once, so that a full disk is seen before the first byte is fetched; 0 reserves nothing.
///
/// # Errors
/// `AlreadyExists`; `StorageFull` where `length_hint` does not fit (the empty file is then removed again); else what `open(2)` says.
pub fn create_direct(path: &Path, length_hint: u64) -> io::Result<DirectWriter> {
    let (file, directness) = create(path)?;
    if let Err(error) = os::reserve(&file, length_hint) {
        drop(file);
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    DirectWriter::new(file, directness)
}

/// Opens a file that a [`DirectWriter`] was writing, to go on after its first `written` bytes; whatever follows them is overwritten.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter than that; else what `open(2)` or `pread(2)` says.
pub fn resume_direct(path: &Path, written: u64) -> io::Result<DirectWriter> {
    let open = |flags| {
        File::options()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
    };
    let (file, directness) = match open(libc::O_DIRECT) {
        Ok(file) => {
            let directness = os::directness(&file)?;
            (file, directness)
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            (open(0)?, Directness::Buffered)
        }
        Err(error) => return Err(error),
    };
    DirectWriter::resume(file, directness, written)
}

fn create(path: &Path) -> io::Result<(File, Directness)> {
    let open = |flags| {
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .custom_flags(flags)
            .open(path)
    };
    match open(libc::O_DIRECT) {
        Ok(file) => {
            let directness = os::directness(&file)?;
            Ok((file, directness))
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // ext4 and others create the name before they refuse the flag.
            let _ = std::fs::remove_file(path);
            Ok((open(0)?, Directness::Buffered))
        }
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable: call it after a rename, a creation or a removal in it.
///
/// # Errors
/// What `open(2)` or `fsync(2)` says.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Tries whether a file can be made and written in a folder, and leaves none.
///
/// # Errors
/// What the system says: no such folder, another user's, full, read-only.
pub fn try_to_write(folder: &Path) -> io::Result<()> {
    // A block, which a full disk has not.
    const BLOCK: [u8; 4096] = [0; 4096];
    let path = folder.join(format!(".try-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let written = file.write_all(&BLOCK).and_then(|()| file.sync_all());
    std::fs::remove_file(&path).and(written)
}

/// What an operator can do about a file or folder of the appliance's own that cannot be used.
#[must_use]
pub fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            "it is another user's: run this as the user of the daemon or as root, or let this user have it"
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "make its folder, mount its disk, or let the configuration name another place"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk",
        ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only: see the kernel log for why, and mount it for writing"
        }
        _ => "see the kernel log",
    }
}

/// Room on a file system.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system, in bytes.
    pub total_bytes: u64,
    /// Bytes that a program without privileges can still write.
    pub available_bytes: u64,
    /// Files that the file system can hold; 0 where it sets no bound.
    pub total_inodes: u64,
    /// Files that a program without privileges can still create.
    pub available_inodes: u64,
    /// Mounted read-only, by an operator or by the kernel after an error.
    pub read_only: bool,
}

/// Asks the file system that holds `path` for its room, `statvfs(3)`.
///
/// # Errors
/// What `statvfs(3)` says; `InvalidInput` for a path with a NUL.
pub fn space(path: &Path) -> io::Result<Space> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` is NUL-terminated and `answer` is a statvfs-sized place of ours; both outlive the call.
    let result = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel has filled it; it began as zeroes, which are valid for plain integers anyway.
    let answer = unsafe { answer.assume_init() };
    Ok(Space {
        total_bytes: answer.f_blocks * answer.f_frsize,
        available_bytes: answer.f_bavail * answer.f_frsize,
        total_inodes: answer.f_files,
        available_inodes: answer.f_favail,
        read_only: answer.f_flag & libc::ST_RDONLY != 0,
    })
}

/// The number of the device that holds `path`: two paths on one file system have the same one.
///
/// # Errors
/// What `stat(2)` says.
pub fn device_number(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.dev())
}

/// Memory that this process may count on, in bytes: the machine's, or less where its control group says so.
#[must_use]
pub fn memory_bytes() -> u64 {
    os::memory_limit().map_or_else(physical_memory, |limit| limit.min(physical_memory()))
}

fn physical_memory() -> u64 {
    let words = [libc::_SC_PHYS_PAGES, libc::_SC_PAGESIZE].map(|name| {
        // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
        let value = unsafe { libc::sysconf(name) };
        u64::try_from(value).unwrap_or(0)
    });
    words[0] * words[1]
}

/// Memory that this process may lock, in bytes; `u64::MAX` without a bound.
#[must_use]
pub fn lockable_bytes() -> u64 {
    os::lockable_bytes()
}

/// What an operator raises when locking memory fails, in the words of this system.
#[must_use]
pub fn lock_limit_advice() -> &'static str {
    os::LOCK_LIMIT_ADVICE
}

fn lock_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is ours and outlives the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    match (result, limit.rlim_cur) {
        (0, libc::RLIM_INFINITY) => u64::MAX,
        (0, bytes) => os::limit_bytes(bytes),
        _ => 0,
    }
}

/// A lock on a file, held until it is dropped. It dies with the process, so a crash leaves nothing to clean.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

/// The lock that another process has handed over with its descriptor: it is held until both have closed it.
impl From<OwnedFd> for FileLock {
    fn from(descriptor: OwnedFd) -> Self {
        let file = File::from(descriptor);
        Self { file }
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl FileLock {
    /// The locked file, to read or write who holds it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Takes the exclusive lock of `path`, which is created if it is missing and never emptied.
///
/// # Errors
/// `WouldBlock` if another process (or another [`FileLock`] of this one) holds it; else what `open(2)` or `flock(2)` says.
pub fn lock_file(path: &Path) -> io::Result<FileLock> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    // SAFETY: the descriptor is open: `file` owns it across the call.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(FileLock { file })
}

impl FileLock {
    /// Writes who holds it into the file, for those who are refused.
    ///
    /// # Errors
    /// What the system says.
    pub fn name_holder(&self) -> io::Result<()> {
        let text = format!("{}\n", std::process::id());
        self.file.set_len(0)?;
        std::os::unix::fs::FileExt::write_all_at(&self.file, text.as_bytes(), 0)
    }
}

/// `posix_fadvise(2)` on `length` bytes from `offset`; a length of 0 means to the end.
pub(crate) fn advise(file: &File, offset: u64, length: u64, advice: i32) -> io::Result<()> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let length = libc::off_t::try_from(length).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open: `file` is borrowed across the call.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), offset, length, advice) } {
        0 => Ok(()),
        // It returns the error instead of setting errno.
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock_file(&path).unwrap();
        let refused = lock_file(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        lock_file(&path).unwrap();
    }

    #[test]
    fn space_and_memory_are_plausible() {
        let folder = tempfile::tempdir().unwrap();
        let space = space(folder.path()).unwrap();
        assert!(space.total_bytes >= space.available_bytes);
        assert!(space.available_bytes > 0 && !space.read_only);
        assert!(memory_bytes() >= 64 << 20);
        assert!(lockable_bytes() > 0);
    }

    #[test]
    fn paths_on_one_file_system_share_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(
            device_number(folder.path()).unwrap(),
            device_number(&below).unwrap()
        );
    }
}
