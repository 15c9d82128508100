//! What viewers want, as the workers note it for the report: bytes served of each object, and paths that are not here.
//!
//! A worker pays one relaxed addition per finished response, on a cache line that the response writes anyway (see
//! [`content_store::Object`]), and a push into a queue for the first response of an object between two looks of the report. A path
//! that is not here is copied into a queue. Both queues are made at start: nothing is allocated or locked, and what does not
//! fit is left out: bytes stay counted at the object until its next response, a missed path is counted as left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use content_store::Object;
use crossbeam_queue::ArrayQueue;

use crate::limits::{MISSED_PATH_BYTES, MISSED_QUEUE, SERVED_QUEUE};

/// Written by the workers, emptied by the report.
#[derive(Debug)]
pub struct Demand {
    served: ArrayQueue<Arc<Object>>,
    missed: ArrayQueue<MissedPath>,
    left_out: AtomicU64,
}

/// A path in the place that it has in the queue.
#[derive(Debug)]
struct MissedPath {
    length: u16,
    bytes: [u8; MISSED_PATH_BYTES],
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            served: ArrayQueue::new(SERVED_QUEUE),
            missed: ArrayQueue::new(MISSED_QUEUE),
            left_out: AtomicU64::new(0),
        }
    }
}

impl Demand {
    /// A viewer got `bytes` of `object`.
    pub fn served(&self, object: &Arc<Object>, bytes: u64) {
        if object.served.add(bytes) && self.served.push(Arc::clone(object)).is_err() {
            object.served.unlist();
        }
    }

    /// A viewer asked for `path`, percent-decoded, which is not here.
    pub fn missed(&self, path: &[u8]) {
        // A longer path cannot be an object's.
        if path.len() > MISSED_PATH_BYTES {
            return;
        }
        if self.missed.is_full() {
            self.left_out.fetch_add(1, Relaxed);
            return;
        }
        let mut missed = MissedPath {
            length: path.len() as u16,
            bytes: [0; MISSED_PATH_BYTES],
        };
        missed.bytes[..path.len()].copy_from_slice(path);
        if self.missed.push(missed).is_err() {
            self.left_out.fetch_add(1, Relaxed);
        }
    }

    /// Gives `note` each object that was served since the last call, with the bytes.
    pub fn take_served(&self, mut note: impl FnMut(&Object, u64)) {
        // What is added meanwhile waits for the next call.
        for _ in 0..self.served.len() {
            let Some(object) = self.served.pop() else {
                return;
            };
            note(&object, object.served.take());
        }
    }

    /// Gives `note` each path that was missed since the last call; what is no text cannot be an object's.
    pub fn take_missed(&self, mut note: impl FnMut(&str)) {
        for _ in 0..self.missed.len() {
            let Some(missed) = self.missed.pop() else {
                return;
            };
            if let Ok(path) = std::str::from_utf8(&missed.bytes[..usize::from(missed.length)]) {
                note(path);
            }
        }
    }

    /// Missed paths that were left out since start.
    pub fn missed_left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_paths_come_out_as_they_went_in_and_a_flood_is_cut() {
        let demand = Demand::default();
        demand.missed(b"/a b");
        demand.missed(b"/\xff");
        demand.missed(&[b'a'; MISSED_PATH_BYTES + 1]);
        let longest = [b'/'; MISSED_PATH_BYTES];
        demand.missed(&longest);
        let mut found = Vec::new();
        demand.take_missed(|path| found.push(path.to_owned()));
        assert_eq!(found, ["/a b", std::str::from_utf8(&longest).unwrap()]);
        (0..MISSED_QUEUE + 7).for_each(|_| demand.missed(b"/x"));
        let mut count = 0;
        demand.take_missed(|_| count += 1);
        assert_eq!((count, demand.missed_left_out()), (MISSED_QUEUE, 7));
    }
}
