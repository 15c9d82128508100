//! What the service manager is told (`sd_notify(3)`). Without one, as on FreeBSD or in a terminal, these do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::limits::{STOP_EXTENSION, WORKERS_STUCK};

/// Viewers are served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read. `systemd` wants to know when that began, and then to hear [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

/// What runs is let finish. Said again and again until it has: a process that is over and cannot end, as a thread of it hangs in a
/// disk, is then given up after the short time of the unit, and not after the long one of the transfers.
pub(super) fn stopping() {
    let microseconds = u32::try_from(STOP_EXTENSION.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(microseconds),
    ]);
}

/// How the box is, for `systemctl status`.
pub(super) fn status(told: &str) {
    tell(&[NotifyState::Status(told)]);
}

/// How long all may be silent before it is given up: `WatchdogSec=` of the unit. Not only if it is meant for this process (`WATCHDOG_PID`):
/// the main one is the parent.
pub(super) fn patience() -> Duration {
    let microseconds = std::env::var("WATCHDOG_USEC").ok();
    let microseconds = microseconds.and_then(|text| text.parse().ok());
    microseconds.map_or(WORKERS_STUCK, Duration::from_micros)
}

/// The control loop turns, and at least half of the workers.
pub(super) fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(news: &[NotifyState<'_>]) {
    // A manager that cannot be reached is no reason to stop serving.
    if let Err(error) = sd_notify::notify(news) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
