//! How much the box sends: a rate over the last seconds, from a counter that only rises. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::EGRESS_WINDOW;

/// Readings of the counter of body bytes, one per look, over [`EGRESS_WINDOW`].
#[derive(Debug, Default)]
pub struct Egress {
    readings: VecDeque<(Instant, u64)>,
}

impl Egress {
    /// Notes that `bytes` had been sent by `now`.
    pub fn note(&mut self, now: Instant, bytes: u64) {
        self.readings.push_back((now, bytes));
        // The reading at the far end of the window stays: the rate is over the whole of it.
        while self
            .readings
            .get(1)
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= EGRESS_WINDOW)
        {
            self.readings.pop_front();
        }
    }

    /// Bits per second over the window; 0 until there are two readings.
    #[must_use]
    pub fn bits_per_second(&self) -> u64 {
        let (Some((from, sent_before)), Some((to, sent))) =
            (self.readings.front(), self.readings.back())
        else {
            return 0;
        };
        let elapsed = to.saturating_duration_since(*from);
        if elapsed < Duration::from_millis(1) {
            return 0;
        }
        (sent.saturating_sub(*sent_before) as f64 * 8.0 / elapsed.as_secs_f64()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_window_only() {
        let start = Instant::now();
        let mut egress = Egress::default();
        assert_eq!(egress.bits_per_second(), 0);
        egress.note(start, 7);
        assert_eq!(egress.bits_per_second(), 0);
        let window = EGRESS_WINDOW.as_secs();
        for second in 1..=window {
            egress.note(start + Duration::from_secs(second), 7 + second * 1_000_000);
        }
        assert_eq!(egress.bits_per_second(), 8_000_000);
        for second in window + 1..=2 * window {
            egress.note(start + Duration::from_secs(second), 7 + window * 1_000_000);
        }
        assert_eq!(egress.bits_per_second(), 0);
        assert!(egress.readings.len() <= window as usize + 1);
    }
}
