//! What the memory tier tells of itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a piece that was looked at is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was not wanted often enough.
    Seldom,
    /// There is no room, and what is in memory is wanted as much.
    LessThanHeld,
    /// Its device did not bring it, or the system did not lock it.
    NotLoaded,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seldom, Self::LessThanHeld, Self::NotLoaded];

    /// As a label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Seldom => "seldom",
            Self::LessThanHeld => "less_than_held",
            Self::NotLoaded => "not_loaded",
        }
    }
}

/// What the memory tier holds; written by its thread, read by the admin thread and, for the budget, by workers.
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
    /// Bytes loaded since start.
    pub admitted_bytes: AtomicU64,
    /// Pieces given up for others since start.
    pub evictions: AtomicU64,
    refusals: [AtomicU64; Reason::ALL.len()],
    problem: Mutex<Option<String>>,
}

impl MemoryStatus {
    /// Whether nothing may be locked.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.budget_bytes.load(Relaxed) == 0
    }

    /// Why the tier cannot do what it should, for the operator.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().ok()?.clone()
    }

    /// Notes why the tier cannot do what it should.
    pub fn complain(&self, problem: String) {
        if let Ok(mut place) = self.problem.lock() {
            *place = Some(problem);
        }
    }

    /// Looks at a candidate since start that came to nothing.
    #[must_use]
    pub fn refusals(&self, reason: Reason) -> u64 {
        self.refusals[reason as usize].load(Relaxed)
    }

    pub(super) fn refused(&self, reason: Reason) {
        self.refusals[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn locked(&self, bytes: u64) {
        self.pieces.fetch_add(1, Relaxed);
        self.locked_bytes.fetch_add(bytes, Relaxed);
        self.admissions.fetch_add(1, Relaxed);
        self.admitted_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn unlocked(&self, bytes: u64) {
        self.pieces.fetch_sub(1, Relaxed);
        self.locked_bytes.fetch_sub(bytes, Relaxed);
    }
}
