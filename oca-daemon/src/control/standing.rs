//! How the box is, as people and programs are told: made anew at each look.

use std::sync::Arc;

use protocol::config::Config;
use protocol::status::{Drain, SelfTest};
use steering::State;
use steering::UnixTime;
use steering::hint::{Capacity, Facts, Hint, HintBook};

use super::Control;
use crate::admin::held::Held;
use crate::admin::observation::Observation;
use crate::admin::{health, words};
use crate::control::notify;

/// Egress is told in steps of this many bits per second, so that a hint's serial does not rise with every byte.
const EGRESS_STEP: u64 = 1_000_000;

/// What the admin port reads.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The document of `/steering`, with the state and its causes.
    pub hint: Hint,
    /// A drain that is under way or done.
    pub drain: Option<Drain>,
    /// Whether the self-test has passed.
    pub self_test: SelfTest,
    /// Bits per second that were sent over the last seconds.
    pub egress: u64,
    /// Objects by device.
    pub held: Arc<Held>,
    /// Whether the configuration in force is the one that was last read, or why not.
    pub reload: Result<(), String>,
    /// SIGTERM has come.
    pub stopping: bool,
}

impl Standing {
    /// Before the first look: nothing is wrong, and nobody is to be sent here yet.
    #[must_use]
    pub fn before_the_first_look(hints: &mut HintBook, config: &Config, now: UnixTime) -> Self {
        let facts = Facts {
            state: State::Ok,
            accepting: false,
            causes: Vec::new(),
            service_addresses: config.steering.service_addresses.clone(),
            capacity: capacity(config, 0, false),
        };
        Self {
            hint: hints.issue(now, facts),
            drain: None,
            self_test: SelfTest::Running,
            egress: 0,
            held: Arc::default(),
            reload: Ok(()),
            stopping: false,
        }
    }
}

impl Control {
    pub(super) fn update_standing(&mut self, observed: &Observation) {
        let egress = self.egress.bits_per_second() / EGRESS_STEP * EGRESS_STEP;
        let capacity_now = capacity(&observed.config, egress, true);
        let samples = health::samples(observed, &self.held, &self.self_test, capacity_now.as_ref());
        self.health.observe(observed.unix, &samples);
        let stopping = self.shared.is_stopping();
        let state = leaving_if(
            stopping,
            State::of(self.health.worst_local(), self.drain.phase()),
        );
        let accepting = state.takes_viewers() && self.self_test == SelfTest::Passed;
        let facts = Facts {
            state,
            accepting,
            causes: self.health.causes(),
            service_addresses: observed.config.steering.service_addresses.clone(),
            capacity: capacity(&observed.config, egress, accepting),
        };
        self.tell_of_change(&facts);
        self.admin.standing.store(Arc::new(Standing {
            hint: self.hints.issue(observed.unix, facts),
            drain: self.drain_told(observed),
            self_test: self.self_test.clone(),
            egress: self.egress.bits_per_second(),
            held: Arc::clone(&self.held),
            reload: self.reload.clone(),
            stopping,
        }));
    }

    fn tell_of_change(&self, facts: &Facts) {
        let before = self.admin.standing.load();
        let said = &before.hint.facts;
        if said.state == facts.state && said.accepting == facts.accepting {
            return;
        }
        let state = words::state(facts.state).as_str();
        let causes: Vec<&str> = facts
            .causes
            .iter()
            .map(|cause| cause.detail.as_str())
            .collect();
        tracing::info!(
            state,
            ready = facts.accepting,
            causes = causes.join("; "),
            "state"
        );
        notify::status(&format!(
            "{state}, {}",
            if facts.accepting {
                "ready"
            } else {
                "not ready"
            }
        ));
    }
}

/// A daemon that stops takes no new viewers.
fn leaving_if(stopping: bool, state: State) -> State {
    if stopping && state.takes_viewers() {
        State::Draining
    } else {
        state
    }
}

/// `None` if nobody has said what this box can send.
fn capacity(config: &Config, egress: u64, accepting: bool) -> Option<Capacity> {
    let hard = config.steering.capacity.fixed()?;
    Some(Capacity::egress(hard.bits_per_second(), egress, accepting))
}
