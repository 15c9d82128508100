//! The memory tier: which pieces of columns are locked into memory. It decides; the devices' services load and lock.
//!
//! Rule of admission: a piece that viewers wanted often enough from its device is a [`Candidate`]. While there is room it is
//! loaded. When there is none it has to be wanted more often than the least wanted of a few locked pieces, which then goes:
//! one pass over a cold library cannot empty a memory that is in use. Counts are halved now and then, so that yesterday's
//! evening does not decide about today's.

pub mod policy;
pub mod sketch;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use platform::memory::LoadError;
use platform::stored_file::{PIECE_BYTES, StoredFile};

use crate::limits::{AGING, EVICTION_SAMPLE, LOADS_IN_FLIGHT, MEMORY_TIER_TURN};
use crate::shared::Shared;

/// A piece that viewers want, and that is not in memory.
#[derive(Debug)]
pub struct Candidate {
    /// The column's file.
    pub file: Arc<StoredFile>,
    /// An offset in the piece.
    pub offset: u64,
}

/// What the memory tier holds; read by the admin thread.
#[derive(Debug, Default)]
pub struct MemoryStatus {
    /// Bytes that may be locked. Zero: the tier is off.
    pub budget_bytes: AtomicU64,
    /// Bytes that are locked.
    pub locked_bytes: AtomicU64,
    /// Pieces that are locked.
    pub pieces: AtomicU64,
    /// Pieces loaded since start.
    pub admissions: AtomicU64,
    /// Pieces given up for others since start.
    pub evictions: AtomicU64,
    /// Why the tier cannot do what it should, for the operator.
    pub problem: Mutex<Option<String>>,
}

impl MemoryStatus {
    /// Notes why the tier cannot do what it should.
    pub fn complain(&self, problem: String) {
        if let Ok(mut place) = self.problem.lock() {
            *place = Some(problem);
        }
    }
}

/// A piece by the address of its file: unique while the tier holds a weak reference to it.
type PieceKey = (usize, u32);

struct Held {
    file: Weak<StoredFile>,
    bytes: u64,
    locked: bool,
}

struct Loaded {
    key: PieceKey,
    result: Result<(), LoadError>,
}

/// The tier's books; they belong to its thread.
pub struct MemoryTier {
    shared: Arc<Shared>,
    held: HashMap<PieceKey, Held>,
    /// Locked pieces in the order in which they are looked at for eviction.
    clock: VecDeque<PieceKey>,
    used_bytes: u64,
    loading: usize,
    done: (Sender<Loaded>, Receiver<Loaded>),
    aged: Instant,
}

impl MemoryTier {
    /// An empty tier.
    pub fn new(shared: Arc<Shared>) -> Self {
        let done = mpsc::channel();
        Self {
            shared,
            held: HashMap::new(),
            clock: VecDeque::new(),
            used_bytes: 0,
            loading: 0,
            done,
            aged: Instant::now(),
        }
    }

    /// Works until the daemon stops.
    pub fn run(mut self) {
        while !self.shared.is_stopping() {
            self.note_loaded();
            self.look_at_candidates();
            self.age();
            std::thread::park_timeout(MEMORY_TIER_TURN);
        }
    }

    fn note_loaded(&mut self) {
        while let Ok(loaded) = self.done.1.try_recv() {
            self.loading -= 1;
            match loaded.result {
                Ok(()) => self.admit(loaded.key),
                Err(error) => self.give_up(loaded.key, &error),
            }
        }
        self.publish();
    }

    fn admit(&mut self, key: PieceKey) {
        if let Some(held) = self.held.get_mut(&key) {
            held.locked = true;
            self.clock.push_back(key);
            self.shared.memory.admissions.fetch_add(1, Relaxed);
        }
    }

    fn give_up(&mut self, key: PieceKey, error: &LoadError) {
        self.forget(key);
        if matches!(error, LoadError::LockRefused { .. }) {
            self.stop_growing(&error.to_string());
        }
    }

