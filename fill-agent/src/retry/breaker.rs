//! The circuit breaker of one source.

use std::time::Instant;

use super::{Fault, backoff};
use crate::limits::{BACKOFF_BASE, BREAKER_FAILURES, BREAKER_LIES, PROBE_MAX};

/// Keeps requests from a source that does not answer them. See the module above for its states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// By `Retry-After`: the source works, and asks not to be asked until then.
    not_before: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32, lies: u32 },
    Open { until: Instant, times: u32 },
    HalfOpen { probe: Instant, times: u32 },
}

/// Whether the source may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Yes.
    Yes,
    /// Yes, by this one request: what becomes of it decides for all.
    Probe,
    /// Not before this.
    Until(Instant),
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed {
                failures: 0,
                lies: 0,
            },
            not_before: None,
        }
    }
}

impl Breaker {
    /// Whether a request may go now. [`Permit::Probe`] is given once, until it reports or is lost.
    pub fn permit(&mut self, now: Instant) -> Permit {
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Permit::Until(at);
        }
        match self.state {
            State::Closed { .. } => Permit::Yes,
            State::Open { until, .. } if until > now => Permit::Until(until),
            State::HalfOpen { probe, .. } if probe + PROBE_MAX > now => {
                Permit::Until(after_probe(probe, now))
            }
            State::Open { times, .. } | State::HalfOpen { times, .. } => {
                self.state = State::HalfOpen { probe: now, times };
                Permit::Probe
            }
        }
    }

    /// When it may be asked, for status; `None`: now.
    #[must_use]
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let by_state = match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => Some(until),
            State::HalfOpen { probe, .. } => Some(after_probe(probe, now)),
        };
        by_state.max(self.not_before).filter(|at| *at > now)
    }

    /// A request was answered with what was asked for, or with a plain "not here".
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request failed. `random` is uniform in [0, 1).
    pub fn failed(&mut self, now: Instant, fault: Fault, random: f64) {
        match fault {
            Fault::Missing => self.succeeded(),
            Fault::Busy(delay) => {
                self.succeeded();
                self.not_before = Some(now + delay);
            }
            Fault::Refused | Fault::Unreachable | Fault::Lie => self.count(now, fault, random),
        }
    }

    fn count(&mut self, now: Instant, fault: Fault, random: f64) {
        self.state = match self.state {
            State::Closed { failures, lies } => {
                let lies = lies + u32::from(fault == Fault::Lie);
                let failures = failures + 1;
                if failures < BREAKER_FAILURES && lies < BREAKER_LIES {
                    State::Closed { failures, lies }
                } else {
                    open(now, 0, random)
                }
            }
            // What was under way when it opened says nothing new.
            State::Open { .. } => self.state,
            State::HalfOpen { times, .. } => open(now, times.saturating_add(1), random),
        };
    }
}

/// When those look again who found a probe under way: what becomes of it may be known soon.
fn after_probe(probe: Instant, now: Instant) -> Instant {
    (probe + PROBE_MAX).min(now + BACKOFF_BASE)
}

/// At least the base, so that a breaker that opens is open.
fn open(now: Instant, times: u32, random: f64) -> State {
    let until = now + BACKOFF_BASE + backoff(times.saturating_add(3), random);
    State::Open { until, times }
}
