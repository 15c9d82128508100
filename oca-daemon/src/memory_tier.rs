//! The memory tier: which pieces of columns are locked into memory. [`policy`] decides; the devices' services load and lock.
//!
//! ```text
//! worker reads from a device ──► Candidate ─┐
//!                                           ├─► Policy ──► Admit { evict } ──► unload, load ──► loaded
//! bytes sent of locked pieces ──────────────┘
//! ```
//! A worker pays a push into a queue for each read of a device, and one addition for each send from memory.

pub mod policy;
pub mod sketch;
mod status;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::time::Instant;

use platform::memory::LoadError;
use platform::stored_file::{FileRef, PIECE_BYTES, StoredFile};

pub use self::status::{MemoryStatus, Reason};

use self::policy::{Decision, Policy, Refusal, Wanted};
use crate::limits::{LOADS_IN_FLIGHT, MEMORY_TIER_TURN, TAKE_USES_EVERY};
use crate::shared::Shared;

/// Bytes that a viewer wants, and that are not in memory.
#[derive(Debug)]
pub struct Candidate {
    /// The column's file.
    pub file: FileRef,
    /// The first byte.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
}

/// A piece, the same one as long as its file lies where it does: what is known of it outlives a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PieceKey {
    /// Of the file's path.
    hash: u64,
    piece: u32,
}

impl PieceKey {
    fn new(file: &StoredFile, piece: u32) -> Self {
        let mut hasher = DefaultHasher::new();
        file.path().as_os_str().hash(&mut hasher);
        let hash = hasher.finish();
        Self { hash, piece }
    }
}

struct Held {
    file: Weak<StoredFile>,
    bytes: u64,
    is_locked: bool,
}

struct Loaded {
    key: PieceKey,
    file: Weak<StoredFile>,
    result: Result<(), LoadError>,
}

/// The tier's books; they belong to its thread.
pub struct MemoryTier {
    shared: Arc<Shared>,
    policy: Policy<PieceKey>,
    /// What the policy holds, too.
    held: HashMap<PieceKey, Held>,
    loading: usize,
    done: (Sender<Loaded>, Receiver<Loaded>),
    took_uses: Instant,
}

impl MemoryTier {
    /// An empty tier.
    pub fn new(shared: Arc<Shared>) -> Self {
        let budget_bytes = shared.memory.budget_bytes.load(Relaxed);
        Self {
            shared,
            policy: Policy::new(budget_bytes, rand::random()),
            held: HashMap::new(),
            loading: 0,
            done: mpsc::channel(),
            took_uses: Instant::now(),
        }
    }

    /// Works until the daemon stops.
    pub fn run(mut self) {
        while !self.shared.is_stopping() {
            self.note_loaded();
            self.look_at_candidates();
            self.take_uses();
            std::thread::park_timeout(MEMORY_TIER_TURN);
        }
        if self.shared.service().is_parting() {
            self.let_go();
        }
    }

    /// Another process locks what viewers want now: both together must not hold twice the budget.
    fn let_go(&mut self) {
        let held: Vec<PieceKey> = self.held.keys().copied().collect();
        held.iter().for_each(|key| self.evict(key));
    }

    fn note_loaded(&mut self) {
        while let Ok(loaded) = self.done.1.try_recv() {
            self.loading -= 1;
            match loaded.result {
                Ok(()) => self.lock(&loaded),
                Err(ref error) => self.give_up(&loaded, error),
            }
        }
    }

    fn lock(&mut self, loaded: &Loaded) {
        match self.held.get_mut(&loaded.key) {
            Some(held) if held.file.ptr_eq(&loaded.file) => {
                held.is_locked = true;
                self.shared.memory.locked(held.bytes);
                self.policy.loaded(&loaded.key);
            }
            // Its file was replaced meanwhile.
            _ => self.unload(&loaded.file, loaded.key.piece),
        }
    }

    fn give_up(&mut self, loaded: &Loaded, error: &LoadError) {
        self.shared.memory.refused(Reason::NotLoaded);
        if self
            .held
            .get(&loaded.key)
            .is_some_and(|held| held.file.ptr_eq(&loaded.file))
        {
            self.forget(&loaded.key);
        }
        if matches!(error, LoadError::LockRefused { .. }) {
            self.stop_growing(&error.to_string());
        }
    }

    /// The system locks no more: what is locked stays, and the budget shrinks to it.
    fn stop_growing(&mut self, reason: &str) {
        self.policy.stop_growing();
        let budget = self.policy.budget_bytes();
        self.shared.memory.budget_bytes.store(budget, Relaxed);
        let said = format!("the memory tier stays at {budget} bytes: {reason}");
        tracing::warn!("{said}");
        self.shared.memory.complain(said);
    }

