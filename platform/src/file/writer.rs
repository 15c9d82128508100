//! [`DirectWriter`]: one new file, written once from front to back, past the page cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memmap2::MmapMut;

use super::{DIRECT_ALIGNMENT, Directness, advise};

/// Bytes of one write to the device, and of the writer's only buffer. While the kernel prepares a direct write, and hands it to the device, nobody
/// else gets the core, where it is not preemptible: 1 MiB took 60 to 100 us, and still 128 KiB as long as viewers on that core felt. The price:
/// a disk whose write cache is off turns once per write, so it takes some 8 MB/s.
pub const WRITE_BYTES: usize = 64 << 10;

/// Written bytes after which a buffered writer makes them clean and gives their pages back: the dirty memory of one writer.
const BUFFERED_WINDOW_BYTES: u64 = 8 << 20;

const _: () = assert!(WRITE_BYTES.is_multiple_of(DIRECT_ALIGNMENT));
const _: () = assert!(BUFFERED_WINDOW_BYTES >= WRITE_BYTES as u64);

/// Writes a new file in order, in aligned pieces of [`WRITE_BYTES`]. Made by [`super::create_direct`], and by
/// [`super::resume_direct`] for one that was begun before.
///
/// Until [`finish`](Self::finish) has returned, the file may be longer than what was written and nothing is durable.
/// Dropping the writer leaves the file as it is: its owner removes it.
#[derive(Debug)]
pub struct DirectWriter {
    file: File,
    directness: Directness,
    /// Page-aligned memory; the first `filled` bytes wait to be written at `written`.
    piece: MmapMut,
    filled: usize,
    /// Bytes handed to the kernel; a multiple of `WRITE_BYTES` until `finish`.
    written: u64,
    /// Where a buffered writer's dirty pages begin.
    clean: u64,
}

impl DirectWriter {
    pub(super) fn new(file: File, directness: Directness) -> io::Result<Self> {
        Ok(Self {
            file,
            directness,
            piece: MmapMut::map_anon(WRITE_BYTES)?,
            filled: 0,
            written: 0,
            clean: 0,
        })
    }

    /// The unwhole last piece is read back, so that all writes stay aligned.
    pub(super) fn resume(file: File, directness: Directness, written: u64) -> io::Result<Self> {
        if file.metadata()?.len() < written {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut writer = Self::new(file, directness)?;
        writer.filled = (written % WRITE_BYTES as u64) as usize;
        writer.written = written - writer.filled as u64;
        writer.clean = writer.written;
        let asked = writer.filled.next_multiple_of(DIRECT_ALIGNMENT);
        let mut read = 0;
        while read < writer.filled {
            let (file, at) = (&writer.file, writer.written + read as u64);
            match file.read_at(&mut writer.piece[read..asked], at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => read += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(writer)
    }

    /// Whether the writes pass by the page cache.
    #[must_use]
    pub fn directness(&self) -> Directness {
        self.directness
    }

    /// Bytes taken so far, written or not.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.written + self.filled as u64
    }

    /// Bytes that the kernel has: what outlives this process.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends `bytes`; blocks while a full piece goes to the device.
    ///
    /// # Errors
    /// What `pwrite(2)` says, `StorageFull` among it. After an error the file is worthless.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(WRITE_BYTES - self.filled);
            let (now, later) = bytes.split_at(taken);
            self.piece[self.filled..self.filled + taken].copy_from_slice(now);
            self.filled += taken;
            bytes = later;
            if self.filled == WRITE_BYTES {
                self.write_piece(WRITE_BYTES)?;
                self.written += WRITE_BYTES as u64;
                self.filled = 0;
                self.forget_pages(BUFFERED_WINDOW_BYTES)?;
            }
        }
        Ok(())
    }

    /// Writes the tail, sets the exact length and makes bytes and length durable. The descriptor is returned open for reading and
    /// writing, still direct. The *name* is durable only after [`super::sync_directory`].
    ///
    /// # Errors
    /// What `pwrite(2)`, `ftruncate(2)` or `fsync(2)` says.
    pub fn finish(mut self) -> io::Result<File> {
        let length = self.length();
        if self.filled > 0 {
            let padded = self.filled.next_multiple_of(DIRECT_ALIGNMENT);
            self.piece[self.filled..padded].fill(0);
            self.write_piece(padded)?;
        }
        self.file.set_len(length)?;
        self.file.sync_all()?;
        self.written = length;
        self.forget_pages(0)?;
        Ok(self.file)
    }

    fn write_piece(&self, length: usize) -> io::Result<()> {
        self.file.write_all_at(&self.piece[..length], self.written)
    }

    /// A buffered writer's pages are given back once there are `window` bytes of them. Only clean pages can be: hence the sync first.
    fn forget_pages(&mut self, window: u64) -> io::Result<()> {
        let dirty = self.written - self.clean;
        if self.directness == Directness::Direct || dirty <= window {
            return Ok(());
        }
        self.file.sync_data()?;
        // Advice: tmpfs keeps its pages, they are the file.
        let _ = advise(&self.file, self.clean, dirty, libc::POSIX_FADV_DONTNEED);
        self.clean = self.written;
        Ok(())
    }
}
