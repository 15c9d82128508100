//! How the box is, as people and programs are told: made anew at each look.

use std::sync::Arc;

use protocol::config::Config;
use protocol::limits::CAPACITY_PERCENT;
use protocol::status::{Drain, SelfTest};
use protocol::units::BitRate;
use steering::State;
use steering::UnixTime;
use steering::health::{Cause, Component};
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
            capacity: capacity(config, None, 0, false),
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
        let samples = health::samples(
            observed,
            self.held.held(),
            &self.testing.latest,
            self.capacity_of(observed).as_ref(),
        );
        self.health.observe(observed.unix, &samples);
        let causes = self.health.causes();
        let self_test = self.believed(&causes);
        let stopping = self.shared.is_stopping();
        let state = State::of(self.health.worst_local(), self.drain.phase());
        let (state, accepting) = steers(state, stopping, &self_test);
        let speed = observed.interfaces.speed();
        let facts = Facts {
            state,
            accepting,
            causes,
            service_addresses: observed.config.steering.service_addresses.clone(),
            capacity: capacity(&observed.config, speed, egress, accepting),
        };
        let is_news = self.tell_of_change(&facts);
        self.admin.standing.store(Arc::new(Standing {
            hint: self.hints.issue(observed.unix, facts),
            drain: self.drain_told(observed),
            self_test,
            egress: self.egress.bits_per_second(),
            held: Arc::clone(self.held.held()),
            reload: self.reload.clone(),
            stopping,
        }));
        if is_news {
            self.shared.news.notify_one();
        }
    }

    /// What the box can send, as if it took viewers.
    pub(super) fn capacity_of(&self, observed: &Observation) -> Option<Capacity> {
        let egress = self.egress.bits_per_second() / EGRESS_STEP * EGRESS_STEP;
        let speed = observed.interfaces.speed();
        capacity(&observed.config, speed, egress, true)
    }

    /// Once it has passed, the self-test has failed when health says so: not at the first miss, and until it was well for a while.
    fn believed(&self, causes: &[Cause]) -> SelfTest {
        let is_its = |cause: &&Cause| cause.component == Component::SelfTest;
        match causes.iter().find(is_its) {
            Some(cause) => SelfTest::Failed(cause.detail.clone()),
            None if self.testing.has_passed => SelfTest::Passed,
            None => self.testing.latest.clone(),
        }
    }

    /// Returns whether there was one.
    fn tell_of_change(&self, facts: &Facts) -> bool {
        let before = self.admin.standing.load();
        let said = &before.hint.facts;
        if said.state == facts.state && said.accepting == facts.accepting {
            return false;
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
        true
    }
}

/// What those are told who send viewers, and whether new ones are welcome: not by a daemon that stops, nor before the self-test has passed.
fn steers(state: State, stopping: bool, self_test: &SelfTest) -> (State, bool) {
    let state = if stopping && state.takes_viewers() {
        State::Draining
    } else {
        state
    };
    let accepting = state.takes_viewers() && *self_test == SelfTest::Passed;
    (state, accepting)
}

/// `None` if nobody has said what this box can send, and its interfaces do not either.
///
/// What was said holds as long as the links that are up can carry it: a bond with one of its two links gone is half a box.
fn capacity(config: &Config, speed: Option<u64>, egress: u64, accepting: bool) -> Option<Capacity> {
    let said = config.steering.capacity.fixed();
    let hard = match (said.map(BitRate::bits_per_second), speed) {
        (Some(said), Some(speed)) => said.min(speed),
        (Some(said), None) => said,
        (None, speed) => speed? / 100 * CAPACITY_PERCENT,
    };
    Some(Capacity::egress(hard, egress, accepting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::config;
    use protocol::paths::LINUX;
    use std::path::Path;

    /// Of a box that can send so much.
    fn config(capacity: &str) -> Config {
        let text = format!(
            "[appliance]\nid = \"c.s.example\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[steering]\ncapacity = \"{capacity}\"\n\
             [[tier]]\nname = \"t\"\nrole = \"hot\"\ndevices = [\"/srv/a\"]\n"
        );
        config::parse(&text, Path::new("oca.toml"), &LINUX).unwrap()
    }

    /// What `/healthz` and `/readyz` answer: yes or no.
    fn answers(state: State, stopping: bool, self_test: SelfTest) -> [bool; 2] {
        let config = config("auto");
        let mut hints = crate::control::hint_book(&config);
        let mut standing =
            Standing::before_the_first_look(&mut hints, &config, UnixTime::default());
        let facts = &mut standing.hint.facts;
        (facts.state, facts.accepting) = steers(state, stopping, &self_test);
        standing.self_test = self_test;
        [health::is_alive(&standing).0, health::is_ready(&standing).0]
    }

    #[test]
    fn healthz_says_no_only_when_down_and_readyz_yes_only_in_service_and_after_the_self_test() {
        let table = [
            (State::Ok, [true, true]),
            (State::Degraded, [true, true]),
            (State::Draining, [true, false]),
            (State::Drained, [true, false]),
            (State::DrainedForced, [true, false]),
            (State::Down, [false, false]),
        ];
        for (state, [alive, ready]) in table {
            let of = |stopping, self_test| answers(state, stopping, self_test);
            assert_eq!(of(false, SelfTest::Passed), [alive, ready], "{state:?}");
            for untested in [SelfTest::Running, SelfTest::Failed("no".into())] {
                assert_eq!(of(false, untested), [alive, false], "{state:?}, untested");
            }
            let stopping = of(true, SelfTest::Passed);
            assert_eq!(stopping, [alive, false], "{state:?}, stopping");
        }
    }

    #[test]
    fn capacity_is_what_was_said_and_what_the_links_carry() {
        const GBIT: u64 = 1_000_000_000;
        let table = [
            ("auto", None, None),
            ("auto", Some(20 * GBIT), Some(17 * GBIT)),
            ("auto", Some(0), Some(0)),
            ("15 Gbit/s", None, Some(15 * GBIT)),
            ("15 Gbit/s", Some(20 * GBIT), Some(15 * GBIT)),
            ("15 Gbit/s", Some(10 * GBIT), Some(10 * GBIT)),
        ];
        for (said, speed, expected) in table {
            let hard = capacity(&config(said), speed, 0, true).map(|it| it.maximum_hard);
            assert_eq!(hard, expected, "{said}, links of {speed:?}");
        }
    }
}
