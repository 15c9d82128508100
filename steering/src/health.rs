//! From samples to causes, with hysteresis: three samples in a row make it worse, three make it better.
//!
//! ```text
//!            fall samples in a row at least as bad as `new`
//!   shown  ------------------------------------------------->  new (worse)
//!          <-------------------------------------------------
//!            rise samples in a row at least as good as `new`
//! ```
//!
//! The first sample of a subject counts at once: a box that starts with a dead device does not call itself well three times
//! first. So does each sample of what was judged before ([`Canary`](crate::bgp::canary::Canary)). A subject that is no longer sampled is forgotten at once: it was configured away.
//!
//! Invariant: shared causes are listed, and never change [`Health::worst_local`]; an outage of the control endpoint would
//! otherwise take every box out of service together. Whoever wants just that says so: [`Component::Strict`].

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// How bad it is. The order is from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is wrong.
    Ok,
    /// Something is broken, viewers are served.
    Degraded,
    /// Viewers cannot be served.
    Down,
}

/// What kind of thing a sample is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// A storage device.
    Device,
    /// What a disk says of its own wear.
    Wear,
    /// A worker thread.
    Worker,
    /// Bytes sent against capacity.
    Egress,
    /// Memory tier and buffers.
    Memory,
    /// A network interface.
    Interface,
    /// The catalog on the state disk.
    Catalog,
    /// A certificate that viewers are shown.
    Certificate,
    /// The test at start.
    SelfTest,
    /// An address at which viewers are served, asked from outside.
    ServiceAddress,
    /// The control endpoint, where the box may not serve without it.
    Strict,
    /// The control endpoint.
    Control,
    /// The age of the manifest.
    Manifest,
    /// Routes learned over BGP.
    RouteFeed,
    /// The fill agent.
    Agent,
}

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This box alone: decides the state.
    Local,
    /// Something that many boxes share: shown and alerted.
    Shared,
}

impl Component {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::Device,
        Self::Wear,
        Self::Worker,
        Self::Egress,
        Self::Memory,
        Self::Interface,
        Self::Catalog,
        Self::Certificate,
        Self::SelfTest,
        Self::ServiceAddress,
        Self::Strict,
        Self::Control,
        Self::Manifest,
        Self::RouteFeed,
        Self::Agent,
    ];

    /// Whose trouble it is.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::Device
            | Self::Wear
            | Self::Worker
            | Self::Egress
            | Self::Memory
            | Self::Interface
            | Self::Catalog
            | Self::Certificate
            | Self::SelfTest
            | Self::ServiceAddress
            | Self::Strict => Scope::Local,
            Self::Control | Self::Manifest | Self::RouteFeed | Self::Agent => Scope::Shared,
        }
    }

    /// Whether a sample of it is a verdict: several looks went into it already.
    fn is_judged(self) -> bool {
        self == Self::ServiceAddress
    }

    /// The word in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Wear => "wear",
            Self::Worker => "worker",
            Self::Egress => "egress",
            Self::Memory => "memory",
            Self::Interface => "interface",
            Self::Catalog => "catalog",
            Self::Certificate => "certificate",
            Self::SelfTest => "self-test",
            Self::ServiceAddress => "service-address",
            Self::Strict => "strict",
            Self::Control => "control",
            Self::Manifest => "manifest",
            Self::RouteFeed => "route-feed",
            Self::Agent => "agent",
        }
    }
}

/// What was found about one subject, just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What kind of thing.
    pub component: Component,
    /// Which one, as in `nvme0`; empty if there is only one.
    pub subject: String,
    /// How it is.
    pub severity: Severity,
    /// In a sentence; empty if nothing is wrong.
    pub detail: String,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What kind of thing.
    pub component: Component,
    /// Which one; empty if there is only one.
    pub subject: String,
    /// Whose trouble it is.
    pub scope: Scope,
    /// How bad it is.
    pub severity: Severity,
    /// In a sentence.
    pub detail: String,
    /// Since when it is that bad.
    pub since: UnixTime,
}

/// How many samples in a row it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// To get better.
    pub rise: u32,
    /// To get worse.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rise: 3, fall: 3 }
    }
}

