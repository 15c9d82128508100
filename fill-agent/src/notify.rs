//! What the service manager is told (`sd_notify(3)`). Without one, as on FreeBSD or in a terminal, these do nothing.

use sd_notify::NotifyState;

use crate::limits::STOP_EXTENSION;

/// Operators are answered, and the loop turns.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read. `systemd` wants to know when that began, and then to hear [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

/// What is verified is being published. Said again and again until it is: a process that is over and cannot end, as a thread of it hangs
/// in a disk, is then given up after the short time of the unit.
pub fn stopping() {
    let microseconds = u32::try_from(STOP_EXTENSION.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(microseconds),
    ]);
}

/// The loop turns; `why` is for `systemctl status`.
pub fn watchdog(why: &str) {
    tell(&[NotifyState::Watchdog, NotifyState::Status(why)]);
}

fn tell(news: &[NotifyState<'_>]) {
    // A manager that cannot be reached is no reason to stop filling.
    if let Err(error) = sd_notify::notify(news) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