    /// The system locks no more: what is locked stays, and the budget shrinks to it.
    fn stop_growing(&self, reason: &str) {
        let locked = self.used_bytes;
        self.shared.memory.budget_bytes.store(locked, Relaxed);
        let said = format!("the memory tier stays at {locked} bytes: {reason}");
        tracing::warn!("{said}");
        self.shared.memory.complain(said);
    }

    fn forget(&mut self, key: PieceKey) {
        if let Some(held) = self.held.remove(&key) {
            self.used_bytes -= held.bytes;
        }
    }

    fn look_at_candidates(&mut self) {
        while self.loading < LOADS_IN_FLIGHT {
            let Some(candidate) = self.shared.candidates.pop() else {
                return;
            };
            self.consider(&candidate);
        }
    }

    fn consider(&mut self, candidate: &Candidate) {
        let piece = (candidate.offset / PIECE_BYTES) as u32;
        let key = (Arc::as_ptr(&candidate.file).addr(), piece);
        let range = candidate.file.piece_range(piece);
        let bytes = range.end - range.start;
        let wanted = candidate.file.hits(piece);
        if self.held.contains_key(&key) || candidate.file.is_bad() || !self.make_room(bytes, wanted)
        {
            return;
        }
        let Some(device) = self.shared.devices.get(candidate.file.device()) else {
            return;
        };
        self.used_bytes += bytes;
        self.held.insert(
            key,
            Held {
                file: Arc::downgrade(&candidate.file),
                bytes,
                locked: false,
            },
        );
        self.loading += 1;
        let done = self.done.0.clone();
        let tell = move |result| {
            // The tier is gone only when the daemon stops.
            let _ = done.send(Loaded { key, result });
        };
        device.load(Arc::clone(&candidate.file), piece, Box::new(tell));
    }

    /// Whether `bytes` fit, if need be after giving up pieces that are wanted less than `wanted` times.
    fn make_room(&mut self, bytes: u64, wanted: u32) -> bool {
        let budget = self.shared.memory.budget_bytes.load(Relaxed);
        for _ in 0..EVICTION_SAMPLE {
            if self.used_bytes + bytes <= budget {
                return true;
            }
            let Some(key) = self.clock.pop_front() else {
                return false;
            };
            self.evict_if_wanted_less(key, wanted);
        }
        self.used_bytes + bytes <= budget
    }

    fn evict_if_wanted_less(&mut self, key: PieceKey, wanted: u32) {
        let file = self.held.get(&key).and_then(|held| held.file.upgrade());
        match file {
            // The object is gone, and its memory with it.
            None => self.forget(key),
            Some(file) if file.hits(key.1) < wanted => {
                if let Some(device) = self.shared.devices.get(file.device()) {
                    device.unload(&file, key.1);
                }
                self.forget(key);
                self.shared.memory.evictions.fetch_add(1, Relaxed);
            }
            Some(_) => self.clock.push_back(key),
        }
    }

    /// Halves the counts of files with locked pieces, and drops the books of what is gone.
    fn age(&mut self) {
        if self.aged.elapsed() < AGING {
            return;
        }
        self.aged = Instant::now();
        let mut aged = HashSet::new();
        for key in std::mem::take(&mut self.clock) {
            match self.held.get(&key).and_then(|held| held.file.upgrade()) {
                Some(file) => {
                    if aged.insert(key.0) {
                        file.age_hits();
                    }
                    self.clock.push_back(key);
                }
                None => self.forget(key),
            }
        }
    }

    fn publish(&self) {
        let locked = self.held.values().filter(|held| held.locked);
        let (pieces, bytes) = locked.fold((0, 0), |(pieces, bytes), held| {
            (pieces + 1, bytes + held.bytes)
        });
        self.shared.memory.pieces.store(pieces, Relaxed);
        self.shared.memory.locked_bytes.store(bytes, Relaxed);
    }
}