    /// Takes a piece out of the books.
    fn forget(&mut self, key: &PieceKey) -> Option<Held> {
        self.policy.gone(key);
        let held = self.held.remove(key)?;
        if held.is_locked {
            self.shared.memory.unlocked(held.bytes);
        }
        Some(held)
    }

    fn look_at_candidates(&mut self) {
        // What comes meanwhile waits for the next turn.
        for _ in 0..self.shared.candidates.len() {
            let Some(candidate) = self.shared.candidates.pop() else {
                return;
            };
            self.consider(&candidate);
        }
    }

    /// A read of a device may reach over several pieces.
    fn consider(&mut self, candidate: &Candidate) {
        let file = &candidate.file.stored();
        let end = (candidate.offset + u64::from(candidate.length)).min(file.length());
        let mut offset = candidate.offset;
        while offset < end && !file.is_bad() {
            let piece = (offset / PIECE_BYTES) as u32;
            let range = file.piece_range(piece);
            let wanted = Wanted {
                piece: PieceKey::new(file, piece),
                piece_bytes: range.end - range.start,
                read_bytes: end.min(range.end) - offset,
                expected_share: f64::from(file.expected_share()),
            };
            self.consider_piece(file, &wanted);
            offset = range.end;
        }
    }

    fn consider_piece(&mut self, file: &Arc<StoredFile>, wanted: &Wanted<PieceKey>) {
        let Wanted {
            piece: key,
            piece_bytes,
            ..
        } = *wanted;
        self.forget_if_replaced(&key, file);
        if self.loading == LOADS_IN_FLIGHT {
            self.policy.used(&key, piece_bytes, wanted.read_bytes);
            return;
        }
        match self.policy.wanted(wanted) {
            Decision::Admit { evict } => {
                evict.iter().for_each(|key| self.evict(key));
                self.load(file, key, piece_bytes);
            }
            Decision::Leave(Refusal::Seldom) => self.shared.memory.refused(Reason::Seldom),
            Decision::Leave(Refusal::LessThanHeld) => {
                self.shared.memory.refused(Reason::LessThanHeld)
            }
            Decision::Held => {}
        }
    }

    /// Another file lies where the file of a held piece did: the memory of that one goes with its last user.
    fn forget_if_replaced(&mut self, key: &PieceKey, file: &Arc<StoredFile>) {
        let is_other = |held: &Held| held.file.as_ptr() != Arc::as_ptr(file);
        if self.held.get(key).is_some_and(is_other) {
            self.forget(key);
        }
    }

    fn load(&mut self, file: &Arc<StoredFile>, key: PieceKey, bytes: u64) {
        let Some(device) = self.shared.devices.get(file.device()) else {
            return self.policy.gone(&key);
        };
        let held = Held {
            file: Arc::downgrade(file),
            bytes,
            is_locked: false,
        };
        self.held.insert(key, held);
        self.loading += 1;
        let (done, weak) = (self.done.0.clone(), Arc::downgrade(file));
        let tell = move |result| {
            // The tier is gone only when the daemon stops.
            let _ = done.send(Loaded {
                key,
                file: weak,
                result,
            });
        };
        device.load(Arc::clone(file), key.piece, Box::new(tell));
    }

    /// The policy holds it no more.
    fn evict(&mut self, key: &PieceKey) {
        if let Some(held) = self.forget(key) {
            self.unload(&held.file, key.piece);
            self.shared.memory.evictions.fetch_add(1, Relaxed);
        }
    }

    fn unload(&self, file: &Weak<StoredFile>, piece: u32) {
        // Without its file, a piece is gone already.
        if let Some(file) = file.upgrade()
            && let Some(device) = self.shared.devices.get(file.device())
        {
            device.unload(&file, piece);
        }
    }

    /// Tells the policy what was sent from memory, and drops what went with its file, or is not any more what was checked.
    fn take_uses(&mut self) {
        if self.took_uses.elapsed() < TAKE_USES_EVERY {
            return;
        }
        self.took_uses = Instant::now();
        let (mut gone, mut spoilt) = (Vec::new(), Vec::new());
        for (key, held) in &self.held {
            let Some(file) = held.file.upgrade() else {
                gone.push(*key);
                continue;
            };
            if held.is_locked && file.is_spoilt(key.piece) {
                spoilt.push(*key);
            }
            let sent = file.take_sent(key.piece);
            if sent > 0 {
                self.policy.used(key, held.bytes, sent);
            }
        }
        for key in gone {
            self.forget(&key);
        }
        spoilt.iter().for_each(|key| self.evict(key));
    }
}
