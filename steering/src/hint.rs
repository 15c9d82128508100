//! The document of `/steering`: what a box asks of those who send viewers to it.
//!
//! Capacity is said in the words of RFC 9808 (`limit-type`, `maximum-hard`, `maximum-soft`, `current`), plus what is `left`.
//! The serial rises with every change of what is said, and over restarts: it starts from the clock. A reader that has seen a
//! higher one drops the document; one that is past `expires` counts as not given.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::Cause;
use crate::state::State;
use crate::time::UnixTime;

/// The meaning of the fields below.
pub const HINT_FORMAT: u32 = 1;

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// [`HINT_FORMAT`].
    pub format: u32,
    /// `appliance.id`.
    pub appliance: String,
    /// `appliance.site`.
    pub site: String,
    /// Only rising.
    pub serial: u64,
    /// When it was made.
    pub issued: UnixTime,
    /// When it stops counting.
    pub expires: UnixTime,
    /// What is said.
    #[serde(flatten)]
    pub facts: Facts,
}

/// What a hint says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The state.
    pub state: State,
    /// Whether new viewers are welcome: `ok` or `degraded`, and the self-test has passed.
    pub accepting: bool,
    /// What is wrong, local and shared.
    pub causes: Vec<Cause>,
    /// Where to send viewers.
    pub service_addresses: Vec<IpAddr>,
    /// How much more; `None` if nobody has said what the box can send.
    pub capacity: Option<Capacity>,
}

/// One limit of RFC 9808 section 2, for egress, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capacity {
    /// What is limited.
    pub limit_type: LimitType,
    /// More than this cannot be sent.
    pub maximum_hard: u64,
    /// Beyond this, other boxes are to be preferred.
    pub maximum_soft: u64,
    /// What is being sent.
    pub current: u64,
    /// What may be added before `maximum-soft`; 0 while no viewers are taken.
    pub left: u64,
}

/// What a [`Capacity`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitType {
    /// Bits per second that leave.
    Egress,
}

/// The soft limit as a part of the hard one, in percent.
pub const SOFT_PERCENT: u64 = 90;

impl Capacity {
    /// For a box that can send `hard` and sends `current` bits per second.
    #[must_use]
    pub fn egress(hard: u64, current: u64, accepting: bool) -> Self {
        let soft = u64::try_from(u128::from(hard) * u128::from(SOFT_PERCENT) / 100).unwrap_or(hard);
        let left = if accepting {
            soft.saturating_sub(current)
        } else {
            0
        };
        Self {
            limit_type: LimitType::Egress,
            maximum_hard: hard,
            maximum_soft: soft,
            current,
            left,
        }
    }
}

/// Makes hints and numbers them.
#[derive(Debug, Clone)]
pub struct HintBook {
    appliance: String,
    site: String,
    lifetime: Duration,
    last: Option<(u64, Facts)>,
}

impl HintBook {
    /// For one appliance; each hint counts for `lifetime`.
    #[must_use]
    pub fn new(appliance: String, site: String, lifetime: Duration) -> Self {
        Self {
            appliance,
            site,
            lifetime,
            last: None,
        }
    }

    /// The hint that says `facts`. What was said before keeps its serial and gets a new expiry.
    pub fn issue(&mut self, now: UnixTime, facts: Facts) -> Hint {
        let serial = match &self.last {
            Some((serial, said)) if *said == facts => *serial,
            Some((serial, _)) => now.milliseconds().max(serial + 1),
            None => now.milliseconds(),
        };
        self.last = Some((serial, facts.clone()));
        Hint {
            format: HINT_FORMAT,
            appliance: self.appliance.clone(),
            site: self.site.clone(),
            serial,
            issued: now,
            expires: now + self.lifetime,
            facts,
        }
    }
}
