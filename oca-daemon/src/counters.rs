//! What one worker counts. Each worker is the only writer of its own counters; the admin thread reads them at scrape.
//! A counter is one relaxed load and store, never a locked instruction, and lies on no other worker's cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::tls::handshake::Reason;
use crate::tls::kernel::Fallback;
use crate::tls::records::Fault;
use crate::tls::{Path, Suite};

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away (gauges). Only the owning worker may call this.
    #[inline]
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Replaces the value. Only the owning worker may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the latency buckets, in seconds. The last bucket, +Inf, has no entry.
pub const LATENCY_BOUNDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

/// A histogram over [`LATENCY_BOUNDS`].
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Counter; LATENCY_BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Latency {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].add(1);
        self.nanoseconds.add(duration.as_nanos() as u64);
    }

    /// Counts per bucket, not cumulative; one more than the bounds.
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS.len() + 1] {
        std::array::from_fn(|i| self.buckets[i].value())
    }

    /// Sum of all durations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.nanoseconds.value() as f64 / 1e9
    }
}

/// The statuses that the daemon answers with; the label set of `oca_http_requests_total`.
pub const STATUSES: [u16; 17] = [
    200, 204, 206, 304, 400, 404, 405, 408, 412, 414, 416, 417, 429, 431, 501, 503, 505,
];

/// Bytes and reads of one device as this worker sent them.
#[derive(Debug, Default)]
pub struct DeviceCounters {
    /// Body bytes sent from locked memory.
    pub memory_bytes: Counter,
    /// Body bytes sent from the device service's buffers.
    pub device_bytes: Counter,
    /// Reads that the device service answered with an error or refused.
    pub failed_reads: Counter,
}

/// Connections over TLS.
#[derive(Debug, Default)]
pub struct TlsCounters {
    /// Handshakes that are under way.
    pub handshaking: Counter,
    /// Handshakes that were done, in the order of [`Suite::number`]: full ones,
    pub full: [Counter; Suite::COUNT],
    /// and those that went on from an earlier connection.
    pub resumed: [Counter; Suite::COUNT],
    /// By who seals, in the order of [`Path::number`].
    pub paths: [Counter; Path::ALL.len()],
    /// Connections that the kernel should seal and does not, in the order of [`Fallback::number`].
    pub fallbacks: [Counter; Fallback::ALL.len()],
    /// Connections that end as the kernel cannot take the next key.
    pub stale_keys: Counter,
    /// Handshakes that failed, in the order of [`Reason::number`].
    pub failures: [Counter; Reason::ALL.len()],
    /// From accepting to the end of the handshake.
    pub handshake: Latency,
    /// Turns in which the worker itself went on with handshakes.
    pub handshake_turns: Counter,
    /// Times that it did: two or three for each handshake.
    pub handshake_steps_here: Counter,
    /// Times that the thread beside it did.
    pub handshake_steps_beside: Counter,
    /// Connections cut off after their handshake, in the order of [`Fault::number`].
    pub faults: [Counter; Fault::ALL.len()],
    /// Times that a worker went over to its next key.
    pub key_updates: Counter,
    /// Connections whose sealed bytes wait for room in their socket.
    pub unsent: Counter,
}

/// Everything that one worker counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Connections accepted since start.
    pub accepted: Counter,
    /// Accepts that failed (out of descriptors, aborted).
    pub accept_errors: Counter,
    /// Connections that got no place: the worker had as many as it may.
    pub refused_full: Counter,
    /// Connections that got no place: their address had as many as it may.
    pub refused_address: Counter,
    /// Connections open now.
    pub connections: Counter,
    /// Transfers running now.
    pub transfers: Counter,
    /// Answers by status, in the order of [`STATUSES`].
    pub answers: [Counter; STATUSES.len()],
    /// Body bytes handed to the kernel.
    pub body_bytes: Counter,
    /// Of them, sent to other appliances that fill from this one.
    pub fill_bytes: Counter,
    /// Transfers that ended before their last byte: the peer went away.
    pub aborted_by_peer: Counter,
    /// Transfers that ended before their last byte: a device failed in the middle.
    pub aborted_by_device: Counter,
    /// Connections closed by a time limit.
    pub timed_out: Counter,
    /// Requests with CMCD that could not be read, or only in part.
    pub malformed_cmcd: Counter,
    /// Times that the kernel was told another rate for a connection.
    pub pacing_changes: Counter,
    /// Connections whose send buffer may grow with their path.
    pub grown_send_buffers: Counter,
    /// From a complete request head to the first byte in the kernel.
    pub first_byte: Latency,
    /// From a complete request head to the last byte in the kernel.
    pub request: Latency,
    /// Time that one turn of the loop took, without waiting.
    pub turn: Latency,
    /// Turns of the loop since start: it stands still when the worker is stuck.
    pub turns: Counter,
    /// Milliseconds since the process started when the worker was due last: its present turn began then, or its wait ends then.
    pub due_ms: Counter,
    /// Heap allocations made by this worker's thread since start.
    pub allocations: Counter,
    /// Of connections over TLS.
    pub tls: TlsCounters,
    /// By device, in the order of the configuration.
    pub devices: Box<[DeviceCounters]>,
}

impl WorkerCounters {
    /// Counters for a machine with `devices` devices.
    pub fn new(devices: usize) -> Self {
        Self {
            devices: (0..devices).map(|_| DeviceCounters::default()).collect(),
            ..Self::default()
        }
    }

    /// Counts one answer with `status`.
    pub fn answered(&self, status: u16) {
        if let Some(at) = STATUSES.iter().position(|known| *known == status) {
            self.answers[at].add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lands_in_the_bucket_whose_bound_it_does_not_exceed() {
        let latency = Latency::default();
        latency.record(Duration::from_micros(100));
        latency.record(Duration::from_micros(101));
        latency.record(Duration::from_secs(61));
        let counts = latency.counts();
        assert_eq!(
            (counts[0], counts[1], counts[LATENCY_BOUNDS.len()]),
            (1, 1, 1)
        );
        assert_eq!(counts.iter().sum::<u64>(), 3);
    }

    #[test]
    fn every_answer_of_a_known_status_is_counted_once() {
        let counters = WorkerCounters::new(2);
        for status in STATUSES {
            counters.answered(status);
        }
        assert!(counters.answers.iter().all(|count| count.value() == 1));
    }
}
