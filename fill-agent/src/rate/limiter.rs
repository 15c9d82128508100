//! The bucket for tasks.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Mutex as Queue, watch};

use super::Bucket;

/// One bucket that many tasks share. Takers are served in the order in which they ask, one piece each.
///
/// Whoever is served waits for its time with the place at the head of the queue; dropping the future gives the place up and takes
/// nothing. A new rate is in force at once, for the one that waits as well.
#[derive(Debug)]
pub struct Limiter {
    bucket: Mutex<Bucket>,
    head: Queue<()>,
    changed: watch::Sender<()>,
}

impl Limiter {
    /// A limiter with an empty bucket. At 0 bit/s all wait.
    #[must_use]
    pub fn new(bits_per_second: u64) -> Self {
        Self {
            bucket: Mutex::new(Bucket::new(bits_per_second, now())),
            head: Queue::new(()),
            changed: watch::Sender::new(()),
        }
    }

    /// The rate in force, in bits per second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.bucket().bits_per_second()
    }

    /// Changes the rate. 0: all wait until the next change.
    pub fn set_rate(&self, bits_per_second: u64) {
        self.bucket().set_rate(bits_per_second);
        self.changed.send_replace(());
    }

    /// Waits until `bytes` may have come. Long takes go in pieces, between which others come to their turn.
    ///
    /// A reader takes what it has just read before it reads on, so that the sender is slowed by TCP.
    pub async fn take(&self, bytes: u64) {
        let mut rest = bytes;
        while rest > 0 {
            rest -= self.take_piece(rest).await;
        }
    }

    /// Waits for one piece of at most `wanted` bytes, and 64 KiB.
    pub async fn take_piece(&self, wanted: u64) -> u64 {
        let mut changed = self.changed.subscribe();
        let _head = self.head.lock().await;
        loop {
            changed.mark_unchanged();
            let turn = self.bucket().take(now(), wanted);
            match turn {
                Ok(bytes) => return bytes,
                Err(Some(at)) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        _ = changed.changed() => {}
                    }
                }
                Err(None) => {
                    // The sender lives as long as `self`.
                    let _ = changed.changed().await;
                }
            }
        }
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The runtime's clock, so that a paused one is obeyed.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
