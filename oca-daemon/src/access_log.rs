//! The access log: a line of JSON for each request of a sampled connection, written by a thread that nobody waits for.
//!
//! ```text
//!  worker                                                            writer (one thread)
//!  free ──► Record: filled when the head is complete ──► Answer      finished ──► line ──► file (rotated, reopened)
//!   ▲                                                      │ends       ▲                    │
//!   │                                                      └───────────┘                    │
//!   └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! All records are made at start, some for each worker; a worker that finds none free writes no line and counts it. So it allocates
//! nothing, takes no lock and makes no system call for a line, and a disk that is full or hangs costs lines, never a viewer.
//!
//! Connections are sampled, not requests: the requests of one connection, one after another, show what a viewer went through,
//! and a connection that is not sampled costs one multiplication in all its life.

mod file;
mod line;
mod record;
mod writer;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;
use protocol::config::{self, Addresses};
use protocol::units::Percent;

use crate::counters::Counter;
use crate::limits::LOG_RECORDS;

pub use record::{Answered, End, Record, Viewer};
pub use writer::Writer;

/// What workers, writer and metrics share of the log.
#[derive(Debug)]
pub struct AccessLog {
    settings: config::AccessLog,
    /// Percent of the connections. A reload may change it.
    sample: AtomicU64,
    workers: Box<[Records]>,
    /// Lines in the file.
    written: AtomicU64,
    /// Lines that the file did not take.
    refused: AtomicU64,
    reopen: AtomicBool,
    closing: AtomicBool,
    writer: OnceLock<Thread>,
}

/// The records of one worker.
#[derive(Debug)]
pub struct Records {
    free: ArrayQueue<Box<Record>>,
    finished: ArrayQueue<Box<Record>>,
    /// Requests without a line.
    dropped: Counter,
}

impl AccessLog {
    /// A log as configured, for so many workers.
    pub fn new(settings: config::AccessLog, workers: usize) -> Self {
        Self {
            sample: AtomicU64::new(settings.sample.percent()),
            settings,
            workers: (0..workers).map(|_| Records::new(LOG_RECORDS)).collect(),
            written: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            writer: OnceLock::new(),
        }
    }

    /// The records of worker number `worker`.
    pub fn records(&self, worker: usize) -> Option<&Records> {
        self.workers.get(worker)
    }

    /// Whether the requests of a worker's connection number `connection` are written. The multiplication steps around a circle
    /// by the golden ratio, so that the sample is spread evenly and keeps time with nothing that comes in turns.
    pub fn is_sampled(&self, connection: u64) -> bool {
        let place = connection.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        place * 100 < self.sample.load(Relaxed) << 32
    }

    /// Another share of the connections that come from now on.
    pub fn set_sample(&self, share: Percent) {
        self.sample.store(share.percent(), Relaxed);
    }

    /// As much of an address as may be written.
    pub fn shown(&self, address: IpAddr) -> IpAddr {
        match self.settings.addresses {
            Addresses::Full => address.to_canonical(),
            Addresses::Truncated => truncated(address.to_canonical()),
        }
    }

    /// Lines that were written since start.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Lines that the file system did not take since start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Requests that have no line because the writer was behind.
    pub fn dropped(&self) -> u64 {
        self.workers
            .iter()
            .map(|records| records.dropped.value())
            .sum()
    }

    /// Asks the writer to open the file anew: somebody has renamed it.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
        self.wake();
    }

    /// Asks the writer to end when it has written what is finished.
    pub fn close(&self) {
        self.closing.store(true, Relaxed);
        self.wake();
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

impl Records {
    fn new(count: usize) -> Self {
        let records = Self {
            free: ArrayQueue::new(count),
            finished: ArrayQueue::new(count),
            dropped: Counter::default(),
        };
        while records.free.push(Box::default()).is_ok() {}
        records
    }

    /// A record to fill; `None`, which is counted, if the writer has not yet given one back.
    pub fn take(&self) -> Option<Box<Record>> {
        let record = self.free.pop();
        if record.is_none() {
            self.dropped.add(1);
        }
        record
    }

    /// A record whose answer has ended. There is room for all that there are.
    pub fn finish(&self, record: Box<Record>) {
        let _ = self.finished.push(record);
    }
}

/// The first 24 bits of an IPv4 address, the first 48 of an IPv6 address.
fn truncated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::units::ByteSize;

    fn log(percent: u64, addresses: Addresses) -> AccessLog {
        let settings = config::AccessLog {
            path: "/nonexistent/access.log".into(),
            sample: Percent::of(percent),
            addresses,
            rotate: ByteSize::from_bytes(0),
            keep: 0,
        };
        AccessLog::new(settings, 1)
    }

    #[test]
    fn the_share_is_kept_over_any_stretch_and_over_any_step() {
        for percent in [1, 10, 50, 99, 100] {
            let log = log(percent, Addresses::Full);
            for step in [1, 2, 3, 8, 100] {
                let connections = (0..10_000).map(|n| 77 + n * step);
                let sampled = connections.filter(|n| log.is_sampled(*n)).count() as u64;
                let expected = percent * 100;
                assert!(
                    sampled.abs_diff(expected) <= 20,
                    "{percent} % in steps of {step}: {sampled}"
                );
            }
        }
    }

    #[test]
    fn addresses_are_cut_unless_they_are_wanted_whole() {
        let (cut, full) = (log(1, Addresses::Truncated), log(1, Addresses::Full));
        for (address, whole, shown) in [
            ("203.0.113.77", "203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.77", "203.0.113.0"),
            (
                "2001:db8:1:2:3:4:5:6",
                "2001:db8:1:2:3:4:5:6",
                "2001:db8:1::",
            ),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(full.shown(address).to_string(), whole);
            assert_eq!(cut.shown(address).to_string(), shown);
        }
    }

    #[test]
    fn a_worker_without_a_free_record_writes_no_line_and_counts_it() {
        let log = log(100, Addresses::Full);
        let records = log.records(0).unwrap();
        let all: Vec<_> = (0..LOG_RECORDS).map(|_| records.take().unwrap()).collect();
        assert!(records.take().is_none());
        assert_eq!(log.dropped(), 1);
        all.into_iter().for_each(|record| records.finish(record));
        assert_eq!(records.finished.len(), LOG_RECORDS);
    }
}
