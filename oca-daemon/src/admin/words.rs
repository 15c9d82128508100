//! From the words of `steering` and `platform` to those of `protocol`: the crates know nothing of each other.

use std::time::{Duration, UNIX_EPOCH};

use protocol::status::{Cause, Scope, State};
use steering::health::Severity;

/// A point in time, to the minute: the same words for the same point, although the clock on the wall is slewed.
#[must_use]
pub fn date(at: steering::UnixTime) -> String {
    let minute = at.seconds().saturating_add(30) / 60 * 60;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(minute))
}

/// The state that steers.
#[must_use]
pub fn state(state: steering::State) -> State {
    match state {
        steering::State::Ok => State::Ok,
        steering::State::Degraded => State::Degraded,
        steering::State::Draining => State::Draining,
        steering::State::Drained => State::Drained,
        steering::State::DrainedForced => State::DrainedForced,
        steering::State::Down => State::Down,
    }
}

/// How bad a cause is, as the state that it alone would make.
#[must_use]
pub fn severity(severity: Severity) -> State {
    match severity {
        Severity::Ok => State::Ok,
        Severity::Degraded => State::Degraded,
        Severity::Down => State::Down,
    }
}

/// Whose trouble it is.
#[must_use]
pub fn scope(scope: steering::health::Scope) -> Scope {
    match scope {
        steering::health::Scope::Local => Scope::Local,
        steering::health::Scope::Shared => Scope::Shared,
    }
}

/// The word for a scope in metrics.
#[must_use]
pub fn scope_word(scope: steering::health::Scope) -> &'static str {
    match scope {
        steering::health::Scope::Local => "local",
        steering::health::Scope::Shared => "shared",
    }
}

/// One thing that is wrong.
#[must_use]
pub fn cause(cause: &steering::health::Cause) -> Cause {
    Cause {
        component: cause.component.as_str().to_owned(),
        subject: cause.subject.clone(),
        scope: scope(cause.scope),
        severity: severity(cause.severity),
        detail: cause.detail.clone(),
        since: cause.since.seconds(),
    }
}
