//! What came from a source, for status and metrics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::error::SourceError;

/// Bytes and errors of one source.
#[derive(Default)]
pub struct Counts {
    bytes: AtomicU64,
    errors: [AtomicU64; SourceError::REASONS.len()],
    meter: Meter,
}

impl Counts {
    /// Bytes of bodies that came.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bits per second, over the last seconds.
    pub fn rate(&self) -> u64 {
        self.meter.bits_per_second()
    }

    /// Errors by [`SourceError::reason`].
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self
            .errors
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        SourceError::REASONS.into_iter().zip(counts)
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.meter.add(bytes);
    }

    pub(crate) fn add_error(&self, error: &SourceError) {
        self.errors[error.index()].fetch_add(1, Ordering::Relaxed);
    }
}

/// Bytes over the last whole seconds.
pub(crate) struct Meter {
    start: Instant,
    seconds: Mutex<[(u64, u64); SECONDS]>,
}

const SECONDS: usize = 6;

impl Default for Meter {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            seconds: Mutex::default(),
        }
    }
}

impl Meter {
    pub(crate) fn add(&self, bytes: u64) {
        let second = self.start.elapsed().as_secs();
        let mut seconds = self
            .seconds
            .lock()
            .expect("nothing panics while it holds this");
        let slot = &mut seconds[(second % SECONDS as u64) as usize];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += bytes;
    }

    /// The mean of the whole seconds that are kept; the running one is not over, so it does not count.
    pub(crate) fn bits_per_second(&self) -> u64 {
        let now = self.start.elapsed().as_secs();
        let kept = (SECONDS as u64 - 1).min(now);
        if kept == 0 {
            return 0;
        }
        let seconds = self
            .seconds
            .lock()
            .expect("nothing panics while it holds this");
        let recent = seconds
            .iter()
            .filter(|(second, _)| (now - kept..now).contains(second));
        recent.map(|(_, bytes)| bytes * 8).sum::<u64>() / kept
    }
}
