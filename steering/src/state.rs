//! The state that steers.

use serde::{Deserialize, Serialize};

use crate::drain::Phase;
use crate::health::Severity;

/// What an appliance is to those who send viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All is well.
    Ok,
    /// Serving, with something broken.
    Degraded,
    /// Leaving: no new viewers, running transfers go on.
    Draining,
    /// Left, no transfer running: safe to unplug.
    Drained,
    /// Left after the bound, with transfers cut: safe to unplug.
    DrainedForced,
    /// Not able to serve.
    Down,
}

impl State {
    /// The worst local cause, and the operator's intent on top of it.
    ///
    /// `down` is said even during a drain, because it asks for viewers to be moved at once; but a box that has been drained
    /// has no viewers, and stays `drained` while it is taken apart.
    #[must_use]
    pub fn of(worst_local: Severity, drain: Phase) -> Self {
        match (drain, worst_local) {
            (Phase::Drained, _) => Self::Drained,
            (Phase::Forced, _) => Self::DrainedForced,
            (Phase::Draining | Phase::InService, Severity::Down) => Self::Down,
            (Phase::Draining, Severity::Ok | Severity::Degraded) => Self::Draining,
            (Phase::InService, Severity::Degraded) => Self::Degraded,
            (Phase::InService, Severity::Ok) => Self::Ok,
        }
    }

    /// Whether new viewers may be sent here: what `/readyz` asks, once the self-test has passed.
    #[must_use]
    pub fn takes_viewers(self) -> bool {
        matches!(self, Self::Ok | Self::Degraded)
    }

    /// Whether the process does its work: what `/healthz` asks.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self != Self::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_and_a_failure_together() {
        use Severity::{Degraded, Down, Ok};
        let table = [
            (Ok, Phase::InService, State::Ok),
            (Degraded, Phase::InService, State::Degraded),
            (Down, Phase::InService, State::Down),
            (Ok, Phase::Draining, State::Draining),
            (Degraded, Phase::Draining, State::Draining),
            (Down, Phase::Draining, State::Down),
            (Ok, Phase::Drained, State::Drained),
            (Down, Phase::Drained, State::Drained),
            (Down, Phase::Forced, State::DrainedForced),
        ];
        for (worst, drain, state) in table {
            assert_eq!(State::of(worst, drain), state, "{worst:?} {drain:?}");
        }
    }
}
