//! Whether a service address is announced: here, leaving, or away. BGP says nothing else of it.
//!
//! ```text
//!                     ready                        out of service, or stopping
//!   Absent ───────────────────────────► Present ─────────────────────────────► Leaving ──LEAVING──► Left
//!     ▲  ▲                                 │  ▲                                   │ down              │
//!     │  └───────────not ready─────────────┤  └────────────in service again───────┴───────────────────┘
//!     │                                    │ down: at once
//!     └──AWAY_LEAST, doubling──────────── Away ──the fourth in an hour──► Held ──undrain──► Absent
//! ```
//!
//! *Down* is the state `down`, or a canary through the service address that was not answered three times in a row. *Ready*: the
//! address is local, the workers listen, the self-test has passed. Load, fill and the control endpoint are not heard of here:
//! they cause no state worse than `degraded`, and `ok` and `degraded` are the same to this machine.
//!
//! A drain that is under way changes nothing: the viewers that are being served still need the route.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::announcement::Offer;
use super::canary::Canary;
use super::limits::{AWAY_LEAST, AWAY_MOST, LEAVING, WITHDRAWAL_WINDOW, WITHDRAWALS};
use crate::State;

/// What is known of the box and of one service address, just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The state that steers.
    pub state: State,
    /// The daemon is on its way out, and what runs may finish.
    pub is_stopping: bool,
    /// The address is local, the workers listen, the self-test has passed.
    pub is_ready: bool,
    /// Whether the canary was answered; `None`: it was not asked, or the box was too busy to tell anything by it.
    pub canary: Option<bool>,
}

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not announced: not ready.
    Absent,
    /// Announced.
    Present,
    /// Announced as about to go.
    Leaving {
        /// When it is withdrawn.
        until: Instant,
    },
    /// Withdrawn, because the box is out of service.
    Left,
    /// Withdrawn, because it was down.
    Away {
        /// When it may come back.
        until: Instant,
    },
    /// Withdrawn until an operator says otherwise.
    Held,
}

impl Phase {
    /// The word in tables and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Present => "present",
            Self::Leaving { .. } => "leaving",
            Self::Left => "left",
            Self::Away { .. } => "away",
            Self::Held => "held",
        }
    }
}

/// The machine, one for each service address.
#[derive(Debug, Clone)]
pub struct Presence {
    phase: Phase,
    canary: Canary,
    /// The next time away.
    away: Duration,
    withdrawals: VecDeque<Instant>,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            phase: Phase::Absent,
            canary: Canary::default(),
            away: AWAY_LEAST,
            withdrawals: VecDeque::new(),
        }
    }
}

impl Presence {
    /// Takes one look; to be called every second or so.
    pub fn observe(&mut self, now: Instant, look: Look) {
        match look.canary {
            // An address that is not to be announced is asked nothing.
            _ if !look.is_ready => self.canary = Canary::default(),
            Some(is_answered) => self.canary.note(is_answered),
            None => {}
        }
        let is_down = look.state == State::Down || self.is_lost();
        let is_out =
            look.is_stopping || matches!(look.state, State::Drained | State::DrainedForced);
        self.phase = match self.phase {
            Phase::Held => Phase::Held,
            Phase::Away { until } if now < until => Phase::Away { until },
            Phase::Present | Phase::Leaving { .. } if is_down => self.withdrawn(now),
            Phase::Present if !look.is_ready => Phase::Absent,
            Phase::Present if is_out => Phase::Leaving {
                until: now + LEAVING,
            },
            Phase::Leaving { until } if is_out && now < until => Phase::Leaving { until },
            Phase::Leaving { .. } | Phase::Left if is_out => Phase::Left,
            _ if look.is_ready && !is_down && !is_out => Phase::Present,
            Phase::Present => Phase::Present,
            Phase::Absent | Phase::Leaving { .. } | Phase::Left | Phase::Away { .. } => {
                Phase::Absent
            }
        };
    }

    fn withdrawn(&mut self, now: Instant) -> Phase {
        let last = self.withdrawals.back();
        if last.is_none_or(|last| now.duration_since(*last) >= WITHDRAWAL_WINDOW) {
            self.away = AWAY_LEAST;
        }
        self.withdrawals
            .retain(|at| now.duration_since(*at) < WITHDRAWAL_WINDOW);
        self.withdrawals.push_back(now);
        if self.withdrawals.len() >= WITHDRAWALS {
            return Phase::Held;
        }
        let until = now + self.away;
        self.away = (self.away * 2).min(AWAY_MOST);
        Phase::Away { until }
    }

    /// An operator has put the box back into service: what was held comes back when it is ready.
    pub fn release(&mut self) {
        self.canary = Canary::default();
        if matches!(self.phase, Phase::Held | Phase::Away { .. }) {
            *self = Self::default();
        }
    }

    /// Whether the canary says that the address does not answer: with that, the box is down, or degraded if others answer.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.canary.is_lost()
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What neighbours are told; `None`: it is withdrawn.
    #[must_use]
    pub fn offer(&self) -> Option<Offer> {
        match self.phase {
            Phase::Present => Some(Offer::Present),
            Phase::Leaving { .. } => Some(Offer::Leaving),
            Phase::Absent | Phase::Left | Phase::Away { .. } | Phase::Held => None,
        }
    }
}
