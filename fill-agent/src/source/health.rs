//! Whether a source is asked: its breaker, and for how long others wait for it.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::error::SourceError;
use crate::limits::{BACKOFF_MAX, MISS_SPACING};
use crate::retry::{Breaker, Fault, Permit};

/// What is known of a source from its answers.
#[derive(Default)]
pub(crate) struct Health(Mutex<State>);

#[derive(Default)]
struct State {
    breaker: Breaker,
    /// By `Retry-After`.
    busy_until: Option<Instant>,
    problem: Option<String>,
    waiting: Option<Waiting>,
    /// The next moment that nobody has taken to ask again for what was missing.
    next_turn: Option<Instant>,
}

/// Since when objects wait for this source without one coming, and when that was last so.
struct Waiting {
    since: Instant,
    last: Instant,
}

impl Health {
    pub(crate) fn permit(&self, now: Instant) -> Permit {
        let mut state = self.state();
        match state.busy_until.filter(|until| *until > now) {
            // What was under way when it said so may end well meanwhile: that does not shorten it.
            Some(until) => Permit::Until(until),
            None => state.breaker.permit(now),
        }
    }

    /// It gave what was asked for.
    pub(crate) fn good(&self) {
        let mut state = self.state();
        state.breaker.succeeded();
        state.problem = None;
        state.waiting = None;
        state.next_turn = None;
    }

    pub(crate) fn bad(&self, now: Instant, error: &SourceError, random: f64) {
        let mut state = self.state();
        state.breaker.failed(now, error.fault(), random);
        if let Fault::Busy(pause) = error.fault() {
            state.busy_until = Some(now + pause);
        }
        state.problem = Some(error.to_string());
    }

    /// Whether objects wait for it until then, rather than ask elsewhere: `patience` counts from when it last gave one.
    pub(crate) fn is_waited_for(&self, now: Instant, until: Instant, patience: Duration) -> bool {
        let mut state = self.state();
        // After a longer silence it is another night, in which nobody waited yet.
        let same = |waiting: &Waiting| now - waiting.last <= patience + 2 * BACKOFF_MAX;
        let since = state
            .waiting
            .take()
            .filter(same)
            .map_or(now, |waiting| waiting.since);
        state.waiting = Some(Waiting { since, last: now });
        until < since + patience
    }

    /// When to ask again for an object that it has not got yet, not before `earliest`: each asks at a moment of its own.
    pub(crate) fn turn(&self, earliest: Instant) -> Instant {
        let mut state = self.state();
        let turn = state.next_turn.map_or(earliest, |next| next.max(earliest));
        state.next_turn = Some(turn + MISS_SPACING);
        turn
    }

    /// Whether it asked to come later.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.state().busy_until.is_some_and(|until| until > now)
    }

    /// What it did wrong last.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// Until when it is not asked, and why.
    pub(crate) fn blocked(&self, now: Instant) -> Option<(Instant, String)> {
        let state = self.state();
        let busy = state.busy_until.filter(|until| *until > now);
        let until = state.breaker.blocked_until(now).max(busy)?;
        Some((until, state.problem.clone().unwrap_or_default()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}
