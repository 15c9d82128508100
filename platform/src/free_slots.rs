//! Which slots of a pool are free: the one that came back last goes out first. So a pool touches no more memory than is out at once.
//!
//! A stack without locks, in which nobody waits for anybody: the classic one of Treiber (Systems Programming: Coping with Parallelism, IBM
//! RJ 5118, 1986), with a count beside its top.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The free ones of slots 0 to n - 1.
#[derive(Debug)]
pub(crate) struct FreeSlots {
    /// Low half: the slot on top, plus 1; 0 when none is free. High half: how often it was changed, so that whoever read a top
    /// that was taken and has come back since finds it another one.
    top: AtomicU64,
    /// Of each free slot the one below, plus 1.
    below: Box<[AtomicU32]>,
    count: AtomicU32,
}

impl FreeSlots {
    /// All of `count` slots are free; slot 0 goes out first.
    pub(crate) fn new(count: u32) -> Self {
        let below = (0..count).map(|slot| if slot + 1 < count { slot + 2 } else { 0 });
        Self {
            top: AtomicU64::new(u64::from(count > 0)),
            below: below.map(AtomicU32::new).collect(),
            count: AtomicU32::new(count),
        }
    }

    /// How many are free: as good as any number that others change meanwhile.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// Takes the slot that came back last.
    pub(crate) fn pop(&self) -> Option<u32> {
        let next = |top: u64| {
            let slot = (top as u32).checked_sub(1)?;
            // Another thread may have taken it meanwhile, and what is read here be of no use: then the top has another count.
            let below = self.below[slot as usize].load(Ordering::Relaxed);
            Some(changed(top, below))
        };
        // Acquire: `below` of this top was written before the top was.
        let top = self
            .top
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .ok()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(top as u32 - 1)
    }

    /// Gives a slot back that was popped.
    pub(crate) fn push(&self, slot: u32) {
        // Before it can be popped, so that the count is never below zero.
        self.count.fetch_add(1, Ordering::Relaxed);
        let next = |top: u64| {
            self.below[slot as usize].store(top as u32, Ordering::Relaxed);
            Some(changed(top, slot + 1))
        };
        let pushed = self
            .top
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, next);
        debug_assert!(pushed.is_ok(), "the closure always has an answer");
    }
}

fn changed(top: u64, slot_plus_one: u32) -> u64 {
    let count = (top >> 32).wrapping_add(1);
    count << 32 | u64::from(slot_plus_one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn the_last_one_back_is_the_next_one_out() {
        let free = FreeSlots::new(3);
        let all = [free.pop(), free.pop(), free.pop(), free.pop()];
        assert_eq!(all, [Some(0), Some(1), Some(2), None]);
        assert_eq!(free.count(), 0);
        for slot in [1, 0, 2] {
            free.push(slot);
        }
        assert_eq!(free.pop(), Some(2));
        free.push(2);
        let all = [free.pop(), free.pop(), free.pop(), free.pop()];
        assert_eq!(all, [Some(2), Some(0), Some(1), None]);
    }

    #[test]
    fn a_slot_has_one_owner_however_threads_take_and_give_back() {
        const SLOTS: u32 = 3;
        let free = FreeSlots::new(SLOTS);
        let owned: Vec<_> = (0..SLOTS).map(|_| AtomicBool::new(false)).collect();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        let taken = [free.pop(), free.pop()];
                        for slot in taken.into_iter().flatten() {
                            let others = owned[slot as usize].swap(true, Ordering::AcqRel);
                            assert!(!others, "slot {slot} was given out twice");
                        }
                        for slot in taken.into_iter().flatten() {
                            owned[slot as usize].store(false, Ordering::Release);
                            free.push(slot);
                        }
                    }
                });
            }
        });
        let mut all: Vec<_> = std::iter::from_fn(|| free.pop()).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}
