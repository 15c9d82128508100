//! What a device has done so far: counters of its service threads, and the [`DeviceSnapshot`] that is made of them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::health::Verdict;
use crate::file::{Directness, Space};

/// Upper bounds, in microseconds, of the buckets of [`Latency`]; one more bucket holds what is slower than all.
pub const LATENCY_BOUNDS_US: [u64; 16] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600,
    819_200, 1_638_400,
];

const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// How long reads took, from the open or read until the check was done; waiting in the queue is not in it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Reads in each bucket of [`LATENCY_BOUNDS_US`], and those slower than all.
    pub buckets: [u64; BUCKETS],
    /// Sum over all reads, in microseconds.
    pub sum_us: u64,
}

/// One device, now. Counts are since the start of its service.
#[derive(Clone, Debug)]
pub struct DeviceSnapshot {
    /// Its name in the configuration.
    pub name: String,
    /// What it is good for.
    pub verdict: Verdict,
    /// Why it is not `Ok`; empty if it is.
    pub cause: String,
    /// Whether reads pass by the page cache; `None` before the first read.
    pub directness: Option<Directness>,
    /// Reads done for viewers.
    pub reads: u64,
    /// Bytes of those reads.
    pub read_bytes: u64,
    /// Requests that shared another one's read.
    pub merged: u64,
    /// Opens and reads that the system refused.
    pub errors: u64,
    /// Blocks that were not what was written.
    pub corrupt: u64,
    /// Requests that were answered `Stalled` or `DeviceFailed`.
    pub given_up: u64,
    /// Requests taken and not yet answered.
    pub outstanding: u32,
    /// Reads under way.
    pub in_flight: u32,
    /// The most there ever were.
    pub in_flight_max: u32,
    /// How long reads took.
    pub latency: Latency,
    /// Buffers of the budget, each of one read unit.
    pub buffers: usize,
    /// Buffers being read into or not yet sent.
    pub buffers_in_use: usize,
    /// The most that were taken at once, those of readers that wait for a request among them.
    pub buffers_in_use_max: usize,
    /// Files kept open.
    pub open_files: usize,
    /// Pieces locked into memory.
    pub loads: u64,
    /// Loads that failed.
    pub load_failures: u64,
    /// Bytes locked into memory now, those withdrawn and still in use among them.
    pub locked_bytes: u64,
    /// Room on its file system; `None` before the first probe.
    pub space: Option<Space>,
}

#[derive(Default)]
pub(super) struct Statistics {
    pub(super) reads: AtomicU64,
    pub(super) read_bytes: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) loads: AtomicU64,
    pub(super) load_failures: AtomicU64,
    in_flight: AtomicU32,
    in_flight_max: AtomicU32,
    latency_buckets: [AtomicU64; BUCKETS],
    latency_sum_us: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Statistics {
    pub(super) fn read_began(&self) {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_flight_max.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn read_ended(&self, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < took_us);
        count(&self.latency_buckets[bucket], 1);
        count(&self.latency_sum_us, took_us);
    }

    pub(super) fn in_flight(&self) -> (u32, u32) {
        (
            self.in_flight.load(Ordering::Relaxed),
            self.in_flight_max.load(Ordering::Relaxed),
        )
    }

    pub(super) fn latency(&self) -> Latency {
        Latency {
            buckets: std::array::from_fn(|at| self.latency_buckets[at].load(Ordering::Relaxed)),
            sum_us: self.latency_sum_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fall_into_their_buckets() {
        let statistics = Statistics::default();
        for took_us in [1, 50, 51, 1_638_400, 9_000_000] {
            statistics.read_began();
            statistics.read_ended(Duration::from_micros(took_us));
        }
        let latency = statistics.latency();
        assert_eq!(latency.buckets[..2], [2, 1]);
        assert_eq!(latency.buckets[BUCKETS - 2..], [1, 1]);
        assert_eq!(latency.buckets.iter().sum::<u64>(), 5);
        assert_eq!(statistics.in_flight(), (0, 1));
    }
}
