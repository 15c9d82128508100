//! The device service: all reading of one device, by threads that may wait for it, for workers that may not.
//!
//! ```text
//!  worker ── submit ──▶ Queue ──▶ readers (open, read past the page cache, check) ──▶ Mailbox ──▶ worker sends from the buffer
//!                        ▲                                                              ▲
//!                        └── watch: what hangs or has failed is answered at once ───────┘
//!  memory tier ── load ─▶ loader (read, map, lock, check) ──▶ StoredFile::locked ──▶ worker sends with sendfile
//! ```
//! Threads of a device: `readers` readers, one loader, one probe. One watch for all devices of the process.
//!
//! Invariants:
//! - every request that [`DeviceService::submit`] takes is answered exactly once, also when the device never answers;
//! - a device that hangs holds its own threads and buffers and nothing of any other device;
//! - the bytes read and not yet sent never exceed `buffer_bytes`;
//! - nothing that a worker calls or drops takes a lock, allocates, touches a disk, closes a file or unmaps memory.
//!
//! It does not know what a file is for, and it does not decide what deserves memory.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crate::stored_file::{BLOCK_BYTES, BadBlock, StoredFile};

mod health;
pub mod limits;
mod loader;
mod mailbox;
mod open_files;
mod order;
mod probe;
mod queue;
mod reader;
mod service;
mod statistics;
mod watch;

pub use crate::buffer::FilledBuffer;
pub use health::Verdict;
pub use limits::Deadlines;
pub use loader::LoadDone;
pub use mailbox::{Class, Mailbox, ReadDone, ReadError, ReadRequest, Refused};
pub use statistics::{DeviceSnapshot, LATENCY_BOUNDS_US, Latency};

use mailbox::Pending;
use service::Service;

/// Whether the device is there and is the one that is meant; the error says what is wrong. Runs on the device's own probe thread and may
/// block.
pub type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Told of the first bad block of a file, on a service thread: it must neither block for long nor panic.
pub type BadBlockHook = Box<dyn Fn(&Arc<StoredFile>, BadBlock) + Send + Sync>;

/// Told of a file that could not be opened or read, on a service thread: as [`BadBlockHook`].
pub type ErrorHook = Box<dyn Fn(&Arc<StoredFile>, &io::Error) + Send + Sync>;

/// What a device service is made of.
pub struct DeviceOptions {
    /// Name in the log and in [`DeviceSnapshot`].
    pub name: String,
    /// The root of the device's file system.
    pub root: PathBuf,
    /// The device as the programs count them.
    pub index: usize,
    /// Bytes of the largest read, and of each buffer: a multiple of [`BLOCK_BYTES`].
    pub read_unit: u32,
    /// Reads in flight, 1 to [`limits::MAX_READERS`]: one thread each.
    pub readers: u8,
    /// Bytes read and not yet sent, at least one `read_unit`.
    pub buffer_bytes: u64,
    /// Requests taken and not yet answered, at least 1; about 100 bytes each.
    pub queue_length: u32,
    /// When the device is thought ill.
    pub deadlines: Deadlines,
    /// Identity and mount check.
    pub probe: Probe,
    /// Told of bad blocks.
    pub on_bad_block: BadBlockHook,
    /// Told of files that could not be opened or read.
    pub on_error: ErrorHook,
}

impl DeviceOptions {
    /// Options for a device at `root`: 256 KiB a read, 8 reads in flight, 64 MiB of buffers, 1024 requests, default deadlines, a probe that
    /// is always content, bad blocks only logged.
    #[must_use]
    pub fn new(name: impl Into<String>, root: impl Into<PathBuf>, index: usize) -> Self {
        Self {
            name: name.into(),
            root: root.into(),
            index,
            read_unit: 256 << 10,
            readers: 8,
            buffer_bytes: 64 << 20,
            queue_length: 1024,
            deadlines: Deadlines::default(),
            probe: Box::new(|| Ok(())),
            on_bad_block: Box::new(|_, _| {}),
            on_error: Box::new(|_, _| {}),
        }
    }

    fn check(&self) -> io::Result<()> {
        let fault = if self.read_unit == 0 || !u64::from(self.read_unit).is_multiple_of(BLOCK_BYTES)
        {
            "read_unit must be a multiple of 64 KiB"
        } else if self.readers == 0 || self.readers > limits::MAX_READERS {
            "readers must be 1 to 64"
        } else if self.buffer_bytes < u64::from(self.read_unit) {
            "buffer_bytes must be at least one read_unit"
        } else if self.queue_length == 0 {
            "queue_length must be at least 1"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, fault))
    }
}

impl fmt::Debug for DeviceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceOptions")
            .field("name", &self.name)
            .field("root", &self.root)
            .field("read_unit", &self.read_unit)
            .field("readers", &self.readers)
            .field("buffer_bytes", &self.buffer_bytes)
            .field("queue_length", &self.queue_length)
            .finish_non_exhaustive()
    }
}

/// The handle to one device's service. Dropping it stops the service.
#[derive(Debug)]
pub struct DeviceService {
    service: Arc<Service>,
    index: usize,
}

