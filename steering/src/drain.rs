//! Out of service without cutting a viewer.
//!
//! ```text
//! InService --begin--> Draining --no transfer, hints expired--> Drained
//!     ^                    |                                      |
//!     |                    +--bound passed: the rest is cut--> Forced
//!     +------------------- end (self-test passed) ----------------+
//! ```
//!
//! While hints may still send viewers here ([`Drain::hints_expire`]), new connections are served; after that they are refused.
//! The intent itself ([`Intent`]) is what survives a restart; the machine is made anew from it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// What the operator wants, as it is kept in `state_dir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// When it was asked for.
    pub since: UnixTime,
    /// Who asked.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// How long answers may send viewers here that were given before this, if that is longer than a hint's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_expire_s: Option<u64>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No drain.
    InService,
    /// Running transfers go on.
    Draining,
    /// Nothing runs.
    Drained,
    /// The bound has passed; what ran was cut.
    Forced,
}

/// How long the two waits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long a hint that was given out may be used.
    pub hint_lifetime: Duration,
    /// How long running transfers are let finish.
    pub drain: Duration,
}

/// What the daemon is to do with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Serve as ever.
    Serve,
    /// Serve new connections too, but ask every viewer to leave: `Connection: close`, idle ones are closed.
    AskToLeave,
    /// As above, and refuse new connections.
    RefuseNew,
    /// Cut what still runs.
    Cut,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Drain {
    bounds: Bounds,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    InService,
    Draining(Intent),
    Drained(Intent),
    Forced(Intent, u64),
}

impl Drain {
    /// Goes on with the intent that was found at start, if there was one.
    #[must_use]
    pub fn new(bounds: Bounds, intent: Option<Intent>) -> Self {
        Self {
            bounds,
            stage: intent.map_or(Stage::InService, Stage::Draining),
        }
    }

    /// Starts a drain. One that is under way goes on; only who and why are replaced.
    pub fn begin(&mut self, wanted: Intent) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::InService) {
            Stage::InService => Stage::Draining(wanted),
            Stage::Draining(old) => Stage::Draining(Intent {
                since: old.since,
                ..wanted
            }),
            Stage::Drained(old) => Stage::Drained(Intent {
                since: old.since,
                ..wanted
            }),
            Stage::Forced(old, cut) => Stage::Forced(
                Intent {
                    since: old.since,
                    ..wanted
                },
                cut,
            ),
        };
    }

    /// Ends it. The caller has run the self-test.
    pub fn end(&mut self) {
        self.stage = Stage::InService;
    }

    /// Looks at the clock and at the number of running transfers; says what to do. To be called every second or so.
    pub fn step(&mut self, now: UnixTime, transfers: u64) -> Action {
        let Stage::Draining(intent) = &self.stage else {
            return self.action(now);
        };
        let hints_expired = now >= self.expiry(intent);
        let bound_passed = now >= intent.since + self.bounds.drain;
        if transfers == 0 && hints_expired {
            self.stage = Stage::Drained(intent.clone());
        } else if bound_passed {
            self.stage = Stage::Forced(intent.clone(), transfers);
        }
        self.action(now)
    }

    fn action(&self, now: UnixTime) -> Action {
        match &self.stage {
            Stage::InService => Action::Serve,
            Stage::Draining(intent) if now < self.expiry(intent) => Action::AskToLeave,
            Stage::Draining(_) | Stage::Drained(_) => Action::RefuseNew,
            Stage::Forced(..) => Action::Cut,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.stage {
            Stage::InService => Phase::InService,
            Stage::Draining(_) => Phase::Draining,
            Stage::Drained(_) => Phase::Drained,
            Stage::Forced(..) => Phase::Forced,
        }
    }

    /// What the operator wants; to be kept in `state_dir`.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        match &self.stage {
            Stage::InService => None,
            Stage::Draining(intent) | Stage::Drained(intent) | Stage::Forced(intent, _) => {
                Some(intent)
            }
        }
    }

    /// Until when hints may still send viewers here.
    #[must_use]
    pub fn hints_expire(&self) -> Option<UnixTime> {
        self.intent().map(|intent| self.expiry(intent))
    }

    fn expiry(&self, intent: &Intent) -> UnixTime {
        let answers = Duration::from_secs(intent.answers_expire_s.unwrap_or(0));
        intent.since + self.bounds.hint_lifetime.max(answers)
    }

    /// When what still runs is cut.
    #[must_use]
    pub fn forced_at(&self) -> Option<UnixTime> {
        self.intent().map(|intent| intent.since + self.bounds.drain)
    }

    /// How many transfers were cut.
    #[must_use]
    pub fn cut(&self) -> u64 {
        match self.stage {
            Stage::Forced(_, cut) => cut,
            Stage::InService | Stage::Draining(_) | Stage::Drained(_) => 0,
        }
    }
}
