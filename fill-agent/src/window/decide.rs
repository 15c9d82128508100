//! Whether the agent may fill now, and why, in the words that `ocactl` shows.

use std::time::Duration;

use jiff::Timestamp;
use protocol::fill::{Overridden, Pause};

use super::{Hours, State};

/// Hours and rate, as configured or as set by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The hours.
    pub hours: Hours,
    /// Bits per second.
    pub rate: Option<u64>,
}

/// All that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Now, by the system's clock.
    pub now: Timestamp,
    /// `[fill]` of the configuration; `None`: there is none.
    pub configured: Option<&'a Setting>,
    /// What an operator set instead, complete.
    pub set: Option<&'a Setting>,
    /// What an operator ordered whatever the hours.
    pub overridden: Option<&'a Overridden>,
    /// A pause.
    pub pause: Option<&'a Pause>,
    /// Whether the clock can be trusted: synchronised, or not required to be.
    pub clock_trusted: bool,
    /// By the manifest, or [`super::site_offset`].
    pub site_offset: Duration,
}

/// Which rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no `[fill]`.
    NoFill,
    /// An operator paused it.
    Paused,
    /// An operator closed the window.
    OverrideClosed,
    /// No rate is configured or set.
    NoRate,
    /// The clock is not synchronised.
    Clock,
    /// An operator opened the window.
    OverrideOpen,
    /// The hours: open.
    Inside,
    /// The hours: closed. Urgent objects pass.
    Outside,
}

/// Open or not, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether what the manifest wants may be fetched.
    pub open: bool,
    /// The next instant at which time alone changes it; `None`: only an operator or an event can.
    pub until: Option<Timestamp>,
    /// The rule.
    pub reason: Reason,
    /// One sentence for the operator.
    pub why: String,
}

impl Decision {
    /// Whether urgent objects may be fetched: inside the window, or outside by the hours alone.
    #[must_use]
    pub fn urgent(&self) -> bool {
        self.open || self.reason == Reason::Outside
    }
}

impl<'a> Circumstances<'a> {
    /// The hours and the rate in force.
    #[must_use]
    pub fn effective(&self) -> Option<&'a Setting> {
        self.configured
            .map(|configured| self.set.unwrap_or(configured))
    }
}

/// Decides. The first rule that applies, in the order of [`Reason`]; pauses and overrides that are over do not.
#[must_use]
pub fn decide(circumstances: &Circumstances<'_>) -> Decision {
    let Some(setting) = circumstances.effective() else {
        return closed(
            Reason::NoFill,
            None,
            "the configuration has no [fill], so nothing is fetched: add it with window and rate"
                .to_owned(),
        );
    };
    let hours = &setting.hours;
    let now = circumstances.now;
    let until = |at: Option<u64>| at.and_then(timestamp);
    let runs = |at: Option<u64>| until(at).is_none_or(|end| end > now);
    let pause = circumstances.pause.filter(|pause| runs(pause.until));
    let overridden = circumstances.overridden.filter(|order| runs(order.until));

    if let Some(pause) = pause {
        let end = until(pause.until);
        let why = format!(
            "{} paused it {}",
            pause.by,
            until_words(hours, end, "`ocactl fill resume`")
        );
        return closed(Reason::Paused, end, why);
    }
    if let Some(order) = overridden.filter(|order| !order.open) {
        let end = until(order.until);
        let words = until_words(hours, end, CLEAR);
        return closed(
            Reason::OverrideClosed,
            end,
            format!("{} closed the window {words}", order.by),
        );
    }
    if setting.rate.is_none_or(|rate| rate == 0) {
        let why = "no rate is set, so nothing is fetched: set fill.rate, or `ocactl fill-window set --rate`";
        return closed(Reason::NoRate, None, why.to_owned());
    }
    if !circumstances.clock_trusted {
        let why = "the system's clock is not synchronised, so the hours are not known: start NTP, or set fill.require_synchronised_clock = false";
        return closed(Reason::Clock, None, why.to_owned());
    }
    if let Some(order) = overridden {
        let end = until(order.until);
        let words = until_words(hours, end, CLEAR);
        return Decision {
            open: true,
            until: end,
            reason: Reason::OverrideOpen,
            why: format!("{} opened the window {words}", order.by),
        };
    }
    by_hours(hours, now, circumstances.site_offset)
}

const CLEAR: &str = "`ocactl fill-window override clear`";

fn by_hours(hours: &Hours, now: Timestamp, site_offset: Duration) -> Decision {
    let name = format!("{} {}", hours.window(), hours.timezone());
    match hours.state(now, site_offset) {
        State::Open { until, .. } => Decision {
            open: true,
            until,
            reason: Reason::Inside,
            why: match until {
                Some(at) => format!("inside the window {name} until {}", hours.local(at)),
                None => format!("the window {name} is always open"),
            },
        },
        State::Closed { opens } => {
            let next = opens.map_or_else(
                || "never opens".to_owned(),
                |at| format!("opens at {}", hours.local(at)),
            );
            closed(
                Reason::Outside,
                opens,
                format!("outside the window {name}, which {next}"),
            )
        }
    }
}

fn closed(reason: Reason, until: Option<Timestamp>, why: String) -> Decision {
    Decision {
        open: false,
        until,
        reason,
        why,
    }
}

fn until_words(hours: &Hours, end: Option<Timestamp>, command: &str) -> String {
    match end {
        Some(at) => format!("until {}", hours.local(at)),
        None => format!("until {command}"),
    }
}

/// Seconds since 1970; what is beyond the calendar never comes.
fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}
