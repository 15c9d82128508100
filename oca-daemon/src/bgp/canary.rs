//! The question that the daemon asks itself through a service address, where viewers come in. It asks for no content: a box that has
//! none is reachable all the same, and what viewers miss is counted elsewhere.
//!
//! A box that is full answers late, or turns the question away. That is load, of which routers are not told: it is no miss.

use std::sync::Arc;
use std::time::Instant;

use protocol::status::Listener;
use tokio::sync::mpsc;

use super::connection::Heard;
use crate::control::self_test;
use crate::counters::WorkerCounters;
use crate::limits::{BGP_CANARY, BGP_LOOK, SATURATED_SHARE, SELF_TEST_WAIT};
use crate::shared::Shared;

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was answered, if only with the word that there is no place.
    Answered,
    /// It was not; what came instead.
    Missed(String),
    /// It was not, but the box was too busy to tell anything by that.
    Busy,
}

/// The question, and the answer that was not looked at yet.
pub(super) struct Canary {
    next: Instant,
    is_out: bool,
    answered: Option<Answer>,
}

impl Canary {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            is_out: false,
            answered: None,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.is_out && self.next <= now
    }

    /// Asks the service address `at`.
    pub(super) fn ask(&mut self, at: Listener, shared: Arc<Shared>, heard: mpsc::Sender<Heard>) {
        self.is_out = true;
        tokio::spawn(async move {
            let before = Work::of(&shared.workers);
            let answer = match self_test::ask(at.address, at.purpose).await {
                Ok(()) => Answer::Answered,
                Err(_) if Work::of(&shared.workers).is_too_much_since(&before) => Answer::Busy,
                Err(why) => Answer::Missed(why),
            };
            let address = at.address.ip();
            // The speaker has ended.
            let _ = heard.send(Heard::Canary { address, answer }).await;
        });
    }

    /// It is back. While all is well, it is asked less often.
    pub(super) fn heard(&mut self, answer: Answer, all_is_well: bool) {
        let pause = if all_is_well && answer == Answer::Answered {
            BGP_CANARY
        } else {
            BGP_LOOK
        };
        self.next = Instant::now() + pause;
        self.is_out = false;
        self.answered = Some(answer);
    }

    pub(super) fn take(&mut self) -> Option<Answer> {
        self.answered.take()
    }
}

/// What the workers have done.
struct Work {
    at: Instant,
    /// Connections that got no place.
    refused: u64,
    /// Seconds of work, by worker.
    worked: Vec<f64>,
}

impl Work {
    fn of(workers: &[Arc<WorkerCounters>]) -> Self {
        let refused = |it: &Arc<WorkerCounters>| it.refused_full.value() + it.accept_errors.value();
        Self {
            at: Instant::now(),
            refused: workers.iter().map(refused).sum(),
            worked: workers.iter().map(|it| it.turn.sum_seconds()).collect(),
        }
    }

    /// Whether somebody found no place, or a worker hardly waited for as long as an answer may take: the question was one of many.
    fn is_too_much_since(&self, before: &Self) -> bool {
        let waited = self.at.duration_since(before.at);
        let most = waited.as_secs_f64() * SATURATED_SHARE;
        let mut worked = self.worked.iter().zip(&before.worked);
        let is_saturated = worked.any(|(now, then)| now - then >= most);
        self.refused > before.refused || waited >= SELF_TEST_WAIT && is_saturated
    }
}

const _: () = assert!(BGP_CANARY.as_millis() >= BGP_LOOK.as_millis());

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn after(seconds: f64, refused: u64, worked: [f64; 2]) -> bool {
        let at = Instant::now();
        let work = |passed: f64, refused, worked: [f64; 2]| Work {
            at: at + Duration::from_secs_f64(passed),
            refused,
            worked: worked.to_vec(),
        };
        let before = work(0.0, 7, [100.0, 50.0]);
        let worked = [100.0 + worked[0], 50.0 + worked[1]];
        work(seconds, 7 + refused, worked).is_too_much_since(&before)
    }

    #[test]
    fn a_box_is_too_busy_without_a_place_or_with_a_worker_that_never_waits() {
        assert!(after(0.01, 1, [0.0, 0.0]), "somebody had no place");
        assert!(after(2.0, 0, [0.3, 1.95]), "one worker was saturated");
        assert!(!after(2.0, 0, [1.0, 1.0]), "both had time");
        assert!(
            !after(0.01, 0, [0.01, 0.0]),
            "refused at once: no matter of time"
        );
        assert!(
            !after(2.0, 0, [0.0, 0.0]),
            "a worker that hangs has no turn to count"
        );
    }
}
