//! What the operator said.

use protocol::fill::{Overridden, Pause, SetHours};
use protocol::manifest::Serial;
use serde::{Deserialize, Serialize};

use super::{Cost, Kept};

/// What the operator said, with who and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Hours instead of those of the configuration.
    pub set: Option<SetHours>,
    /// Open or closed, whatever the hours.
    pub overridden: Option<Overridden>,
    /// Fetch nothing.
    pub pause: Option<Pause>,
    /// Read nothing back.
    pub scrub_pause: Option<Pause>,
    /// The held manifest that was let through last.
    pub accepted: Option<Accepted>,
}

/// A held manifest that was let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its number.
    pub serial: Serial,
    /// Who.
    pub by: String,
    /// When.
    pub at: u64,
}

impl Kept for Intent {
    const FILE: &'static str = "intent.json";
    const COST: Cost = Cost::Filling(
        "goes back to the configured window, and forgets overrides, a pause and accepted manifests",
    );
}

impl Intent {
    /// Forgets what was said until a time that has passed. Whether something was forgotten.
    pub fn expire(&mut self, now: u64) -> bool {
        let over = |until: Option<u64>| until.is_some_and(|until| until <= now);
        let overridden = self.overridden.take_if(|said| over(said.until));
        let pause = self.pause.take_if(|said| over(said.until));
        let scrub_pause = self.scrub_pause.take_if(|said| over(said.until));
        overridden.is_some() || pause.is_some() || scrub_pause.is_some()
    }

    /// Whether the held manifest of this number was let through.
    #[must_use]
    pub fn accepts(&self, serial: Serial) -> bool {
        self.accepted
            .as_ref()
            .is_some_and(|accepted| accepted.serial == serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_for_a_time_ends_with_it() {
        let pause = |until| {
            Some(Pause {
                since: 5,
                by: "ada".to_owned(),
                until,
            })
        };
        let mut intent = Intent {
            pause: pause(Some(10)),
            ..Intent::default()
        };
        assert!(!intent.expire(9) && intent.pause.is_some());
        assert!(intent.expire(10) && intent.pause.is_none());
        intent.pause = pause(None);
        assert!(!intent.expire(u64::MAX) && intent.pause.is_some());
    }
}
