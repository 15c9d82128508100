//! Bytes of one object that viewers got, from many writers to one reader, in one word: no lock, and nothing that grows.
//!
//! The first writer since the last [`Served::take`] is told to list the object, so that the reader has not to look at all
//! objects to find those that are watched.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Set while the object stands in the reader's list. Nobody sends 2^63 bytes between two looks.
const LISTED: u64 = 1 << 63;

/// Bytes that were sent and that the reader has not taken yet.
#[derive(Debug, Default)]
pub struct Served(AtomicU64);

impl Served {
    /// Adds `bytes`. Returns whether the caller is to list the object, which it alone is told then.
    pub fn add(&self, bytes: u64) -> bool {
        self.0.fetch_add(bytes, Relaxed) & LISTED == 0
            && self.0.fetch_or(LISTED, Relaxed) & LISTED == 0
    }

    /// It could not be listed: the next writer is told to. Nothing that was added is lost.
    pub fn unlist(&self) {
        self.0.fetch_and(!LISTED, Relaxed);
    }

    /// Takes what was added, and the object out of the list.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Relaxed) & !LISTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_lists_and_no_byte_is_lost() {
        let served = Served::default();
        assert!(served.add(3));
        assert!(!served.add(4));
        assert_eq!(served.take(), 7);
        assert_eq!(served.take(), 0);
        assert!(served.add(5), "after it was taken it is listed anew");
        served.unlist();
        assert!(served.add(6));
        assert_eq!(served.take(), 11);
    }

    #[test]
    fn many_writers_and_a_reader() {
        let served = Served::default();
        let listings = AtomicU64::new(0);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if served.add(3) {
                            listings.fetch_add(1, Relaxed);
                            taken.fetch_add(served.take(), Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(
            taken.into_inner() + served.take(),
            120_000,
            "whoever lists, all is found"
        );
        assert!(listings.into_inner() > 0);
    }
}
