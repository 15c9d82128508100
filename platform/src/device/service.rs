//! [`Service`]: what the threads of one device share, and what they do with a verdict.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::health::{Ages, Health, Verdict};
use super::limits::{MAX_OPEN_FILES, WARM_BUFFERS_PER_READER};
use super::loader::Loads;
use super::mailbox::ReadError;
use super::open_files::OpenFiles;
use super::queue::{Queue, Which};
use super::statistics::{DeviceSnapshot, Statistics, count};
use super::{BadBlockHook, DeviceOptions, ErrorHook, Probe};
use crate::buffer::BufferPool;
use crate::file::{Directness, Space};
use crate::park::WaitSet;
use crate::stored_file::{BadBlock, StoredFile};

pub(super) struct Service {
    pub(super) options: Settings,
    pub(super) pool: Arc<BufferPool>,
    pub(super) queue: Queue,
    /// Readers that have a buffer and wait for a request.
    pub(super) idle_readers: WaitSet,
    pub(super) files: OpenFiles,
    pub(super) loads: Loads,
    pub(super) statistics: Statistics,
    pub(super) operations: Operations,
    pub(super) prober: OnceLock<Thread>,
    health: Mutex<Health>,
    /// What `health` says, for workers.
    verdict: AtomicU8,
    stopped: AtomicBool,
    directness: AtomicU8,
    facts: Mutex<Facts>,
}

/// The options without what was used up at the start.
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) root: std::path::PathBuf,
    pub(super) read_unit: u32,
    pub(super) readers: u32,
    pub(super) deadlines: super::Deadlines,
    pub(super) probe: Probe,
    on_bad_block: BadBlockHook,
    on_error: ErrorHook,
}

/// Things that are learned on the way and seldom read.
#[derive(Default)]
struct Facts {
    space: Option<Space>,
    trial: Option<Trial>,
}

/// Somewhere to read when a trial is needed: the last place that could be read or, before there was one, that could not.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) file: Weak<StoredFile>,
    pub(super) offset: u64,
}

impl Service {
    pub(super) fn new(options: DeviceOptions) -> io::Result<Arc<Self>> {
        let readers = usize::from(options.readers);
        let buffers = options.buffer_bytes / u64::from(options.read_unit);
        let buffers = u32::try_from(buffers).unwrap_or(u32::MAX);
        let pool = BufferPool::new(buffers, options.read_unit as usize, readers)?;
        pool.warm(readers * WARM_BUFFERS_PER_READER);
        Ok(Arc::new(Self {
            pool,
            queue: Queue::new(options.queue_length),
            idle_readers: WaitSet::new(readers),
            files: OpenFiles::new(MAX_OPEN_FILES),
            loads: Loads::default(),
            statistics: Statistics::default(),
            operations: Operations::new(readers),
            prober: OnceLock::new(),
            health: Mutex::new(Health::new(options.deadlines)),
            verdict: AtomicU8::new(Verdict::Ok as u8),
            stopped: AtomicBool::new(false),
            directness: AtomicU8::new(0),
            facts: Mutex::default(),
            options: Settings {
                name: options.name,
                root: options.root,
                read_unit: options.read_unit,
                readers: options.readers.into(),
                deadlines: options.deadlines,
                probe: options.probe,
                on_bad_block: options.on_bad_block,
                on_error: options.on_error,
            },
        }))
    }

    pub(super) fn verdict(&self) -> Verdict {
        Verdict::from_number(self.verdict.load(Ordering::Relaxed))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// What to answer instead of reading; `None` while reading makes sense.
    pub(super) fn refusal(&self) -> Option<ReadError> {
        if self.is_stopped() {
            return Some(ReadError::Stopped);
        }
        match self.verdict() {
            Verdict::Ok => None,
            Verdict::Suspect => Some(ReadError::Stalled),
            Verdict::Failed => Some(ReadError::DeviceFailed),
        }
    }

    /// Lets the health hear of something. A verdict that got worse answers everyone who waits.
    pub(super) fn judge(&self, hear: impl FnOnce(&mut Health)) {
        let (before, after, cause) = {
            let mut health = self.health();
            let before = health.verdict();
            hear(&mut health);
            self.verdict
                .store(health.verdict() as u8, Ordering::Relaxed);
            (before, health.verdict(), health.cause().to_owned())
        };
        if before == after {
            return;
        }
        match after {
            Verdict::Ok => tracing::info!(device = self.options.name, "device is well again"),
            _ => {
                tracing::warn!(device = self.options.name, verdict = %after, cause, "device is ill")
            }
        }
        self.turn_away(Instant::now());
    }

    /// Answers those who would wait in vain: all of them on a failed or stopped device; on a suspect one all but those whose own read has
    /// not been under way for long.
    pub(super) fn turn_away(&self, now: Instant) {
        let Some(error) = self.refusal() else {
            return;
        };
        let which = match now.checked_sub(self.options.deadlines.stall) {
            Some(limit) if error == ReadError::Stalled => Which::WaitingOrBegunBefore(limit),
            _ => Which::All,
        };
        let waiters = self.queue.take_back(which);
        count(&self.statistics.given_up, waiters.len() as u64);
        self.queue.answer(waiters, &Err(error));
        self.loads.turn_away(error);
    }

    /// The watch's look: touches no disk and waits for nothing.
    pub(super) fn look(&self, now: Instant) {
        let ages = self.operations.ages(now);
        self.judge(|health| health.looked(ages));
        self.turn_away(now);
    }

    pub(super) fn found_bad(&self, file: &Arc<StoredFile>, block: BadBlock) {
        count(&self.statistics.corrupt, 1);
        if file.mark_bad() {
            tracing::warn!(device = self.options.name, path = %file.path().display(), offset = block.offset, "bad block");
            (self.options.on_bad_block)(file, block);
        }
    }

    /// An open or a read was refused. Only what speaks of the device counts against it: a missing file does not.
    pub(super) fn found_error(&self, file: &Arc<StoredFile>, offset: u64, error: &io::Error) {
        count(&self.statistics.errors, 1);
        (self.options.on_error)(file, error);
        if speaks_of_device(error) {
            let place = (Arc::as_ptr(file).addr(), offset);
            self.judge(|health| health.read_failed(place, error));
            self.facts()
                .trial
                .get_or_insert_with(|| Trial::new(file, offset));
        }
    }

    pub(super) fn found_good(&self, file: &Arc<StoredFile>, offset: u64, directness: Directness) {
        self.judge(Health::read_worked);
        self.directness
            .store(directness as u8 + 1, Ordering::Relaxed);
        self.facts().trial = Some(Trial::new(file, offset));
    }

    pub(super) fn trial(&self) -> Option<Trial> {
        self.facts().trial.clone()
    }

    pub(super) fn learned_space(&self, space: Space) {
        self.facts().space = Some(space);
    }

    /// Ends the service: answers everyone and lets the threads go. Those that hang in the disk go when it lets them.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.turn_away(Instant::now());
        self.idle_readers.wake_all();
        self.pool.wake_takers();
        self.loads.wake();
        if let Some(prober) = self.prober.get() {
            prober.unpark();
        }
    }