/// The machine: one subject for everything that is sampled.
#[derive(Debug, Clone, Default)]
pub struct Health {
    thresholds: Thresholds,
    subjects: Vec<Subject>,
}

#[derive(Debug, Clone)]
struct Subject {
    /// `severity` and `since` are what is shown; `detail` is of the last sample that was that bad.
    cause: Cause,
    /// Samples in a row that were worse (or better) than what is shown, and the mildest change they agree on.
    streak: Option<Streak>,
}

#[derive(Debug, Clone)]
struct Streak {
    length: u32,
    severity: Severity,
    detail: String,
}

impl Health {
    /// A machine that has seen nothing.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            subjects: Vec::new(),
        }
    }

    /// Takes one round of samples: all subjects that there are.
    pub fn observe(&mut self, now: UnixTime, samples: &[Sample]) {
        self.subjects
            .retain(|subject| samples.iter().any(|sample| subject.is_of(sample)));
        for sample in samples {
            match self
                .subjects
                .iter_mut()
                .find(|subject| subject.is_of(sample))
            {
                Some(subject) => subject.observe(now, sample, self.thresholds),
                None => self.subjects.push(Subject::new(now, sample)),
            }
        }
    }

    /// What is wrong: local before shared, the worst first.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        let wrong = self.subjects.iter().map(|subject| &subject.cause);
        let mut causes: Vec<Cause> = wrong
            .filter(|cause| cause.severity > Severity::Ok)
            .cloned()
            .collect();
        causes.sort_by(|one, other| {
            let rank = |cause: &Cause| {
                (
                    cause.scope == Scope::Shared,
                    std::cmp::Reverse(cause.severity),
                    cause.component,
                )
            };
            rank(one)
                .cmp(&rank(other))
                .then_with(|| one.subject.cmp(&other.subject))
        });
        causes
    }

    /// The worst of the local causes.
    #[must_use]
    pub fn worst_local(&self) -> Severity {
        let causes = self.subjects.iter().map(|subject| &subject.cause);
        let local = causes.filter(|cause| cause.scope == Scope::Local);
        local
            .map(|cause| cause.severity)
            .max()
            .unwrap_or(Severity::Ok)
    }
}

impl Subject {
    fn new(now: UnixTime, sample: &Sample) -> Self {
        let cause = Cause {
            component: sample.component,
            subject: sample.subject.clone(),
            scope: sample.component.scope(),
            severity: sample.severity,
            detail: sample.detail.clone(),
            since: now,
        };
        Self {
            cause,
            streak: None,
        }
    }

    fn is_of(&self, sample: &Sample) -> bool {
        self.cause.component == sample.component && self.cause.subject == sample.subject
    }

    fn observe(&mut self, now: UnixTime, sample: &Sample, thresholds: Thresholds) {
        let shown = self.cause.severity;
        if sample.severity == shown {
            self.cause.detail.clone_from(&sample.detail);
            self.streak = None;
            return;
        }
        let worse = sample.severity > shown;
        let streak = self
            .streak
            .take()
            .filter(|streak| (streak.severity > shown) == worse);
        let streak = Streak::joined(streak, sample, worse);
        let needed = match (sample.component.is_judged(), worse) {
            (true, _) => 1,
            (false, true) => thresholds.fall,
            (false, false) => thresholds.rise,
        };
        if streak.length < needed {
            self.streak = Some(streak);
        } else {
            self.cause.severity = streak.severity;
            self.cause.detail = streak.detail;
            self.cause.since = now;
        }
    }
}

impl Streak {
    /// The streak with `sample` at its end; it agrees on the change nearest to what is shown.
    fn joined(before: Option<Self>, sample: &Sample, worse: bool) -> Self {
        let fresh = Self {
            length: 1,
            severity: sample.severity,
            detail: sample.detail.clone(),
        };
        let Some(before) = before else { return fresh };
        let length = before.length.saturating_add(1);
        let nearer = if worse {
            sample.severity <= before.severity
        } else {
            sample.severity >= before.severity
        };
        if nearer {
            Self { length, ..fresh }
        } else {
            Self { length, ..before }
        }
    }
}
