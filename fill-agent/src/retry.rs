//! What to do after a failure: wait, leave the source, or leave the object.
//!
//! ```text
//!                 enough failures                    until has passed
//!   Closed  --------------------------> Open(until) ----------------> HalfOpen: one probe
//!      ^                                    ^                             |       |
//!      |                                    +------------- it fails ------+       |
//!      +--------------------------------------------- it succeeds ----------------+
//! ```
//!
//! Pure: time and chance are arguments.

mod breaker;

use std::time::{Duration, SystemTime};

pub use breaker::{Breaker, Permit};

use crate::limits::{BACKOFF_BASE, BACKOFF_MAX, RETRY_AFTER_DEFAULT, RETRY_AFTER_MAX};

/// What went wrong with a request to a source, by what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It has not the object, or not yet: 404, 410, another ETag. No fault of the source.
    Missing,
    /// It asks to come later: 429, 503. Obeyed for the whole source.
    Busy(Duration),
    /// It refuses us, or we it: 401, 403 and other 4xx, certificates. Asking again soon changes nothing.
    Refused,
    /// No connection, a time-out, a cut, other 5xx.
    Unreachable,
    /// What it sends is not what it must be: wrong bytes, a 200 for a range, a wrong length, a loop of redirects.
    Lie,
}

impl Fault {
    /// All words of [`as_str`](Self::as_str).
    pub const WORDS: [&'static str; 5] = ["missing", "busy", "refused", "unreachable", "lie"];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Busy(_) => "busy",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Lie => "lie",
        }
    }

    /// The fault in a status that is not the one asked for. `retry_after` is the field of that name.
    #[must_use]
    pub fn of_status(status: u16, retry_after: Option<&str>, now: SystemTime) -> Self {
        let pause = || retry_after.and_then(|value| retry_after_delay(value, now));
        match status {
            404 | 410 | 412 => Self::Missing,
            429 | 503 => Self::Busy(pause().unwrap_or(RETRY_AFTER_DEFAULT)),
            400..=499 => Self::Refused,
            500..=599 => pause().map_or(Self::Unreachable, Self::Busy),
            _ => Self::Lie,
        }
    }

    /// Whether the object is to be asked of another source at once: this one will not give it soon.
    #[must_use]
    pub fn leaves_source(self) -> bool {
        match self {
            Self::Missing | Self::Refused | Self::Lie => true,
            Self::Busy(_) | Self::Unreachable => false,
        }
    }
}

/// The delay before attempt `attempt + 1`, with full jitter: anything from zero to the bound, which doubles with each attempt.
/// `random` is uniform in [0, 1).
#[must_use]
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let bound = BACKOFF_BASE
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(BACKOFF_MAX);
    bound.mul_f64(random.clamp(0.0, 1.0))
}

/// The delay that `Retry-After` asks for (RFC 9110 section 10.2.3: seconds, or a date), at most an hour. `None`: unreadable.
#[must_use]
pub fn retry_after_delay(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(delay.min(RETRY_AFTER_MAX))
}
