//! How long a connection may take, and how slow a viewer may be.

use std::time::{Duration, Instant};

use protocol::config::Serve;
use protocol::units::BitRate;

use super::{Connection, Context, Late, Phase, error_body};
use crate::access_log::End;
use crate::limits::{BUFFER_HOLD, RECHECK};

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

impl Connection {
    /// Looks whether something took too long.
    pub fn late(&mut self, cx: &Context<'_>) -> Late {
        let idle = matches!(self.phase, Phase::AwaitingHead) && self.pending.is_empty();
        if idle && cx.closing {
            self.phase = Phase::Closed;
            return Late::Act;
        }
        if self.is_too_slow(cx) {
            self.time_out(cx);
            return Late::Act;
        }
        self.blocked(cx);
        if cx.now < self.deadline {
            return Late::Patient;
        }
        match &mut self.phase {
            Phase::AwaitingHead if !idle => {
                let beside = self.beside_input(&self.pending, cx);
                self.fail(408, error_body(&self.pending), beside, cx);
            }
            Phase::Answering(answer) if answer.awaits_device() => {
                // The device service bounds its reads itself, and answers them all.
                self.deadline = cx.now + cx.patience.send;
                return Late::Patient;
            }
            Phase::Answering(answer) => {
                if !answer.give_back() {
                    self.time_out(cx);
                    return Late::Act;
                }
                self.deadline = cx.now + cx.patience.send.saturating_sub(BUFFER_HOLD);
                return Late::Patient;
            }
            Phase::AwaitingHead => self.time_out(cx),
            Phase::Lingering { .. } | Phase::Closed => self.phase = Phase::Closed,
        }
        Late::Act
    }

    /// Whether a viewer took less than it has to. What it could not have, because a device was awaited, does not count.
    fn is_too_slow(&mut self, cx: &Context<'_>) -> bool {
        let Phase::Answering(answer) = &self.phase else {
            return false;
        };
        if answer.awaits_device() {
            self.window = Window::new(cx.now, &cx.patience);
        }
        if cx.now < self.window.ends {
            return false;
        }
        let taken = self.window.taken;
        self.window = Window::new(cx.now, &cx.patience);
        taken < cx.patience.window_bytes
    }

    /// It took too long, and is over.
    pub fn time_out(&mut self, cx: &Context<'_>) {
        cx.counters.timed_out.add(1);
        self.end(&cx.ending(End::Slow));
    }

    /// When [`Connection::late`] should be asked at the latest. Deadlines may come nearer with the next request; looking
    /// every now and then is cheaper than moving a timer each time.
    pub fn deadline(&self, now: Instant) -> Instant {
        self.deadline.min(now + RECHECK)
    }
}
