//! [`WaitSet`]: how a few service threads sleep until a worker gives them something, without a lock on the worker's side.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::thread::{self, Thread};

/// Most threads in one set: the bits of a word.
pub(crate) const MAX_WAITERS: usize = 64;

/// Up to [`MAX_WAITERS`] threads, each with a seat, of which some wait.
///
/// Whoever makes something available calls [`wake_one`](Self::wake_one) *after* publishing it; whoever looks for it goes through
/// [`wait_for`](Self::wait_for), which takes its seat *before* it looks. With a full fence between the two steps on both sides one of them
/// must see the other, so no wake is lost.
#[derive(Debug)]
pub(crate) struct WaitSet {
    /// Bit n: the thread of seat n sleeps, or is about to.
    waiting: AtomicU64,
    threads: Box<[OnceLock<Thread>]>,
}

impl WaitSet {
    pub(crate) fn new(seats: usize) -> Self {
        assert!(seats <= MAX_WAITERS, "one word has a bit for each seat");
        Self {
            waiting: AtomicU64::new(0),
            threads: (0..seats).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Threads that wait now.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed).count_ones()
    }

    /// Wakes one waiting thread, if there is one. No lock, no allocation, at most one system call.
    pub(crate) fn wake_one(&self) {
        fence(Ordering::SeqCst);
        let mut waiting = self.waiting.load(Ordering::Relaxed);
        while waiting != 0 {
            let seat = waiting.trailing_zeros() as usize;
            let bit = 1 << seat;
            if self.waiting.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
                return self.unpark(seat);
            }
            waiting &= !bit;
        }
    }

    /// Wakes every waiting thread.
    pub(crate) fn wake_all(&self) {
        fence(Ordering::SeqCst);
        let mut waiting = self.waiting.swap(0, Ordering::AcqRel);
        while waiting != 0 {
            self.unpark(waiting.trailing_zeros() as usize);
            waiting &= waiting - 1;
        }
    }

    /// Sleeps in `seat` until `look` finds something. Only one thread ever uses a seat.
    pub(crate) fn wait_for<T>(&self, seat: usize, mut look: impl FnMut() -> Option<T>) -> T {
        if let Some(found) = look() {
            return found;
        }
        self.threads[seat].get_or_init(thread::current);
        loop {
            self.sit(seat);
            if let Some(found) = look() {
                self.stand(seat);
                return found;
            }
            while self.waiting.load(Ordering::Acquire) & (1 << seat) != 0 {
                thread::park();
            }
        }
    }

    fn sit(&self, seat: usize) {
        self.waiting.fetch_or(1 << seat, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// A wake that was meant for this seat, while it had already found something else, is passed on.
    fn stand(&self, seat: usize) {
        let bit = 1 << seat;
        if self.waiting.fetch_and(!bit, Ordering::AcqRel) & bit == 0 {
            self.wake_one();
        }
    }

    fn unpark(&self, seat: usize) {
        if let Some(thread) = self.threads[seat].get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_queue::ArrayQueue;

    #[test]
    fn no_wake_is_lost() {
        const PER_GIVER: u64 = 20_000;
        let (set, queue) = (WaitSet::new(3), ArrayQueue::<u64>::new(64));
        let taken = thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|seat| {
                    let (set, queue) = (&set, &queue);
                    scope.spawn(move || {
                        let take = || set.wait_for(seat, || queue.pop());
                        std::iter::from_fn(|| Some(take()).filter(|&item| item != 0)).sum::<u64>()
                    })
                })
                .collect();
            let give = |item: u64| {
                while queue.push(item).is_err() {
                    thread::yield_now();
                }
                set.wake_one();
            };
            thread::scope(|givers| {
                for _ in 0..4 {
                    givers.spawn(|| (1..=PER_GIVER).for_each(give));
                }
            });
            (0..3).for_each(|_| give(0));
            takers
                .into_iter()
                .map(|taker| taker.join().unwrap())
                .sum::<u64>()
        });
        assert_eq!(taken, 4 * PER_GIVER * (PER_GIVER + 1) / 2);
    }

    #[test]
    fn everyone_can_be_woken() {
        let set = WaitSet::new(4);
        let open = AtomicU64::new(0);
        thread::scope(|scope| {
            for seat in 0..4 {
                let (set, open) = (&set, &open);
                scope.spawn(move || {
                    set.wait_for(seat, || (open.load(Ordering::Acquire) == 1).then_some(()));
                });
            }
            open.store(1, Ordering::Release);
            set.wake_all();
        });
        assert_eq!(set.waiting(), 0);
    }
}