    pub(super) fn snapshot(&self) -> DeviceSnapshot {
        let statistics = &self.statistics;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (in_flight, in_flight_max) = statistics.in_flight();
        let (verdict, cause) = {
            let health = self.health();
            (health.verdict(), health.cause().to_owned())
        };
        // A waiting reader has its buffer in hand already.
        let unused = self.pool.free() + self.idle_readers.waiting() as usize;
        DeviceSnapshot {
            name: self.options.name.clone(),
            verdict,
            cause,
            directness: self.directness(),
            reads: read(&statistics.reads),
            read_bytes: read(&statistics.read_bytes),
            merged: self.queue.merged(),
            errors: read(&statistics.errors),
            corrupt: read(&statistics.corrupt),
            given_up: read(&statistics.given_up),
            outstanding: self.queue.outstanding(),
            in_flight,
            in_flight_max,
            latency: statistics.latency(),
            buffers: self.pool.count(),
            buffers_in_use: self.pool.count().saturating_sub(unused),
            buffers_in_use_max: self.pool.most_out(),
            open_files: self.files.count(),
            loads: read(&statistics.loads),
            load_failures: read(&statistics.load_failures),
            locked_bytes: self.loads.locked_bytes(),
            space: self.facts().space,
        }
    }

    fn directness(&self) -> Option<Directness> {
        const DIRECT: u8 = Directness::Direct as u8 + 1;
        match self.directness.load(Ordering::Relaxed) {
            0 => None,
            DIRECT => Some(Directness::Direct),
            _ => Some(Directness::Buffered),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.options.name)
            .field("verdict", &self.verdict())
            .finish_non_exhaustive()
    }
}

impl Trial {
    fn new(file: &Arc<StoredFile>, offset: u64) -> Self {
        Self {
            file: Arc::downgrade(file),
            offset,
        }
    }
}

fn speaks_of_device(error: &io::Error) -> bool {
    const OF_DEVICE: [i32; 4] = [libc::EIO, libc::ENXIO, libc::ENODEV, libc::ETIMEDOUT];
    error
        .raw_os_error()
        .is_some_and(|code| OF_DEVICE.contains(&code))
}

/// When each thread of a device began what it is doing, so that the watch sees what hangs without asking it.
pub(super) struct Operations {
    epoch: Instant,
    readers: Box<[Operation]>,
    pub(super) load: Operation,
    pub(super) probe: Operation,
}

/// Nanoseconds from the epoch to the beginning, plus 1; 0 while there is nothing to do.
#[derive(Default)]
pub(super) struct Operation(AtomicU64);

/// An operation under way, until it is dropped.
pub(super) struct Running<'a>(&'a Operation);

impl Operations {
    fn new(readers: usize) -> Self {
        Self {
            epoch: Instant::now(),
            readers: (0..readers).map(|_| Operation::default()).collect(),
            load: Operation::default(),
            probe: Operation::default(),
        }
    }

    pub(super) fn reader(&self, seat: usize) -> &Operation {
        &self.readers[seat]
    }

    pub(super) fn begin<'a>(&self, operation: &'a Operation) -> Running<'a> {
        operation
            .0
            .store(self.nanoseconds(Instant::now()) + 1, Ordering::Relaxed);
        Running(operation)
    }

    fn ages(&self, now: Instant) -> Ages {
        let reads = self.readers.iter().chain([&self.load]);
        Ages {
            read: reads
                .map(|read| self.age(read, now))
                .max()
                .unwrap_or_default(),
            probe: self.age(&self.probe, now),
        }
    }

    fn age(&self, operation: &Operation, now: Instant) -> Duration {
        match operation.0.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_nanos(self.nanoseconds(now).saturating_sub(began - 1)),
        }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}
