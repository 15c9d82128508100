//! Transfers to other appliances that fill from this one: so many at once and no more, over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The places for such transfers.
#[derive(Debug)]
pub struct Fills {
    most: u32,
    running: AtomicU32,
    refused: AtomicU64,
}

/// One place; given back when it is dropped, however the transfer ends.
#[derive(Debug)]
pub struct Place(Arc<Fills>);

impl Fills {
    /// With `most` places (`serve.max_fills`).
    pub fn new(most: u32) -> Self {
        Self {
            most,
            running: AtomicU32::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A place, if there is one left.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let taken = self.running.fetch_update(Relaxed, Relaxed, |running| {
            (running < self.most).then_some(running + 1)
        });
        if taken.is_err() {
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Place(Arc::clone(self)))
    }

    /// Transfers that run now.
    pub fn running(&self) -> u32 {
        self.running.load(Relaxed)
    }

    /// Requests that were refused since start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_back_is_there_again() {
        let fills = Arc::new(Fills::new(2));
        let first = fills.admit();
        let second = fills.admit();
        assert!(first.is_some() && second.is_some() && fills.admit().is_none());
        drop(first);
        assert_eq!((fills.running(), fills.refused()), (1, 1));
        assert!(fills.admit().is_some());
        assert!(Arc::new(Fills::new(0)).admit().is_none());
    }
}