impl DeviceService {
    /// Starts the threads of a device. Touches no disk itself.
    ///
    /// # Errors
    /// `InvalidInput` for options out of their bounds; else what `mmap(2)` or the start of a thread says.
    pub fn start(options: DeviceOptions) -> io::Result<Arc<Self>> {
        options.check()?;
        let (index, readers) = (options.index, usize::from(options.readers));
        let service = Service::new(options)?;
        // From here on a failure stops what was started, by dropping the handle.
        let handle = Arc::new(Self {
            service: Arc::clone(&service),
            index,
        });
        watch::add(&service)?;
        let scratch = probe::scratch()?;
        for seat in 0..readers {
            spawn(&service, "read", move |service| reader::run(service, seat))?;
        }
        spawn(&service, "load", loader::run)?;
        spawn(&service, "probe", move |service| {
            probe::run(service, scratch)
        })?;
        Ok(handle)
    }

    /// The device as the programs count them.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Bytes of the largest read.
    #[must_use]
    pub fn read_unit(&self) -> u32 {
        self.service.options.read_unit
    }

    /// What the device is good for. One relaxed load.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.service.verdict()
    }

    /// Rounds of reads that a request would wait for if it came now: 0 while a reader is free. One relaxed load.
    #[must_use]
    pub fn backlog(&self) -> u32 {
        self.service.queue.outstanding() / self.service.options.readers
    }

    /// How many requests there are for each buffer, at least 1, when every buffer is taken and requests wait; else 0. A few relaxed
    /// loads; by the time of the answer it may be otherwise.
    #[must_use]
    pub fn waiting_for_each_buffer(&self) -> u32 {
        let Service { pool, queue, .. } = &*self.service;
        if pool.free() > 0 || !queue.has_waiting() {
            return 0;
        }
        let buffers = u32::try_from(pool.count()).unwrap_or(u32::MAX);
        (queue.outstanding() / buffers).max(1)
    }

    /// Takes a request; the one answer comes to its mailbox. For workers: no lock, no allocation, no disk, at most one wake.
    ///
    /// # Errors
    /// Why it was not taken; then no answer comes.
    pub fn submit(&self, request: ReadRequest) -> Result<(), Refused> {
        let service = &self.service;
        match service.refusal() {
            None => {}
            Some(ReadError::Stopped) => return Err(Refused::Stopped),
            Some(ReadError::Stalled) => return Err(Refused::Stalled),
            Some(_) => return Err(Refused::DeviceFailed),
        }
        if request.file.is_bad() {
            return Err(Refused::BadFile);
        }
        let (offset, length) =
            widen(&request, service.options.read_unit).ok_or(Refused::OutOfRange)?;
        service.queue.reserve()?;
        match Pending::new(request, offset, length) {
            Ok(pending) => service.queue.push(pending),
            Err(refused) => {
                service.queue.cancel();
                return Err(refused);
            }
        }
        service.idle_readers.wake_one();
        Ok(())
    }

    /// Locks a piece of [`crate::stored_file::PIECE_BYTES`] into memory, after the reads of viewers. `done` is called exactly once. Not for
    /// workers.
    pub fn load(&self, file: Arc<StoredFile>, piece: u32, done: LoadDone) {
        self.service.loads.add(file, piece, done);
        if let Some(error) = self.service.refusal() {
            self.service.loads.turn_away(error);
        }
    }

    /// Takes a locked piece away from the workers and unlocks it when the last of them has let go. False if it was not locked. Not for
    /// workers.
    pub fn unload(&self, file: &StoredFile, piece: u32) -> bool {
        self.service.loads.retire(file, piece)
    }

    /// Everything that there is to know about the device now. Waits for no disk; takes locks: not for workers.
    #[must_use]
    pub fn snapshot(&self) -> DeviceSnapshot {
        self.service.snapshot()
    }

    /// Ends the service: everyone who waits is answered `Stopped`, its threads end. Those that hang in the disk end when it lets them; they
    /// are not waited for.
    pub fn stop(&self) {
        self.service.stop();
    }
}

impl Drop for DeviceService {
    fn drop(&mut self) {
        self.service.stop();
    }
}

fn spawn(
    service: &Arc<Service>,
    what: &str,
    run: impl FnOnce(&Arc<Service>) + Send + 'static,
) -> io::Result<()> {
    let service = Arc::clone(service);
    let name = format!("{what} {}", service.options.name);
    thread::Builder::new()
        .name(name)
        .spawn(move || run(&service))?;
    Ok(())
}

/// The whole checksum blocks around the wanted bytes, as offset and length; `None` if there is no such read.
fn widen(request: &ReadRequest, read_unit: u32) -> Option<(u64, u32)> {
    let end = request.offset.checked_add(u64::from(request.length))?;
    if request.length == 0 || end > request.file.length() {
        return None;
    }
    let start = request.offset / BLOCK_BYTES * BLOCK_BYTES;
    let end = end.next_multiple_of(BLOCK_BYTES).min(request.file.length());
    let length = u32::try_from(end - start).ok()?;
    (length <= read_unit).then_some((start, length))
}
