//! Waking a reactor from another thread.
//!
//! A word says what the reactor does; the bell (a descriptor the kernel can wait for) is rung only if it
//! sleeps. So any number of wakes between two turns cost one event, and those that meet a busy reactor
//! cost no system call at all.
//!
//! ```text
//! AWAKE --(about to wait)--> ASLEEP --(wake: ring the bell)--> NOTIFIED --(turn: Event::Wake)--> AWAKE
//! AWAKE --(wake: no call)--> NOTIFIED: the next wait does not sleep
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::bell::Bell;

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const NOTIFIED: u8 = 2;

/// Wakes one reactor, from any thread. What was written before [`Waker::wake`] is seen by whoever handles
/// the `Event::Wake` that follows.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    bell: Bell,
}

impl Waker {
    /// Makes `Event::Wake` come out of the reactor's present or next turn. Never blocks; at most one
    /// system call, none if the reactor is awake.
    pub fn wake(&self) {
        if self.shared.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP {
            self.shared.bell.ring();
        }
    }

    pub(super) fn new(bell: Bell) -> Self {
        let state = AtomicU8::new(AWAKE);
        Self {
            shared: Arc::new(Shared { state, bell }),
        }
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.shared.bell
    }

    /// To be called by the reactor before it waits: how long it may, given that it wants `timeout`.
    pub(super) fn about_to_wait(&self, timeout: Option<Duration>) -> Option<Duration> {
        if timeout == Some(Duration::ZERO) {
            return timeout;
        }
        let slept =
            self.shared
                .state
                .compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        match slept {
            Ok(_) => timeout,
            Err(_) => Some(Duration::ZERO),
        }
    }

    /// To be called by the reactor after it waited: whether somebody called `wake` since the last time.
    pub(super) fn has_waited(&self) -> bool {
        self.shared.state.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }
}
