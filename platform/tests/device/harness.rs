//! Files that answer, hang or lie as the test wants, and a worker that waits for its answers.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use platform::device::{
    Class, Deadlines, DeviceOptions, DeviceService, DeviceSnapshot, Mailbox, ReadDone, ReadRequest,
    Refused,
};
use platform::stored_file::{BLOCK_BYTES, BadBlock, BlockCheck, Source, StoredFile};
use tempfile::TempDir;

/// Nothing here takes so long unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const KIB: u64 = 1024;

/// A door that can be shut: whoever comes to it waits until it is open.
#[derive(Default)]
pub(crate) struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicU32,
}

impl Gate {
    pub(crate) fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.changed.notify_all();
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let shut = self.shut.lock().unwrap();
        drop(self.changed.wait_while(shut, |shut| *shut).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a test can do to a file.
#[derive(Default)]
pub(crate) struct Faults {
    /// Every check waits here: the reader hangs with its buffer in hand.
    pub(crate) gate: Gate,
    /// Blocks that fail their check.
    pub(crate) bad: Mutex<HashSet<u64>>,
    /// Reads that were checked.
    pub(crate) checks: AtomicU32,
}

struct TestSource {
    path: PathBuf,
    length: u64,
    faults: Arc<Faults>,
}

struct TestCheck(Arc<Faults>);

impl Source for TestSource {
    fn path(&self) -> &Path {
        &self.path
    }
    fn length(&self) -> u64 {
        self.length
    }
    fn load_check(&self) -> io::Result<Box<dyn BlockCheck>> {
        Ok(Box::new(TestCheck(Arc::clone(&self.faults))))
    }
}

impl BlockCheck for TestCheck {
    fn check(&self, offset: u64, bytes: &[u8]) -> Result<(), BadBlock> {
        assert!(offset.is_multiple_of(BLOCK_BYTES));
        self.0.checks.fetch_add(1, Ordering::SeqCst);
        self.0.gate.pass();
        let bad = self.0.bad.lock().unwrap();
        let end = offset + bytes.len() as u64;
        match bad.iter().find(|block| (offset..end).contains(block)) {
            Some(&offset) => Err(BadBlock { offset }),
            None => Ok(()),
        }
    }
}

/// A folder of files on a disk's file system.
pub(crate) struct Disk {
    pub(crate) folder: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Deadlines that nothing reaches by accident, however busy the machine is.
    pub(crate) fn options(&self) -> DeviceOptions {
        DeviceOptions {
            readers: 4,
            buffer_bytes: 8 * 256 * KIB,
            deadlines: Deadlines {
                stall: PATIENCE,
                fail: 2 * PATIENCE,
                probe: PATIENCE,
                probe_every: Duration::from_millis(20),
            },
            ..DeviceOptions::new("test", self.folder.path(), 0)
        }
    }

    /// Deadlines that a test can wait for.
    pub(crate) fn hasty(&self) -> DeviceOptions {
        DeviceOptions {
            deadlines: Deadlines {
                stall: Duration::from_millis(200),
                fail: Duration::from_millis(900),
                probe: Duration::from_millis(500),
                probe_every: Duration::from_millis(20),
            },
            ..self.options()
        }
    }

    /// A file of `length` bytes, each of which tells its place.
    pub(crate) fn file(&self, name: &str, length: u64) -> (Arc<StoredFile>, Arc<Faults>) {
        let path = self.path(name);
        let mut writer = platform::file::create_direct(&path, length).unwrap();
        writer.write_all(&content(0, length as usize)).unwrap();
        writer.finish().unwrap();
        stored(path, length)
    }

    /// A named pipe: its open hangs until somebody opens it for writing.
    pub(crate) fn pipe(&self, name: &str) -> Arc<StoredFile> {
        let path = self.path(name);
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: `name` is NUL-terminated and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        stored(path, 64 * KIB).0
    }

    /// Lets go everyone who hangs in opening the pipe.
    pub(crate) fn release(&self, name: &str) {
        let end = std::fs::File::options()
            .read(true)
            .write(true)
            .open(self.path(name))
            .unwrap();
        // Whoever opened the pipe while this end was open gets through; it stays open as long as the process, by intention.
        std::mem::forget(end);
    }
}

pub(crate) fn stored(path: impl Into<PathBuf>, length: u64) -> (Arc<StoredFile>, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let source = TestSource {
        path: path.into(),
        length,
        faults: Arc::clone(&faults),
    };
    (StoredFile::new(0, Box::new(source)), faults)
}

pub(crate) fn content(offset: u64, length: usize) -> Vec<u8> {
    (offset..offset + length as u64).map(byte_at).collect()
}

pub(crate) fn byte_at(at: u64) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

/// Whether an answer holds the wanted bytes of a file made by [`Disk::file`].
pub(crate) fn holds(done: &ReadDone, offset: u64, length: u32) -> bool {
    let bytes = done.result.as_ref().unwrap();
    let start = (offset - bytes.offset()) as usize;
    let wanted = &bytes.bytes()[start..start + length as usize];
    wanted
        .iter()
        .zip(offset..)
        .all(|(&byte, at)| byte == byte_at(at))
}

/// One worker: its mailbox, and a way to sleep until something is in it.
pub(crate) struct Worker {
    pub(crate) mailbox: Arc<Mailbox>,
    bell: Arc<(Mutex<bool>, Condvar)>,
}

impl Worker {
    pub(crate) fn new(capacity: usize) -> Self {
        let bell = Arc::new((Mutex::new(false), Condvar::new()));
        let rung = Arc::clone(&bell);
        let ring = move || {
            *rung.0.lock().unwrap() = true;
            rung.1.notify_all();
        };
        Self {
            mailbox: Mailbox::new(capacity, Box::new(ring)),
            bell,
        }
    }

    pub(crate) fn ask(
        &self,
        device: &DeviceService,
        file: &Arc<StoredFile>,
        at: (u64, u32),
        token: u64,
    ) -> Result<(), Refused> {
        self.ask_as(device, file, at, token, (Class::Viewer, 0))
    }

    pub(crate) fn ask_as(
        &self,
        device: &DeviceService,
        file: &Arc<StoredFile>,
        at: (u64, u32),
        token: u64,
        (class, requester): (Class, u64),
    ) -> Result<(), Refused> {
        device.submit(ReadRequest {
            file: Arc::clone(file).into(),
            offset: at.0,
            length: at.1,
            class,
            requester,
            token,
            reply: Arc::clone(&self.mailbox),
        })
    }

    pub(crate) fn answer(&self) -> ReadDone {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(done) = self.mailbox.pop() {
                return done;
            }
            let rung = self.bell.0.lock().unwrap();
            let left = deadline
                .checked_duration_since(Instant::now())
                .expect("an answer comes in time");
            let (mut rung, _) = self
                .bell
                .1
                .wait_timeout_while(rung, left, |rung| !*rung)
                .unwrap();
            *rung = false;
        }
    }

    pub(crate) fn read(
        &self,
        device: &DeviceService,
        file: &Arc<StoredFile>,
        at: (u64, u32),
    ) -> ReadDone {
        self.ask(device, file, at, 7).unwrap();
        let done = self.answer();
        assert_eq!(done.token, 7);
        done
    }
}

/// Looks at the device until it is as wanted.
pub(crate) fn until(
    device: &DeviceService,
    wanted: impl Fn(&DeviceSnapshot) -> bool,
) -> DeviceSnapshot {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = device.snapshot();
        if wanted(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "still {now:?}");
        std::thread::yield_now();
    }
}

pub(crate) fn until_true(wanted: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted() {
        assert!(Instant::now() < deadline, "still not so");
        std::thread::yield_now();
    }
}
