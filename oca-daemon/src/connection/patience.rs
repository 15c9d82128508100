//! How long a connection may take, and how slow a viewer may be.

use std::time::{Duration, Instant};

use protocol::config::Serve;
use protocol::units::BitRate;

/// How long a connection may take for what, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two requests.
    pub idle: Duration,
    /// For a request head, from its first byte.
    pub head: Duration,
    /// Without taking a byte of a response.
    pub send: Duration,
    /// The stretch of time over which the least rate of a viewer is measured,
    pub window: Duration,
    /// and the bytes of responses that it has to take in it.
    pub window_bytes: u64,
}

impl Patience {
    /// As configured.
    pub fn of(serve: &Serve) -> Self {
        Self {
            idle: serve.idle_timeout.duration(),
            head: serve.head_timeout.duration(),
            send: serve.send_timeout.duration(),
            window: serve.min_rate_window.duration(),
            window_bytes: bytes_in(serve.min_rate_window.duration(), serve.min_rate),
        }
    }
}

fn bytes_in(time: Duration, rate: BitRate) -> u64 {
    let bits = u128::from(rate.bits_per_second()) * time.as_millis() / 1000;
    u64::try_from(bits / 8).unwrap_or(u64::MAX)
}

/// A stretch of time in which a viewer has to take [`Patience::window_bytes`].
#[derive(Debug)]
pub(super) struct Window {
    pub(super) ends: Instant,
    pub(super) taken: u64,
}

impl Window {
    pub(super) fn new(now: Instant, patience: &Patience) -> Self {
        Self {
            ends: now + patience.window,
            taken: 0,
        }
    }
}
