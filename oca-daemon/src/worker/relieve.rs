//! Accepting in the place of a worker that is stuck, until it goes on ([`crate::relief`]).

use std::ops::Range;
use std::sync::Arc;

use platform::reactor::ListenerId;

use super::Worker;

/// What this worker has taken over of others.
pub(super) struct Relieved {
    /// What was looked at last ([`crate::relief::Relief::changes`]).
    seen: usize,
    /// By worker, the ids of its sockets here; from the first time that they were needed.
    taken: Box<[Option<Range<usize>>]>,
}

impl Relieved {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            seen: 0,
            taken: vec![None; workers].into(),
        }
    }
}

impl Worker {
    /// Accepts for whom it shall; one load if nothing has changed.
    pub(super) fn relieve(&mut self) {
        let changes = self.thought.shared.relief.changes();
        if changes == self.relieved.seen || self.has_stopped_accepting {
            return;
        }
        self.relieved.seen = changes;
        for other in 0..self.relieved.taken.len() {
            let reliever = self.thought.shared.relief.reliever(other);
            let is_wanted = reliever == Some(self.thought.worker);
            match self.relieved.taken[other].clone() {
                None if is_wanted => self.take_over(other),
                None => {}
                Some(taken) if is_wanted => {
                    ids(taken).for_each(|id| self.reactor.resume_accept(id));
                }
                Some(taken) => self.leave_to_others(taken),
            }
        }
    }

    fn take_over(&mut self, other: usize) {
        let first = self.listeners.len();
        let shared = Arc::clone(&self.thought.shared);
        for (listening, is_tls) in shared.relief.sockets(other) {
            let id = ListenerId(self.listeners.len() as u16);
            let listens = listening.and_then(|listening| self.reactor.listen(id, listening));
            self.listeners.push(is_tls);
            if let Err(error) = listens {
                tracing::warn!(worker = other, %error, "nobody accepts from a socket of a worker that is stuck");
            }
        }
        self.relieved.taken[other] = Some(first..self.listeners.len());
    }

    fn leave_to_others(&mut self, taken: Range<usize>) {
        for id in ids(taken) {
            self.resting.retain(|resting| *resting != id);
            self.reactor.pause_accept(id);
        }
    }
}

fn ids(range: Range<usize>) -> impl Iterator<Item = ListenerId> {
    range.map(|id| ListenerId(id as u16))
}
